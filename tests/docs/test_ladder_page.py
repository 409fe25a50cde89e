"""The table of chapter 25 is written by one command, from what the ladder leaves."""

import runpy
import sys
from pathlib import Path

import pytest

from video.tasks import ladder

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"


@pytest.fixture
def writer(monkeypatch):
    monkeypatch.syspath_prepend(FIGURES)
    monkeypatch.delitem(sys.modules, "_figure", raising=False)
    return runpy.run_path(str(FIGURES / "_ladder.py"))


def result(network, seed):
    keys = ("accuracy", "pairs", "turned", "shuffled_accuracy", "shuffled_pairs")
    numbers = {key: 0.25 + 0.5 * seed for key in keys}
    common = {
        "parameters": 7,
        "seconds": 90,
        "clips_per_second": 3,
        "test_clips": 480,
        "seen": 8409,
    }
    return {"network": network, "seed": seed, **numbers, **common}


def test_the_table_is_put_between_the_marks_and_nothing_else_is_touched(writer):
    fill, page = writer["fill"], writer["PAGE"].read_text(encoding="utf-8")
    once = fill(page, "| new |")
    assert "\n| new |\n" in once and fill(once, "| new |") == once
    before, after = page.split(writer["BEGIN"])[0], page.split(writer["END"])[1]
    assert once.startswith(before) and once.endswith(after)
    assert all(f"`{name}`" in page for name in ladder.networks())  # each rung is explained


def test_a_short_run_says_so(writer):
    results = [result("FrameCNN", 0), result("FrameCNN", 1), result("CNNRNN", 0)]
    whole = writer["words"](ladder.Settings("", drawn=1, networks=("FrameCNN",)), results)
    assert "short" not in whole and "all together 4." in whole.replace("\n", " ")
    assert (
        "| FrameCNN " in whole
        and "50.0 ± 35.4" in whole
        and "with seed 1" in whole.replace("\n", " ")
    )
    assert "8,409 clips" in whole.replace("\n", " ")  # what was shown, not what was asked for
    short = writer["words"](ladder.Settings("", seeds=(0,)), results)
    assert "short run" in short.replace("\n", " ")


def test_pictures_are_drawn_from_no_run_but_the_one_that_is_named(
    writer, tmp_path, monkeypatch, capsys
):
    latest = tmp_path / "runs" / "ladder-quick" / "ladder.json"
    latest.parent.mkdir(parents=True)
    latest.write_text("[]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ladder_attention.py"])
    writer["draw_from_run"](None, "ladder_attention.py")
    assert "ladder_attention.png: left as it is" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ladder_attention.py", "runs/ladder-other"])
    with pytest.raises(FileNotFoundError, match="ladder-other"):
        writer["draw_from_run"](None, "ladder_attention.py")
