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
SMALL = ["--epochs", "3", "--size", "16", "--frames", "4", "--batch-size", "4", "--workers", "1"]


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
    *_, baseline, accuracy = process.stdout.strip().splitlines()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (
        baseline
        == f"Always answering the commonest class: {100 * metrics['commonest_class']:.0f} %"
    )
    assert accuracy == f"Accuracy: {100 * metrics['accuracy']:.0f} %"
    assert metrics["accuracy"] == 1.0  # red and blue: anything less is a broken pipeline
    assert metrics["commonest_class"] == 0.5
    assert len(metrics["history"]) == 3


def test_it_leaves_pictures_weights_and_an_annotated_video(finished):
    _, folder = finished
    for name in ("curves.png", "confusion.png", "contact_sheet.png"):
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


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to one process is POSIX")
def test_stopped_by_ctrl_c_and_resumed_it_is_the_same_run(finished, clips, tmp_path):
    _, whole = finished
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "classify.py", "--data", clips, "--group", r"^\d+",
         "--out", tmp_path / "stopped", *SMALL],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    for line in process.stdout:
        if "epoch 1/3" in line:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "--resume" in rest
    again = run("classify.py", "--out", tmp_path / "stopped", "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    with np.load(whole / "model.npz") as one, np.load(tmp_path / "stopped" / "model.npz") as two:
        assert one.files == two.files
        assert all(np.array_equal(one[name], two[name]) for name in one.files)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "empty"], "empty: expected one folder per class"),
        (["--data", "half"], "half: train and test belong together"),
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
    [["--epochs", "0"], ["--lr", "nan"], ["--size", "3"], ["--resume", "x", "--epochs", "3"]],
)
def test_impossible_options_are_refused(tmp_path, arguments):
    process = run("classify.py", *arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert "error: " in process.stderr and "Traceback" not in process.stderr


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
