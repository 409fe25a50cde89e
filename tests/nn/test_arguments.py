"""What a layer is given wrongly is said in one line that names the layer."""

import numpy as np
import pytest

import nn


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("wrong", [0, -3, 3.0, "a", None, True])
@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda n: nn.Conv1d(n, 4, 3), "Conv1d: in_channels"),
        (lambda n: nn.Conv2d(3, n, 3), "Conv2d: out_channels"),
        (lambda n: nn.Conv3d(3, 4, 3, groups=n), "Conv3d: groups"),
        (lambda n: nn.ConvTranspose2d(n, 4, 3), "ConvTranspose2d: in_channels"),
        (lambda n: nn.ConvTranspose2d(4, n, 3), "ConvTranspose2d: out_channels"),
        (lambda n: nn.ConvTranspose2d(4, 4, 3, groups=n), "ConvTranspose2d: groups"),
        (lambda n: nn.ConvTranspose1d(4, 4, n), "ConvTranspose1d: kernel_size"),
        (lambda n: nn.Linear(n, 2), "Linear: in_features"),
        (lambda n: nn.Linear(2, n), "Linear: out_features"),
        (lambda n: nn.BatchNorm(n), "BatchNorm: num_features"),
        (lambda n: nn.LayerNorm(n), "LayerNorm: num_features"),
        (lambda n: nn.GroupNorm(n, 6), "GroupNorm: num_groups"),
        (lambda n: nn.Embedding(n, 2), "Embedding: num_embeddings"),
        (lambda n: nn.Embedding(2, n), "Embedding: embedding_dim"),
        (lambda n: nn.MaxPool2d(n), "MaxPool2d: kernel_size"),
        (lambda n: nn.Upsample3d(n), "Upsample3d: scale"),
    ],
)
def test_sizes_are_whole_numbers(build, argument, wrong):
    with pytest.raises(ValueError) as error:
        build(wrong)
    message = str(error.value)
    assert message.startswith(f"{argument} must be an integer of at least 1")
    assert message.endswith(f"got {wrong!r}") and "\n" not in message


def test_numpy_integers_are_whole_numbers():
    layer = nn.Conv2d(np.int64(3), np.int32(4), np.array([3, 2]), groups=np.uint8(1))
    assert layer.describe() == nn.Conv2d(3, 4, (3, 2)).describe()


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(3, 4), normal(2, 3)),
        (nn.Flatten(), normal(2, 3, 4)),
        (nn.Conv2d(3, 4, (2, 3), padding=1), normal(2, 4, 5, 3)),
        (nn.ConvTranspose2d(3, 4, 2, stride=2, output_padding=1), normal(2, 4, 3, 3)),
        (nn.MaxPool2d(2), normal(2, 4, 6, 3)),
        (nn.AvgPool1d(3), normal(2, 7, 3)),
        (nn.GlobalAvgPool(), normal(2, 4, 5, 3)),
        (nn.Upsample2d((2, 3)), normal(2, 4, 5, 3)),
        (nn.BatchNorm(3), normal(2, 4, 3)),
        (nn.LayerNorm(3), normal(2, 4, 3)),
        (nn.GroupNorm(3, 3), normal(2, 4, 3)),
        (nn.Embedding(5, 3), np.array([[4, 0, 1]])),
        (nn.ReLU(), normal(2, 4, 3)),
        (nn.LeakyReLU(), normal(2, 4, 3)),
        (nn.Sigmoid(), normal(2, 4, 3)),
        (nn.Tanh(), normal(2, 4, 3)),
        (nn.GELU(), normal(2, 4, 3)),
        (nn.SiLU(), normal(2, 4, 3)),
        (nn.Softmax(), normal(2, 4, 3)),
        (nn.Dropout(0.5, rng=0), normal(2, 4, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_gradient_of_another_shape_names_the_layer(layer, x, kernels):
    with nn.kernels.using(kernels):
        shape = layer(x).shape
        layer.backward(normal(*shape))
        N, *rest = shape
        for other in {(1, *rest), tuple(rest), (N + 1, *rest), (*shape[:-1], 1)} - {shape}:
            layer(x)
            with pytest.raises(ValueError) as error:
                layer.backward(normal(*other))
            assert str(error.value) == (
                f"{layer.describe()}: backward got a gradient {other}, expected {shape}, the "
                "shape of its output"
            )


def test_sequential_says_which_module_an_error_comes_from():
    model = nn.Sequential(
        nn.Linear(4, 6), nn.Tanh(), nn.Sequential(nn.Tanh(), nn.Linear(10, 2)), nn.Tanh()
    )
    with pytest.raises(ValueError) as error:
        model(normal(5, 4))
    assert str(error.value) == (
        "in Sequential, module 2.1: Linear(10, 2): expected an input (..., 10), got (5, 6)"
    )
    with pytest.raises(ValueError, match=r"^in Sequential, module 0: Linear\(4, 6\): expected"):
        model(normal(5, 3))

    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Linear(4, 4))))
    model(normal(5, 4))
    with pytest.raises(ValueError, match="^in Sequential, module 0: in Sequential, module 0: Lin"):
        model.backward(normal(5, 3))


def test_a_list_for_an_array():
    with pytest.raises(TypeError, match=r"^Linear\(2, 3\): expected an array, got a list; np"):
        nn.Sequential(nn.Linear(2, 3))([[1.0, 2.0]])
    assert nn.Embedding(3, 2)([0, 2]).shape == (2, 2), "ids may be a list"
