"""`nn.check_gradients`: is this module's backward the derivative of its forward?"""

import numpy as np

from nn.gradcheck import contract, differences, hints
from nn.gradcheck.report import Report, Row
from nn.gradcheck.subject import Problem, Subject

ALL = 300  # a tensor of so many elements or fewer is checked in full
SOME = 100  # of a larger one, so many elements and a few random directions
LARGE = 20_000  # numbers in all inputs and parameters: beyond, random directions alone
LARGE_NETWORK = 2_000  # the same for modules made of modules, whose forward takes longer
NUDGES = 3  # how often an element on a kink is tried again close by
EXCLUDED = 0.05  # the share of a tensor's checks that may stay on a kink
COARSE = (1e-8, 1e-2)  # an error as small as this often comes from float32, not from a formula
MANY = 2_000_000  # slopes kept apart by output, for hints
ENOUGH = 3  # so many wrong entries of a tensor, from the worst down, are looked at closely


def check_gradients(module, *inputs, seed=0, tolerance=1e-6, elements=None, **options):
    """Compare a module's backward with finite differences of its forward.

        report = nn.check_gradients(MyLayer(3, 4), x)
        print(report)
        assert report.passed

    module: any `nn.Module`, losses included. It is copied, the copy is turned into float64, and
    parameters that are all equal (biases at 0, gains at 1) are moved off that value.
    inputs: what forward takes, in order; `options`: what it takes by name (mask=...). Float
    arrays are checked, in a tuple too (a pair of states); ids and masks are passed on as they
    are.
    seed: draws the upstream gradient dy, the elements and the directions. Random generators
    inside the module (dropout) are set back before each forward.
    tolerance: what max|a − n| / (max|a| + max|n|) may reach in each tensor. Right gradients
    reach 1e-8 or less, wrong ones seldom stay below 1e-2.
    elements: at most so many elements of each tensor one by one, and random directions for the
    rest. None: all up to 300, 100 of larger tensors, none of modules above 20,000 numbers (2,000
    of networks made of several modules).

    Every float input and every trainable parameter is compared; and the promises are checked
    that training relies on: gradients add up, last in first out, frozen parameters stay out,
    float32 stays float32, nothing is changed in place (`nn/gradcheck/contract.py`). Kinks are
    handled as `nn/gradcheck/differences.py` says. Returns a `Report`.
    """
    rng = _generator(seed)
    title = module.describe() if hasattr(module, "describe") else type(module).__name__
    report = Report(title, seed, tolerance)
    try:
        subject = Subject(module, inputs, rng, options)
        report.remarks = subject.remarks()
        claims = subject.gradients()
        _check_finite(subject, claims)
        report.rows = _compare(subject, claims, rng, tolerance, elements)
        subject = Subject(module, inputs, _generator(seed), options)  # back at the start
        claims = subject.gradients()
        for check in contract.CHECKS:
            report.promises += 1
            problem = check(subject, claims, rng)
            if problem:
                report.problems.append(f"{subject.name}: {problem}")
    except Problem as problem:
        report.problems.append(str(problem))
        report.error = problem.__cause__
    return report


def _generator(seed):
    """A generator of the checker's own. `default_rng(seed)` is what people draw their inputs
    from, often with the same seed: dy would equal x, and a backward that takes one for the
    other would pass."""
    return np.random.default_rng([seed, 0xC4EC])


def _check_finite(subject, claims):
    for tensor, claim in zip(subject.tensors, claims, strict=True):
        if not np.isfinite(claim).all():
            where = tuple(map(int, np.argwhere(~np.isfinite(claim))[0]))
            raise Problem(
                f"{subject.name}.backward gave {claim[where]} as the gradient of {tensor.name} "
                f"at {where}, though forward is finite here"
            )


def _compare(subject, claims, rng, tolerance, elements):
    """One Row for each tensor."""
    numbers = sum(tensor.array.size for tensor in subject.tensors)
    single = not any(subject.module.named_children())
    large = numbers > (LARGE if single else LARGE_NETWORK)
    comparisons = []
    for tensor in subject.tensors:
        most = _how_many(tensor.array.size, large) if elements is None else elements
        probes = differences.probes(tensor.array, rng, most, tensor.parameter is None)
        comparisons.append(_Comparison(tensor, probes))
    for comparison, claim in zip(comparisons, claims, strict=True):
        comparison.at_this_point(subject, claim, tolerance, single)
    for _ in range(NUDGES):
        if any(comparison.waiting for comparison in comparisons):
            subject.nudge(rng)
            subject.output = subject.value()
            claims = subject.gradients()
            for comparison, claim in zip(comparisons, claims, strict=True):
                comparison.close_by(subject, claim, tolerance)
    return [comparison.row(tolerance) for comparison in comparisons]


def _how_many(size, large):
    if large:
        return 0
    return size if size <= ALL else SOME


def _sizes(subject):
    """Numbers that gradients are wrongly multiplied or divided by, and what they count."""
    x = subject.float_inputs[0].array.shape if subject.float_inputs else ()
    y = subject.output.shape
    counts = {
        "the number of taps of a window": getattr(subject.module, "kernel_size", ()),
        "N, the number of examples": x[:1],
        "the number of places": x[1:-1],
        "the number of rows": x[:-1] if len(x) > 2 else (),
        "the number of inputs": x,
        "the number of channels": x[-1:],
    }
    if y != x:
        counts |= {
            "the number of places of y": y[1:-1] if y[1:-1] != x[1:-1] else (),
            "the number of rows of y": y[:-1] if len(y) > 2 and y[:-1] != x[:-1] else (),
            "the number of outputs": y,
            "the number of channels of y": y[-1:],
        }
    sizes = {}
    for what, lengths in counts.items():
        number = int(np.prod(lengths))
        if number > 1:
            sizes[what] = number
    return {  # what is the same number for x and for y is said once
        what: number
        for what, number in sizes.items()
        if not (what.endswith(" of y") and sizes.get(what.removesuffix(" of y")) == number)
    }


class _Comparison:
    """The checks of one tensor: what each found, and which wait for a smoother point."""

    def __init__(self, tensor, probes):
        self.tensor, self.probes = tensor, probes
        self.found = []  # (relative error, probe, claim, numeric)
        self.waiting = []  # probes that lie on a kink
        self.kinks = 0
        self.zero = False
        self.claims = self.numerics = None  # of a tensor checked in full
        self.hints = []

    def at_this_point(self, subject, gradient, tolerance, single):
        """Compare all probes where the module stands. `single`: it is one layer, whose claims
        must stay between the one-sided slopes even on a kink."""
        array = self.tensor.array
        claims = [probe.slope(gradient) for probe in self.probes]
        slopes = [differences.measure(subject, array, probe) for probe in self.probes]
        scale = max(map(abs, claims), default=0.0)
        scale += max((abs(slope.central) for slope in slopes), default=0.0)
        from_worst = sorted(
            zip(self.probes, claims, slopes, strict=True), key=lambda p: -abs(p[1] - p[2].central)
        )
        wrong = 0
        for probe, claim, slope in from_worst:
            if wrong < ENOUGH or abs(claim - slope.central) <= tolerance * scale:
                wrong += self._judge(subject, probe, claim, slope, tolerance, scale, single)
        self.kinks = len(self.waiting)
        self.zero = not gradient.any() and array.size > 0
        if self.full:
            smooth = [s.jump <= differences.VISIBLE * scale for s in slopes[: array.size]]
            central = [s.central for s in slopes[: array.size]]
            self.claims = np.array(gradient)
            self.numerics = np.where(smooth, central, np.nan).reshape(array.shape)
            if wrong:
                self.hints = hints.find(self._evidence(subject))

    @property
    def full(self):
        """Is every element checked by itself?"""
        elements = sum(isinstance(probe, differences.Element) for probe in self.probes)
        return 0 < elements == self.tensor.array.size

    def _evidence(self, subject):
        """What is known of this tensor, for hints."""
        tensor, array, y = self.tensor, self.tensor.array, subject.output
        others = {"dy": subject.dy, "y": y, "1 − y": 1 - y}
        for other in subject.tensors:
            others[other.name] = other.array
        is_input = tensor.parameter is None
        elements, few = self.probes[: array.size], array.size * y.size <= MANY
        return hints.Evidence(
            self.claims,
            self.numerics,
            places=tuple(range(1, array.ndim - 1) if is_input else range(array.ndim - 2)),
            sizes=_sizes(subject),
            constants={k: v for k, v in vars(subject.module).items() if isinstance(v, float)},
            others={name: o for name, o in others.items() if o.shape == array.shape},
            itself=(tensor.name, "input" if is_input else "parameter"),
            vectors={t.name: t.array for t in subject.parameters if t.array.ndim == 1},
            parts=differences.parts(subject, array, elements) if few else None,
        )

    def close_by(self, subject, gradient, tolerance):
        """Compare those that waited, at the point to which the module was moved."""
        waiting, self.waiting = self.waiting, []
        for probe in waiting:
            claim = probe.slope(gradient)
            slope = differences.measure(subject, self.tensor.array, probe)
            scale = float(np.abs(gradient).max()) + abs(slope.central)
            self._judge(subject, probe, claim, slope, tolerance, scale, single=False)

    def _judge(self, subject, probe, claim, slope, tolerance, scale, single):
        """Note how one claim compares; whether it is wrong."""
        miss, numeric, allowed = abs(claim - slope.central), slope.central, tolerance * scale
        if miss > allowed or slope.jump > differences.VISIBLE * scale:
            verdict = differences.examine(subject, self.tensor.array, probe, claim, allowed, scale)
            miss, numeric = verdict.miss, verdict.numeric
            if verdict.kink:
                self.waiting.append(probe)
                if not single:
                    return False  # several kinks may meet here: no bounds to hold it against
        self.found.append((miss / scale if scale else 0.0, probe, claim, numeric))
        return miss > allowed

    def row(self, tolerance):
        error, probe, claim, numeric = max(
            self.found, key=lambda entry: entry[0], default=(0.0, "", 0.0, 0.0)
        )
        elements = sum(isinstance(probe, differences.Element) for probe in self.probes)
        excluded = len(self.waiting)
        said = self.hints
        if COARSE[0] <= error < COARSE[1]:
            said = ["a small error: is something computed in float32?", *said]
        return Row(
            name=self.tensor.name,
            shape=self.tensor.array.shape,
            size=self.tensor.array.size,
            elements=elements,
            directions=len(self.probes) - elements,
            relative_error=error,
            passed=error <= tolerance and excluded <= EXCLUDED * len(self.probes),
            kinks=self.kinks,
            excluded=excluded,
            zero=self.zero,
            worst="" if error <= tolerance else str(probe),
            analytic=claim,
            numeric=numeric,
            hints=[] if error <= tolerance else said,
            claims=self.claims,
            numerics=self.numerics,
        )
