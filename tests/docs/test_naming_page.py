"""The tables of chapter 26 are written by one command, from what examples/classify.py leaves."""

import runpy
from pathlib import Path

import pytest

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"


@pytest.fixture(scope="module")
def writer():
    return runpy.run_path(str(FIGURES / "_defaults.py"))


def run(seed, accuracy):
    numbers = {"accuracy": accuracy, "seconds": 60 + seed, "parameters": 1234}
    return numbers | {"commonest_class": 0.125, "test_clips": 80, "settings": {"seed": seed}}


def test_each_table_is_put_between_its_marks_and_nothing_else_is_touched(writer):
    fill, page = writer["fill"], writer["PAGE"].read_text(encoding="utf-8")
    for mark in ("", writer["FOLDS"]):
        once = fill(page, mark, "| new |")
        assert "\n| new |\n" in once and fill(once, mark, "| new |") == once
        begin = writer["BEGIN"].format(mark)
        assert once.split(begin)[0] == page.split(begin)[0]
        own, others = (text.split(begin)[1].split(writer["END"], 1) for text in (once, page))
        assert own[0] == "\n| new |\n" and own[1] == others[1]


def test_the_table_of_all_networks(writer):
    text = writer["of_defaults"]({"A": [run(0, 1.0), run(3, 0.75)], "B:x=1": [run(0, 0.5)]})
    assert "seeds 0, 3" in text and "has 12 %" in text.replace("\n", " ")
    *_, a, b = text.strip().splitlines()
    assert a == "| `A` | 1,234 | 100, 75 | 62 |" and b == "| `B:x=1` | 1,234 | 50 | 60 |"


def test_the_table_of_folds(writer):
    folds = [{"labels": [0, 1, 1], "parameters": 99}, {"labels": [1], "parameters": 99}]
    metrics = {"model": "A", "mean": 0.5, "sd": 0.125, "pooled": 0.75, "seconds": 90.0}
    metrics |= {"commonest_class": 0.6, "classes": ["sit", "walk"], "folds": folds}
    text = writer["of_folds"]([metrics])
    assert "2 folds of 4 clips of 2 classes" in text and "has 60.0 %" in text.replace("\n", " ")
    assert text.strip().splitlines()[-1] == "| `A` | 99 | 50.0 ± 12.5 | 75.0 | 1.5 |"
