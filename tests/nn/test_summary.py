"""The table of what a network costs, against numbers counted by hand."""

import re

import numpy as np
import pytest

import nn
from nn.summary import short, summary
from video.models import FrameCNN


def table(text):
    """{label: [cells]} of a summary, and its last line."""
    header, _, *rows, _, total = text.splitlines()
    assert header.split() == ["module", "output", "parameters", "mult-adds", "saved"]
    cells = {}
    for row in rows:
        label, rest = row[:58].strip(), row[58:]
        assert label not in cells
        cells[label] = [rest[:21].strip(), *(rest[i : i + w].strip() for i, w in COLUMNS)]
    return cells, [total[58 + 21 :][i - 21 : i - 21 + w].strip() for i, w in COLUMNS]


COLUMNS = [(21, 13), (34, 11), (45, 11)]


def test_a_small_convolutional_network():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 3 * 8, 5),
    )
    rows, total = table(model.summary((9, 7, 3)))
    conv, norm, relu, pool, flatten, dense = list(rows.values())[1:]
    # 9·7 places, 3·3·3 taps, 8 outputs; saves x: 9·7·3 numbers of 4 bytes
    assert conv == ["(9, 7, 8)", f"{3 * 3 * 3 * 8 + 8}", short(63 * 27 * 8), "756 B"]
    assert norm == ["(9, 7, 8)", "16", "", short(63 * 8 * 4 + 2 * 8 * 4, "B")]  # x; mean, r
    assert relu == ["(9, 7, 8)", "", "", short(63 * 8 * 4, "B")]
    assert pool[:3] == ["(4, 3, 8)", "", ""]
    assert flatten == ["(96,)", "", "", ""]  # only a shape
    assert dense == ["(5,)", "485", "480", "384 B"]
    assert list(rows)[1] == "0: Conv2d(3, 8, kernel_size=(3, 3), padding=(1, 1))"
    assert total[0] == f"{model.num_parameters}" == f"{224 + 16 + 485}"
    assert total[1] == short(63 * 27 * 8 + 480)


def test_the_frames_of_a_clip_are_folded_into_the_batch():
    T, H, W = 5, 12, 9
    model = FrameCNN(4, size=(H, W), frames=T, channels=(3, 6, 7, 10))
    rows, total = table(model.summary((T, H, W, 3)))
    assert rows["FrameCNN(4, size=(12, 9), frames=5)"][0] == "(4,)"
    convs = [row for label, row in rows.items() if "Conv2d" in label]
    assert convs[0][0] == "5 × (12, 9, 6)"
    assert convs[1][0] == "5 × (6, 4, 7)"
    work = [H * W * 27 * 6, 6 * 4 * 54 * 7, 3 * 2 * 7 * 10, 10 * 4]
    assert convs[0][2] == short(T * work[0])
    assert total[1] == short(T * sum(work))
    assert total[0] == f"{27 * 6 + 6 + 54 * 7 + 7 + 42 * 10 + 10 + 40 + 4:,}"


def test_an_array_that_two_layers_keep_is_counted_once():
    """ReLU keeps its output, and the convolution behind it keeps its input: the same array."""
    body = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    model = nn.Residual(body, shortcut=nn.Conv2d(4, 4, 1))
    rows, total = table(model.summary((6, 5, 4)))
    size = 6 * 5 * 4 * 4  # bytes
    saved = {label.split("(")[0]: row[3] for label, row in rows.items()}
    assert saved["0: ReLU"] == f"{size} B"
    assert saved["1: Conv2d"] == ""  # it is the array that ReLU keeps
    assert saved["shortcut: Conv2d"] == f"{size} B"  # x itself, which nobody else keeps
    assert total[2] == f"{2 * size} B"


def test_a_shared_module_works_twice_and_is_shown_once():
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    rows, total = table(model.summary((6,)))
    assert list(rows) == ["Sequential", "0: Linear(6, 6)", "1: Tanh()"]
    assert rows["0: Linear(6, 6)"] == ["(6,)", "42", "72", "48 B"]  # x, and what Tanh gives
    assert rows["1: Tanh()"][3] == ""  # it keeps what it gives: counted a row above
    assert total[:2] == ["42", "72"]


def test_transposed_convolutions_work_at_every_place_of_their_input():
    model = nn.ConvTranspose2d(3, 5, (2, 3), stride=2)
    rows, total = table(model.summary((4, 6, 3)))
    (row,) = rows.values()
    assert row == ["(8, 13, 5)", "95", short(4 * 6 * 3 * 5 * 6), "288 B"]


@pytest.mark.parametrize("groups", [1, 3])
def test_groups_divide_the_work(groups):
    rows, _ = table(nn.Conv1d(6, 9, 5, groups=groups, bias=False).summary((11, 6)))
    (row,) = rows.values()
    assert row[:3] == ["(7, 9)", f"{5 * 6 * 9 // groups}", short(7 * 5 * 6 * 9 // groups)]


class List(nn.Module):
    """Modules in a list are one step inside, and one of them rests."""

    def __init__(self):
        self.parts = [nn.Linear(3, 4), nn.Tanh()]

    def forward(self, x):
        return self.parts[0](x)


def test_the_tree_is_indented_as_repr_does():
    text = List().summary((3,)).splitlines()
    assert text[3].startswith("  parts.0: Linear(3, 4)")
    assert re.fullmatch(r"  parts\.1: Tanh\(\) +not used", text[4])


def test_nothing_is_left_changed():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), nn.Dropout(0.5, rng=0), nn.Linear(4, 2))
    model[2].eval()
    model.astype(np.float64)
    x, dy = np.random.default_rng(0).random((5, 3)), np.ones((5, 2))
    model(x)
    state = model.state_dict()
    model.summary((3,))
    for name, values in model.state_dict().items():
        assert np.array_equal(values, state[name]), name
    assert [m.training for _, m in model.named_modules()] == [True, True, True, False, True]
    assert model.backward(dy).shape == (5, 3)  # what was saved before is still there
    with pytest.raises(RuntimeError, match="backward without a forward"):
        model.backward(dy)


def test_saved_bytes_follow_the_precision_of_the_model():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    assert table(model.summary((3,)))[1][2] == "28 B"
    assert table(model.astype(np.float64).summary((3,)))[1][2] == "56 B"


def test_ids_are_fed_to_an_embedding():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    rows, _ = table(model.summary((7,)))
    assert rows["0: Embedding(10, 4)"][:2] == ["(7, 4)", "40"]


def test_long_names_are_cut():
    name = nn.Conv3d(128, 256, (3, 5, 7), stride=(1, 2, 2), padding=(1, 2, 3), groups=2)
    first = nn.Sequential(name).summary((3, 6, 8, 128)).splitlines()[3]
    assert first[57] == "…" and first[58] == " "
    assert first.split("…")[1].split()[:4] == ["(3,", "3,", "4,", "256)"]


class Two(nn.Module):
    def forward(self, query, key, mask=None):
        return query + key


def test_a_shape_stands_for_one_input():
    with pytest.raises(ValueError, match=r"Two\(\): .*one input, but forward takes 2 \(query, key"):
        summary(Two(), (3,))


def test_a_wrong_shape_is_named_by_the_layer_and_restores_all():
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 4))
    with pytest.raises(ValueError, match=r"Linear\(3, 4\): expected an input \(..., 3\), got"):
        model.summary((5,))
    assert all(m.training and not m._saved for _, m in model.named_modules())


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, ""), (7, "7"), (999, "999"), (1000, "1 k"), (999_499, "999 k"), (999_700, "1 M")]
    + [(12_345_678, "12.3 M"), (4.2e9, "4.2 G"), (1.5e12, "1.5 T"), (2e15, "2 P")],
)
def test_short_numbers(number, text):
    assert short(number) == text


def test_short_bytes():
    assert (short(56, "B"), short(2048, "B"), short(0, "B")) == ("56 B", "2.05 kB", "")
