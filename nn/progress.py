"""How far a training has come, and how that is shown."""

import math
from dataclasses import dataclass, field

from tqdm import tqdm


@dataclass
class Progress:
    """What a checkpoint holds beside arrays: plain values, which JSON keeps to the last bit."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # steps done in the epoch under way
    trained: bool = False  # are its steps all done, so that only its validation is missing?
    step: int = 0  # steps in all
    sums: dict = field(default_factory=dict)  # {name: [Σ N · value, Σ N]} of the epoch under way
    lr: float = 0.0  # of the latest step
    seconds: float = 0.0  # spent on the epoch under way
    history: list = field(default_factory=list)
    best: dict | None = None
    loaders: list | None = None  # after a break: where the two loaders go on

    def end_epoch(self, scores):
        """Enter the epoch under way into the history, with `scores` of its validation."""
        self.epoch += 1
        entry = {"epoch": self.epoch, "step": self.step}
        entry |= {f"train_{name}": value for name, value in means(self.sums).items()}
        entry |= {f"val_{name}": value for name, value in scores.items()}
        entry |= {"lr": self.lr, "seconds": self.seconds}
        self.history.append(entry)
        self.batch, self.trained, self.sums, self.seconds = 0, False, {}, 0.0
        return entry

    def is_best(self, monitor):
        """Is the latest epoch better than all before? If so it is noted in `best`.

        A name that ends in "loss" or "error" is better when lower, any other when higher.
        """
        value = self.history[-1][monitor]
        if self.best is not None and self.best["monitor"] == monitor:
            lower_is_better = monitor.endswith(("loss", "error"))
            former = self.best["value"]
            better = value < former if lower_is_better else value > former
            if not (better or math.isnan(former)):
                return False
        self.best = {"epoch": self.epoch, "monitor": monitor, "value": value}
        return True

    def farewell(self, directory):
        """What to say after Ctrl-C: where training stopped, and how it goes on."""
        at = f"after epoch {self.epoch}"
        if self.batch:
            at = f"in epoch {self.epoch + 1} after step {self.batch}"
        if directory is None:
            return f"stopped {at}; nothing was saved, as the trainer has no directory"
        path = directory / "last.npz"
        return f"stopped {at}, saved in {path}; resume() and the same fit() go on from there"


def add(sums, values, N):
    """Add the values of a batch of N examples to running sums."""
    for name, value in values.items():
        total, count = sums.get(name, (0.0, 0))
        sums[name] = [total + value * N, count + N]


def means(sums):
    """{name: mean over all examples}."""
    return {name: total / count for name, (total, count) in sums.items()}


def bar(title, total, done=0, quiet=False):
    """A progress bar; nothing where nobody looks, in a file or a pipe."""
    return tqdm(desc=title, total=total, initial=done, leave=False, disable=True if quiet else None)


def words(values):
    """{"lr": "0.01", "train_loss": "1.23"}: for the bar and the line of an epoch."""
    return {
        name: f"{value:.1f}" if name == "seconds" else f"{value:.3g}"
        for name, value in values.items()
    }


def epoch_line(entry, epochs):
    """One line for an epoch, which stays on the terminal and in a log, with the time left.

    The first epoch, in which kernels may be compiled, says nothing about the others.
    """
    shown = words({k: v for k, v in entry.items() if k not in ("epoch", "step", "seconds")})
    minutes, seconds = divmod(round(entry["seconds"] * (epochs - entry["epoch"])), 60)
    scores = "  ".join(f"{name} {value}" for name, value in shown.items())
    left = f"  {minutes}:{seconds:02d} left" if entry["epoch"] > 1 else ""
    return f"epoch {entry['epoch']}/{epochs}  {scores}{left}"


def is_told(epoch, epochs, most=60):
    """Of many short epochs, only so many get a line: evenly spaced ones, and the last."""
    every = -(-epochs // most)
    return epoch % every == 0 or epoch == epochs
