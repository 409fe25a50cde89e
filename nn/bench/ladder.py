"""Check and time every rung of the kernel ladder on one layer: `python -m nn.bench.ladder`.

The table it prints is the one of chapter 19. GF/s are the additions and multiplications of the
plain sum, in thousand millions per second, whatever a rung really computes. The ceiling is what
a loop reaches that only multiplies and adds in registers, on as many threads. Rounding: the
largest difference from float64, where outputs are about 1 in size.

The plain loops are timed on a part of the layer, and their time is scaled by the arithmetic.
"""

import argparse
import functools
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from nn.kernels import ladder, reference
from nn.kernels.aligned import aligned_empty
from nn.kernels.cpu import VECTOR_BYTES
from nn.kernels.ladder import ceiling, race

LAYER = (8, 56, 56, 64, 64)  # N, H, W, C, O
PARTS = {"plain_python": (1, 6, 6, 16, 16), "jitted": (1, 56, 56, 64, 64)}
TIMED_FOR = 1.5  # seconds for each rung
HOW = (1, 1), ((1, 1), (1, 1)), (1, 1), 1  # stride, padding, dilation, groups

HEAD = "| rung | ms | GF/s | of the ceiling | gain | rounding |\n|---|---|---|---|---|---|"


@functools.cache
def problem(N, H, W, C, O):
    """x and w, drawn so that outputs are about 1 in size, and y in float64."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, H, W, C), dtype=np.float32)
    w = (rng.standard_normal((3, 3, C, O)) / np.sqrt(9 * C)).astype(np.float32)
    return x, w, reference.conv_forward(x.astype(np.float64), w.astype(np.float64), None, *HOW)


def operations(N, H, W, C, O):
    """Multiplications and additions of the plain sum (the border counted like the rest)."""
    return 2 * N * H * W * O * 9 * C


def shortest(function, *args):
    """The shortest time of a call, of as many as fit into TIMED_FOR, but at least one."""
    best, began, end = float("inf"), time.perf_counter(), 0.0
    while end - began < TIMED_FOR:
        start = time.perf_counter()
        function(*args)
        end = time.perf_counter()
        best = min(best, end - start)
    return best


def measure_ceiling(threads, turns=200_000):
    """Operations per second of nothing but multiply-adds in registers, on all threads."""
    numbers = [np.full(ceiling.VECTORS * VECTOR_BYTES // 4, 1e-3, np.float32)] * threads
    sums = [aligned_empty((ceiling.ROWS, len(numbers[0])), np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:  # the kernel lets go of Python's lock

        def all_threads():
            list(pool.map(ceiling.multiply_adds, [turns] * threads, numbers, sums))

        all_threads()  # compile
        return threads * turns * 2 * sums[0].size / shortest(all_threads)


def measure_memory(megabytes=256):
    """Bytes per second that one core reads and writes in copying a large array."""
    source = np.ones(megabytes * 2**20 // 4, np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / shortest(np.copyto, target, source)


def measure(rung):
    """(seconds for the whole layer, largest error) of one rung."""
    part = PARTS.get(rung.__name__, LAYER)
    x, w, exact = problem(*part)
    if rung is not ladder.plain_python:
        rung(np.ones((1, 2, 2, x.shape[3]), np.float32), w)  # compile
    y = rung(x, w)
    error = float(np.abs(y - exact).max())
    if not error < 1e-3:
        raise SystemExit(f"{rung.__name__} is wrong: it differs from the reference by {error:.2e}")
    return shortest(rung, x, w) * operations(*LAYER) / operations(*part), error


def digits(number):
    """Three digits, without an exponent."""
    return np.format_float_positional(number, 3, fractional=False, trim="-")


def row(name, seconds, rate, top, before, error):
    """One line of the table."""
    gain = "" if before is None else f"{digits(before / seconds)}×"
    return (
        f"| {name} | {digits(1e3 * seconds)} | {digits(rate / 1e9)} | {digits(100 * rate / top)} % "
        f"| {gain} | {error:.1e} |"
    )


def draw(names, rates, top):
    """Bars of GF/s, on a logarithmic axis, with the ceiling as a line. Returns the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.add_subplot()
    colors = ["#0072B2"] * (len(names) - 1) + ["#D55E00"]  # Winograd's, which does less
    bars = axes.barh(names, rates, color=colors)
    gains = ["", *(f"   {digits(b / a)}×" for a, b in zip(rates, rates[1:], strict=False))]
    labels = [digits(rate) + gain for rate, gain in zip(rates, gains, strict=True)]
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.bar_label(bars, labels, padding=4, fontsize=8, bbox=white)
    axes.axvline(top, color="#666666", lw=1, ls="--", zorder=0)
    axes.text(top, -0.7, f"ceiling {digits(top)}", ha="center", fontsize=8, color="#666666")
    axes.set(xscale="log", xlim=(min(rates) / 2, max(top, *rates) * 20))
    axes.set_xlabel("GF/s of the plain sum, and the gain over the rung before")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def parse(arguments=None):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m nn.bench.ladder", description=__doc__)
    parser.add_argument("--figure", metavar="FILE", help="draw the rates into this picture")
    return parser.parse_args(arguments)


def main():
    """The command line: the machine, then rung after rung, then the race."""
    options = parse()
    threads, lanes = numba.get_num_threads(), VECTOR_BYTES // 4
    top = measure_ceiling(threads)
    clock = top / (threads * lanes * 2 * 2) / 1e9
    print(f"The ceiling, multiply-adds in registers: {digits(top / 1e9)} GF/s,")
    print(f"as if {threads} cores × {lanes} lanes × 2 units × 2 operations × {clock:.2f} GHz.")
    print(f"Copying memory, one core: {digits(measure_memory() / 1e9)} GB/s.")
    N, H, W, C, O = LAYER
    work = operations(*LAYER)
    print(f"The layer: {N}×{H}×{W}×{C} → {O}, 3×3, {work / 1e9:.2f} thousand million operations.\n")
    print(HEAD)
    print(f"| ceiling | | {digits(top / 1e9)} | 100 % | | |", flush=True)
    names, rates, before = [], [], None
    for rung in ladder.RUNGS:
        seconds, error = measure(rung)
        print(row(rung.__name__, seconds, work / seconds, top, before, error), flush=True)
        names.append(rung.__name__)
        rates.append(work / seconds / 1e9)
        before = seconds
    print(f"\nThe race, {threads} threads:")
    for function in (race.racing, race.mended):
        lost, made = race.count_lost(function)
        print(f"{function.__name__}: {lost:,} of {made:,} additions lost")
    if options.figure:
        draw(names, rates, top / 1e9).savefig(options.figure, dpi=110)
        print(f"drawn: {options.figure}")


if __name__ == "__main__":
    main()
