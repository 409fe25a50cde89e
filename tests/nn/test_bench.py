"""The bench: its rows, its worker, its comparison, its table. What it times is not timed here."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nn
from nn.bench import __main__ as bench
from nn.bench import backreel_side, measure, problem, table, worker
from nn.bench.rows import GROUPS, ROWS, USUAL, Row, conv, pool
from nn.bench.side import Side, environment
from video import models

TINY = [
    conv("3x3", (2, 5, 4, 3), 2, 3, 1),
    conv("transposed", (2, 3, 4, 3), 2, 2, stride=2, kind="ConvTranspose"),
    pool("max", "MaxPool2d", (2, 5, 4, 3), 2),
    Row("step", "article's CNN", "article_cnn", (2, 8, 12, 3)),
    Row("time", "GRU", "GRU", (2, 3, 4), {"hidden_size": 5}),
    Row("time", "attention", "MultiHeadAttention", (2, 5, 6), {"heads": 3}),
    Row("layer", "layer norm", "LayerNorm", (2, 5, 7)),
    Row("layer", "GELU", "GELU", (2, 5, 7)),
    Row("layer", "cross-entropy", "CrossEntropyLoss", (3, 5)),
    Row("layer", "AdamW", "AdamW", (1, 8, 12, 3), {"network": "article_cnn"}),
    Row("video", "CNNRNN", "CNNRNN", (2, 3, 16, 24, 3)),
]
MACHINE = {
    "cpu": "A CPU",
    "threads": 2,
    "avx2": False,
    "versions": {"Python": "3", "numpy": "2", "torch": "2"},
    "ceiling": {"float32": 200.0, "float64": 100.0},
    "matmul": {"float32": 100.0, "float64": 50.0},
}


def one_result(row=TINY[0], what="forward", ours=0.002, plain=0.008, last=0.006, **more):
    turns = {"backreel": [ours], "torch plain": [plain], "torch channels last": [last]}
    turns = {name: times for name, times in turns.items() if times[0]}
    memory = {name: 10.0 + i for i, name in enumerate(turns)}
    result = measure.result(row, what, turns, error=1e-6, operations=100_000_000)
    return {**result, "memory": memory, **more}


# ---- rows -------------------------------------------------------------------------------


def test_row_names_differ_and_every_kind_has_a_builder():
    assert len({(row.group, row.name) for row in ROWS}) == len(ROWS)
    assert {row.kind for row in ROWS} <= problem.MODULES.keys()
    assert GROUPS == ["conv", "pool", "step", "start", "time", "layer", "video"]
    assert USUAL == GROUPS[:4]
    assert {row.kind for row in ROWS if row.group == "video"} == set(models.storage.MODELS)


def test_names_say_what_goes_in_and_out():
    assert TINY[0].name == "3x3 2x5x4x3->2"
    assert TINY[4].name == "GRU 2x3x4->5"
    assert TINY[5].name == "attention 2x5x6"


def test_pytorch_has_a_second_layout_for_images_and_volumes_alone():
    two, one = ("plain", "channels last"), ("plain",)
    assert [row.layouts for row in TINY] == [*[two] * 4, *[one] * 6, two]


def test_every_row_can_be_built_and_its_options_hold():
    for row in ROWS:
        if row.kind == "ResNet3D":
            continue  # 33 million numbers to draw
        module = problem.module(Row.from_json(json.loads(json.dumps(row.to_json()))))
        if row.group in ("conv", "pool"):
            assert min(module.output_size(row.shape[1:-1])) >= 1
        if row.group == "conv":
            assert module.weight.data.dtype == row.dtype
            assert module.bias.data.any()


def test_the_main_class_is_what_the_aims_are_about():
    names = [row.name for row in ROWS if row.group == "conv" and row.is_main]
    assert names == [
        "3x3 32x32x32x32->64",
        "3x3 8x56x56x64->64",
        "3x3 8x28x28x128->128",
        "3x3 8x14x14x256->256",
        "3x3 8x37x41x48->80",
        "3x3x3 4x8x28x28x32->64",
        "3x3x3 4x8x28x28x64->64",
    ]


def test_operations_of_a_convolution():
    row = conv("", (2, 5, 4, 3), 7, (3, 2), stride=(2, 1))
    forward = 2 * 2 * (2 * 3 * 7) * (3 * 2 * 3)  # both, N, places × channels out, terms of each
    with nn.kernels.using("reference"):
        counted = backreel_side.operations(row)
    assert counted == {"forward": forward, "forward+backward": 3 * forward}


def test_operations_of_an_lstm_and_of_attention():
    N, T, D, H = 2, 3, 4, 5
    lstm = Row("time", "", "LSTM", (N, T, D), {"hidden_size": H})
    attention = Row("time", "", "MultiHeadAttention", (N, T, D), {"heads": 2})
    with nn.kernels.using("reference"):
        counted = [backreel_side.operations(row)["forward"] for row in (lstm, attention)]
    projections = 4 * N * T * D * D  # of query, key, value and output
    assert counted == [2 * N * T * 4 * H * (D + H), 2 * (projections + 2 * N * T * T * D)]


# ---- command line -----------------------------------------------------------------------


def test_the_usual_is_timed_when_nothing_is_named():
    assert bench.parse([]).chosen == [row for row in ROWS if row.group in USUAL]
    assert bench.parse(["--list"]).chosen == ROWS
    assert [row.group for row in bench.parse(["--rows", "LSTM"]).chosen] == ["time"]
    assert {row.group for row in bench.parse(["pool", "--quick"]).chosen} == {"pool"}
    assert [row.name for row in bench.parse(["--rows", "1x1 8x"]).chosen] == ["1x1 8x56x56x64->256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stpe"], "no group 'stpe'; there are conv, pool, step, start, time, layer, video"),
        (["pool", "--rows", "7x7"], "no row of pool has '7x7' in its name"),
        (["--threads", "0"], "--threads: expected a whole number from 1 on, got 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        bench.parse(arguments)
    assert message in capsys.readouterr().err


def test_environments():
    ours, theirs = environment("backreel", 3, avx2=True), environment("torch", 3, avx2=True)
    assert ours["NUMBA_NUM_THREADS"] == theirs["OMP_NUM_THREADS"] == "3"
    assert ours["NUMBA_CPU_NAME"] == "haswell" and "NUMBA_CPU_NAME" not in theirs
    assert theirs["ONEDNN_MAX_CPU_ISA"] == "AVX2" and "ONEDNN_MAX_CPU_ISA" not in ours
    # Importing nn sets this one for its own sake; PyTorch is to run as it does by itself.
    assert ours["OMP_WAIT_POLICY"] and "OMP_WAIT_POLICY" not in theirs


# ---- worker -----------------------------------------------------------------------------


def test_worker_answers_every_command(tmp_path):
    """In this process, on the reference kernels: nothing is compiled."""
    row = TINY[0]
    commands = [
        {"do": "build", "row": row.to_json(), "folder": str(tmp_path)},
        {"do": "time", "what": "forward", "seconds": 0},
        {"do": "time", "what": "forward+backward", "seconds": 0},
    ]
    answers = io.StringIO()
    with nn.kernels.using("reference"):
        worker.serve("backreel", 1, map(json.dumps, commands), answers)
        operations = backreel_side.operations(row)
    built, *timed = map(json.loads, answers.getvalue().splitlines())
    assert built["operations"] == operations
    assert built["memory"].keys() == {"forward", "forward+backward"}
    assert all(len(answer["seconds"]) == worker.LEAST_CALLS for answer in timed)

    numbers = measure.read(tmp_path / "backreel" / "forward+backward")
    assert numbers.keys() == {"y", "dx", "d weight", "d bias"}
    layer = problem.module(row)
    dy = problem.upstream(row, numbers["y"].shape)
    with nn.kernels.using("reference"):
        y, dx = layer(problem.inputs(row)), layer.backward(dy)
    np.testing.assert_allclose(numbers["y"], y, rtol=1e-5)
    np.testing.assert_allclose(numbers["dx"], dx, rtol=1e-5, atol=1e-6)
    # One call's gradients, not the sum over the calls before.
    np.testing.assert_allclose(numbers["d weight"], layer.weight.grad, rtol=1e-5, atol=1e-5)


def test_backreel_builds_every_kind_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    with nn.kernels.using("reference"):
        for row in TINY:
            worker.prepare(backreel_side.build, row, tmp_path / row.label)
    step = measure.read(tmp_path / "article's CNN" / "training step")
    assert step["loss"].shape == () and step["d 0.weight"].any()
    loss = measure.read(tmp_path / "cross-entropy" / "forward+backward")
    assert loss["y"].shape == () and loss["dx"].shape == (3, 5)


def test_a_loss_and_an_optimiser_do_what_they_are_called():
    """The loss is that of the labels; AdamW goes its second step, from weights as drawn."""
    loss, adamw = TINY[8:10]
    with nn.kernels.using("reference"):
        built = backreel_side.build(loss)["forward"]
        value = built.read(built.run())["y"]
        built = backreel_side.build(adamw)["optimiser step"]
        steps = built.read(built.run())
    z, labels = problem.inputs(loss), problem.labels(loss, 5)
    assert value == pytest.approx(np.mean(np.log(np.exp(z).sum(-1)) - z[np.arange(3), labels]))

    theta = problem.module(adamw)[0].weight.data.astype(np.float64)
    g1, g2 = (problem.gradients(adamw, seed)[0].weight.data.astype(np.float64) for seed in (0, 1))
    lr, decay, b1, b2, eps = 0.001, 0.01, 0.9, 0.999, 1e-8
    after = theta * (1 - lr * decay) - lr * g1 / (np.abs(g1) + eps)
    m = (b1 * (1 - b1) * g1 + (1 - b1) * g2) / (1 - b1**2)
    v = (b2 * (1 - b2) * g1**2 + (1 - b2) * g2**2) / (1 - b2**2)
    after = after * (1 - lr * decay) - lr * m / (np.sqrt(v) + eps)
    assert np.abs(steps["step of 0.weight"] - (after - theta)).max() < 2e-4 * lr


def test_a_worker_process_that_fails_is_told_from_one_that_answers(tmp_path, capfd):
    with Side("backreel", 1) as side:
        with pytest.raises(RuntimeError, match="the backreel side stopped"):
            side.ask(do="time", what="nothing", seconds=0)
    assert "KeyError" in capfd.readouterr().err
    assert side.process.returncode not in (None, 0)


def test_starts_are_timed_until_the_process_says_done(capfd):
    settings = SimpleNamespace(threads=1, avx2=False)
    slow = "import time; time.sleep(0.05); print('done', flush=True); time.sleep(0.01)"
    assert measure.until_done(["-c", slow], "backreel", settings) > 0.05
    with pytest.raises(RuntimeError, match="the first step of torch failed"):
        measure.until_done(["-c", "import no_such_module"], "torch", settings)
    assert "no_such_module" in capfd.readouterr().err


# ---- comparison -------------------------------------------------------------------------


def write(folder, arrays):
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def sides_with(tmp_path, change):
    """Two sides that agree to rounding but for what `change` does to PyTorch's arrays."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((3, 5, 4), np.float32) for name in ("y", "dx", "d bias")}
    write(tmp_path / "backreel" / "forward", arrays)
    theirs = {name: array * np.float32(1 + 1e-6) for name, array in arrays.items()}
    change(theirs)
    write(tmp_path / "torch plain" / "forward", theirs)


def test_sides_that_agree(tmp_path):
    sides_with(tmp_path, lambda arrays: None)
    assert 0 < measure.disagreement(TINY[0], "forward", tmp_path) < 1e-5


def test_one_side_alone_has_nobody_to_disagree_with(tmp_path):
    write(tmp_path / "backreel" / "forward", {"y": np.ones(3)})
    assert measure.disagreement(TINY[0], "forward", tmp_path) is None


def one_wrong_number(arrays):
    arrays["dx"][2, 4, 3] += 0.1


def a_nan(arrays):
    arrays["y"][0, 0, 0] = np.nan


def a_transpose(arrays):
    arrays["dx"] = arrays["dx"].T


def one_less(arrays):
    del arrays["d bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_wrong_number, "differ in dx by"),
        (a_nan, "differ in y by nan"),
        (a_transpose, "give dx the shapes"),
        (one_less, "give .* and"),
    ],
)
def test_a_wrong_side_is_caught(tmp_path, change, message):
    sides_with(tmp_path, change)
    with pytest.raises(measure.Disagreement, match=message):
        measure.disagreement(TINY[0], "forward", tmp_path)


def test_float64_and_losses_are_compared_more_closely(tmp_path):
    sides_with(tmp_path, lambda arrays: None)
    double = conv("", (2, 5, 4, 3), 2, 3, dtype="float64")
    with pytest.raises(measure.Disagreement):
        measure.disagreement(double, "forward", tmp_path)
    assert measure.tolerance(TINY[3], "loss") < measure.tolerance(TINY[3], "d 0.weight")


def test_a_layout_that_is_far_behind_stands_aside():
    turns = {"backreel": [9, 9], "torch plain": [3.1, 4], "torch channels last": [5, 2.0]}
    assert measure.far_behind("torch plain", turns)
    assert not measure.far_behind("torch channels last", turns)
    assert not measure.far_behind("backreel", turns)


# ---- table ------------------------------------------------------------------------------


def test_a_line_of_the_table():
    line = table.line(one_result(), MACHINE)
    #  2 ms and 6 ms for 0.1 G operations; 10 MiB, and 12 of the faster layout
    assert line.split()[2:] == "forward 2.00 6.00 50 17 25% 10 12 3.00 channels last".split()
    assert line.index("3.00") + 4 == table.HEADER.index("ratio") + 5  # both end to the right


def test_a_busy_machine_is_noticed():
    turns = {"backreel": [1.0, 1.1], "torch plain": [2.0, 2.1], "torch channels last": [3.0, 9.0]}
    result = measure.result(TINY[0], "forward", turns)
    assert not table.is_unsteady(result)  # the slower layout does not matter
    turns["torch plain"][0] = 1.5
    result = measure.result(TINY[0], "forward", turns)
    assert table.is_unsteady(result) and table.line(result, MACHINE).endswith("plain  unsteady")


def test_a_line_without_pytorch():
    line = table.line(one_result(plain=None, last=None), MACHINE)
    # half the rate of the matrix product
    assert line.split()[2:] == "forward 2.00 - 50 - 25% 10 - 0.50".split()


def test_what_falls_short_is_named():
    main = conv("3x3", (8, 56, 56, 64), 64, 3, 1)
    results = [
        one_result(main, ours=0.001, last=0.0011),
        one_result(main, "forward+backward", ours=0.001, last=0.004),
        one_result(TINY[0], ours=0.001, last=0.0009),
        one_result(TINY[2], memory={"backreel": 20.0, "torch channels last": 12.0}),
    ]
    text = table.summary(results, MACHINE)
    below, memory = text.split("below their aim:")[1].split("more memory")
    assert "3x3 8x56x56x64->64, forward: 1.10, aim 1.2" in below
    assert "3x3 8x56x56x64->64, forward+backward" not in below
    assert "3x3 2x5x4x3->2, forward: 0.90, aim 1.0" in below
    assert f"geometric mean of {table.MAIN}, forward: 1.10, aim 2.0" in below
    assert "max 2x5x4x3, forward: 20 MiB, PyTorch's 12" in memory
    networks = [Row("video", n, n, (8, 16, 64, 64, 3)) for n in ("Conv3dNet", "VideoTransformer")]
    assert [row.aim for row in networks] == [1.2, 1.0]
    # Held to AVX2 the aim is 1.0 everywhere.
    assert list(table.short_of_aim(results[:2], {**MACHINE, "avx2": True})) == []


def test_geometric_means():
    results = [one_result(TINY[0], last=0.002 * ratio) for ratio in (1.0, 4.0)]
    ((key, (mean, count)),) = table.geometric_means(results).items()
    assert key == (table.OTHER, "forward") and count == 2
    assert mean == pytest.approx(2.0)
    results = [one_result(TINY[i]) for i in (4, 6)] + [one_result(TINY[9], "optimiser step")]
    classes = [name for name, _ in table.geometric_means(results)]
    assert classes == ["recurrence and attention", "other layers"]


def test_the_readme_table():
    results = [
        one_result(),
        one_result(what="forward+backward", ours=0.01, plain=0.009, last=0.02),
        one_result(TINY[3], "training step"),
        one_result(TINY[9], "optimiser step"),
    ]
    text = table.markdown({"results": results, "machine": MACHINE})
    lines = text.splitlines()
    assert "A CPU, 2 threads" in lines[0] and "torch 2" in lines[0]
    assert "| 3x3 2x5x4x3->2 | 2.00 | 6.00 | **3.00** | 10.00 | 9.00 | 0.90 |" in lines
    assert "| article's CNN 2x8x12x3, training step | 2.00 | 6.00 | **3.00** |" in lines
    assert "| AdamW 1x8x12x3, optimiser step | 2.00 | 6.00 | **3.00** |" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in rows} == {5, 8}


# ---- all together -----------------------------------------------------------------------


@pytest.fixture
def without_measuring(monkeypatch):
    """The bench with results made up: PyTorch is looked for, but nothing is timed."""

    def made_up(row, names, settings, progress):
        if "depthwise" in row.name:
            raise measure.Disagreement(f"{row.name} differ")
        there = 0.004 if "torch plain" in names else None
        return [one_result(row, plain=there, last=None)]

    monkeypatch.setattr(bench, "measure", made_up)
    monkeypatch.setattr(bench, "machine", lambda options, names: MACHINE)
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: SimpleNamespace())


def test_without_pytorch_the_matrix_product_stands_beside(without_measuring, monkeypatch, capsys):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    assert bench.main(["conv", "--rows", "5x5"]) == 0
    printed = capsys.readouterr().out
    assert "PyTorch is not installed" in printed
    assert table.RATIO_ALONE in printed and table.RATIO not in printed


def test_results_are_kept_and_can_be_shown_again(without_measuring, tmp_path, capsys):
    file = str(tmp_path / "result.json")
    assert bench.main(["conv", "--rows", "5x5", "--json", file]) == 0
    assert "ratio" in capsys.readouterr().out
    assert bench.main(["--markdown", file]) == 0
    shown = capsys.readouterr().out
    assert "| 5x5 32x32x32x16->32 | 2.00 | 4.00 | **2.00** | | | |" in shown


def test_a_wrong_row_is_said_and_ends_with_1(without_measuring, capsys):
    assert bench.main(["conv", "--rows", "depthwise"]) == 1
    assert "WRONG, not timed: 3x3 depthwise" in capsys.readouterr().out
