"""One row, measured: both sides agree on the numbers, then each is timed in turn.

A result is a dict of plain values, which `--json` writes as it is:

    name, group, dtype, is_main     which row
    aim                             the least ratio that is aimed at
    what                            "forward", "forward+backward", "training step", ...
    operations                      additions and multiplications, 0 where they do not count
    error                           the largest difference between the sides, see `disagreement`
    seconds, turns, memory          for each side: the median, what it is the median of, MiB
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from nn.bench.side import Side, end, start

TORCH_NETWORKS = Path(__file__).with_name("torch_networks.py")  # run by path: it needs no nn
PAUSE = 0.05  # seconds between turns, for the threads of the side that just ran to go to sleep
TOO_SLOW = 1.5  # a layout whose best turn takes so many times the other's is not timed again
FAIR_TRIAL = 2  # turns that each layout has before


class Disagreement(Exception):
    """The two sides do not compute the same."""


def measure(row, names, settings, progress=lambda: None):
    """The results of one row, one for each `what`; `progress` is called after every turn."""
    if row.group == "start":
        return [measure_start(row, names, settings, progress)]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        sides = [
            stack.enter_context(Side(name, settings.threads, settings.avx2))
            for name in names
            if name == "backreel" or name.removeprefix("torch ") in row.layouts
        ]
        built = {s.name: s.ask(do="build", row=row.to_json(), folder=folder) for s in sides}
        operations = built["backreel"]["operations"]
        errors = {what: disagreement(row, what, Path(folder)) for what in operations}
        results = []
        for what in operations:
            turns = take_turns(sides, what, settings, progress)
            results.append(
                result(row, what, turns, error=errors[what], operations=operations[what])
                | {"memory": {name: answer["memory"][what] for name, answer in built.items()}}
            )
        return results


def result(row, what, turns, error=None, operations=0):
    """What is said above, for lists of seconds by side."""
    return {
        "name": row.name,
        "group": row.group,
        "what": what,
        "dtype": row.dtype,
        "is_main": row.group == "conv" and row.is_main,
        "aim": row.aim,
        "operations": operations,
        "error": error,
        "seconds": {name: statistics.median(times) for name, times in turns.items()},
        "turns": turns,
        "memory": {},
    }


def take_turns(sides, what, settings, progress):
    """{side: [the median of each turn]}; a layout of PyTorch's that is far behind stands aside."""
    turns = {side.name: [] for side in sides}
    for round_ in range(settings.rounds):
        for side in sides:
            if round_ < FAIR_TRIAL or not far_behind(side.name, turns):
                time.sleep(PAUSE)
                times = side.ask(do="time", what=what, seconds=settings.seconds)["seconds"]
                turns[side.name].append(statistics.median(times))
            progress()
    return turns


def far_behind(name, turns):
    """Does this layout of PyTorch's take much longer than the other one?"""
    best = {other: min(times) for other, times in turns.items() if other != "backreel"}
    return name in best and best[name] > TOO_SLOW * min(best.values())


# ---- do both compute the same? ----------------------------------------------------------


def tolerance(row, name):
    """How far the array of that name may differ, as a share of its largest number.

    In a network rounding decides here and there which input of a max pooling wins, or whether a
    ReLU is open, and then a part of the gradient takes another way: PyTorch's two layouts differ
    by up to a tenth. Layers by themselves have no such excuse.
    """
    if row.is_network and name != "loss":
        return 0.2
    return 1e-9 if row.dtype == "float64" else 1e-3


def disagreement(row, what, folder):
    """The largest difference between Backreel and another side, as a share of the largest number.

    The arrays are in files, `SIDE/WHAT/NAME.npy`. Raises Disagreement where one is too large, or
    where there are other arrays or shapes. None if there is no other side.
    """
    worst = None
    ours = read(folder / "backreel" / what)
    for side in sorted(folder.iterdir()):
        if side.name == "backreel":
            continue
        theirs = read(side / what)
        place = f"{row.name}, {what}: {side.name} and backreel"
        if theirs.keys() != ours.keys():
            raise Disagreement(f"{place} give {sorted(theirs)} and {sorted(ours)}")
        for name, array in theirs.items():
            if array.shape != ours[name].shape:
                shapes = f"{array.shape} and {ours[name].shape}"
                raise Disagreement(f"{place} give {name} the shapes {shapes}")
            largest = np.max(np.abs(array))
            error = np.max(np.abs(array - ours[name])) / largest
            if not error <= tolerance(row, name):  # true for a NaN too
                raise Disagreement(
                    f"{place} differ in {name} by {error:.1e} of its largest number, {largest:.3g}"
                )
            if name != "loss":
                worst = max(float(error), worst or 0.0)
    return worst


def read(folder):
    """{name: array} of the files in a folder."""
    return {file.stem: np.load(file) for file in folder.glob("*.npy")}


# ---- from the start of a process to its first finished step -----------------------------


def measure_start(row, names, settings, progress):
    """Wall time until a fresh process has imported its library and done the first step.

    Backreel's kernels are compiled and on disk: its first process, which may have to compile
    them, does not count. Nor does that of PyTorch, whose files are in memory afterwards.
    """
    commands = {"backreel": ["-m", "nn.bench.backreel_networks"]}
    if "torch plain" in names:
        commands["torch plain"] = [str(TORCH_NETWORKS)]
    turns = {name: [] for name in commands}
    for round_ in range(settings.rounds + 1):
        for name, command in commands.items():
            time.sleep(PAUSE)
            seconds = until_done(command, name.split()[0], settings)
            if round_:
                turns[name].append(seconds)
            progress()
    return result(row, "start to step", turns)


def until_done(command, library, settings):
    """Seconds until a fresh process says "done"."""
    began = time.perf_counter()
    process = start(command, library, settings.threads, settings.avx2)
    try:
        if process.stdout.readline().strip() != "done":
            raise RuntimeError(f"the first step of {library} failed; its message stands above")
        return time.perf_counter() - began
    finally:
        end(process)
