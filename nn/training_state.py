"""The checkpoint `last.npz`: a trainer's whole state, to the file and back.

Besides the weights it holds all that the next step depends on: what optimiser and schedule
remember, the random generators of the layers, the places of the loaders and the running sums.
"""

from dataclasses import asdict

from nn import checkpoint
from nn.progress import Progress


def write(path, trainer, places):
    """Write the state of `trainer`, whose two loaders are at `places`, to `path`."""
    arrays = checkpoint.weights(trainer.model)
    for folder, owner in _owners(trainer).items():
        arrays |= {f"{folder}/{name}": value for name, value in owner.state_dict().items()}
    header = {
        "module": type(trainer.model).__name__,
        "owners": _kinds(trainer),
        "random": checkpoint.random_states(trainer.model),
        "training": asdict(trainer.progress) | {"loaders": places},
    }
    checkpoint.write(path, arrays, header)


def read(path, trainer):
    """Put `trainer`, built as the one that wrote `path`, into the state written there."""
    header, arrays = checkpoint.read(path)
    if "training" not in header:
        raise ValueError(f"{path}: holds weights only, no training to go on with")
    if header["owners"] != _kinds(trainer):
        raise ValueError(
            f"{path}: was written with {header['owners']}, this trainer has {_kinds(trainer)}"
        )
    checkpoint.fill(trainer.model, arrays[""], header, path)
    try:
        for folder, owner in _owners(trainer).items():
            owner.load_state_dict(arrays[folder])
        checkpoint.set_random_states(trainer.model, header["random"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    trainer.progress = Progress(**header["training"])


def _owners(trainer):
    owners = {"optimizer": trainer.optimizer, "schedule": trainer.schedule}
    return {folder: owner for folder, owner in owners.items() if owner is not None}


def _kinds(trainer):
    return " and ".join(type(owner).__name__ for owner in _owners(trainer).values())
