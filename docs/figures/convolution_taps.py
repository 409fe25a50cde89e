"""Two views of one convolution (3×3, stride 2): the window of an output, the slice of a tap."""

import numpy as np
from _figure import BLUE, ORANGE, PALE, draw_grid, plt, save

from nn.kernels.reference import output_size, taps

SIZE, KERNEL, STRIDE = (7, 9), (3, 3), (2, 2)
OUTPUT, TAP = (1, 2), (0, 1)

out_size = output_size(SIZE, KERNEL, STRIDE, [(0, 0), (0, 0)], (1, 1))
inputs = np.arange(np.prod(SIZE)).reshape(1, *SIZE)
slices = dict(taps(KERNEL, out_size, STRIDE, (1, 1)))


def colored(size, cells, color):
    fills = np.full(size, PALE, dtype=object)
    for cell in cells:
        fills[cell] = color
    return fills


figure, axes = plt.subplots(
    1, 7, figsize=(10.5, 2.5), width_ratios=[9, 3, 4, 1, 9, 3, 4], layout="constrained"
)
axes[3].set_visible(False)  # a gap between the two views
axes = np.delete(axes, 3)
blank = {size: np.full(size, "") for size in (SIZE, KERNEL, out_size)}

# Left: every tap, but only what it meets at one output.
met = [inputs[window][0][OUTPUT] for window in slices.values()]
window_cells = [np.unravel_index(index, SIZE) for index in met]
labels = blank[SIZE].astype(object)
for (p, q), cell in zip(slices, window_cells, strict=True):
    labels[cell] = f"{p},{q}"
draw_grid(axes[0], labels, colored(SIZE, window_cells, ORANGE))
kernel_labels = [[f"{p},{q}" for q in range(KERNEL[1])] for p in range(KERNEL[0])]
draw_grid(axes[1], kernel_labels, np.full(KERNEL, ORANGE))
draw_grid(axes[2], blank[out_size], colored(out_size, [OUTPUT], ORANGE))

# Right: one tap, and all that it meets.
met = inputs[slices[TAP]][0]  # (*out_size)
labels = blank[SIZE].astype(object)
for place in np.ndindex(*out_size):
    labels[np.unravel_index(met[place], SIZE)] = "{},{}".format(*place)
tap_cells = [np.unravel_index(index, SIZE) for index in met.ravel()]
draw_grid(axes[3], labels, colored(SIZE, tap_cells, BLUE), text_color="white")
only_tap = blank[KERNEL].astype(object)
only_tap[TAP] = "{},{}".format(*TAP)
draw_grid(axes[4], only_tap, colored(KERNEL, [TAP], BLUE), text_color="white")
out_labels = [[f"{i},{j}" for j in range(out_size[1])] for i in range(out_size[0])]
draw_grid(axes[5], out_labels, np.full(out_size, BLUE), text_color="white")

for axis, name in zip(axes, ["input", "kernel", "output"] * 2, strict=True):
    axis.set_xlabel(name)
axes[0].set_title("one output, all taps", loc="left")
axes[3].set_title("one tap, all outputs: a slice", loc="left")
save(figure, __file__)
