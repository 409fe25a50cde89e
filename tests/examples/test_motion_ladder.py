"""The ladder as a user runs it, in small; and what its numbers mean."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from video import models
from video.synthetic import MotionWorld
from video.tasks import ladder, ladder_looks, ladder_pictures, ladder_report

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--clips", "2", "--test-clips", "1", "--size", "16", "--workers", "1"]
SMALL += ["--models", "FrameCNN", "--quick", "--drawn", "5"]


def command(*arguments):
    return [sys.executable, ROOT / "examples" / "motion_ladder.py", *map(str, arguments)]


def run(*arguments, cwd):
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    process = run(*SMALL, "--seen", "80", "--seeds", "0", "1", "--out", folder, cwd=folder.parent)
    assert process.returncode == 0, process.stderr
    return process, folder


def test_it_prints_and_draws_one_table(finished):
    process, folder = finished
    table = (folder / "ladder.md").read_text()
    assert table in process.stdout
    row, baseline = table.strip().splitlines()[2:]
    assert row.startswith("| FrameCNN") and "50.0 ± 0.0" in row
    assert baseline.startswith("| commonest class") and "8.3" in baseline
    assert "is shown 72 clips, 3 times 24, of 16 frames of 16×16" in process.stdout
    for picture in ("ladder.png", "three_ways.png"):
        assert (folder / picture).read_bytes()[:4] == b"\x89PNG" and picture in process.stdout
    assert not (folder / "attention.png").exists()  # nobody was trained who attends
    results = json.loads((folder / "ladder.json").read_text())
    assert [result["seed"] for result in results] == [0, 1]
    for result in results:
        assert result["pairs"] == 0.5 and result["kept"] == 1 and result["turned"] == 0
        assert result["test_clips"] == 12 and result["seconds"] > 0
        assert result["seen"] == 72  # 24 clips, three times: as near to 80 as whole epochs come
        assert (folder / f"FrameCNN-seed{result['seed']}" / "model.npz").is_file()


def test_a_finished_run_is_not_trained_again(finished):
    process, folder = finished
    started = time.monotonic()
    again = run("--resume", folder, cwd=folder.parent)
    assert again.returncode == 0, again.stderr
    assert (folder / "ladder.md").read_text() in again.stdout
    assert run("--resume", folder, "--seen", "5", cwd=folder.parent).returncode == 2
    taken = run(*SMALL, "--out", folder, cwd=folder.parent)
    assert taken.returncode == 1 and "holds a run" in taken.stderr
    assert time.monotonic() - started < 100


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["--models", "FrameCNN", "CNNRNN:cell=foo"], "CNNRNN: cell must be one of"),
        (["--models", "FrameCNN:heads=2"], "FrameCNN:heads=2"),
        (["--size", "8"], "Conv3dNet: frames of 8×8 are too small"),
    ],
)
def test_networks_that_cannot_be_built_leave_nothing_behind(wrong, message, tmp_path):
    process = run("--quick", *wrong, "--out", tmp_path / "run", cwd=tmp_path)
    assert process.returncode == 1 and message in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())  # no clips were drawn for it


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another process")
def test_ctrl_c_and_resume_end_where_an_uninterrupted_run_does(finished):
    _, folder = finished
    other = folder.parent / "broken"
    process = subprocess.Popen(
        # More seeds than are compared: there is still much to do when the signal comes.
        command(*SMALL, "--seen", "80", "--seeds", *range(5), "--out", other),
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (other / "FrameCNN-seed0" / "result.json").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in output
    resumed = run("--resume", other, cwd=folder.parent)
    assert resumed.returncode == 0, resumed.stderr
    for seed in (0, 1):
        weights = [np.load(d / f"FrameCNN-seed{seed}" / "model.npz") for d in (folder, other)]
        for name in weights[0].files:
            assert np.array_equal(weights[0][name], weights[1][name]), name


def test_clips_are_drawn_with_the_seed_that_is_asked_for(finished):
    settings = ladder.Settings.load(finished[1])
    manifest = json.loads((Path(settings.data) / "manifest.json").read_text(encoding="utf-8"))
    assert settings.drawn == manifest["settings"]["seed"] == 5


@pytest.fixture(scope="module")
def untrained(finished, tmp_path_factory):
    """A run's folder as if networks that attend and recur had been trained for no step."""
    names = ("CNNAttention", "CNNRNN", ladder.PLAIN_RECURRENCE)
    data = ladder.Settings.load(finished[1]).data
    settings = ladder.Settings(data, networks=names, seeds=(0,), size=(16, 16), frames=5)
    directory = tmp_path_factory.mktemp("untrained")
    _, test = ladder.open_folders(settings)
    results = []
    for name in names:
        place = ladder.place_of(name, 0, directory)
        place.mkdir()
        model = ladder.build(name, 12, settings, rng=0)
        models.save(model, place / "model.npz", test.classes, ladder.preprocessing(settings))
        results.append({"network": name, "accuracy": 0.1})
    return results, settings, directory, test


def test_all_pictures_are_drawn_and_their_numbers_kept(untrained):
    results, settings, directory, test = untrained
    paths = ladder_pictures.draw_all(results, settings, directory)
    names = ["three_ways.png", "attention.png", "degree.png", "gradients.png"]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)
    kept = json.loads((directory / "pictures.json").read_text())
    assert np.allclose(np.sum(kept["attention"]["asked"], axis=-1), 1, atol=1e-4)
    assert set(kept["gradients"]) == {
        f"{c} {s}" for c in ("RNN", "LSTM") for s in ("fresh", "trained")
    }
    for way, order in (("filmed", [0, 1, 2, 3, 4]), ("backwards", [4, 3, 2, 1, 0])):
        clips = ladder_looks.played(test, way, [3, 7])
        assert np.array_equal(clips, np.stack([test[i][0][order] for i in (3, 7)]))
    shuffled = ladder_looks.played(test, "shuffled", [3, 7])
    assert np.array_equal(shuffled, ladder_looks.played(test, "shuffled", [3, 7]))
    assert looks_of(untrained, "FrameCNN") is None


def looks_of(run, name):
    _, settings, directory, _ = run
    return ladder_looks.trained(name, 0, settings, directory)


def test_attention_that_is_looked_at(untrained):
    *_, test = untrained
    clips = ladder_looks.played(test, "filmed", [0, 5, 9])
    model = looks_of(untrained, "CNNAttention")
    asked, among = ladder_looks.attention(model, clips)
    assert asked.shape == (3, 4, 5) and among.shape == (3, 4, 5, 5)
    assert np.allclose(asked.sum(axis=-1), 1) and np.allclose(among.sum(axis=-1), 1)
    a, p = ladder_looks.degrees(model, clips)
    back, turned = ladder_looks.degrees(model, clips[:, ::-1])
    assert np.allclose(a, back[:, ::-1], atol=1e-4) and np.ptp(a) > 1e-3
    assert np.allclose(p, turned[:, ::-1, ::-1], atol=1e-4)
    assert np.allclose(p.sum(axis=-1), 1)


def test_gradients_reach_earlier_steps_through_the_state_alone(untrained):
    *_, test = untrained
    clips, labels = ladder_looks.played(test, "filmed", [0, 5, 9]), np.array([0, 1, 2])
    model = looks_of(untrained, ladder.PLAIN_RECURRENCE)
    norms = ladder_looks.gradients_by_step(model, clips, labels)
    assert norms.shape == (5,) and norms.min() > 0
    model.rnn.W.data[...] = 0  # no way from state to state
    norms = ladder_looks.gradients_by_step(model, clips, labels)
    assert norms[-1] > 0 and not norms[:-1].any()


def test_scores_of_a_network_that_sees_time_and_of_one_that_does_not():
    labels = np.array([0, 1, 2, 3, 0, 2])
    partner = np.array([1, 0, 3, 2])
    sees = 5 * np.eye(4)[labels]
    sees[4] = [1, 2, 0, 0]  # one error, within its pair
    logits = {"filmed": sees, "backwards": sees[:, partner], "shuffled": np.zeros((6, 4))}
    found = ladder.scores(logits, labels, partner)
    assert found["accuracy"] == found["pairs"] == pytest.approx(5 / 6)
    assert found["turned"] == 1 and found["kept"] == 0
    assert found["shuffled_pairs"] == 0.5 and found["test_clips"] == 6

    blind = np.eye(4)[[0, 0, 2, 2, 0, 2]]  # knows the pair, says the first of it
    logits = dict.fromkeys(("filmed", "backwards", "shuffled"), blind)
    found = ladder.scores(logits, labels, partner)
    assert found["accuracy"] == found["pairs"] == pytest.approx(4 / 6)
    assert found["turned"] == 0 and found["kept"] == 1


def test_a_leak_is_noticed():
    result = {"network": "Blind", "seed": 0, "kept": 1.0, "pairs": 0.58, "test_clips": 240}
    assert ladder_report.leaks([result]) == ["Blind"]
    assert ladder_report.leaks([result | {"pairs": 0.56}]) == []
    assert ladder_report.leaks([result | {"kept": 0.2, "pairs": 0.99}]) == []


def test_partners_are_those_of_the_set():
    classes = sorted(MotionWorld().classes)
    partner = ladder.partners(classes)
    assert classes[partner[classes.index("left")]] == "right"
    assert np.array_equal(partner[partner], np.arange(len(classes)))
    assert ladder.mirrored(classes) == {"left": "right", "anticlockwise": "clockwise"}
    with pytest.raises(ValueError, match="right"):
        ladder.partners(["right", "up", "down"])


def test_networks_are_built_with_options():
    settings = ladder.Settings("", size=(16, 24), frames=5)
    model = ladder.build("FrameCNN", 6, settings, rng=0)
    assert (model.num_classes, model.size, model.frames) == (6, (16, 24), 5)
    for wrong in ("Frame", "FrameCNN:cell=gru"):
        with pytest.raises(ValueError, match=wrong):
            ladder.build(wrong, 6, settings)
    assert "FrameCNN" in ladder.networks()


def test_standard_deviation_over_seeds():
    assert ladder_report.spread([{"pairs": 0.5}, {"pairs": 0.6}], "pairs") == "55.0 ± 7.1"
    assert ladder_report.spread([{"pairs": 0.5}], "pairs") == "50.0"
