"""python -m nn.gradcheck: every layer in several configurations, on both kernel sets.

One line per configuration; the whole table of a configuration that fails. Ends with 0 if all
gradients are right, else with 1.
"""

import argparse
import sys

import nn
from nn.gradcheck.cases import CASES


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m nn.gradcheck",
        description="Check the gradients of Backreel's layers and losses by finite differences.",
    )
    parser.add_argument(
        "--layer", metavar="NAME", help=f"one layer, with its tables: {', '.join(CASES)}"
    )
    parser.add_argument("--kernels", choices=("reference", "fast", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0, help="draws weights, inputs and upstream")
    options = parser.parse_args(arguments)
    if options.layer and options.layer not in CASES:
        parser.error(f"no layer {options.layer!r}; there are {', '.join(CASES)}")

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
    sys.exit(main())
