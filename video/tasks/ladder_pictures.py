"""Pictures of a ladder's run: what the answers hang on, and how far gradients reach.

Each function draws one PNG from what `ladder.run` left in a run's folder and returns its path,
or None where the network that it shows is not in the run. The clips shown are the first test
clips of their classes, whatever the answers.
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from video.plots import RIGHT, WRONG, save, short
from video.tasks import ladder
from video.tasks import ladder_looks as looks
from video.tasks.ladder_report import by_network

SHOWN = ("right", "clockwise", "meeting", "circle_then_cross")
DPI = 75  # frames of noisy clips make large files
CELLS = {"RNN": ladder.PLAIN_RECURRENCE, "LSTM": "CNNRNN"}
CLIPS_FOR_GRADIENTS = 24


def draw_all(results, settings, directory):
    """All pictures that can be drawn of a run, into its folder: their paths."""
    _, test = ladder.open_folders(settings)
    directory = Path(directory)
    drawn = [
        draw(results, settings, directory, test, directory / f"{draw.__name__}.png")
        for draw in (three_ways, attention, degree, gradients)
    ]
    return [path for path in drawn if path]


def shown(test):
    """Those of `SHOWN` that the clips have."""
    return [name for name in SHOWN if name in test.classes]


# ---- filmed, backwards, shuffled ----------------------------------------------------------


def three_ways(results, settings, directory, test, path, frames=8):
    """One clip of each kind, and what two networks call it as filmed, backwards and shuffled.

    The networks: the one with the best mean accuracy, and `FrameCNN` where it was trained.
    """
    runs = by_network(results)
    best = max(runs, key=lambda name: np.mean([run["accuracy"] for run in runs[name]]))
    names = list(dict.fromkeys([best, *(name for name in runs if name == "FrameCNN")]))
    seed = settings.seeds[0]
    networks = {name: looks.trained(name, seed, settings, directory) for name in names}
    if None in networks.values():
        return None
    classes = shown(test)
    indices = looks.chosen(test, classes)
    clips = {way: looks.played(test, way, indices) for way in ladder.WAYS}
    said = {
        (name, way): looks.answers(network, clips[way])
        for name, network in networks.items()
        for way in ladder.WAYS
    }
    partner = ladder.partners(test.classes)

    figure, axes = _figure(len(classes), len(ladder.WAYS), width=10, height=0.82)
    some = np.linspace(0, settings.frames - 1, frames).round().astype(int)
    for i, name in enumerate(classes):
        truth = test.classes.index(name)
        right = {"filmed": truth, "backwards": partner[truth], "shuffled": None}
        for axis, way in zip(axes[i], ladder.WAYS, strict=True):
            axis.imshow(strip(clips[way][i][some]))
            axis.set(xticks=[], yticks=[])
            for row, network in enumerate(names):
                answer, p = said[network, way][i]
                colour = "black" if right[way] is None else RIGHT if answer == right[way] else WRONG
                axis.text(
                    0,
                    1.06 + 0.36 * (len(names) - 1 - row),
                    f"{network}: {short(test.classes[answer])} {100 * p:.0f} %",
                    color=colour,
                    fontsize=8,
                    transform=axis.transAxes,
                )
        axes[i][0].set_ylabel(name.replace("_then_", "\nthen "), fontsize=8)
    for axis, way in zip(axes[-1], ladder.WAYS, strict=True):
        axis.set_xlabel({"filmed": "as filmed"}.get(way, way))
    return save(figure, path, dpi=DPI)


def strip(frames):
    """Frames (T, H, W, C) side by side, white lines between them: (H, W', C)."""
    T, H, W, C = frames.shape
    line = np.full((H, 2, C), 255, frames.dtype)
    pieces = [piece for frame in frames for piece in (frame, line)]
    return np.concatenate(pieces[:-1], axis=1)


# ---- attention ----------------------------------------------------------------------------


def attention(results, settings, directory, test, path):
    """Under the frames of some clips what the class query takes from each; beside them the
    self-attention, mean over the heads."""
    network = looks.trained("CNNAttention", settings.seeds[0], settings, directory)
    if network is None:
        return None
    classes = shown(test)
    clips = looks.played(test, "filmed", looks.chosen(test, classes))
    asked, among = looks.attention(network, clips)
    said = looks.answers(network, clips)
    _note(directory, "attention", classes=classes, asked=asked, self_attention=among.mean(axis=1))

    figure, rows = _frames_and_curves(clips, with_matrix=True)
    T = clips.shape[1]
    for i, (curve, matrix) in enumerate(rows):
        curve.bar(np.arange(T), asked[i].mean(axis=0), 0.9, color="C0", label="mean of heads")
        for h, weights in enumerate(asked[i]):
            curve.plot(weights, color="C1", lw=0.7, label=None if h else "one head")
        curve.set_ylim(0, max(0.3, 1.05 * asked.max()))
        curve.set_ylabel("weight", fontsize=8)
        answer, p = said[i]
        curve.text(
            0.005,
            0.97,
            f"{test.classes[answer]} {100 * p:.0f} %",
            color=RIGHT if test.classes[answer] == classes[i] else WRONG,
            transform=curve.transAxes,
            va="top",
            fontsize=8,
        )
        matrix.imshow(among[i].mean(axis=0), cmap="Blues", vmin=0)
        matrix.set_ylabel("frame that asks", fontsize=7)
    rows[0][0].legend(fontsize=7, loc="upper right", ncols=2)
    rows[0][1].set_title("self-attention", fontsize=9)
    rows[-1][1].set_xlabel("frame looked at", fontsize=7)
    return save(figure, path, dpi=DPI)


def degree(results, settings, directory, test, path):
    """The article's a_i under the frames, and beside it ordinary attention on the same features:
    what each frame gets of all others' weights, and the weights themselves."""
    network = looks.trained("CNNAttention", settings.seeds[0], settings, directory)
    if network is None:
        return None
    classes = shown(test)
    clips = looks.played(test, "filmed", looks.chosen(test, classes))
    a, p = looks.degrees(network, clips)
    _note(directory, "degree", classes=classes, a=a, weights=p)

    figure, rows = _frames_and_curves(clips, with_matrix=True)
    for i, (curve, matrix) in enumerate(rows):
        curve.plot(a[i], "o-", ms=3, color="C0")
        curve.set_ylabel("degree a", fontsize=8, color="C0")
        other = curve.twinx()
        other.plot(p[i].sum(axis=0), "s--", ms=3, lw=1, color="C1")
        other.set_ylabel("weight got", fontsize=8, color="C1")
        other.tick_params(labelsize=7)
        other.set_ylim(0, 1.15 * p[i].sum(axis=0).max())
        matrix.imshow(p[i], cmap="Blues", vmin=0)
        matrix.set_ylabel("frame that asks", fontsize=7)
    rows[0][1].set_title("weights of attention", fontsize=9)
    rows[-1][1].set_xlabel("frame looked at", fontsize=7)
    return save(figure, path, dpi=DPI)


# ---- gradients ----------------------------------------------------------------------------


def gradients(results, settings, directory, test, path):
    """How much gradient reaches each step of RNN and LSTM, before training and after it."""
    rng = np.random.default_rng(0)
    indices = np.sort(rng.permutation(len(test))[:CLIPS_FOR_GRADIENTS])
    labels = np.array([test.samples[i][1] for i in indices])
    clips = looks.played(test, "filmed", indices)
    norms = {}
    for cell, name in CELLS.items():
        fresh = [ladder.build(name, len(test.classes), settings, s) for s in settings.seeds]
        norms[cell, "fresh"] = [looks.gradients_by_step(n.train(), clips, labels) for n in fresh]
        made = [looks.trained(name, s, settings, directory) for s in settings.seeds]
        norms[cell, "trained"] = [looks.gradients_by_step(n, clips, labels) for n in made if n]
    norms = {key: np.array(runs) for key, runs in norms.items() if len(runs)}
    _note(directory, "gradients", **{f"{cell} {state}": n for (cell, state), n in norms.items()})

    figure, (panels,) = _figure(1, 2, width=9, height=3.2, sharex=True)
    titles = "each over that of the last step", "as they are"
    T = settings.frames
    for axis, title in zip(panels, titles, strict=True):
        for (cell, state), runs in norms.items():
            shown = runs / runs[:, -1:] if axis is panels[0] else runs
            mean = np.exp(np.log(shown + 1e-30).mean(axis=0))
            style = {"fresh": "--", "trained": "-"}[state]
            colour = {"RNN": "C1", "LSTM": "C0"}[cell]
            axis.plot(np.arange(1, T + 1), mean, style, color=colour, label=f"{cell}, {state}")
        axis.set(xlabel="step t", yscale="log", title=title)
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("norm of ∂L/∂v_t")
    panels[0].legend(fontsize=8)
    return save(figure, path, dpi=DPI)


# ---- what they share ----------------------------------------------------------------------


def _figure(rows, columns, width, height, **options):
    """A figure of `rows` rows, each `height` inches high, and its axes (rows, columns)."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _frames_and_curves(clips, with_matrix):
    """For each clip its frames in a row, below them an axis whose x is the frame's number, and at
    the right a square one: figure, [(curve, matrix)]."""
    N, T, H, W, _ = clips.shape
    figure = Figure(figsize=(10.5, 1.75 * N), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.01, hspace=0.02)
    grid = figure.add_gridspec(2 * N, 2, width_ratios=(6.2, 1), height_ratios=(1, 1.6) * N)
    rows = []
    for i, clip in enumerate(clips):
        curve = figure.add_subplot(grid[2 * i + 1, 0])
        frames = figure.add_subplot(grid[2 * i, 0], sharex=curve)
        frames.imshow(strip(clip), aspect="auto", extent=(-0.5, T - 0.5, 0, 1))
        frames.axis("off")
        curve.set_xlim(-0.5, T - 0.5)
        curve.set_xticks(range(T), [""] * T if i < N - 1 else range(1, T + 1))
        curve.tick_params(labelsize=7)
        matrix = figure.add_subplot(grid[2 * i : 2 * i + 2, 1])
        matrix.set(xticks=[], yticks=[])
        rows.append((curve, matrix))
    return figure, rows


def _note(directory, key, **numbers):
    """Keep the numbers of a picture beside it, in `pictures.json`."""
    file = Path(directory) / "pictures.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    plain = {
        name: value.astype(float).round(6).tolist() if isinstance(value, np.ndarray) else value
        for name, value in numbers.items()
    }
    file.write_text(json.dumps(known | {key: plain}))
