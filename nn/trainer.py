"""The training loop: steps, epochs, validation, checkpoints.

`Trainer.step` is the whole of training. The rest keeps count, checks numbers, and sees to it
that nothing is lost. `docs/06-training-loop.md` puts a plain loop of 20 lines beside it.
"""

import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nn import batches, checkpoint, progress, training_state
from nn.finite import all_finite, find_not_finite, not_finite
from nn.interrupt import StopOnCtrlC
from nn.losses import CrossEntropyLoss
from nn.metrics import accuracy
from nn.module import backward_to_parameters, inference
from nn.optim import clip_grad_norm
from nn.sanity import sanity_check

SAVE_EVERY = 300.0  # seconds between checkpoints within a long epoch
SAVING = 0.03  # the share of the time that checkpoints at the ends of short epochs may take


class Trainer:
    """Trains `model` with `loss` and `optimizer` on batches (inputs..., labels).

    - schedule: its `step()` is called after each step of the optimiser.
    - clip: the greatest length that the gradient of all parameters together may have.
    - metrics: {name: function(outputs, labels) → float}. By default accuracy, where the loss
      is CrossEntropyLoss and the labels are class ids.
    - directory: where `last.npz` (all that is needed to go on) and `best.npz` (the weights of
      the best epoch) are written; without one nothing is written.

    A loader is a list of batches, or anything like it: see `nn/batches.py`.

    Numbers are checked where they enter and where they leave. inf or NaN in a batch is a
    ValueError. In the loss, a gradient or a weight it is a FloatingPointError, which names the
    step and the layer. Neither touches the checkpoints written before.
    """

    def __init__(
        self, model, loss, optimizer, schedule=None, clip=None, metrics=None, directory=None
    ):
        self.model, self.loss = model, loss
        self.optimizer, self.schedule, self.clip = optimizer, schedule, clip
        self.metrics = metrics
        self.directory = None if directory is None else Path(directory)
        self.progress = progress.Progress()
        self._saved_at, self._saving_took = time.monotonic(), 0.0

    @property
    def history(self):
        """One dict per epoch: epoch (from 1), step, train_loss, …, val_loss, …, lr, seconds."""
        return self.progress.history

    @property
    def best(self):
        """The best epoch so far, {"epoch", "monitor", "value"}; None before the first."""
        return self.progress.best

    # ---- training ------------------------------------------------------------------------

    def fit(self, train_loader, val_loader=None, epochs=10, monitor=None, quiet=False):
        """Train until `epochs` epochs are done in all, and return the history.

        Epochs done in an earlier fit, or before a `resume()`, count. So the same call goes on
        after a break, and one with more epochs trains longer.

        monitor: the entry of the history that says which epoch is best, by default "val_loss"
        ("train_loss" without val_loader); False if none is to be chosen. What ends in "loss" or
        "error" is better when lower, all else when higher. After fit the model has the weights
        of the last epoch; `nn.load(model, directory / "best.npz")` gives it those of the best.

        The first Ctrl-C ends training after the step under way, writes `last.npz` and raises
        KeyboardInterrupt. The second raises it at once and writes nothing.
        """
        now = self.progress
        if monitor is None:
            monitor = "train_loss" if val_loader is None else "val_loss"
        if monitor:
            self._check_monitor(monitor, val_loader)
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
        if now.loaders is not None:
            batches.go_to(train_loader, now.loaders[0])
            batches.go_to(val_loader, now.loaders[1])
        self.model.zero_grad()
        # Overflow is looked for below, and said better than by NumPy's warning.
        with StopOnCtrlC() as stop, np.errstate(over="ignore", invalid="ignore"):
            try:
                while now.epoch < epochs and not stop.asked:
                    self._train_epoch(train_loader, val_loader, epochs, stop, quiet)
                    scores = self._validate(val_loader, stop, quiet) if now.trained else None
                    if scores is not None:
                        self._end_epoch(scores, monitor, epochs, quiet)
                        if now.epoch == epochs or self._may_save():
                            self._save_last(train_loader, val_loader)
            finally:
                # Whatever broke the epoch off: the next fit goes on with it.
                places = [batches.place_of(train_loader), batches.place_of(val_loader)]
                now.loaders = places if now.batch else None
                self.model.forget()
                self.loss.forget()
            if stop.asked:
                self._save_last(train_loader, val_loader)
                print(now.farewell(self.directory))
        return self.history

    def step(self, inputs, labels, where="this step"):
        """One step: forward, loss, backward, optimiser, schedule → (loss, outputs)."""
        before = checkpoint.random_states(self.model)
        outputs, loss = self._forward(inputs, labels, where, before)
        backward_to_parameters(self.model, self.loss.backward())
        if not all(all_finite(p.grad) for p in self.optimizer.parameters if p.has_grad):
            self._fail(f"{where}: a gradient is not finite", inputs, labels, before)
        if self.clip is not None:
            clip_grad_norm(self.optimizer.parameters, self.clip)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.model.zero_grad()
        return loss, outputs

    def _forward(self, inputs, labels, where, before=None):
        try:
            outputs = self.model(*inputs)
            loss = self.loss(outputs, labels)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if not np.isfinite(loss):
            self._fail(f"{where}: the loss is {loss}", inputs, labels, before)
        return outputs, loss

    def _train_epoch(self, loader, val_loader, epochs, stop, quiet):
        """The rest of the epoch under way, up to the step in which a stop is asked for."""
        now = self.progress
        if now.trained:
            return
        self.model.train()
        title, total = f"epoch {now.epoch + 1}/{epochs}", batches.count(loader)
        started = time.monotonic() - now.seconds
        with (
            batches.opened(loader, skip=now.batch) as epoch,
            progress.bar(title, total, now.batch, quiet) as bar,
        ):
            for batch in epoch:
                where = f"epoch {now.epoch + 1}, step {now.batch + 1} of {total}"
                *inputs, labels = batches.checked(batch, where)
                now.lr = float(self.optimizer.lr)
                loss, outputs = self.step(inputs, labels, where)
                progress.add(now.sums, self._scores(loss, outputs, labels), len(labels))
                now.batch, now.step = now.batch + 1, now.step + 1
                now.seconds = time.monotonic() - started
                bar.set_postfix(progress.words(progress.means(now.sums) | {"lr": now.lr}), False)
                bar.update()
                if stop.asked:
                    return
                if time.monotonic() - self._saved_at > SAVE_EVERY:
                    self._save_last(loader, val_loader)
        if not now.batch:
            raise ValueError(f"epoch {now.epoch + 1}: the training loader gave no batches")
        now.trained = True

    def _validate(self, loader, stop, quiet):
        """The scores on `loader`, {} without one, None if a stop was asked for on the way."""
        if loader is None:
            return {}
        now, started, place = self.progress, time.monotonic(), batches.place_of(loader)
        scores = None
        try:
            scores = self._evaluate(loader, f"validation of epoch {now.epoch + 1}", stop, quiet)
            now.seconds += time.monotonic() - started
        finally:
            if scores is None:
                batches.go_to(loader, place)  # broken off: done again, from its first batch
        return scores

    def _end_epoch(self, scores, monitor, epochs, quiet):
        self._check_weights()
        entry = self.progress.end_epoch(scores)
        if monitor and monitor not in entry:
            raise ValueError(f"fit: monitor={monitor!r} is none of {', '.join(entry)}")
        if monitor and self.progress.is_best(monitor) and self.directory:
            checkpoint.save(self.model, self.directory / "best.npz", **self.best)
        if not quiet and progress.is_told(entry["epoch"], epochs):
            tqdm.write(progress.epoch_line(entry, epochs))

    def _scores(self, loss, outputs, labels):
        metrics = self.metrics
        if metrics is None:
            ids = labels.dtype.kind in "iu" and labels.shape == outputs.shape[:-1]
            metrics = {"accuracy": accuracy} if self._classifies and ids else {}
        scores = {name: float(metric(outputs, labels)) for name, metric in metrics.items()}
        return {"loss": loss, **scores}

    @property
    def _classifies(self):
        return isinstance(self.loss, CrossEntropyLoss)

    # ---- use -----------------------------------------------------------------------------

    def evaluate(self, loader):
        """{"loss": …, "accuracy": …}: means over all examples of `loader`, in `eval()` mode."""
        return self._evaluate(loader, "evaluation")

    def predict(self, loader, with_labels=False):
        """The model's outputs for all batches of `loader`, stacked along N, in `eval()` mode.

        Batches are (inputs..., labels) as in training; `with_labels=True` returns
        (outputs, labels), in the loader's order.
        """
        outputs, labels = [], []
        with _in_use(self.model), batches.opened(loader) as opened:
            for number, batch in enumerate(opened, start=1):
                *inputs, given = batches.checked(batch, f"prediction, batch {number}")
                outputs.append(self.model(*inputs))
                labels.append(given)
        if not outputs:
            raise ValueError("prediction: the loader gave no batches")
        outputs = np.concatenate(outputs)
        return (outputs, np.concatenate(labels)) if with_labels else outputs

    def sanity_check(self, loader, **options):
        """Print the ladder to climb before a long training; returns the report of `nn.sanity`.

        `loader`: a loader, of which the first batch is used, or one batch (inputs..., labels).
        The model, the optimiser and the loader stay as they are.
        """
        batch = loader
        if not batches.is_batch(loader):
            place = batches.place_of(loader)
            with batches.opened(loader) as opened:
                batch = next(iter(opened), None)
            batches.go_to(loader, place)
        *inputs, labels = batches.checked(batch, "sanity check")
        return sanity_check(self.model, self.loss, inputs, labels, **options)

    def _evaluate(self, loader, title, stop=None, quiet=False):
        sums = {}
        with (
            _in_use(self.model),
            batches.opened(loader) as opened,
            progress.bar(title, batches.count(loader), quiet=quiet) as bar,
        ):
            for number, batch in enumerate(opened, start=1):
                if stop is not None and stop.asked:
                    return None
                where = f"{title}, batch {number}"
                *inputs, labels = batches.checked(batch, where)
                outputs, loss = self._forward(inputs, labels, where)
                progress.add(sums, self._scores(loss, outputs, labels), len(labels))
                bar.update()
        if not sums:
            raise ValueError(f"{title}: the loader gave no batches")
        return progress.means(sums)

    # ---- nothing lost --------------------------------------------------------------------

    def resume(self):
        """Go back to where `directory/last.npz` was written; returns self.

        Weights, optimiser, schedule, random generators, history and the place in the epoch are
        restored, so that the next `fit` ends as if it had never been interrupted, bit for bit.
        Build the trainer as before; raises FileNotFoundError if there is nothing to go on from.
        """
        if self.directory is None:
            raise ValueError("resume: the trainer was given no directory")
        training_state.read(self.directory / "last.npz", self)
        return self

    def _save_last(self, train_loader, val_loader):
        if self.directory is None:
            return
        self._check_weights()
        started = time.monotonic()
        places = [batches.place_of(train_loader), batches.place_of(val_loader)]
        training_state.write(self.directory / "last.npz", self, places)
        self._saved_at = time.monotonic()
        self._saving_took = self._saved_at - started

    def _may_save(self):
        """Is it so long since the last checkpoint that writing takes a small share of the time?

        A large network with short epochs would else spend more time on its disk than on its data.
        """
        return time.monotonic() - self._saved_at >= self._saving_took / SAVING

    def _check_monitor(self, monitor, val_loader):
        names = ["loss", *(self.metrics or (["accuracy"] if self._classifies else []))]
        known = [f"train_{name}" for name in names]
        known += [f"val_{name}" for name in names if val_loader is not None]
        if monitor not in known:
            raise ValueError(f"fit: monitor={monitor!r} is none of {', '.join(known)}")

    def _check_weights(self):
        for name, parameter in self.model.named_parameters():
            if not all_finite(parameter.data):
                raise FloatingPointError(
                    f"epoch {self.progress.epoch + 1}, after step {self.progress.batch}: the "
                    f"parameter {name}: {not_finite(parameter.data)}"
                )

    def _fail(self, what, inputs, labels, before=None):
        """Raise FloatingPointError with the layer, found by doing the same step once more."""
        self.model.forget()
        self.loss.forget()
        self.model.zero_grad()
        if before is not None:
            checkpoint.set_random_states(self.model, before)
        place = find_not_finite(self.model, self.loss, inputs, labels, backward=before is not None)
        raise FloatingPointError(
            f"{what}; it begins in {place}. A smaller learning rate or clip=1 may help"
        )


@contextmanager
def _in_use(model):
    """Inside, the model is in `eval()` mode and saves nothing; then all is as it was."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        with inference():
            yield
    finally:
        for module, training in modes:
            module.training = training
