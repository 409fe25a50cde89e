"""Both sides of the bench build every kind of row, and come to the same numbers."""

import contextlib

import pytest

import nn
from nn.bench import backreel_side, measure, problem, worker
from nn.bench.rows import ROWS, Row, conv, pool
from nn.bench.side import Side

pytest.importorskip("torch")

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
]


def test_every_kind_is_here():
    assert {row.kind for row in ROWS} <= {row.kind for row in TINY}
    from nn.bench import torch_side

    assert torch_side.MODULES.keys() == problem.MODULES.keys()


def test_both_sides_agree_on_every_kind(tmp_path):
    """PyTorch in its workers, Backreel here on the reference kernels: nothing is compiled."""
    with contextlib.ExitStack() as stack:
        names = ["torch plain", "torch channels last"]
        sides = [stack.enter_context(Side(name, 1)) for name in names]
        stack.enter_context(nn.kernels.using("reference"))
        for i, row in enumerate(TINY):
            folder = tmp_path / str(i)
            worker.prepare(backreel_side.build, row, folder / "backreel")
            for side in sides if len(row.shape) > 3 else sides[:1]:
                answer = side.ask(do="build", row=row.to_json(), folder=str(folder))
            for what in answer["memory"]:
                assert measure.disagreement(row, what, folder) < measure.tolerance(row, "dx")
