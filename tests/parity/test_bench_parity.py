"""Both sides of the bench build every kind of row, and come to the same numbers."""

from functools import partial

import pytest

import nn
from nn.bench import backreel_side, measure, problem, worker
from nn.bench.backreel_networks import VIDEO_MODELS
from nn.bench.rows import ROWS, Row, conv, pool
from nn.bench.side import Side

pytest.importorskip("torch")
torch_side = pytest.importorskip("nn.bench.torch_side")

NARROW = {"ResNet3D": {"channels": (3, 4, 5, 6, 7)}}
TINY = [
    conv("", (2, 7, 3), 4, 3, 1),
    conv("", (2, 5, 7, 4), 6, 3, 2, dilation=2, groups=2),
    conv("", (2, 5, 4, 7, 3), 2, (1, 3, 3), (0, 1, 1), stride=2),
    conv("", (2, 5, 4, 3), 2, 2, stride=2, kind="ConvTranspose"),
    conv("", (2, 5, 7, 3), 4, 3, dtype="float64"),
    pool("", "MaxPool2d", (2, 7, 5, 3), 3, stride=2, padding=1),
    pool("", "AvgPool2d", (2, 7, 5, 3), 2),
    pool("", "MaxPool3d", (2, 5, 6, 7, 3), 2),
    pool("", "AvgPool3d", (2, 5, 6, 7, 3), 2),
    Row("step", "", "article_cnn", (3, 12, 8, 3)),
    Row("step", "", "cnn3d", (3, 16, 16, 16, 2)),
    Row("time", "", "LSTM", (2, 5, 3), {"hidden_size": 4}),
    Row("time", "", "GRU", (2, 5, 3), {"hidden_size": 4}),
    Row("time", "", "MultiHeadAttention", (2, 5, 6), {"heads": 3}),
    Row("layer", "", "Linear", (3, 7), {"out_features": 5}),
    Row("layer", "", "LayerNorm", (2, 5, 7)),
    Row("layer", "", "BatchNorm", (2, 5, 7, 3)),
    Row("layer", "", "GELU", (2, 5, 7)),
    Row("layer", "", "CrossEntropyLoss", (5, 7)),
    Row("layer", "", "AdamW", (1, 12, 8, 3), {"network": "article_cnn"}),
    *[Row("video", "", name, (2, 3, 16, 24, 3), NARROW.get(name, {})) for name in VIDEO_MODELS],
]


def test_every_kind_is_here():
    assert {row.kind for row in ROWS} <= {row.kind for row in TINY}
    assert torch_side.MODULES.keys() == problem.MODULES.keys()


@pytest.mark.parametrize("row", TINY, ids=lambda row: row.kind)
def test_both_sides_agree(row, tmp_path):
    """Backreel on the reference kernels: nothing is compiled."""
    with nn.kernels.using("reference"):
        _, memory = worker.prepare(backreel_side.build, row, tmp_path / "backreel")
    for layout in row.layouts:
        worker.prepare(partial(torch_side.build, layout=layout), row, tmp_path / layout)
    for what in memory:
        assert measure.disagreement(row, what, tmp_path) < measure.tolerance(row, "dx")


def test_a_wrong_gradient_of_backreel_is_caught(tmp_path, monkeypatch):
    """An input gradient with the weight's channels changed about: right in shape, wrong in size."""
    row = conv("", (2, 5, 7, 3), 3, 3, 1)
    right = nn.kernels.conv_backward_input

    def wrong(dy, w, *window):
        return right(dy, w.swapaxes(-1, -2), *window)

    monkeypatch.setattr(nn.kernels, "conv_backward_input", wrong)
    with nn.kernels.using("reference"):
        worker.prepare(backreel_side.build, row, tmp_path / "backreel")
    worker.prepare(partial(torch_side.build, layout="plain"), row, tmp_path / "torch plain")
    measure.disagreement(row, "forward", tmp_path)
    with pytest.raises(measure.Disagreement, match="differ in dx"):
        measure.disagreement(row, "forward+backward", tmp_path)


def test_a_worker_process_runs_pytorch(tmp_path):
    with Side("torch channels last", 1) as side:
        side.ask(do="build", row=TINY[1].to_json(), folder=str(tmp_path))
        assert len(side.ask(do="time", what="forward", seconds=0)["seconds"]) >= 3
    assert measure.read(tmp_path / "torch channels last" / "forward+backward").keys() > {"y", "dx"}
