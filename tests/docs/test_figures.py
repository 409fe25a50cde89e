"""Every figure of the course is drawn by a script in the repo, and the scripts run."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
SCRIPTS = sorted(p for p in FIGURES.glob("[!_]*.py") if p.stem != "draw_all")
SLOW = {
    "attention_lean",
    "gradient_check_errors",
    "ladder_attention",
    "ladder_degree",
    "ladder_gradients",
    "ladder_three_ways",
    "lstm_recall",
    "main_job",
    "signal_sizes",
    "unet_masks",
}  # they train or need a run, time, decode clips, or check all layers: run by hand
LARGEST = 300_000  # bytes: a page should open at once


def test_every_picture_has_its_script():
    pictures = {p.stem for p in FIGURES.glob("*.png")}
    assert pictures == {p.stem for p in SCRIPTS}


def test_pictures_are_small():
    sizes = {p.name: p.stat().st_size for p in FIGURES.glob("*.png")}
    assert not {name: size for name, size in sizes.items() if size > LARGEST}


def test_every_picture_is_used_on_some_page():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    used = set(re.findall(r"figures/([\w\-]+)\.png", text))
    assert used == {p.stem for p in FIGURES.glob("*.png")}


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.stem not in SLOW], ids=lambda s: s.stem)
def test_script_draws_its_picture(script, tmp_path, monkeypatch):
    """Run on a copy, so that the picture is drawn next to the copy."""
    for file in FIGURES.glob("_*.py"):
        shutil.copy(file, tmp_path)
    copy = shutil.copy(script, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "_figure", raising=False)
    runpy.run_path(str(copy), run_name="__main__")
    assert [p.name for p in tmp_path.glob("*.png")] == [f"{script.stem}.png"]


def test_draw_all_draws_all_or_what_is_named(capsys):
    chosen = runpy.run_path(str(FIGURES / "draw_all.py"))["chosen"]
    assert chosen([]) == ([script.stem for script in SCRIPTS], None)
    assert chosen(["schedules"]) == (["schedules"], None)
    assert chosen(["schedules", "--run", "there"]) == (["schedules"], "there")
    with pytest.raises(SystemExit):
        chosen(["shedules"])
    assert "no figure 'shedules'; there are " in capsys.readouterr().err
