"""One side of the bench in a process of its own: takes commands as JSON lines, answers the same.

    {"do": "build", "row": ROW, "folder": DIR}
        → {"memory": {what: MiB}, "operations": {what: count}}, and the numbers in DIR
    {"do": "time", "what": WHAT, "seconds": S}
        → {"seconds": [...]}, one for each call of a turn that lasts S, of the row built last

Started as `python -m nn.bench.worker SIDE THREADS`, SIDE being "backreel" or "torch LAYOUT".
What both sides computed goes into files, `DIR/SIDE/WHAT/NAME.npy`: it may be many megabytes.
"""

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from nn.bench.rows import Row

LEAST_CALLS = 3


def side_builder(side, threads):
    """The function that builds a row for this side, with its library loaded and its threads set."""
    library, _, layout = side.partition(" ")
    if library == "torch":
        # Backreel asks idle threads to sleep (nn/kernels/threads.py), because it has two thread
        # pools. PyTorch has one, and is to run as it does by itself.
        os.environ.pop("OMP_WAIT_POLICY", None)
        import torch

        from nn.bench import torch_side

        torch.set_num_threads(threads)
        return lambda row: torch_side.build(row, layout)
    from nn.bench import backreel_side

    return backreel_side.build


def forget_peak():
    """Let the peak of memory begin anew where that can be asked for: on Linux.

    First what is free goes back to the system. Else what the next run takes would be hidden in
    what building the row has left over.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not Linux, not its usual libc
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory():
    """The most memory this process has held, in MiB; None where nobody counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def warm_up(works):
    """Do each once. In a function of its own, as a loop's variable would keep the last one."""
    for work in works.values():
        work.run()


def peaks(works):
    """{what: MiB} that the first run of each takes, above what is held before."""
    forget_peak()
    before, memory = peak_memory(), {}
    for what, work in works.items():
        work.run()
        memory[what] = None if before is None else peak_memory() - before
    return memory


def save_numbers(works, folder):
    """The arrays that each computes, as files FOLDER/WHAT/NAME.npy."""
    for what, work in works.items():
        place = Path(folder) / what
        place.mkdir(parents=True, exist_ok=True)
        for name, array in work.read(work.run()).items():
            np.save(place / f"{name}.npy", array)


def prepare(build, row, folder):
    """Build a row → (its works, {what: MiB}). The numbers of its first runs are in the folder.

    It is built three times. With one example, which loads libraries and kernels, so that they
    are not counted as memory of the row; then to see how much memory the first run takes; then
    afresh for the numbers, as a training step changes its weights.
    """
    warm_up(build(dataclasses.replace(row, shape=(1, *row.shape[1:]))))
    memory = peaks(build(row))
    works = build(row)
    save_numbers(works, folder)
    return works, memory


def turn(run, seconds):
    """Seconds of each call, for one turn of so many seconds, or of a few calls if they are long."""
    times, began = [], time.perf_counter()
    while len(times) < LEAST_CALLS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def serve(side, threads, commands, answers):
    """Answer commands until there are no more."""
    build = side_builder(side, threads)
    works = {}
    for line in commands:
        command = json.loads(line)
        if command["do"] == "build":
            row = Row.from_json(command["row"])
            works.clear()
            works, memory = prepare(build, row, Path(command["folder"]) / side)
            answer = {"memory": memory}
            if side == "backreel":
                from nn.bench.backreel_side import operations

                answer["operations"] = operations(row)
        else:
            answer = {"seconds": turn(works[command["what"]].run, command["seconds"])}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")  # what libraries print must not mix with the answers
    os.dup2(2, 1)
    serve(sys.argv[1], int(sys.argv[2]), sys.stdin, answers)
