"""Time Backreel beside PyTorch, row by row: each in its own process, in turn, medians.

PyTorch runs eagerly and in both memory layouts; the faster one counts. First both sides must
compute the same numbers on the very inputs that are timed, gradients included. Without PyTorch
Backreel's times stand beside the rate of NumPy's matrix product.

  conv   convolutions: forward, and forward with all gradients
  pool   max and average pooling, likewise
  step   training steps of the article's CNN and of a 3-D CNN
  start  from the start of a process to its first finished step, kernels compiled before

These are timed when no group is named. Others are asked for by name, as in `nn.bench time layer`:

  time   LSTM, GRU and attention, forward and with all gradients
  layer  a dense layer, norms, GELU and softmax with cross-entropy, likewise; a step of AdamW, which
         is the fused one on PyTorch's side
  video  training steps of the networks of `video.models`, on 8 clips of 16 frames of 64x64
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path

from tqdm import tqdm

from nn.bench import table
from nn.bench.measure import Disagreement, measure
from nn.bench.rows import GROUPS, ROWS, USUAL
from nn.bench.side import end, start


def available_cpus():
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def parse(arguments=None):
    """The options of the command line. Without a group: the usual ones, but `--rows` and `--list`
    look into all."""
    parser = argparse.ArgumentParser(
        prog="python -m nn.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    known = ", ".join(GROUPS)
    add("group", nargs="*", help=f"what to time: {known}")
    add("--rows", metavar="TEXT", default="", help="only rows with TEXT in the name, of any group")
    add("--list", action="store_true", help="print the names of the rows and stop")
    add("--quick", action="store_true", help="two short rounds instead of five, to see it work")
    add("--threads", type=int, default=available_cpus(), help="threads for each side")
    add("--avx2", action="store_true", help="hold both sides to 8-wide vectors")
    add("--alone", action="store_true", help="Backreel only, as if PyTorch were not installed")
    add("--json", metavar="FILE", help="write the results there as well")
    add("--markdown", metavar="FILE", help="print the README's table of an earlier --json FILE")
    options = parser.parse_args(arguments)
    # argparse's own `choices` would refuse the empty list that nargs="*" gives.
    for group in options.group:
        if group not in GROUPS:
            parser.error(f"no group {group!r}; there are {known}")
    if options.threads < 1:
        parser.error(f"--threads: expected a whole number from 1 on, got {options.threads}")
    chosen = options.group or (GROUPS if options.rows or options.list else USUAL)
    options.chosen = [row for row in ROWS if row.group in chosen and options.rows in row.name]
    if not options.chosen:
        parser.error(f"no row of {', '.join(chosen)} has {options.rows!r} in its name; see --list")
    options.rounds, options.seconds = (2, 0.1) if options.quick else (5, 0.3)
    return options


def cpu_name():
    """The CPU's name for people."""
    try:
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine(options, names):
    """What the results depend on: CPU, threads, versions, and the machine's best rates."""
    process = start(["-m", "nn.bench.ceiling"], "backreel", options.threads, options.avx2)
    try:
        rates = process.stdout.readline()
    finally:
        end(process)
    if not rates:
        raise RuntimeError("the machine's ceiling could not be measured; the message stands above")
    packages = ["numpy", "numba"] + ["torch"] * (len(names) > 1)
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "cpu": cpu_name(),
        "threads": options.threads,
        "avx2": options.avx2,
        "quick": options.quick,
        "versions": {"Python": platform.python_version(), **versions},
        **json.loads(rates),
    }


def sides(options):
    """The names of the sides that can be timed here."""
    if options.alone or not importlib.util.find_spec("torch"):
        return ["backreel"]
    return ["backreel", "torch plain", "torch channels last"]


def run(options, report):
    """Measure the chosen rows into report["results"]; how many were wrong."""
    names = sides(options)
    if len(names) == 1 and not options.alone:
        print("PyTorch is not installed (pip install -e '.[parity]'): Backreel's times alone.")
    report["machine"] = machine(options, names)
    print(f"{table.machine_in_words(report['machine'])}\n\n{table.HEADER}", flush=True)
    wrong = 0
    with tqdm(total=len(options.chosen), unit="row", disable=None, leave=False) as bar:
        for row in options.chosen:
            bar.set_description(row.name)
            try:
                for result in measure(row, names, options, bar.refresh):
                    report["results"].append(result)
                    bar.write(table.line(result, report["machine"]))
            except Disagreement as error:
                wrong += 1
                bar.write(f"WRONG, not timed: {error}")
            sys.stdout.flush()
            bar.update()
    results = report["results"]
    print(f"\n{table.legend(results)}\n{table.summary(results, report['machine'])}")
    return wrong


def main(arguments=None):
    """The command line. Ends with 1 when two sides do not compute the same."""
    options = parse(arguments)
    if options.list:
        print("\n".join(f"{row.group:6} {row.name}" for row in options.chosen))
        return 0
    if options.markdown:
        print(table.markdown(json.loads(Path(options.markdown).read_text())))
        return 0
    report = {"machine": None, "results": []}
    try:
        return 1 if run(options, report) else 0
    except RuntimeError as error:
        print(f"nn.bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    finally:
        if options.json:
            Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.exit(main())
