"""Winograd's convolution: against the reference, its rounding, and when it is chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import kernels
from nn.kernels import winograd
from nn.kernels.winograd_matrices import POINTS
from nn.kernels.winograd_transforms import A2, B2, A, B

TOLERANCE = {np.float32: 3e-5, np.float64: 1e-13}


def all_three(using, x, w, b, dy, padding, dilation=None):
    """The outputs and both gradients on the kernels of that name, stride 1."""
    axes = w.ndim - 2
    stride, dilation = (1,) * axes, dilation or (1,) * axes
    how = stride, padding, dilation, 1
    with kernels.using(using):
        y = kernels.conv_forward(x, w, b, *how)
        dx = kernels.conv_backward_input(dy(y.shape), w, x.shape[1:-1], *how)
        dw = kernels.conv_backward_weight(dy(y.shape), x, w.shape[:-2], *how)
    return {"y": y, "dx": dx, "dw": dw}


def normal(seed, dtype):
    """Standard normal numbers by shape, the same for the same shape."""
    return lambda shape: np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(deadline=None, max_examples=40)
@given(
    N=st.integers(1, 3),
    T=st.one_of(st.none(), st.integers(1, 5)),
    K=st.tuples(st.integers(1, 3), st.integers(3, 7), st.sampled_from([3, 3, 3, 5])),
    H=st.integers(13, 19),
    W=st.integers(9, 14),
    C=st.integers(1, 40),
    C_out=st.integers(1, 70),
    padding=st.tuples(*[st.integers(0, 3)] * 6),
    dilation=st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_equals_the_reference(dtype, N, T, K, H, W, C, C_out, padding, dilation, seed):
    rng = np.random.default_rng(seed)
    S, K = ((H, W), K[1:]) if T is None else ((max(T, K[0]), H, W), K)
    padding = tuple(zip(padding[::2], padding[1::2], strict=True))[: len(S)]
    dilation = (1,) * (len(S) - 2) + dilation
    x = rng.standard_normal((N, *S, C)).astype(dtype)
    w = (rng.standard_normal((*K, C, C_out)) / np.sqrt(np.prod(K) * C)).astype(dtype)
    b = rng.standard_normal(C_out).astype(dtype)
    dy = normal(seed, dtype)
    ours = all_three("winograd", x, w, b, dy, padding, dilation)
    wanted = all_three("reference", x, w, b, dy, padding, dilation)
    for name in wanted:
        scale = max(1.0, np.abs(wanted[name]).max())
        np.testing.assert_allclose(
            ours[name], wanted[name], rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=name
        )


def test_rounding_is_bounded_and_worse_than_direct():
    """Outputs and gradients of unit size, 64 channels. What chapter 19 states."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 28, 28, 64))
    w = rng.standard_normal((3, 3, 64, 64)) / np.sqrt(9 * 64)
    padding = ((1, 1), (1, 1))
    exact = all_three("reference", x, w, None, normal(2, np.float64), padding)
    x, w = x.astype(np.float32), w.astype(np.float32)
    for name, most in {"y": 1.5e-5, "dx": 1.5e-5, "dw": 1.5e-5}.items():
        size = exact[name].std()
        error = {
            using: np.abs(
                all_three(using, x, w, None, normal(2, np.float32), padding)[name] - exact[name]
            ).max()
            / size
            for using in ("winograd", "direct")
        }
        assert error["winograd"] < most, name
        assert error["direct"] < 5e-6, name


def test_the_transforms_use_the_points_of_the_matrices():
    assert POINTS[4] == (
        0.0,
        A,
        -A,
        B,
        -B,
    )
    assert A2 == pytest.approx(A**2)
    assert B2 == pytest.approx(B**2)
    assert A2 * B2 == pytest.approx(1)  # which `_input_points` relies on


def test_nan_stays_where_it_belongs():
    """A tile mixes 6×6 pixels, so a NaN may spread to its 4×4 outputs, and no further."""
    x = np.zeros((1, 12, 12, 16), np.float32)
    x[0, 0, 0, 3] = np.nan
    w = np.ones((3, 3, 16, 16), np.float32)
    with kernels.using("winograd"):
        y = kernels.conv_forward(x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    assert np.isnan(y[0, :2, :2]).all()
    assert np.isfinite(y[0, 4:]).all() and np.isfinite(y[0, :, 4:]).all()


# ---- the rule -----------------------------------------------------------------------------


def _lines(*args, **kwargs):
    return kernels.explain(*args, **kwargs).splitlines()


@pytest.mark.parametrize(
    "x_shape, w_shape, options, name",
    [
        ((8, 56, 56, 64), (3, 3, 64, 64), {"padding": 1}, "winograd"),
        ((8, 56, 56, 64), (3, 3, 64, 64), {"padding": 2, "dilation": 2}, "winograd"),
        ((4, 8, 28, 28, 32), (3, 3, 3, 32, 64), {"padding": 1}, "winograd"),
        ((4, 8, 28, 28, 64), (1, 3, 3, 64, 64), {"padding": (0, 1, 1)}, "winograd"),
        ((8, 56, 56, 64), (3, 3, 64, 128), {"padding": 1, "stride": 2}, "direct"),
        ((8, 56, 56, 64), (3, 3, 32, 64), {"padding": 1, "groups": 2}, "direct"),
        ((8, 56, 56, 64), (5, 5, 64, 64), {"padding": 2}, "winograd"),
        ((8, 56, 56, 64), (1, 3, 64, 64), {"padding": (0, 1)}, "direct"),
        ((32, 64, 64, 3), (3, 3, 3, 32), {"padding": 1}, "direct"),
        ((1, 7, 7, 512), (3, 3, 512, 512), {"padding": 1}, "direct"),
        ((4, 8, 28, 28, 64), (3, 3, 3, 64, 64), {"padding": 1, "dilation": (2, 1, 1)}, "direct"),
        ((8, 56, 56, 64), (3, 3, 1, 64), {"padding": 1, "groups": 64}, "depthwise"),
        ((2, 30, 8), (3, 8, 8), {}, "direct"),
    ],
)
def test_explain_names_the_kernel(x_shape, w_shape, options, name):
    lines = _lines(x_shape, w_shape, **options)
    assert [line[:16].strip() for line in lines] == ["forward", "input gradient", "weight gradient"]
    assert [line[17:].split()[0] for line in lines] == [name] * 3
    assert all(len(line) > 30 for line in lines)  # and a reason


def test_what_is_asked_for_is_taken(monkeypatch):
    """`explain` is not told one thing while the convolution does another."""
    calls = []
    run = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *args: (calls.append(1), run(*args)))
    x, w = np.zeros((2, 16, 16, 16), np.float32), np.zeros((3, 3, 16, 16), np.float32)
    for using, expected in [("direct", 0), ("fast", 1), ("winograd", 1), ("loops", 0)]:
        calls.clear()
        with kernels.using(using):
            kernels.conv_forward(x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
            said = kernels.explain(x.shape, w.shape, padding=1).splitlines()[0]
        assert len(calls) == expected
        assert ("winograd" in said.split()[:2]) == bool(expected)
