"""What is printed of the results: a line for each, the summary, and the README's table.

All ratios are PyTorch's time over Backreel's: above 1 Backreel is faster. Without PyTorch they
are over the time NumPy's matrix product would take for as many operations.
"""

import math

HEADER = (
    f"{'':41}{'':17}{'ms':>9}{'PyTorch':>9}{'GF/s':>7}{'PyTorch':>8}{'ceiling':>8}{'MiB':>7}"
    f"{'PyTorch':>8}{'ratio':>7}  PyTorch's layout"
)
LEGEND = """\
GF/s: additions and multiplications of convolutions, products and attention per second, as the
plain formulas have them, padding included. Who leaves out the padding, or uses Winograd's
algorithm, needs fewer and may pass the ceiling.
ceiling: share of what the machine does in multiply-adds on registers.
MiB: peak memory above that before the first run.
unsteady: a side's turns differ by more than 30 %; something else kept the machine busy.
"""
RATIO = "ratio: PyTorch's time over Backreel's, above 1 Backreel is faster."
RATIO_ALONE = (
    "ratio: GF/s over those of NumPy's matrix product; PyTorch is not here to compare with."
)
UNSTEADY = 1.3

MAIN, OTHER = "3x3 and 3x3x3 of 32 channels or more", "other convolutions"
CLASSES = {"pool": "pooling", "time": "recurrence and attention", "layer": "other layers"}
PASSES = ("forward", "forward+backward")
GEOMETRIC_AIMS = {(MAIN, "forward"): 2.0, (MAIN, "forward+backward"): 1.5}
MORE_MEMORY = 1.0  # MiB: with less, the difference may be the allocator's


def best_of_torch(result):
    """The name of PyTorch's faster layout, None if PyTorch was not there."""
    theirs = {name: t for name, t in result["seconds"].items() if name != "backreel"}
    return min(theirs, key=theirs.get) if theirs else None


def ratio(result, machine=None):
    """PyTorch's time over Backreel's; without PyTorch that of a matrix product; or None."""
    name, ours = best_of_torch(result), result["seconds"]["backreel"]
    if name:
        return result["seconds"][name] / ours
    if machine and result["operations"]:
        return result["operations"] / (1e9 * machine["matmul"][result["dtype"]]) / ours
    return None


def is_unsteady(result):
    """Do the turns of Backreel, or of PyTorch's faster layout, differ by a lot?"""
    turns = [result["turns"].get(name) for name in ("backreel", best_of_torch(result))]
    return any(max(times) > UNSTEADY * min(times) for times in turns if times)


def legend(results):
    """What the columns of the table mean."""
    return LEGEND + (RATIO if any(map(best_of_torch, results)) else RATIO_ALONE)


def klass(result):
    """Which geometric mean a result belongs to, None for all kinds of steps and starts."""
    if result["what"] not in PASSES:
        return None
    if result["group"] == "conv":
        return MAIN if result["is_main"] else OTHER
    return CLASSES[result["group"]]


def aim(result, machine):
    """The least ratio that is aimed at."""
    if machine["avx2"]:
        return 1.0
    return result["aim"]


def geometric_aim(key, machine):
    """The least geometric mean that is aimed at for (class, what), if there is one."""
    wanted = GEOMETRIC_AIMS.get(key)
    return 1.0 if wanted and machine["avx2"] else wanted


def cell(number, width, digits=0, unit=""):
    """A number to the right, a dash where there is none."""
    return f"{'-' if number is None else f'{number:.{digits}f}{unit}':>{width}}"


def line(result, machine):
    """One line under `HEADER`."""
    name, seconds, memory = best_of_torch(result), result["seconds"], result["memory"]
    theirs = seconds.get(name)
    operations = result["operations"]
    rate = operations / 1e9 / seconds["backreel"] if operations else None
    return (
        f"{result['name'][:40]:41}{result['what']:17}"
        + cell(1e3 * seconds["backreel"], 9, 2)
        + cell(theirs and 1e3 * theirs, 9, 2)
        + cell(rate, 7)
        + cell(rate and theirs and operations / 1e9 / theirs, 8)
        + cell(rate and 100 * rate / machine["ceiling"][result["dtype"]], 8, 0, "%")
        + cell(memory.get("backreel"), 7)
        + cell(memory.get(name), 8)
        + cell(ratio(result, machine), 7, 2)
        + (f"  {name.removeprefix('torch ')}" if name else "")
        + ("  unsteady" if is_unsteady(result) else "")
    )


def geometric_mean(numbers):
    """The n-th root of the product of n numbers."""
    return math.exp(sum(map(math.log, numbers)) / len(numbers))


def geometric_means(results):
    """{(class, what): (mean ratio, how many)} where there are any."""
    found = {}
    for result in results:
        if klass(result) and ratio(result):
            found.setdefault((klass(result), result["what"]), []).append(ratio(result))
    return {key: (geometric_mean(ratios), len(ratios)) for key, ratios in found.items()}


def short_of_aim(results, machine):
    """A line for each result and each mean that is below its aim."""
    for result in results:
        if ratio(result) and ratio(result) < aim(result, machine):
            yield (
                f"{result['name']}, {result['what']}: {ratio(result):.2f}, "
                f"aim {aim(result, machine):.1f}"
            )
    for key, (mean, _) in geometric_means(results).items():
        wanted = geometric_aim(key, machine)
        if wanted and mean < wanted:
            yield f"geometric mean of {key[0]}, {key[1]}: {mean:.2f}, aim {wanted:.1f}"


def short_of_memory(results):
    """A line for each result where Backreel's peak is above PyTorch's."""
    for result in results:
        ours, theirs = (result["memory"].get(n) for n in ("backreel", best_of_torch(result)))
        if None not in (ours, theirs) and ours > theirs + MORE_MEMORY:
            yield f"{result['name']}, {result['what']}: {ours:.0f} MiB, PyTorch's {theirs:.0f}"


def summary(results, machine):
    """Geometric means and what falls short, as lines."""
    if not any(map(best_of_torch, results)):
        return ""
    lines = ["", "geometric means of the ratios:"]
    for (name, what), (mean, count) in geometric_means(results).items():
        wanted = geometric_aim((name, what), machine)
        suffix = f", aim {wanted:.1f}" if wanted else ""
        lines.append(f"  {name}, {what}: {mean:.2f} ({count} row{'s' * (count > 1)}{suffix})")
    for title, found in [
        ("below their aim:", list(short_of_aim(results, machine))),
        ("more memory than PyTorch:", list(short_of_memory(results))),
    ]:
        lines += ["", title, *(f"  {text}" for text in found or ["none"])]
    return "\n".join(lines)


def machine_in_words(machine):
    """One sentence for people who read the numbers elsewhere."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    limit = ", both sides held to AVX2" if machine["avx2"] else ""
    threads = machine["threads"]
    text = (
        f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''} for each side{limit}; "
        f"{versions}."
    )
    if "ceiling" in machine:
        text += (
            f" Its ceiling is {machine['ceiling']['float32']:.0f} GF/s of float32 multiply-adds, "
            f"NumPy's matrix product reaches {machine['matmul']['float32']:.0f}."
        )
    return text


# ---- the README's table -----------------------------------------------------------------


def markdown(report):
    """The README's table of a report: layers with both passes in one row, then whole steps."""
    results, machine = report["results"], report["machine"]
    layers, steps = {}, []
    for result in results:
        if klass(result):
            layers.setdefault(result["name"], {})[result["what"]] = result
        else:
            steps.append(result)
    lines = [f"Milliseconds on {machine_in_words(machine)}", ""]
    if layers:
        lines += [
            "| layer, input (N, ..., C) | forward | PyTorch | ratio | forward + backward | PyTorch "
            "| ratio |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for name, by_what in layers.items():
            cells = [by_what.get(what) for what in PASSES]
            lines.append(f"| {name} | " + " | ".join(map(three_cells, cells)) + " |")
        lines.append("")
    if steps:
        lines += ["| | Backreel | PyTorch | ratio |", "|---|--:|--:|--:|"]
        for result in steps:
            lines.append(f"| {result['name']}, {result['what']} | {three_cells(result)} |")
        lines.append("")
    means = [
        f"{name}, {what} {mean:.2f}" for (name, what), (mean, _) in geometric_means(results).items()
    ]
    if means:
        lines.append(f"Geometric means of the ratios: {'; '.join(means)}.")
    return "\n".join(lines).rstrip()


def three_cells(result):
    """Backreel's time, PyTorch's, and the ratio in bold where Backreel wins."""
    if result is None:
        return "| |"
    ours, theirs = result["seconds"]["backreel"], result["seconds"].get(best_of_torch(result))
    if theirs is None:
        return f"{1e3 * ours:.2f} | - | -"
    shown = f"{theirs / ours:.2f}"
    return f"{1e3 * ours:.2f} | {1e3 * theirs:.2f} | {f'**{shown}**' if theirs >= ours else shown}"
