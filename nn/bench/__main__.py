"""Time Backreel beside PyTorch, row by row: each in its own process, in turn, medians.

PyTorch runs eagerly in float32 and in both memory layouts; the faster one counts. First both
sides must compute the same numbers. Without PyTorch only Backreel's times are printed.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from nn.bench.rows import ROWS

PAUSE = 0.3  # seconds between turns, for the threads of the side that just ran to go to sleep


class Side:
    """One worker process and the talk with it."""

    def __init__(self, name, threads):
        self.name = name
        count = str(threads)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": count,
            "NUMBA_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nn.bench.worker", name, count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the {self.name} side stopped while doing {command}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(row, sides, rounds):
    """{what: {side: median seconds}} after checking that all sides agree on the numbers."""
    built = {side.name: side.ask(do="build", row=row.name) for side in sides}
    ours = built["backreel"]["numbers"]
    for name, other in built.items():
        for what, numbers in other["numbers"].items():
            error = np.max(np.abs(np.subtract(numbers, ours[what])))
            if not error <= 1e-3 * max(1.0, np.max(np.abs(ours[what]))):
                raise SystemExit(f"{row.name}, {what}: {name} and backreel differ by {error:.2e}")
    seconds = {what: {side.name: [] for side in sides} for what in ours}
    for _ in range(rounds):
        for what in ours:
            for side in sides:
                time.sleep(PAUSE)
                turn = side.ask(do="time", row=row.name, what=what)["seconds"]
                seconds[what][side.name].append(statistics.median(turn))
    return {
        what: {name: statistics.median(turns) for name, turns in by_side.items()}
        for what, by_side in seconds.items()
    }


def parse(arguments=None):
    """The options of the command line; all groups of rows when none is named."""
    parser = argparse.ArgumentParser(prog="python -m nn.bench", description=__doc__)
    groups = sorted({row.group for row in ROWS})
    known = ", ".join(groups)
    parser.add_argument("group", nargs="*", help=f"what to time: {known}; all by default")
    parser.add_argument("--quick", action="store_true", help="two rounds instead of seven")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads for each side")
    parser.add_argument("--json", metavar="FILE", help="write the results there as well")
    options = parser.parse_args(arguments)
    # argparse's own `choices` would refuse the empty list that nargs="*" gives.
    for group in options.group:
        if group not in groups:
            parser.error(f"no group {group!r}; there are {known}")
    options.group = options.group or groups
    return options


def main():
    """The command line: measure the chosen groups, print the table, write the JSON."""
    options = parse()
    names = ["backreel"]
    if importlib.util.find_spec("torch"):
        names += ["torch plain", "torch channels last"]
    else:
        print("PyTorch is not installed (pip install -e '.[parity]'): Backreel's times alone.")
    sides = [Side(name, options.threads) for name in names]
    results = []
    print(f"{'':34}{'Backreel ms':>12}{'PyTorch ms':>12}{'ratio':>8}   PyTorch's layout")
    try:
        for row in (row for row in ROWS if row.group in options.group):
            for what, by_side in measure(row, sides, 2 if options.quick else 7).items():
                ours = by_side.pop("backreel")
                line = f"{row.name[:33]:34}{1e3 * ours:12.2f}"
                result = {"row": row.name, "what": what, "backreel_seconds": ours}
                if by_side:
                    best = min(by_side, key=by_side.get)
                    ratio = by_side[best] / ours
                    result.update(torch_seconds=by_side[best], ratio=ratio, torch_layout=best[6:])
                    line += f"{1e3 * by_side[best]:12.2f}{ratio:8.2f}   {best[6:]}"
                results.append(result)
                print(line, flush=True)
    finally:
        for side in sides:
            side.close()
    print(
        f"\nratio: PyTorch's time over Backreel's, above 1 Backreel is faster; "
        f"{options.threads} threads each"
    )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
