"""The lab: hints in reports, a layer of one's own from the command line, and the game."""

import builtins
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn
from nn.gradcheck import __main__ as command
from nn.gradcheck import game, user_layer
from nn.gradcheck.bugs import BUGS, plant
from nn.gradcheck.cases import CASES
from nn.gradcheck.hints import Evidence, find, shape_hint


@pytest.fixture(autouse=True)
def reference_kernels():
    """Nothing here is about the compiled kernels, and compiling takes its time."""
    with nn.kernels.using("reference"):
        yield


def normal(*shape, seed=7):
    return np.random.default_rng(seed).standard_normal(shape)


def hints_of(module, *inputs, tensor, **options):
    report = nn.check_gradients(module, *inputs, **options)
    row = next(row for row in report.rows if row.name == tensor)
    assert not row.passed
    for hint in row.hints:
        assert f"hint: {hint}" in " ".join(str(report).split())  # it may be wrapped
    return " | ".join(row.hints)


def changed(change, right=nn.Sigmoid):
    """A layer whose dx went through `change`."""

    class Changed(right):
        def backward(self, dy, need_input_grad=True):
            return change(super().backward(dy))

    return Changed()


# ---- hints: each from a bug of its sort -----------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dx: -dx, "right up to sign"),
        (lambda dx: 2 * dx, "added twice"),
        (lambda dx: dx / 2, "a 2 is missing"),
        (lambda dx: 3 * dx, "3 is N, the number of examples"),
        (lambda dx: dx / 12, "12 is the number of rows"),
        (lambda dx: -dx / 60, "60 is the number of inputs: divided"),
        (lambda dx: 0.37 * dx, "a = 0.37 · n everywhere: a constant factor"),
        (lambda dx: 0 * dx, "0 everywhere"),
        (lambda dx: dx[:, ::-1], "flipped along axis 1"),
        (lambda dx: dx[::-1, :, ::-1], "flipped along axes 0, 2"),
        (lambda dx: np.roll(dx, 1, axis=2), "shifted by 1 along axis 2, round the end"),
        (lambda dx: np.ascontiguousarray(dx.T).reshape(dx.shape), "transposed and then reshaped"),
        (lambda dx: np.abs(dx), "signs are wrong"),
        (lambda dx: dx * (np.arange(5) < 3), "0 at 24 of 60 entries that do move the output"),
        (lambda dx: dx * (1 + (np.arange(5) == 3)), "right except at index 3 of axis 2"),
        (lambda dx: dx * [1, 2, 3, 4, 5], "off by a factor for each index of axis 2 (1, 2, 3, 4"),
        (lambda dx: dx - dx.mean(axis=1, keepdims=True), "the same all along axis 1"),
        (lambda dx: np.zeros_like(dx) + dx.mean(axis=2, keepdims=True), "mean of n over axis 2"),
        (lambda dx: np.zeros_like(dx) + dx.sum(axis=0), "sum of n over axis 0"),
    ],
)
def test_a_wrong_dx_and_what_is_said_of_it(change, said):
    assert said in hints_of(changed(change), normal(3, 4, 5), tensor="x")


def test_a_square_gradient_transposed():
    said = hints_of(changed(lambda dx: dx.T.copy()), normal(4, 4), tensor="x")
    assert said == "transposed: a is n with its axes (1, 0)"


def test_wrong_at_the_border():
    def spoil(dx):
        dx = dx.copy()
        dx[:, 0] *= 1.3
        dx[:, :, -1] += 0.2
        return dx

    said = hints_of(changed(spoil), normal(2, 4, 5, 3), tensor="x")
    assert "right except at the border of axes 1, 2" in said


def test_shifted_without_coming_in_again():
    def late(dx):
        return np.concatenate([0.5 + dx[:, :1], dx[:, :-1]], axis=1)

    said = hints_of(changed(late), normal(2, 6, 3), tensor="x")
    assert "shifted by 1 along axis 1, towards the end" in said


def test_a_factor_or_a_term_that_is_an_array():
    class WithoutY(nn.Sigmoid):
        def backward(self, dy, need_input_grad=True):
            (y,) = self.take()
            return dy * (1 - y)

    class WithoutTheOther(nn.Sigmoid):
        def backward(self, dy, need_input_grad=True):
            (y,) = self.take()
            return dy * y

    class WithoutShortcut(nn.Residual):
        def backward(self, dy, need_input_grad=True):
            return self.body.backward(dy)

    class WithoutGain(nn.LayerNorm):
        def _backward_scale(self, dy, x_hat):
            super()._backward_scale(dy, x_hat)
            return dy

    x = normal(4, 5)
    assert "a factor y is missing" in hints_of(WithoutY(), x, tensor="x")
    assert "a factor 1 − y is missing" in hints_of(WithoutTheOther(), x, tensor="x")
    residual = WithoutShortcut(nn.Linear(5, 5, rng=0), nn.Tanh())
    assert "a term dy is missing" in hints_of(residual, x, tensor="x")


def test_a_factor_that_is_a_parameter():
    class Scale(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(normal(5))

        def forward(self, x):
            self.save(x)
            return x * self.w.data

        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            self.w.add_grad((dy * x).sum(axis=(0, 1)))
            return dy

    assert "a factor w is missing, one for each index of axis 2" in hints_of(
        Scale(), normal(3, 4, 5), tensor="x"
    )


def test_a_factor_that_is_the_parameter_itself():
    class Squares(nn.Module):
        """y = x · w² / 2, whose dw is dy · x · w."""

        def __init__(self):
            self.w = nn.Parameter(normal(5))

        def forward(self, x):
            self.save(x)
            return x * self.w.data**2 / 2

        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            self.w.add_grad((dy * x).sum(axis=0))
            return dy * self.w.data**2 / 2

    said = hints_of(Squares(), normal(4, 5), tensor="w")
    assert said == "a · w = n: the parameter's own value is missing"


@pytest.mark.parametrize(
    ("name", "layer", "x", "tensor", "said"),
    [
        ("BiasOfLastStep", nn.Linear(3, 2, rng=0), normal(4, 5, 3), "bias", "over axis 1 of dy"),
        ("MeanTakenTwice", nn.Linear(3, 2, rng=0), normal(7, 3), "weight", "7 is N"),
        ("BiasSign", nn.Linear(3, 2, rng=0), normal(7, 3), "bias", "up to sign"),
        ("FlippedKernel", nn.Conv1d(2, 3, 3, rng=0), normal(2, 6, 2), "weight", "flipped"),
        ("NotDivided", nn.AvgPool1d(3), normal(2, 9, 2), "x", "3 is the number of taps"),
        ("MaxOverlapOverwritten", nn.MaxPool1d(3, stride=1), normal(2, 9, 2), "x", "+="),
        ("OverlapOverwritten", nn.Conv1d(2, 3, 3, rng=0), normal(2, 6, 2), "x", "+="),
        ("MaskOfUpstream", nn.ReLU(), normal(5, 6), "x", "the mask that forward used"),
        ("ScaleForgotten", nn.Dropout(0.4, rng=0), normal(5, 6), "x", "0.6 is 1 − p"),
    ],
)
def test_bugs_of_the_gallery(name, layer, x, tensor, said):
    bug = next(b for b in BUGS if b.name == name and type(layer).__name__ in b.layers)
    assert said in hints_of(plant(bug, layer), x, tensor=tensor)


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 4), (2, 4, 5, 3), (3, 3)])
def test_no_hint_where_no_pattern_is(shape):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, n, parts = (rng.standard_normal(s) for s in (shape, shape, (*shape, 3, 2)))
        e = Evidence(
            a,
            n,
            places=tuple(range(1, len(shape) - 1)),
            sizes={"N": 3, "rows": 12},
            constants={"p": 0.3},
            others={"dy": rng.standard_normal(shape), "t": rng.standard_normal(shape)},
            itself=("t", "parameter"),
            vectors={"w": rng.standard_normal(shape[-1])},
            parts=parts.reshape(-1, 3, 2),
        )
        assert find(e) == []
        e.claim = n * (1 + 0.1 * a)  # near the truth, yet of no known pattern
        assert find(e) == []
        e.claim = n.copy()
        e.claim.flat[-1] += 0.3  # one wrong entry says nothing about its cause
        assert not any("border" in hint or "axis" in hint for hint in find(e))


def test_right_rows_have_no_hints_and_arrays_are_kept():
    report = nn.check_gradients(nn.Linear(3, 2, rng=0), normal(4, 3))
    for row in report.rows:
        assert row.hints == []
        assert row.claims.shape == row.numerics.shape == row.shape
        np.testing.assert_allclose(row.claims, row.numerics, atol=1e-8)


def test_hints_leave_kinks_out():
    x = normal(6, 7)
    x[:2] = 0  # 14 of 42 entries lie on the kink of ReLU
    said = hints_of(changed(lambda dx: 5 * dx, nn.ReLU), x, tensor="x")
    assert "a = 5 · n" in said


def test_shapes():
    assert shape_hint((5, 3), (3, 5)) == ": transpose it"
    assert shape_hint((1, 1, 3), (3,)) == ": drop or keep the axes of length 1 (keepdims)"
    assert shape_hint((4, 5, 3), (3,)) == ": a sum over axes 0, 1 is missing"
    assert shape_hint((4, 5, 3), (4, 3)) == ": a sum over axis 1 is missing"
    assert shape_hint((4, 5), (3, 7)) == ""

    class NotSummed(nn.Linear):
        def backward(self, dy, need_input_grad=True):
            self.take()
            self.bias.add_grad(dy)

    (problem,) = nn.check_gradients(NotSummed(3, 2), normal(4, 5, 3)).problems
    assert "(2,): a sum over axes 0, 1 is missing" in problem


def test_long_hints_are_wrapped():
    report = str(nn.check_gradients(changed(lambda dx: dx / 12), normal(3, 4, 5)))
    start, *_ = (i for i, line in enumerate(report.splitlines()) if "hint:" in line)
    first, second = report.splitlines()[start : start + 2]
    assert first.startswith("    hint: off by") and len(first) <= 100
    assert second.startswith("          ") and second.strip().endswith("no mean?")


def test_a_size_of_x_and_y_is_said_once():
    class Turned(nn.Module):
        """y = x with its two middle axes swapped, and a gradient 20 times too small."""

        def forward(self, x):
            self.save()
            return x.swapaxes(1, 2)

        def backward(self, dy, need_input_grad=True):
            self.take()
            return dy.swapaxes(1, 2) / 20

    said = hints_of(Turned(), normal(3, 4, 5, 2), tensor="x")
    assert "20 is the number of places: divided by it" in said


def test_what_take_gave_was_not_unpacked():
    class Packed(nn.Linear):
        def backward(self, dy, need_input_grad=True):
            x = self.take()
            self.bias.add_grad((dy * x).sum(axis=0))
            return dy @ self.weight.data.T

    class OneTooMany(nn.Sigmoid):
        def backward(self, dy, need_input_grad=True):
            y = self.take()
            return dy * y * (1 - np.asarray(y))

    unpack = "did you unpack it: (x,) = self.take()?"
    for module, x in ((Packed(2, 2), normal(4, 2)), (OneTooMany(), normal(4, 2))):
        (problem,) = nn.check_gradients(module, x).problems
        assert unpack in problem
    assert unpack in shape_hint((1, 4, 2), (4, 2))


def test_small_errors_are_asked_about_float32():
    class Rounded(nn.Sigmoid):
        def forward(self, x):
            return super().forward(x.astype(np.float32)).astype(x.dtype)

        def backward(self, dy, need_input_grad=True):
            return super().backward(dy).astype(dy.dtype)

    class Half(nn.Sigmoid):
        def backward(self, dy, need_input_grad=True):
            return super().backward(dy.astype(np.float16).astype(dy.dtype))

    for module in (Rounded(), Half()):
        assert "is something computed in float32?" in hints_of(module, normal(4, 5), tensor="x")
    assert "float32" not in hints_of(changed(lambda dx: 2 * dx), normal(4, 5), tensor="x")


def test_an_array_that_was_meant_to_be_a_parameter_is_pointed_out():
    class Forgotten(nn.Module):
        def __init__(self):
            self.w = normal(5).astype(np.float32)

        def forward(self, x):
            self.save()
            return x * self.w

        def backward(self, dy, need_input_grad=True):
            self.take()
            return dy * self.w

    report = nn.check_gradients(Forgotten(), normal(4, 5))
    assert report.passed
    assert "note: no parameters; float arrays in attributes: w" in str(report)
    assert "note:" not in str(nn.check_gradients(nn.Sigmoid(), normal(4, 5)))
    assert "note:" not in str(nn.check_gradients(nn.Linear(5, 2), normal(4, 5)))


# ---- arguments by name, and tuples of them --------------------------------------------------


class Cell(nn.Module):
    """y = mask · (x + h · c): an argument that is a pair, and one that is a mask."""

    def forward(self, x, state=None, mask=None):
        h, c = state
        self.save(h, c, mask)
        y = x + h * c
        return y if mask is None else y * mask

    def backward(self, dy, need_input_grad=True):
        h, c, mask = self.take()
        dy = dy if mask is None else dy * mask
        return dy, (dy * c, dy * h)


class CellSwapped(Cell):
    def backward(self, dy, need_input_grad=True):
        dx, (dh, dc) = super().backward(dy)
        return dx, (dc, dh)


def test_pairs_and_names():
    x, h, c = normal(3, 4), normal(3, 4, seed=8), normal(3, 4, seed=9)
    mask = normal(3, 4, seed=10) > 0
    report = nn.check_gradients(Cell(), x, (h, c), mask=mask)
    assert report.passed, report
    assert [row.name for row in report.rows] == ["x", "state[0]", "state[1]"]
    assert nn.check_gradients(Cell(), x, state=(h, c)).passed
    report = nn.check_gradients(CellSwapped(), x, state=(h, c), mask=mask)
    assert [row.passed for row in report.rows] == [True, False, False]


def test_one_argument_that_is_a_pair():
    class Product(nn.Module):
        def forward(self, pair):
            self.save(*pair)
            return pair[0] * pair[1]

        def backward(self, dy, need_input_grad=True):
            a, b = self.take()
            return dy * b, dy * a

    class Bare(Product):
        def backward(self, dy, need_input_grad=True):
            return super().backward(dy)[0]

    pair = normal(2, 3), normal(2, 3, seed=8)
    assert nn.check_gradients(Product(), pair).passed
    (problem,) = nn.check_gradients(Bare(), pair).problems
    assert "returned a ndarray as the gradient of pair; expected a tuple of 2" in problem


# ---- whole networks ---------------------------------------------------------------------------


def test_a_whole_network_takes_directions_and_shows_a_bug_deep_inside():
    class Shifted(nn.ReLU):
        def backward(self, dy, need_input_grad=True):
            return np.roll(super().backward(dy), 1, axis=2)

    def network(middle):
        rng = np.random.default_rng(0)
        down = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, rng=rng), middle, nn.MaxPool2d(2))
        up = nn.Sequential(nn.ConvTranspose2d(16, 16, 2, stride=2, rng=rng), nn.BatchNorm(16))
        inner = nn.Residual(nn.Conv2d(16, 16, 3, padding=1, rng=rng), nn.Tanh())
        return nn.Sequential(
            down, inner, up, nn.Flatten(), nn.Linear(16 * 12 * 10, 16, rng=rng), nn.LayerNorm(16)
        )

    x = normal(2, 12, 10, 3)
    report = nn.check_gradients(network(nn.SiLU()), x)
    assert report.passed, report
    assert all(row.elements == 0 and row.directions == 3 for row in report.rows)
    wrong = nn.check_gradients(network(Shifted()), x)
    assert not wrong.passed
    right = {row.name for row in wrong.rows if row.passed}
    assert "0.0.weight" not in right and "4.weight" in right  # it lies between the two


def test_networks_take_directions_earlier_than_layers():
    layer = nn.Linear(60, 50, rng=0)
    row = nn.check_gradients(layer, normal(2, 60)).rows[1]
    assert (row.elements, row.directions) == (100, 3)
    row = nn.check_gradients(nn.Sequential(layer), normal(2, 60)).rows[1]
    assert (row.elements, row.directions) == (0, 3)
    row = nn.check_gradients(nn.Sequential(layer), normal(2, 60), elements=7).rows[1]
    assert (row.elements, row.directions) == (7, 3)


# ---- the command: a layer of one's own ----------------------------------------------------------

MINE = """
import numpy as np
import nn
from neighbour import OFFSET

class Scale(nn.Module):
    def __init__(self, features, gain=1.0, rng=None):
        rng = np.random.default_rng(rng)
        self.w = nn.Parameter(gain * (OFFSET + rng.random(features)))

    def forward(self, x, mask=None):
        if x.shape[-1] != self.w.size:
            raise ValueError(f"expected {self.w.size} channels")
        self.save(x, mask)
        return x * self.w.data if mask is None else x * self.w.data * mask[..., None]

    def backward(self, dy, need_input_grad=True):
        x, mask = self.take()
        dy = dy if mask is None else dy * mask[..., None]
        self.w.add_grad((dy * x).reshape(-1, x.shape[-1]).sum(axis=0))
        return dy * self.w.data

class Twice(Scale):
    def backward(self, dy, need_input_grad=True):
        return 2 * super().backward(dy)

class Raises(Scale):
    def backward(self, dy, need_input_grad=True):
        return dy @ np.ones((2, 2))

class NoBackward(nn.Module):
    def forward(self, x):
        return x

def network():
    return nn.Sequential(Scale(3), nn.Linear(3, 2, rng=0))

ready = Scale(3)
number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "neighbour.py").write_text("OFFSET = 1.0\n")
    file = tmp_path / "my layer.py"
    file.write_text(MINE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(file)
    sys.modules.pop("neighbour", None)


def judge(target, *inputs, more=()):
    arguments = [target, *more]
    for spec in inputs:
        arguments += ["--input", spec]
    return command.main([*arguments, "--kernels", "reference"])


@pytest.mark.parametrize(
    ("call", "inputs"),
    [
        ("Scale(3)", ["2,5,3"]),
        ("Scale(features=3, gain=-0.5)", ["(2, 5, 3)"]),
        ("Scale(3, rng=4)", ["2,5,3", "mask:2,5"]),
        ("Scale(3)", ["positive:2,5,3", "mask=mask:2,5"]),
        ("network", ["4,3"]),
        ("network()", ["4,3"]),
        ("ready", ["4,3"]),
    ],
)
def test_right_layers_pass(mine, capsys, call, inputs):
    assert judge(f"{mine}:{call}", *inputs) == 0
    printed = capsys.readouterr().out
    assert "passed: largest relative error" in printed


def test_a_wrong_layer_fails_with_a_hint(mine, capsys):
    assert judge(f"{mine}:Twice(3)", "4,3") == 1
    printed = capsys.readouterr().out
    assert "worst at [" in printed
    assert "hint: off by a constant factor: a = 2 · n everywhere: added twice" in printed
    assert "(a is what backward gives, n the numerical slope)" in printed


def test_layers_of_the_library_can_be_named(capsys):
    assert judge("nn:Embedding(7, 2)", "ids:2,5:7") == 0
    assert judge("nn:CrossEntropyLoss(label_smoothing=0.1)", "4,5", "ids:4:5") == 0
    assert judge("nn:BatchNorm(3)", "4,3", more=["--eval"]) == 0


def test_backward_that_raises_or_is_missing(mine, capsys):
    assert judge(f"{mine}:NoBackward()", "4,3") == 1
    assert "NoBackward has no backward: write backward(self, dy" in capsys.readouterr().out
    assert judge(f"{mine}:Raises(3)", "4,3") == 1
    printed = capsys.readouterr()
    assert "Raises.backward raised ValueError: matmul" in printed.out
    line = MINE.splitlines().index("        return dy @ np.ones((2, 2))") + 1
    assert f"(line {line} of my layer.py)" in printed.out
    assert "Traceback" not in printed.out + printed.err
    assert judge(f"{mine}:Raises(3)", "4,3", more=["--traceback"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "inputs", "said"),
    [
        (":Scale()", ["4,3"], "Scale() cannot be made: TypeError: Scale.__init__() missing 1"),
        (":Scale(3)", ["4,5"], "forward on (4, 5) raised ValueError: expected 3 channels (line"),
        (":Skale(3)", ["4,3"], "has no 'Skale'; its modules are Scale, Twice, Raises, NoBackward"),
        (":number", ["4,3"], "number cannot be made: TypeError"),
        (":np", ["4,3"], "np cannot be made: TypeError"),
        (":Scale(len([1, 2]))", ["4,3"], "arguments must be plain values"),
        (":Scale(3", ["4,3"], 'expected "file.py:Class(arguments)"'),
        (":Scale(3", ["4,3"], "a bracket is not closed"),
        (":Scale((3)", ["4,3"], "is no Python call: '(' was never closed"),
        (":Scale(3))", ["4,3"], "is no Python call"),
        ("", ["4,3"], 'expected "file.py:Class(arguments)"'),
        (":Scale(3)", ["4;3"], "--input 4;3 cannot be read; write a shape such as 2,5,5,3"),
        (":Scale(3)", ["ids:4,3"], "--input ids:4,3 cannot be read"),
        (":Scale(3)", ["4,0"], "--input 4,0 cannot be read"),
        (":Scale(3)", ["4,3", "maske=4,3"], "unexpected keyword argument 'maske'"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(mine, capsys, call, inputs, said):
    assert judge(mine + call, *inputs) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1 and not printed.out


def test_a_failure_of_the_checker_is_not_blamed_on_forward(mine, capsys, monkeypatch):
    def fail(*args):
        raise IndexError("of the checker")

    monkeypatch.setattr("nn.gradcheck.differences.probes", fail)
    assert judge(f"{mine}:Scale(3)", "4,3") == 2
    printed = capsys.readouterr().err
    assert "Scale(3): the checker failed; run with --traceback" in printed
    assert "forward" not in printed and "IndexError: of the checker" in printed


def test_a_forgotten_data_is_named(tmp_path, capsys):
    forgetful = MINE.replace("from neighbour import OFFSET", "OFFSET = 1.0")
    (tmp_path / "f.py").write_text(
        forgetful.replace("return x * self.w.data if", "return x * self.w if")
    )
    assert judge(f"{tmp_path}/f.py:Scale(3)", "4,3") == 2
    assert "'float' and 'Parameter' (use .data) (line" in capsys.readouterr().err
    (tmp_path / "b.py").write_text(
        forgetful.replace("return dy * self.w.data", "return dy @ self.w")
    )
    assert judge(f"{tmp_path}/b.py:Scale(3)", "4,3") == 1
    assert "(a Parameter? use .data)" in capsys.readouterr().out


def test_files_that_cannot_be_run(tmp_path, capsys):
    assert judge(f"{tmp_path}/none.py:Scale(3)", "4,3") == 2
    assert "no file" in capsys.readouterr().err
    (tmp_path / "typo.py").write_text("x = 1\nclass Scale(:\n")
    assert judge(f"{tmp_path}/typo.py:Scale(3)", "4,3") == 2
    assert "cannot be run: SyntaxError" in capsys.readouterr().err
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)\n")
    assert judge(f"{tmp_path}/exits.py:Scale(3)", "4,3") == 2
    assert "cannot be run: SystemExit: 3 (line 2 of exits.py)" in capsys.readouterr().err
    (tmp_path / "raises.py").write_text("import numpy\n\nnumpy.nothing\n")
    assert judge(f"{tmp_path}/raises.py:Scale(3)", "4,3") == 2
    printed = capsys.readouterr().err
    assert "AttributeError" in printed and "(line 3 of raises.py)" in printed


def test_the_colon_of_a_drive_is_no_separator():
    assert user_layer.split("C:\\nets\\mine.py:Scale(3, mode='a:b')") == (
        "C:\\nets\\mine.py",
        "Scale(3, mode='a:b')",
    )
    assert user_layer.split("nets.mine:Scale") == ("nets.mine", "Scale")


def test_no_traceback_from_the_outside(mine):
    run = subprocess.run(
        [sys.executable, "-m", "nn.gradcheck", f"{mine}:Scale('a')", "--input", "2,3"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("Scale('a') cannot be made: ")
    assert "Traceback" not in run.stderr


def test_inputs_are_as_described():
    inputs, options = user_layer.make_inputs(
        ["2,3", "ids:4,2:5", "positive:6", "mask:2,3", "2,3+4", "h=1,2+1,2"], seed=3
    )
    x, ids, positive, mask, (h, c) = inputs
    assert x.shape == (2, 3) and x.dtype == np.float64
    assert ids.shape == (4, 2) and ids.min() >= 0 and ids.max() < 5
    assert positive.min() >= 0.5 and positive.shape == (6,)
    assert mask.dtype == bool and mask[:, 0].all()
    assert (h.shape, c.shape) == ((2, 3), (4,))
    assert [part.shape for part in options["h"]] == [(1, 2), (1, 2)]
    again, _ = user_layer.make_inputs(["2,3"], seed=3)
    np.testing.assert_array_equal(again[0], x)


# ---- the game -----------------------------------------------------------------------------------


def right_letters(seed, rounds, layer):
    """The answers, found by playing it as the game does but knowing the bugs."""
    letters = []
    rng = random.Random(seed)
    bugs = [bug for bug in BUGS if layer in bug.layers]
    rng.shuffle(bugs)
    for bug in bugs[:rounds]:
        letters.append("abcd"[game.descriptions(bug, layer, rng).index(bug.about)])
    return letters


def test_all_right(capsys, monkeypatch):
    answers = iter(right_letters(5, 3, "Linear"))
    monkeypatch.setattr(builtins, "input", lambda prompt: next(answers))
    assert game.play(5, 3, "Linear", ask=builtins.input) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 spotted." in printed
    assert printed.count("Right.") == 3
    assert "def backward(self, dy, need_input_grad=True):" in printed


def test_wrong_answers_nonsense_and_leaving(capsys):
    right = right_letters(5, 2, "Linear")
    wrong = next(letter for letter in "abcd" if letter != right[0])
    answers = iter(["", "z", "?", wrong.upper(), "q"])
    assert game.play(5, 2, "Linear", ask=lambda prompt: next(answers)) == 0
    printed = capsys.readouterr().out
    assert f"No: {right[0]}) " in printed
    assert printed.count("a, b, c or d") == 2  # after "" and "z"
    assert "Each of these 2 backwards has one bug" in printed
    assert "gradients of Linear(" in printed  # what ? shows
    assert "0 of 1 spotted." in printed


@pytest.mark.parametrize("stop", [EOFError, KeyboardInterrupt])
def test_the_end_of_input_and_ctrl_c_end_it_cleanly(capsys, stop):
    def ask(prompt):
        raise stop

    assert game.play(ask=ask) == 0
    assert "0 of 0 spotted." in capsys.readouterr().out


def test_the_same_seed_is_the_same_game_and_answers_may_be_piped(monkeypatch):
    def run(seed):
        return subprocess.run(
            [sys.executable, "-m", "nn.gradcheck", "--spot-the-bug", "--seed", seed],
            input="a\nb\n",
            capture_output=True,
            encoding="cp1252",
        )

    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as on Windows: no Σ there
    first, again, other = run("1"), run("1"), run("2")
    assert first.returncode == 0 and not first.stderr
    assert first.stdout == again.stdout != other.stdout
    assert "of 2 spotted." in first.stdout


def test_one_round_is_one_backward(capsys):
    game.play(5, 1, ask=lambda prompt: "q")
    assert capsys.readouterr().out.startswith("This backward has one bug.")


def test_layers_without_parameters_are_not_described_by_weights():
    for bug in BUGS:
        if CASES[bug.layers[0]][0].build()[0].parameters():
            continue
        for choice in game.descriptions(bug, bug.layers[0], random.Random(1)):
            assert not re.search(r"\b(d[wWbγ]|[wW]|bias|body|γ)\b", choice), (bug.layers, choice)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.layers[0]}-{bug.name}")
def test_the_game_does_not_give_a_bug_away(bug):
    layer = bug.layers[0]
    source = game.shown(bug.code)
    assert source.startswith(("def ", "@")) and bug.name not in source
    assert bug.about not in source
    choices = game.descriptions(bug, layer, random.Random(0))
    assert len(choices) == len(set(choices)) == 4
    assert bug.about in choices


def test_the_report_of_the_game_shows_no_names():
    for name in ("StrideForgotten", "GradientReplaced", "SmoothingForgotten"):
        bug = next(bug for bug in BUGS if bug.name == name)
        report = game.report_of(bug, bug.layers[0])
        assert "FAIL" in report and name not in report


# ---- the chapter that leads to a layer of one's own --------------------------------------------


def test_the_layer_of_the_chapter_can_be_saved_as_a_file_and_judged(tmp_path, capsys):
    chapter = Path(__file__).parents[2] / "docs" / "16-write-your-own-layer.md"
    text = chapter.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# my_layer\.py\n.*?)```", text, re.DOTALL)
    (command_line,) = re.findall(r'gradcheck "my_layer\.py:(.*)" --input (.*)', text)
    file = tmp_path / "my_layer.py"
    file.write_text(code, encoding="utf-8")
    call, spec = command_line
    assert judge(f"{file}:{call}", spec) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("gradients of ScaledSoftplus(3): float64, seed 0\n")
    assert printed.splitlines()[1] in text  # the head of the table that the chapter shows
