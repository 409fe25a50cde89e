"""Weights and training state in files: NumPy's .npz, with a JSON header and without pickle.

A file is a zip archive that `np.load` opens too:

    backreel.json             what the file holds: the module's class, metadata, training state
    features.0.weight.npy     one array for each parameter and buffer, named as in `state_dict`
    optimizer/0.velocity.npy  in a checkpoint also what the optimiser and the schedule remember

`save` and `load` are for weights; `write` and `read` below them carry checkpoints as well.
"""

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from nn.finite import all_finite, not_finite

HEADER = "backreel.json"
FORMAT, VERSION = "backreel", 1


def save(module, path, **metadata):
    """Write all parameters and buffers of `module`, and `metadata`, to `path` (.npz).

    `metadata` is whatever JSON can hold (class names, preprocessing); `load` returns it. The
    file appears whole or not at all: a former one at `path` stays until the new one is done.

    Raises ValueError, and leaves the former file, when a weight is not finite.
    """
    write(path, weights(module), {"module": type(module).__name__, "metadata": metadata})


def load(module, path):
    """Read weights written by `save` (or a checkpoint) into `module`, in place → metadata.

    Raises FileNotFoundError when there is no such file, ValueError, with the path and the
    reason, when it is no .npz, was not written by Backreel, is damaged, or does not fit the
    module. Then the module is unchanged. Nothing in a file is ever executed.
    """
    header, arrays = read(path)
    fill(module, arrays[""], header, path)
    return header["metadata"]


def weights(module):
    """Parameters and buffers, named as in `state_dict`, but not copied."""
    return {name: p.data for name, p in module.named_parameters()} | dict(module.named_buffers())


def fill(module, arrays, header, path):
    """Load `arrays`, read from `path`, into `module`; a ValueError names the file."""
    try:
        module.load_state_dict(arrays)
    except ValueError as error:
        raise ValueError(f"{path} (weights of a {header['module']}): {error}") from None


def write(path, arrays, header):
    """Write {name: array} and a JSON header to `path`, atomically.

    The file is written beside its place under another name, forced to disk, and then renamed,
    which the operating system does at once or not at all. Whoever dies on the way, by an
    error, a kill or a power cut, leaves the former file as it was.
    """
    path = Path(path)
    text = _json(path, {"format": FORMAT, "version": VERSION, **header})
    for name, array in arrays.items():
        if not all_finite(array):
            raise ValueError(f"{path}: not written, since {name} is bad: {not_finite(array)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: not written, since there is no folder {path.parent}")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(zipfile.ZipInfo(HEADER), text)
                for name, array in arrays.items():
                    # ZipInfo has a fixed date: equal contents give equal files.
                    entry = zipfile.ZipInfo(f"{name}.npy")
                    with archive.open(entry, "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read(path):
    """What `write` wrote → (header, {folder: {name: array}}); weights are in folder ""."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, expected a weight file (.npz)")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such weight file")
    try:
        with zipfile.ZipFile(path) as archive:
            if HEADER not in archive.namelist():
                raise ValueError(f"it was not written by Backreel (it has no {HEADER})")
            header = _header(archive.read(HEADER))
            arrays = {"": {}}
            for entry in archive.namelist():
                if entry == HEADER:
                    continue
                folder, _, name = entry.removesuffix(".npy").rpartition("/")
                with archive.open(entry) as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                if array.dtype.kind not in "fiub":
                    raise ValueError(f"{name} holds {array.dtype}, expected numbers")
                if not all_finite(array):
                    raise ValueError(f"{name} is bad: {not_finite(array)}")
                arrays.setdefault(folder, {})[name] = array
    except zipfile.BadZipFile as error:
        kind = "is damaged" if zipfile.is_zipfile(path) else "is no .npz file, or it is cut short"
        raise ValueError(f"{path}: cannot be loaded, since it {kind} ({error})") from None
    except (ValueError, EOFError, OSError, RuntimeError, MemoryError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be loaded: {error}") from None
    return header, arrays


def random_states(module):
    """{dotted name: state} of every random generator that a module inside keeps."""
    return {name: rng.bit_generator.state for name, rng in _generators(module)}


def set_random_states(module, states):
    """Put every generator back to where `random_states` found it."""
    for name, rng in _generators(module):
        if name not in states:
            raise ValueError(f"the state of the generator {name} is missing")
        rng.bit_generator.state = states[name]


def _generators(module):
    for prefix, inner in module.named_modules():
        for name, value in vars(inner).items():
            if isinstance(value, np.random.Generator):
                yield (f"{prefix}.{name}" if prefix else name), value


def _json(path, header):
    def plain(value):
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(
            f"{path}: not written, since JSON cannot hold a {type(value).__name__}: {value!r}"
        )

    return json.dumps(header, default=plain, indent=1)


def _header(text):
    header = json.loads(text)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("it was not written by Backreel (its header is another one)")
    if header.get("version") != VERSION:
        raise ValueError(
            f"its format is version {header.get('version')}, this Backreel reads {VERSION}"
        )
    return {"module": "module", "metadata": {}, **header}


def _sync_folder(folder):
    """Force the renaming itself to disk, where folders can be opened for that (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
