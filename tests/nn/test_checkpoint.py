"""Files of weights: nothing lost on the way, nothing foreign let in."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nn
from nn import checkpoint

ROOT = Path(__file__).resolve().parents[2]


def network(seed=0, width=5):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 3 * 4, width, rng=rng),
    )


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


class Counting(nn.Module):
    """A module with state that is not learned."""

    buffers = ("seen",)

    def __init__(self):
        self.gain = nn.Parameter(np.float32([1.5, -2.0]))
        self.seen = np.array([3, 4], np.int64)


# ---- there and back -------------------------------------------------------------------------


def test_weights_and_metadata_come_back(tmp_path):
    path = tmp_path / "net.npz"
    saved, other = network(0), network(1)
    metadata = {"classes": ["left", "right", "ünten"], "preprocessing": {"mean": [0.5, 0.25]}}
    nn.save(saved, path, **metadata)
    before = {name: p.data for name, p in other.named_parameters()}
    assert nn.load(other, path) == metadata
    assert_same_weights(saved, other)
    for name, p in other.named_parameters():
        assert p.data is before[name], "loading writes in place: optimisers keep the same arrays"


def test_metadata_may_hold_numpy_values(tmp_path):
    nn.save(network(), tmp_path / "n.npz", mean=np.float32([0.5, 1]), count=np.int64(3))
    assert nn.load(network(), tmp_path / "n.npz") == {"mean": [0.5, 1.0], "count": 3}


def test_buffers_are_saved_too(tmp_path):
    module, other = Counting(), Counting()
    module.seen[:] = 7, 8
    nn.save(module, tmp_path / "c.npz")
    nn.load(other, str(tmp_path / "c.npz"))
    np.testing.assert_array_equal(other.seen, [7, 8])


def test_the_file_opens_with_numpy_alone(tmp_path):
    module = network()
    nn.save(module, tmp_path / "n.npz", note="x")
    with np.load(tmp_path / "n.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["0.weight"], module[0].weight.data)
        assert json.loads(file["backreel.json"])["metadata"] == {"note": "x"}


def test_equal_contents_give_equal_files(tmp_path):
    for name in ("a", "b"):
        nn.save(network(), tmp_path / name, note=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parameters_may_have_any_name(tmp_path):
    """`file` is an argument of np.savez: a parameter of that name must not be mistaken for it."""
    module = nn.Module()
    module.file = nn.Parameter(np.ones(2, np.float32))
    nn.save(module, tmp_path / "n.npz")
    module.file.data[:] = 0
    nn.load(module, tmp_path / "n.npz")
    np.testing.assert_array_equal(module.file.data, [1, 1])


def test_random_generators_go_back(tmp_path):
    for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64):
        module = nn.Sequential(nn.Dropout(0.5, rng=np.random.Generator(kind(3))))
        path = tmp_path / f"{kind.__name__}.npz"
        module[0].rng.random(5)
        checkpoint.write(path, {}, {"random": checkpoint.random_states(module)})
        expected = module[0].rng.random(4)
        checkpoint.set_random_states(module, checkpoint.read(path)[0]["random"])
        np.testing.assert_array_equal(module[0].rng.random(4), expected)


# ---- nothing lost ---------------------------------------------------------------------------


def test_a_failing_save_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "n.npz"
    nn.save(network(0), path)
    former = path.read_bytes()

    def full_disk(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        nn.save(network(1), path)
    assert path.read_bytes() == former
    assert os.listdir(tmp_path) == ["n.npz"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "np.lib.format.write_array"])
def test_a_killed_save_leaves_the_former_file(tmp_path, where):
    """The process dies while writing, before the new file is on disk, or before the renaming."""
    path = tmp_path / "n.npz"
    module = nn.Linear(30, 20, rng=0)
    nn.save(module, path, attempt=1)
    owner, _, name = where.rpartition(".")
    program = f"""
        import os, signal
        import numpy as np
        import nn

        def die(*args, **kwargs):
            if {name!r} == "write_array":
                args[0].write(b"half an array")
            os.kill(os.getpid(), signal.SIGKILL)

        module = nn.Linear(30, 20, rng=1)
        {owner}.{name} = die
        nn.save(module, {str(path)!r}, attempt=2)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL
    other = nn.Linear(30, 20, rng=2)
    assert nn.load(other, path) == {"attempt": 1}
    assert_same_weights(module, other)
    assert len(os.listdir(tmp_path)) == 2, "the unfinished file lies beside it"
    nn.save(module, path, attempt=3)
    assert nn.load(other, path) == {"attempt": 3}


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    path = tmp_path / "n.npz"
    module = network()
    nn.save(module, path)
    former = path.read_bytes()
    module[3].weight.data[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"n\.npz.*3\.weight.*1 of 240.*\[2, 1\], is nan"):
        nn.save(module, path)
    assert path.read_bytes() == former


def test_metadata_that_json_cannot_hold(tmp_path):
    with pytest.raises(TypeError, match=r"n\.npz: not written.*JSON cannot hold a set"):
        nn.save(network(), tmp_path / "n.npz", classes={"a"})
    assert not list(tmp_path.iterdir())


def test_saving_into_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        nn.save(network(), tmp_path / "missing" / "n.npz")


# ---- wrong and foreign files ----------------------------------------------------------------


def one_line(error, path):
    text = str(error.value)
    assert str(path) in text and "\n" not in text
    return text


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        nn.load(network(), tmp_path / "none.npz")
    assert "no such weight file" in one_line(error, tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError) as error:
        nn.load(network(), tmp_path)
    one_line(error, tmp_path)


def npy_bytes(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


class Trap:
    """Unpickling this would set a mark: nothing that is loaded may be executed."""

    sprung = []

    def __reduce__(self):
        return (Trap.sprung.append, (1,))


def foreign_npz():
    file = io.BytesIO()
    np.savez(file, **network().state_dict())
    return file.getvalue()


def with_members(**members):
    """A Backreel file with the given .npy members, which may be anything."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("backreel.json", json.dumps({"format": "backreel", "version": 1}))
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def with_header(header):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("backreel.json", header)
    return file.getvalue()


FOREIGN = {
    "empty": (b"", "no .npz file"),
    "text": (b"these are no weights\n" * 9, "no .npz file"),
    "an .npy array": (npy_bytes(np.ones(3)), "no .npz file"),
    "another program's npz": (foreign_npz(), "not written by Backreel"),
    "another header": (with_header(json.dumps({"format": "x"})), "not written by Backreel"),
    "a header of no JSON": (with_header("{"), "cannot be loaded"),
    "a newer version": (with_header(json.dumps({"format": "backreel", "version": 9})), "version 9"),
    "a pickle": (with_members(w=npy_bytes(np.array([Trap()]), allow_pickle=True)), "cannot be"),
    "strings": (with_members(w=npy_bytes(np.array(["a"]))), "w holds <U1, expected numbers"),
    "no array": (with_members(w=b"?"), "cannot be loaded"),
    "nothing finite": (with_members(w=npy_bytes(np.array([1, np.inf]))), r"w is bad: 1 of 2"),
    "nothing in it": (with_members(), "0.weight is missing"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files(tmp_path, case):
    data, reason = FOREIGN[case]
    path = tmp_path / "foreign.npz"
    path.write_bytes(data)
    module, untouched = network(), network()
    with pytest.raises(ValueError) as error:
        nn.load(module, path)
    assert reason in one_line(error, path)
    assert_same_weights(module, untouched)
    assert not Trap.sprung


def test_cut_short_and_overwritten(tmp_path):
    """Damage is seen wherever it is: a file cut anywhere, one byte changed in an array."""
    path = tmp_path / "n.npz"
    nn.save(network(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError) as error:
            nn.load(network(), path)
        one_line(error, path)
    at = whole.index(network()[3].weight.data.tobytes()[:16]) + 9
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    with pytest.raises(ValueError, match="is damaged"):
        nn.load(network(), path)


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "n.npz"
    nn.save(network(width=5), path)
    module = network(1, width=6)
    before = module.state_dict()
    with pytest.raises(ValueError) as error:
        nn.load(module, path)
    text = one_line(error, path)
    assert "3.weight has shape (48, 5), expected (48, 6)" in text and "Sequential" in text
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
