"""python -m nn.gradcheck: are the backwards right? Three uses.

- alone: every layer in several configurations, on both kernel sets. One line per
  configuration, and the whole table of one that fails;
- `"my_layer.py:MyLayer(3, 8)" --input 2,5,5,3`: a layer of one's own;
- `--spot-the-bug`: a game.

Ends with 0 if all gradients are right, with 1 if not, with 2 if they could not be looked at.
"""

import argparse
import sys
import traceback

import nn
from nn.gradcheck import game, user_layer
from nn.gradcheck.cases import CASES

EXAMPLES = """\
inputs: --input 2,5,5,3      normal random numbers of that shape; repeat it for each argument
        --input ids:2,5:10   integers below 10
        --input mask:2,5     True and False
        --input positive:4,3 numbers between 0.5 and 2
        --input state=2,4    passed by name; --input 2,4+2,4 passes a pair

examples:
  python -m nn.gradcheck --layer Conv2d
  python -m nn.gradcheck "my_layer.py:MyLayer(3, 8)" --input 2,5,5,3
  python -m nn.gradcheck "nn:Embedding(10, 4)" --input ids:3,5:10
  python -m nn.gradcheck --spot-the-bug --seed 7
"""


def main(arguments=None):
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m nn.gradcheck",
        description="Check gradients by finite differences: Backreel's own, or your layer's.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="?", help='your layer: "file.py:Class(arguments)"')
    parser.add_argument(
        "--input", action="append", default=[], metavar="SHAPE", help="what its forward takes"
    )
    parser.add_argument("--eval", action="store_true", help="check your layer after eval()")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    parser.add_argument(
        "--layer", metavar="NAME", help=f"one layer, with its tables: {', '.join(CASES)}"
    )
    parser.add_argument("--kernels", choices=("reference", "fast", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0, help="draws weights, inputs and upstream")
    parser.add_argument("--spot-the-bug", action="store_true", help="the game; see also --layer")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of the game")
    options = parser.parse_args(arguments)
    if options.layer and options.layer not in CASES:
        parser.error(f"no layer {options.layer!r}; there are {', '.join(CASES)}")
    if options.input and not options.target:
        parser.error('--input needs a layer, such as "my_layer.py:MyLayer(3, 8)"')
    if options.target and not options.input:
        parser.error("what does its forward take? Say it with --input, such as --input 2,5,5,3")

    if options.spot_the_bug:
        return game.play(options.seed, options.rounds, options.layer)
    if options.target:
        return _judge(options)
    return _table(options)


# ---- a layer of one's own -----------------------------------------------------------------


def _judge(options):
    try:
        reports = user_layer.judge(
            options.target, options.input, options.kernels, options.seed, options.eval
        )
    except user_layer.CannotJudge as problem:
        if options.traceback and problem.__cause__:
            traceback.print_exception(problem.__cause__)
        print(problem, file=sys.stderr)
        return 2
    (_, first), *rest = reports
    print(first)
    if options.traceback and first.error:
        traceback.print_exception(first.error)
    for kernels, report in rest:
        if report.passed == first.passed:
            error = f": {report.max_relative_error:.1e}" if report.rows else ""
            print(f"the same on the {kernels} kernels{error}")
        else:
            print(f"otherwise on the {kernels} kernels:\n{report}")
    return 0 if all(report.passed for _, report in reports) else 1


# ---- all layers of the library ------------------------------------------------------------


def _table(options):
    names = [options.layer] if options.layer else list(CASES)
    kernel_sets = ("reference", "fast") if options.kernels == "both" else (options.kernels,)
    print("largest relative error on the kernels")
    columns = "  ".join(f"{kernels:9}" for kernels in kernel_sets)
    print(f"{columns}   checked  layer and input")
    reports = []
    for name in names:
        for case in CASES[name]:
            of_case = [_check(case, options.seed, kernels) for kernels in kernel_sets]
            print(_line(case, of_case, options.seed), flush=True)
            for report in of_case:
                if options.layer or not report.passed:
                    print("    " + str(report).replace("\n", "\n    "))
            reports += of_case

    failed = sum(not report.passed for report in reports)
    verdict = f"{failed} FAILED" if failed else "all passed"
    largest = max(report.max_relative_error for report in reports)
    print(
        f"{len(reports)} checks of {len(names)} layers: {verdict}; largest relative error "
        f"{largest:.1e}, tolerance {reports[0].tolerance:.0e}"
    )
    return 1 if failed else 0


def _check(case, seed, kernels):
    module, inputs = case.build(seed)
    with nn.kernels.using(kernels):
        return nn.check_gradients(module, *inputs, seed=seed)


def _line(case, reports, seed):
    module, inputs = case.build(seed)
    errors = [f"{r.max_relative_error:.1e}" if r.passed else "FAIL" for r in reports]
    checked = sum(row.elements + row.directions for row in reports[0].rows)
    columns = "  ".join(f"{error:9}" for error in errors)
    return f"{columns}  {checked:8}  {module.describe()} on {inputs[0].shape}"


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # Σ and − where a pipe takes Latin letters only
    sys.stderr.reconfigure(errors="replace")
    sys.exit(main())
