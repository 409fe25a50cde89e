"""One side of the bench in a process of its own: takes commands as JSON lines, answers the same.

    {"do": "build", "row": NAME}            → {"numbers": {what: [...]}, "memory": {what: MiB}}
    {"do": "time", "row": NAME, "what": W}  → {"seconds": [...]}

Started as `python -m nn.bench.worker SIDE THREADS`, SIDE being "backreel" or "torch LAYOUT".
"""

import json
import os
import resource
import sys
import time

from nn.bench import rows

TIMED_FOR = 0.6  # seconds a turn lasts, at least; and at least three calls


def builder(side, threads):
    """The function that builds a row for this side, with the number of threads settled."""
    name, _, layout = side.partition(" ")
    if name == "torch":
        import torch

        from nn.bench import torch_side

        torch.set_num_threads(threads)
        return lambda row: torch_side.build(row, layout)
    from nn.bench import backreel_side

    return backreel_side.build


def peak_memory():
    """The most memory this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def time_it(function):
    """Seconds of each call, for one turn."""
    seconds, began = [], time.perf_counter()
    while len(seconds) < 3 or time.perf_counter() - began < TIMED_FOR:
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def main(side, threads):
    """Answer commands until the standard input closes."""
    build = builder(side, threads)
    built = {}
    answers = os.fdopen(os.dup(1), "w")  # what libraries print must not mix with the answers
    os.dup2(2, 1)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "build":
            before = peak_memory()
            built = {command["row"]: build(rows.find(command["row"]))}
            works = built[command["row"]]
            numbers = {what: work().ravel().tolist() for what, work in works.items()}
            answer = {"numbers": numbers, "memory": peak_memory() - before}
        else:
            answer = {"seconds": time_it(built[command["row"]][command["what"]])}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
