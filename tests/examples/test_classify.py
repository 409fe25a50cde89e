"""The main job as a user runs it: in processes of its own, on files it draws."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import video

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--epochs", "4", "--size", "16", "--frames", "4", "--batch-size", "4", "--workers", "1"]
SMALL += ["--mixup", "0", "--colour", "0.2", "--lr", "0.005"]


def run(script, *arguments, cwd):
    return subprocess.run(
        [sys.executable, ROOT / "examples" / script, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two classes that one frame tells apart: dark red and light blue noise."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for name, colour in (("red", (150, 40, 40)), ("blue", (60, 90, 220))):
        for i in range(8):
            noise = rng.integers(-30, 30, (6, 24, 32, 3))
            frames = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            (root / name).mkdir(exist_ok=True)
            video.write(root / name / f"{i // 2}_{i}.mp4", frames, fps=10)
    return root


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    """One whole run: its process and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    process = run(
        "classify.py",
        "--data",
        clips,
        "--group",
        r"^\d+",
        "--out",
        folder,
        *SMALL,
        cwd=folder.parent,
    )
    assert process.returncode == 0, process.stderr
    return process, folder


def test_it_ends_with_accuracy_beside_the_commonest_class(finished):
    process, folder = finished
    *_, frames, commonest, accuracy = process.stdout.strip().splitlines()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (
        commonest
        == f"Always answering the commonest class: {100 * metrics['commonest_class']:.0f} %"
    )
    assert accuracy == f"Accuracy: {100 * metrics['accuracy']:.0f} %"
    assert frames == f"FrameCNN, single frames: {100 * metrics['baseline']['accuracy']:.0f} %"
    assert metrics["accuracy"] == 1.0  # red and blue: anything less is a broken pipeline
    assert metrics["baseline"]["accuracy"] == 1.0 and metrics["baseline"]["model"] == "FrameCNN"
    assert metrics["commonest_class"] == 0.5
    assert len(metrics["history"]) == len(metrics["baseline"]["history"]) == 4


def test_it_leaves_pictures_weights_and_an_annotated_video(finished):
    _, folder = finished
    for name in ("curves.png", "confusion.png", "contact_sheet.png", "confusion_baseline.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    assert video.probe(folder / "predictions.mp4").frames > 12
    model = video.models.load(folder / "model.npz")
    assert model.classes == ["blue", "red"] and model.size == (16, 16)


def test_groups_stay_on_one_side(finished):
    _, folder = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["training_clips"], metrics["test_clips"]) == (12, 4)  # of 4 groups of 4, one


def test_predict_names_the_class_of_any_video(finished, clips):
    _, folder = finished
    process = run(
        "predict.py", clips / "red" / "0_0.mp4", "--weights", folder / "model.npz", cwd=folder
    )
    assert process.returncode == 0, process.stderr
    first, likeliest, *_ = process.stdout.splitlines()
    assert first.endswith("0_0.mp4: red")
    assert "red" in likeliest and "%" in likeliest


def interrupted(arguments, cwd, when, count=1):
    """Run classify.py, press Ctrl-C at the `count`-th line that holds `when`; what it printed."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "classify.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        count -= when in line
        if count == 0:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "--resume" in rest
    return rest


def same_weights(one, two):
    with np.load(one) as one, np.load(two) as two:
        assert one.files == two.files
        return all(np.array_equal(one[name], two[name]) for name in one.files)


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to one process is POSIX")
@pytest.mark.parametrize("network", [1, 2])
def test_stopped_by_ctrl_c_and_resumed_it_is_the_same_run(finished, clips, tmp_path, network):
    _, whole = finished
    stopped = tmp_path / "stopped"
    arguments = ["--data", clips, "--group", r"^\d+", "--out", stopped, *SMALL]
    interrupted(arguments, tmp_path, "epoch 1/4", count=network)
    again = run("classify.py", "--out", stopped, "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert same_weights(whole / "model.npz", stopped / "model.npz")
    assert same_weights(whole / "baseline" / "model.npz", stopped / "baseline" / "model.npz")


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to one process is POSIX")
def test_folds_are_reported_together_and_finished_ones_kept(clips, tmp_path):
    out = tmp_path / "folds"
    arguments = ["--data", clips, "--group", r"^\d+", "--folds", "2", "--out", out, *SMALL]
    interrupted([*arguments, "--model", "FrameCNN"], tmp_path, "fold 1: ")
    kept = out / "fold-1" / "result.json"
    before = kept.stat().st_mtime_ns
    again = run("classify.py", "--resume", out, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert kept.stat().st_mtime_ns == before
    *_, pooled, commonest, accuracy = again.stdout.strip().splitlines()
    metrics = json.loads((out / "metrics.json").read_text())
    assert pooled == f"FrameCNN, pooled over all clips: {100 * metrics['pooled']:.1f} %"
    assert "50.0 %" in commonest
    assert accuracy.startswith(f"Accuracy: {100 * metrics['mean']:.1f} ± {100 * metrics['sd']:.1f}")
    assert sum(len(fold["clips"]) for fold in metrics["folds"]) == 16
    assert not (out / "fold-2" / "last.npz").exists() and (out / "fold-2" / "model.npz").exists()


def test_fine_tuning_the_head_keeps_the_rest(finished, clips, tmp_path):
    _, folder = finished
    data = tmp_path / "data"
    for old, new in (("red", "warm"), ("blue", "cold")):
        shutil.copytree(clips / old, data / new)
    process = run(
        "classify.py", "--data", data, "--group", r"^\d+", "--out", tmp_path / "tuned",
        "--weights", folder / "model.npz", "--freeze", "--epochs", "2", "--no-baseline",
        "--workers", "1", cwd=tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "knows blue, red; its last layer starts anew for cold, warm" in process.stdout
    with np.load(folder / "model.npz") as one, np.load(tmp_path / "tuned" / "model.npz") as two:
        differ = {name for name in one.files if not np.array_equal(one[name], two[name])}
    assert differ == {"backreel.json", "classifier.weight", "classifier.bias"}
    model = video.models.load(tmp_path / "tuned" / "model.npz")
    assert model.classes == ["cold", "warm"] and model.size == (16, 16)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "empty"], "empty: expected one folder per class"),
        (["--data", "half"], "half: train and test belong together"),
        (["--weights", "nowhere.npz"], "nowhere.npz: there is no such weight file"),
        (["--resume", "nowhere"], "nothing to resume"),
        (["--resume"], "nothing to resume here"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "train" / "red").mkdir(parents=True)
    process = run("classify.py", *arguments, cwd=tmp_path)
    assert process.returncode == 1
    assert message in process.stderr and "Traceback" not in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()  # what cannot start leaves nothing behind


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--lr", "nan"],
        ["--size", "3"],
        ["--resume", "x", "--epochs", "3"],
        ["--model", "NoNet"],
        ["--folds", "3", "--data", "x"],
        ["--freeze"],
        ["--weights", "x.npz", "--size", "32"],
        ["--flip-swap", "left"],
    ],
)
def test_impossible_options_are_refused(tmp_path, arguments):
    process = run("classify.py", *arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert "error: " in process.stderr and "Traceback" not in process.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [(["--model", "CNNRNN:cell=egg"], "egg"), (["--flip-swap", "red=green"], "green: no such")],
)
def test_what_does_not_fit_the_clips_leaves_nothing_behind(clips, tmp_path, arguments, message):
    out = tmp_path / "run"
    process = run("classify.py", "--data", clips, "--out", out, *arguments, *SMALL, cwd=tmp_path)
    assert process.returncode == 1 and message in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1 and not out.exists()


def test_a_finished_run_is_not_written_over(finished, clips):
    _, folder = finished
    before = (folder / "model.npz").read_bytes()
    process = run("classify.py", "--data", clips, "--out", folder, *SMALL, cwd=folder.parent)
    assert process.returncode == 1 and "holds a run" in process.stderr
    assert (folder / "model.npz").read_bytes() == before


def test_bad_clips_are_named_before_training_or_left_out(clips, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(clips, data)
    for name in ("red", "blue"):
        (data / name / "0_broken.mp4").write_text("no video")
    common = ["--data", data, "--out", tmp_path / "run", *SMALL[2:], "--epochs", "1"]
    common += ["--model", "FrameCNN"]
    process = run("classify.py", *common, cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.count("0_broken.mp4") >= 2 and "--skip-bad" in process.stderr
    assert not (tmp_path / "run").exists()
    process = run("classify.py", *common, "--skip-bad", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("left out: ") == 2


def test_predict_goes_on_after_a_clip_that_is_missing(finished, clips):
    _, folder = finished
    process = run("predict.py", "nowhere.mp4", clips / "blue" / "1_2.mp4", "--weights",
                  folder / "model.npz", cwd=folder)  # fmt: skip
    assert process.returncode == 1
    assert "nowhere.mp4" in process.stderr and "1_2.mp4: blue" in process.stdout
