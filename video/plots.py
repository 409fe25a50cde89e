"""Pictures of a run: curves, confusion, contact sheets, and clips with the prediction drawn on.

Every function that draws takes the path of the file it writes and returns it. Matplotlib is
imported only here, and used without its global state, so nothing opens a window.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from video.writer import write

RIGHT, WRONG = "#1a7f37", "#cf222e"


def learning_curves(history, path, labels=("training", "test"), chance=None):
    """Loss and accuracy by epoch, from `Trainer.history`, as a PNG.

    history: one dict per epoch with `train_loss`, `train_accuracy` and, where there is a second
    set, `val_loss`, `val_accuracy`; `labels` are the names of the two sets. `chance` draws a
    line at the accuracy that costs nothing.
    """
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axis, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for prefix, label in zip(("train", "val"), labels, strict=True):
            key = f"{prefix}_{quantity}"
            points = [(e, row[key]) for e, row in zip(epochs, history, strict=True) if key in row]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="." * (len(points) < 30))
        if quantity == "accuracy":
            axis.set_ylim(0, 1.02)
            if chance is not None:
                axis.axhline(chance, color="gray", linestyle=":", label="commonest class")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
        axis.set_ylabel(quantity)
        axis.grid(alpha=0.3)
        axis.legend()
    return save(figure, path)


def confusion_matrix(matrix, classes, path):
    """A confusion matrix (K, K), rows the truth, columns the answers, as a PNG.

    Colour is the share of the row, so classes of unequal size can be compared; the numbers
    are counts.
    """
    matrix = np.asarray(matrix)
    classes = [short(name) for name in classes]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    K = len(classes)
    side = 2.2 + 0.48 * K
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for i, j in np.ndindex(K, K):
        if matrix[i, j]:
            colour = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, matrix[i, j], ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(K), classes, rotation=45, ha="right")
    axis.set_yticks(range(K), classes)
    axis.set_xlabel("answer")
    axis.set_ylabel("truth")
    figure.colorbar(image, label="share of the row", shrink=0.8)
    return save(figure, path)


def contact_sheet(frames, truths, answers, classes, path, confidences=None, columns=8, dpi=100):
    """One frame of each clip with the answer above it, green if right, as a PNG.

    frames: uint8 images (H, W, 3), sizes may differ; truths, answers: class ids.
    """
    classes = [short(name) for name in classes]
    rows = -(-len(frames) // columns)
    figure = Figure(figsize=(1.7 * columns, 1.8 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.axis("off")
    for i, frame in enumerate(frames):
        axis, right = axes[i], truths[i] == answers[i]
        axis.imshow(frame)
        answer = classes[answers[i]]
        if confidences is not None:
            answer += f" {100 * confidences[i]:.0f} %"
        caption = answer if right else f"{answer}\nis {classes[truths[i]]}"
        axis.set_title(caption, color=RIGHT if right else WRONG, fontsize=9)
    return save(figure, path, dpi)


def short(name, most=18):
    """A class name that fits beside a picture."""
    return name if len(name) <= most else name[: most - 1] + "…"


def save(figure, path, dpi=100):
    """Write a figure of matplotlib to `path`, whose folder is made if need be; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return path


# ---- drawing on frames ------------------------------------------------------------------


@lru_cache(maxsize=256)
def text_mask(text, height=16):
    """`text` as an image of coverage, float32 (height, W) in 0..1."""
    figure = Figure(figsize=(0.62 * height * max(len(text), 1) / 100 + 0.1, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    figure.text(0, 0.5, text, fontsize=0.55 * height, va="center")
    canvas.draw()
    ink = 1 - np.asarray(canvas.buffer_rgba())[..., 0].astype(np.float32) / 255
    used = np.flatnonzero(ink.max(axis=0) > 0)
    return ink[:, : used[-1] + 2] if used.size else ink[:, :1]


def draw_text(frame, text, row, column, colour=(255, 255, 255), height=16):
    """Write `text` into a uint8 frame (H, W, 3) in place, its top left corner at (row, column)."""
    mask = text_mask(text, height)
    target = frame[row : row + len(mask), column : column + mask.shape[1]]
    ink = mask[: target.shape[0], : target.shape[1], None]
    target[...] = (target * (1 - ink) + np.array(colour, np.float32) * ink).astype(np.uint8)


def draw_probabilities(frame, probabilities, classes, truth=None, most=5):
    """The likeliest classes as labelled bars in the lower left corner, in place.

    The bar of the true class is green if `truth` is given; a wrong leading answer is red.
    """
    order = np.argsort(probabilities)[::-1][:most]
    height, bar = 13, 50
    top = len(frame) - (height + 2) * len(order) - 4
    box = frame[top - 4 :, : bar + 130]
    box[...] = box // 3
    for rank, k in enumerate(order):
        row = top + rank * (height + 2)
        colour = (235, 235, 235)
        if truth is not None:
            colour = (90, 210, 120) if k == truth else (230, 90, 90) if rank == 0 else colour
        frame[row + 2 : row + height - 2, 4 : 5 + round(bar * float(probabilities[k]))] = colour
        label = f"{100 * float(probabilities[k]):3.0f} %  {short(classes[k])}"
        draw_text(frame, label, row, bar + 8, colour, height)


def annotated_video(path, clips, classes, fps=15, size=(240, 320), still=0.6):
    """An mp4 of several clips, one after the other, with the running prediction drawn on.

    clips: for each a tuple (title, frames uint8 (T, H, W, 3), probabilities (T, K) so far at each
    frame, true class id or None). Frames are fitted into `size`; the last one stands for
    `still` seconds.
    """

    def frames():
        for title, clip, probabilities, truth in clips:
            for image, p in zip(clip, probabilities, strict=True):
                canvas = fit(image, size)
                draw_probabilities(canvas, p, classes, truth)
                canvas[:20] //= 3
                draw_text(canvas, title, 2, 6)
                yield canvas
            for _ in range(round(still * fps)):
                yield canvas

    write(path, frames(), fps)
    return Path(path)


def fit(image, size):
    """Scale an image (nearest pixel) to fit into `size` (H, W) and centre it on black."""
    H, W = size
    h, w = image.shape[:2]
    scale = min(H / h, W / w)
    new_h, new_w = max(1, int(h * scale)), max(1, int(w * scale))
    rows = (np.arange(new_h) / scale).astype(int).clip(0, h - 1)
    columns = (np.arange(new_w) / scale).astype(int).clip(0, w - 1)
    canvas = np.zeros((H, W, 3), np.uint8)
    top, left = (H - new_h) // 2, (W - new_w) // 2
    canvas[top : top + new_h, left : left + new_w] = image[rows[:, None], columns]
    return canvas
