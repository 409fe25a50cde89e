"""What is measured, as one list. A later row is one entry here and, for a new kind of layer, one
small builder in `problem.py` and in `torch_side.py`."""

from dataclasses import asdict, dataclass, field

from nn.bench.backreel_networks import VIDEO_MODELS


@dataclass(frozen=True)
class Row:
    """One thing that both libraries do.

    kind: the class of a layer, loss or optimiser, or a network: of `*_networks.py`, or of
    `video.models`. shape: of the input, with N, channels last. options: what it is made with
    beside the number of input channels.
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
        widths = ("out_channels", "out_features", "hidden_size")
        out = "".join(f"->{self.options[width]}" for width in widths if width in self.options)
        return f"{self.label} {'x'.join(map(str, self.shape))}{out}"

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

    @property
    def is_network(self):
        """Is a training step timed?"""
        return self.group in ("step", "video")

    @property
    def aim(self):
        """The least ratio of PyTorch's time to Backreel's that is aimed at."""
        wins = self.is_main or self.is_network and self.kind != "VideoTransformer"
        return 1.2 if wins else 1.0

    @property
    def layouts(self):
        """PyTorch's memory layouts for it: images and volumes have a second one."""
        has_maps = len(self.shape) in (4, 5) and self.kind != "AdamW"
        return ("plain", "channels last") if has_maps else ("plain",)

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


def video(kind):
    """A row of the group "video": eight clips, as the networks of `video.models` see them."""
    return Row("video", kind, kind, (8, 16, 64, 64, 3))


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
    Row("time", "LSTM", "LSTM", (32, 16, 256), {"hidden_size": 256}),
    Row("time", "GRU", "GRU", (32, 16, 256), {"hidden_size": 256}),
    Row("time", "attention, 8 heads", "MultiHeadAttention", (32, 16, 256), {"heads": 8}),
    Row("time", "attention, 8 heads", "MultiHeadAttention", (2, 1024, 256), {"heads": 8}),
    Row("layer", "first dense layer", "Linear", (32, 16384), {"out_features": 512}),
    Row("layer", "layer norm", "LayerNorm", (8, 1024, 256)),
    Row("layer", "batch norm", "BatchNorm", (8, 56, 56, 64)),
    Row("layer", "GELU", "GELU", (8, 1024, 1024)),
    Row("layer", "softmax, cross-entropy", "CrossEntropyLoss", (256, 1000)),
    Row("layer", "AdamW, article's CNN", "AdamW", (32, 64, 64, 3), {"network": "article_cnn"}),
    *map(video, VIDEO_MODELS),
]

GROUPS = list(dict.fromkeys(row.group for row in ROWS))
USUAL = ["conv", "pool", "step", "start"]  # the README's table; the others are asked for by name
