"""The table of chapter 26 is written by one command, from what examples/classify.py leaves."""

import runpy
from pathlib import Path

import pytest

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"


@pytest.fixture(scope="module")
def writer():
    return runpy.run_path(str(FIGURES / "_folds.py"))


def test_the_table_is_put_between_its_marks_and_nothing_else_is_touched(writer):
    page = writer["PAGE"].read_text(encoding="utf-8")
    once = writer["fill"](page, "| new |")
    assert writer["fill"](once, "| new |") == once
    begin, end = writer["BEGIN"], writer["END"]
    assert once.split(begin)[0] == page.split(begin)[0]
    assert once.split(end)[1:] == page.split(end)[1:]
    assert once.split(begin)[1].split(end)[0] == "\n| new |\n"


def test_the_table_of_folds(writer):
    folds = [{"labels": [0, 1, 1], "parameters": 99}, {"labels": [1], "parameters": 99}]
    metrics = {"model": "A", "mean": 0.5, "sd": 0.125, "pooled": 0.75, "seconds": 90.0}
    metrics |= {"commonest_class": 0.6, "classes": ["sit", "walk"], "folds": folds}
    text = writer["of_folds"]([metrics])
    assert "2 folds of 4 clips of 2 classes" in text and "has 60.0 %" in text.replace("\n", " ")
    assert text.strip().splitlines()[-1] == "| `A` | 99 | 50.0 ± 12.5 | 75.0 | 1.5 |"
