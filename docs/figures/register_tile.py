"""Left: a register tile takes an outer product. Right: Winograd's tiles of outputs, and the
overlapping tiles of inputs that they need."""

from _figure import BLUE, GRAY, GREEN, ORANGE, PALE, SKY, plt, save

from nn.kernels.cpu import tile_sizes

BYTES, ROWS, _ = tile_sizes({"avx512f"}, "x86_64")
LANES, VECTORS = BYTES // 4, 2
M, SIZE = 4, 6  # Winograd's F(4×4, 3×3): outputs and inputs of a tile

figure, (tile, image) = plt.subplots(
    1, 2, figsize=(9.5, 4), width_ratios=(1.5, 1), layout="constrained"
)


def cells(axes, x, y, columns, rows, color):
    for i in range(rows):
        for j in range(columns):
            cell = plt.Rectangle((x + j, y + i), 1, 1, facecolor=color, edgecolor="white", lw=0.8)
            axes.add_patch(cell)


cells(tile, 0, 0, VECTORS * LANES, ROWS, PALE)
cells(tile, 0, 5, VECTORS * LANES, 1, SKY)
cells(tile, -3, 0, 1, ROWS, BLUE)
cells(tile, 0, -3, VECTORS * LANES, 1, ORANGE)
tile.plot([LANES, LANES], [-3.4, ROWS + 0.4], color=GRAY, lw=1)
tile.annotate("", (-0.2, 5.5), (-1.8, 5.5), arrowprops={"arrowstyle": "->", "color": GRAY})
tile.text(-3.5, ROWS / 2, f"{ROWS} inputs: neighbours", rotation=90, ha="right", va="center")
tile.text(0, -3.6, f"{VECTORS} vectors of {LANES} weights: output channels", va="bottom")
tile.text(LANES * VECTORS / 2, ROWS + 0.6, f"{ROWS} × {VECTORS} sums, in registers", ha="center",
          va="top")  # fmt: skip
tile.set(xlim=(-5, VECTORS * LANES + 0.5), ylim=(ROWS + 2.2, -5), aspect="equal")
tile.set_title("one outer product: one tap, one input channel")

cells(image, -1, -1, 14, 14, PALE)
for x, y, color in ((0, 0, BLUE), (M, 0, ORANGE), (0, M, GREEN)):
    image.add_patch(plt.Rectangle((x, y), M, M, facecolor=color, alpha=0.6))
    image.add_patch(plt.Rectangle((x - 1, y - 1), SIZE, SIZE, fill=False, edgecolor=color, lw=2))
image.set(xlim=(-1.2, 13.2), ylim=(13.2, -1.2), aspect="equal")
image.set_title(f"outputs {M}×{M} (filled), inputs {SIZE}×{SIZE} (framed)")
for axes in (tile, image):
    axes.axis("off")
save(figure, __file__)
