"""The command line of the bench; what it times is not timed here."""

import pytest

from nn.bench.__main__ import parse
from nn.bench.rows import ROWS

GROUPS = sorted({row.group for row in ROWS})


def test_everything_is_timed_when_nothing_is_named():
    assert parse([]).group == GROUPS
    assert parse([GROUPS[0], "--quick"]).group == GROUPS[:1]


def test_unknown_groups_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["stpe"])
    assert "no group 'stpe'; there are " + ", ".join(GROUPS) in capsys.readouterr().err
