"""What is measured, as one list. A later row is one entry here and, for a new kind of layer, one
small builder in `problem.py` and in `torch_side.py`."""

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Row:
    """One thing that both libraries do.

    kind: the layer's class, which both libraries call alike, or a network of `*_networks.py`.
    shape: of the input, with N, channels last. options: what the layer is made with beside the
    number of input channels; both libraries call them alike too.
    """

    group: str
    label: str
    kind: str
    shape: tuple
    options: dict = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def name(self):
        """The label with the shape, as in "3x3 8x56x56x64->64"."""
        out = self.options.get("out_channels")
        return f"{self.label} {'x'.join(map(str, self.shape))}" + (f"->{out}" if out else "")

    @property
    def is_main(self):
        """Is it of the class that matters most: 3x3 or 3x3x3, stride 1, 32 channels or more?

        In float32: PyTorch's float64 convolution is not its fast one, and would flatter the mean.
        """
        ones = {"stride": 1, "dilation": 1, "groups": 1}
        return (
            self.kind in ("Conv2d", "Conv3d")
            and self.options["kernel_size"] == 3
            and all(self.options.get(name, 1) == value for name, value in ones.items())
            and min(self.shape[-1], self.options["out_channels"]) >= 32
            and self.dtype == "float32"
        )

    def to_json(self):
        """As plain values, for a worker process."""
        return asdict(self)

    @classmethod
    def from_json(cls, values):
        """What `to_json` gave, after a way through JSON."""
        return cls(**{**values, "shape": tuple(values["shape"])})


def conv(label, shape, out, kernel, padding=0, *, kind="Conv", dtype="float32", **options):
    """A row of the group "conv"; as many axes as the input has."""
    options = {"out_channels": out, "kernel_size": kernel, "padding": padding, **options}
    return Row("conv", label, f"{kind}{len(shape) - 2}d", shape, options, dtype)


def pool(label, kind, shape, kernel, **options):
    """A row of the group "pool"."""
    return Row("pool", label, kind, shape, {"kernel_size": kernel, **options})


ROWS = [
    conv("3x3", (32, 64, 64, 3), 32, 3, 1),
    conv("3x3", (32, 32, 32, 32), 64, 3, 1),
    conv("3x3", (8, 56, 56, 64), 64, 3, 1),
    conv("3x3", (8, 28, 28, 128), 128, 3, 1),
    conv("3x3", (8, 14, 14, 256), 256, 3, 1),
    conv("3x3", (8, 37, 41, 48), 80, 3, 1),
    conv("3x3 stride 2", (8, 56, 56, 64), 128, 3, 1, stride=2),
    conv("5x5", (32, 32, 32, 16), 32, 5, 2),
    conv("7x7 stride 2", (8, 112, 112, 3), 64, 7, 3, stride=2),
    conv("1x1", (8, 56, 56, 64), 256, 1),
    conv("3x3 depthwise", (8, 56, 56, 64), 64, 3, 1, groups=64),
    conv("3x3 dilation 2", (8, 28, 28, 64), 64, 3, 2, dilation=2),
    conv("2x2 transposed stride 2", (8, 28, 28, 128), 64, 2, stride=2, kind="ConvTranspose"),
    conv("1-D 5", (16, 512, 64), 64, 5, 2),
    conv("3x3x3", (4, 16, 56, 56, 3), 32, 3, 1),
    conv("3x3x3", (4, 8, 28, 28, 32), 64, 3, 1),
    conv("3x3x3", (4, 8, 28, 28, 64), 64, 3, 1),
    conv("1x3x3", (4, 8, 28, 28, 64), 64, (1, 3, 3), (0, 1, 1)),
    conv("3x1x1", (4, 8, 28, 28, 64), 64, (3, 1, 1), (1, 0, 0)),
    conv("3x3 float64", (8, 28, 28, 64), 64, 3, 1, dtype="float64"),
    pool("max 2x2", "MaxPool2d", (32, 64, 64, 32), 2),
    pool("max 3x3 stride 2", "MaxPool2d", (8, 112, 112, 64), 3, stride=2, padding=1),
    pool("average 2x2", "AvgPool2d", (32, 64, 64, 32), 2),
    pool("max 2x2x2", "MaxPool3d", (4, 16, 56, 56, 32), 2),
    pool("max 1x2x2", "MaxPool3d", (4, 16, 56, 56, 32), (1, 2, 2)),
    pool("average 2x2x2", "AvgPool3d", (4, 16, 56, 56, 32), 2),
    Row("step", "article's CNN", "article_cnn", (32, 64, 64, 3)),
    Row("step", "3-D CNN", "cnn3d", (8, 16, 64, 64, 3)),
    Row("start", "article's CNN", "article_cnn", (32, 64, 64, 3)),
]

GROUPS = list(dict.fromkeys(row.group for row in ROWS))
