"""The trainer: the same as a plain loop, whatever interrupts it, and no number unlooked at."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import nn
from nn import checkpoint
from nn import trainer as trainer_module
from nn.finite import all_finite

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = Path(__file__).with_name("training_problem.py")
_spec = importlib.util.spec_from_file_location("training_problem", PROBLEM)
problem = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(problem)


def assert_same_weights(a, b):
    for (name, p), (_, q) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data, err_msg=name)


def timeless(history):
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]


def plain_batches(sizes=(4, 4, 3), seed=3):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((n, 5)).astype(np.float32), rng.integers(0, 3, n)) for n in sizes]


def simple(directory=None, lr=0.1, **options):
    model = problem.network(dropout=0.0)
    optimizer = nn.optim.SGD(model.parameters(), lr)
    return nn.Trainer(model, nn.CrossEntropyLoss(), optimizer, directory=directory, **options)


# ---- a plain loop ---------------------------------------------------------------------------


def test_fit_is_the_plain_loop():
    batches = plain_batches()
    trained, looped = problem.trainer(epochs=3), problem.trainer(epochs=3)
    trained.fit(batches, epochs=3, quiet=True)
    model, loss, optimizer = looped.model, looped.loss, looped.optimizer
    for _ in range(3):
        for x, labels in batches:
            model.zero_grad()
            loss(model(x), labels)
            model.backward(loss.backward())
            nn.optim.clip_grad_norm(model.parameters(), 2.0)
            optimizer.step()
            looped.schedule.step()
    assert_same_weights(trained.model, model)
    assert trained.optimizer.lr == optimizer.lr


def test_gradients_from_before_do_not_count():
    batches = plain_batches()
    clean, used = simple(), simple()
    loss = nn.CrossEntropyLoss()
    loss(used.model(batches[0][0]), batches[0][1])
    used.model.backward(loss.backward())
    for trainer in (clean, used):
        trainer.fit(batches, epochs=1, quiet=True)
    assert_same_weights(clean.model, used.model)


def test_more_epochs_in_two_goes():
    once, twice = problem.trainer(), problem.trainer()
    once.fit(*problem.loaders(), epochs=4, quiet=True)
    loaders = problem.loaders()
    twice.fit(*loaders, epochs=1, quiet=True)
    twice.fit(*loaders, epochs=4, quiet=True)
    assert timeless(once.history) == timeless(twice.history)
    assert_same_weights(once.model, twice.model)


def test_clip_limits_the_step():
    trainer = simple(lr=1.0, clip=1e-3)
    before = trainer.model.state_dict()
    trainer.step(*_inputs_labels(plain_batches()[0]))
    after = trainer.model.state_dict()
    moved = np.sqrt(sum(((after[k] - before[k]) ** 2).sum() for k in before))
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-3)


def _inputs_labels(batch):
    *inputs, labels = batch
    return inputs, labels


def test_several_inputs():
    class Difference(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(5, 3, rng=0)

        def forward(self, a, b):
            return self.inner(a) - self.inner(b)

        def backward(self, dy):
            db = -self.inner.backward(-dy)
            return self.inner.backward(dy), -db

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 12, 5)).astype(np.float32)
    labels = np.argmax((a - b)[:, :3], axis=1)
    model = Difference()
    trainer = nn.Trainer(model, nn.CrossEntropyLoss(), nn.optim.SGD(model.parameters(), 0.5))
    trainer.fit([(a, b, labels)], epochs=60, quiet=True)
    assert trainer.history[-1]["train_accuracy"] == 1.0
    assert trainer.predict([(a, b, labels)]).shape == (12, 3)


def test_frozen_parameters_stay():
    trainer = simple()
    trainer.model[0].weight.trainable = False
    before = trainer.model[0].weight.data.copy()
    trainer.fit(plain_batches(), epochs=1, quiet=True)
    np.testing.assert_array_equal(trainer.model[0].weight.data, before)


# ---- history, metrics, the best epoch -------------------------------------------------------


def test_history_is_weighted_by_examples():
    """With a learning rate of zero every mean can be worked out on all examples at once."""
    train, val = plain_batches((4, 4, 3)), plain_batches((2, 5), seed=9)
    trainer = simple(lr=0.0)
    trainer.fit(train, val, epochs=2, quiet=True)
    loss = nn.CrossEntropyLoss()
    for entry in trainer.history:
        for name, batches in (("train", train), ("val", val)):
            x, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
            with nn.inference():
                outputs = trainer.model(x)
                np.testing.assert_allclose(entry[f"{name}_loss"], loss(outputs, labels), rtol=1e-6)
            right = float((outputs.argmax(axis=1) == labels).mean())
            np.testing.assert_allclose(entry[f"{name}_accuracy"], right)
    assert [entry["epoch"] for entry in trainer.history] == [1, 2]
    assert [entry["step"] for entry in trainer.history] == [3, 6]


def test_history_has_the_rate_of_the_last_step():
    trainer = problem.trainer()
    trainer.fit(*problem.loaders(), epochs=2, quiet=True)
    assert [entry["lr"] for entry in trainer.history] == [
        trainer.schedule.rate(problem.STEPS - 1),
        trainer.schedule.rate(2 * problem.STEPS - 1),
    ]


def test_own_metrics_replace_accuracy():
    metrics = {"largest": lambda outputs, labels: np.float32(outputs.max())}
    trainer = simple(lr=0.0, metrics=metrics)
    batches = plain_batches((4,))
    trainer.fit(batches, epochs=1, quiet=True)
    entry = trainer.history[0]
    assert "train_accuracy" not in entry
    assert entry["train_largest"] == float(trainer.predict(batches).max())


def test_soft_labels_have_no_accuracy():
    (x, labels) = plain_batches((4,))[0]
    trainer = simple()
    trainer.fit([(x, np.eye(3, dtype=np.float32)[labels])], [(x, labels)], epochs=1, quiet=True)
    entry = trainer.history[0]
    assert "train_accuracy" not in entry and "val_accuracy" in entry


@pytest.mark.parametrize("monitor, best", [("val_error", 2), ("val_score", 3)])
def test_best_keeps_the_weights_of_the_best_epoch(tmp_path, monitor, best):
    """The values are given: errors 5, 2, 2, 4 are best in epoch 2, as scores 1, 3, 7, 7 in 3."""
    given = {"error": [5.0, 2.0, 2.0, 4.0], "score": [1.0, 3.0, 7.0, 7.0]}
    trainer = simple(tmp_path)
    seen = []  # the weights after each epoch, as validation finds them

    def metric(name):
        def value(outputs, labels):
            if trainer.model.training:
                return 0.0
            epoch = trainer.progress.epoch
            seen[epoch:] = [trainer.model.state_dict()]
            return given[name][epoch]

        return value

    trainer.metrics = {"error": metric("error"), "score": metric("score")}
    trainer.fit(plain_batches(), plain_batches((2,)), epochs=4, monitor=monitor, quiet=True)
    name = monitor.removeprefix("val_")
    assert trainer.best == {"epoch": best, "monitor": monitor, "value": given[name][best - 1]}
    np.testing.assert_array_equal(trainer.model[0].weight.data, seen[3]["0.weight"])
    assert nn.load(trainer.model, tmp_path / "best.npz") == trainer.best
    np.testing.assert_array_equal(trainer.model[0].weight.data, seen[best - 1]["0.weight"])


def test_unknown_monitor_is_refused_before_training():
    trainer = simple()
    with pytest.raises(ValueError, match="monitor='val_loss' is none of train_loss, train_acc"):
        trainer.fit(plain_batches(), epochs=1, monitor="val_loss")
    assert trainer.progress.step == 0


def test_one_line_per_epoch(capsys):
    simple().fit(plain_batches(), plain_batches((2,)), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2")
    assert all(name in lines[0] for name in ("train_loss", "val_accuracy", "lr"))
    simple().fit(plain_batches(), epochs=1, quiet=True)
    assert capsys.readouterr() == ("", "")


# ---- evaluation and prediction --------------------------------------------------------------


def test_evaluate_and_predict_change_nothing():
    trainer = problem.trainer()
    model = trainer.model.train()
    model[1].eval()
    batches = plain_batches()
    random = checkpoint.random_states(model)
    scores = trainer.evaluate(batches)
    outputs, labels = trainer.predict(batches, with_labels=True)
    assert [m.training for _, m in model.named_modules()] == [True, True, False, True, True, True]
    assert checkpoint.random_states(model) == random
    with pytest.raises(RuntimeError, match="backward without a forward"):
        model.backward(np.zeros((3, 3), np.float32))
    np.testing.assert_array_equal(labels, np.concatenate([b[1] for b in batches]))
    np.testing.assert_array_equal(trainer.predict(batches), outputs)
    assert scores["accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=1) == labels))
    model.eval()
    with nn.inference():
        np.testing.assert_array_equal(outputs[4:8], model(batches[1][0]))


# ---- interrupted and resumed ----------------------------------------------------------------


def at(where, action):
    """Do `action` when a loader hands out batch `where` = (epoch, batch), once."""

    def on_batch(epoch, batch):
        if (epoch, batch) == where and not done:
            done.append(True)
            action()

    done = []
    return on_batch


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def whole_run(directory, plain=False, optimizer="SGD"):
    trainer = problem.trainer(directory, optimizer)
    trainer.fit(*problem.loaders(plain=plain), epochs=4, monitor="val_accuracy", quiet=True)
    return trainer


def assert_same_run(a, b):
    """Weights, history, the best epoch and its file, and all that the next step depends on."""
    assert timeless(a.history) == timeless(b.history)
    assert a.best == b.best
    assert_same_weights(a.model, b.model)
    best = [(t.directory / "best.npz").read_bytes() for t in (a, b)]
    assert best[0] == best[1]
    (header_a, arrays_a), (header_b, arrays_b) = (
        checkpoint.read(t.directory / "last.npz") for t in (a, b)
    )
    assert header_a["random"] == header_b["random"]
    assert header_a["training"]["loaders"] == header_b["training"]["loaders"]
    for folder in ("optimizer", "schedule"):
        assert arrays_a[folder].keys() == arrays_b[folder].keys()
        for name, array in arrays_a[folder].items():
            np.testing.assert_array_equal(array, arrays_b[folder][name], err_msg=name)


STOPS = {
    "first step": ("train", (0, 0)),
    "amid an epoch": ("train", (1, 3)),
    "last step of an epoch": ("train", (1, problem.STEPS - 1)),
    "validation begins": ("val", (1, 0)),
    "validation ends": ("val", (2, 5)),
    "last step of all": ("train", (3, problem.STEPS - 1)),
    "last validation": ("val", (3, 2)),
}


@pytest.mark.parametrize("plain", [False, True], ids=["loader", "list"])
@pytest.mark.parametrize("stop", STOPS)
def test_interrupted_and_resumed_bit_for_bit(tmp_path, capsys, stop, plain):
    whole = whole_run(tmp_path / "whole", plain)
    which, where = STOPS[stop]
    if plain and which == "val":
        where = (where[0], min(where[1], 1))
    hooks = {f"on_{which}": at(where, ctrl_c)}
    stopped = problem.trainer(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(*problem.loaders(**hooks, plain=plain), epochs=4, monitor="val_accuracy")
    assert "last.npz; resume()" in capsys.readouterr().out.splitlines()[-1]
    resumed = problem.trainer(tmp_path / "stopped").resume()
    assert_same_weights(resumed.model, stopped.model)
    loaders = problem.loaders(plain=plain)
    resumed.fit(*loaders, epochs=4, monitor="val_accuracy", quiet=True)
    assert_same_run(whole, resumed)


def test_interrupted_at_every_second_step_with_adamw(tmp_path):
    whole = whole_run(tmp_path / "whole", optimizer="AdamW")
    for _ in range(100):
        seen = []

        def on_train(epoch, batch, seen=seen):
            seen.append(batch)
            if len(seen) == 2:
                ctrl_c()

        resumed = problem.trainer(tmp_path / "parts", "AdamW")
        if (tmp_path / "parts" / "last.npz").exists():
            resumed.resume()
        try:
            resumed.fit(*problem.loaders(on_train), epochs=4, monitor="val_accuracy", quiet=True)
        except KeyboardInterrupt:
            continue
        break
    assert_same_run(whole, resumed)


@pytest.mark.parametrize("which", ["train", "val"])
def test_going_on_in_the_same_session(tmp_path, which):
    """As in a notebook: Ctrl-C, then the same cell again."""
    whole = whole_run(tmp_path / "whole")
    trainer = problem.trainer(tmp_path / "cell")
    loaders = problem.loaders(**{f"on_{which}": at((1, 2), ctrl_c)})
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*loaders, epochs=4, monitor="val_accuracy", quiet=True)
    assert not loaders[0].open and not loaders[1].open, "the loader's iteration was closed"
    trainer.fit(*loaders, epochs=4, monitor="val_accuracy", quiet=True)
    assert_same_run(whole, trainer)


def test_checkpoints_within_a_long_epoch(tmp_path, monkeypatch):
    """A run that dies without a chance to save goes on from the checkpoint written on the way."""
    whole = whole_run(tmp_path / "whole")

    def die():
        raise MemoryError("the machine is out of memory")

    monkeypatch.setattr(trainer_module, "SAVE_EVERY", -1.0)
    stopped = problem.trainer(tmp_path / "dead")
    with pytest.raises(MemoryError):
        loaders = problem.loaders(at((2, 4), die))
        stopped.fit(*loaders, epochs=4, monitor="val_accuracy", quiet=True)
    resumed = problem.trainer(tmp_path / "dead").resume()
    assert (resumed.progress.epoch, resumed.progress.batch) == (2, 4)
    resumed.fit(*problem.loaders(), epochs=4, monitor="val_accuracy", quiet=True)
    assert_same_run(whole, resumed)


def run_problem(directory, *options, prelude=""):
    program = f"{prelude}\nimport sys\nsys.argv[1:] = {[str(directory), *options]}\n"
    program += f"import runpy\nrunpy.run_path({str(PROBLEM)!r}, run_name='__main__')\n"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to one process is POSIX")
def test_a_real_ctrl_c_in_a_real_process(tmp_path):
    whole = whole_run(tmp_path / "whole")
    process = run_problem(tmp_path / "stopped", "slow")
    for line in process.stdout:
        if line.startswith("step 1 2"):
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped in epoch 2" in rest and "last.npz" in rest
    again = run_problem(tmp_path / "stopped", "resume")
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert_same_run(whole, problem.trainer(tmp_path / "stopped").resume())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
def test_killed_while_writing_a_checkpoint(tmp_path):
    """Killed when the third `last.npz` is written but not renamed: the second one is whole."""
    whole = whole_run(tmp_path / "whole")
    prelude = textwrap.dedent(
        """
        import os, signal
        import nn.trainer
        nn.trainer.SAVING = float("inf")  # a checkpoint after every epoch, however short
        replace, written = os.replace, []
        def replace_or_die(source, target):
            written.append(str(target).endswith("last.npz"))
            if sum(written) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
        os.replace = replace_or_die
        """
    )
    process = run_problem(tmp_path / "killed", prelude=prelude)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    resumed = problem.trainer(tmp_path / "killed").resume()
    assert resumed.progress.epoch == 2
    resumed.fit(*problem.loaders(), epochs=4, monitor="val_accuracy", quiet=True)
    assert_same_run(whole, resumed)


def test_the_second_ctrl_c_stops_at_once(tmp_path):
    def twice():
        ctrl_c()
        ctrl_c()

    trainer = problem.trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*problem.loaders(at((1, 3), twice)), epochs=4, quiet=True)
    assert trainer.progress.batch == 3, "the step under way was not finished"
    header, _ = checkpoint.read(tmp_path / "last.npz")
    assert (header["training"]["epoch"], header["training"]["batch"]) == (1, 0)


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        problem.trainer().fit(*problem.loaders(at((1, 3), ctrl_c)), epochs=4, quiet=True)
    assert "nothing was saved" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_former_handler_comes_back():
    calls = []
    former = signal.signal(signal.SIGINT, lambda *args: calls.append(args))
    try:
        simple().fit(plain_batches(), epochs=1, quiet=True)
        ctrl_c()
        assert len(calls) == 1
        with pytest.raises(ValueError):
            simple().fit([], epochs=1)
        ctrl_c()
        assert len(calls) == 2
    finally:
        signal.signal(signal.SIGINT, former)


def test_training_in_another_thread():
    trainer, before = simple(), signal.getsignal(signal.SIGINT)
    handlers = []
    trainer.metrics = {"handler": lambda *_: handlers.append(signal.getsignal(signal.SIGINT)) or 0}
    thread = threading.Thread(target=trainer.fit, args=(plain_batches(),), kwargs={"epochs": 1})
    thread.start()
    thread.join(60)
    assert len(trainer.history) == 1 and set(handlers) == {before}


# ---- resuming what does not fit -------------------------------------------------------------


def test_resuming_without_anything_to_resume(tmp_path):
    with pytest.raises(ValueError, match="no directory"):
        simple().resume()
    with pytest.raises(FileNotFoundError, match=r"last\.npz: there is no such weight file"):
        simple(tmp_path).resume()


def test_resuming_another_training(tmp_path):
    simple(tmp_path).fit(plain_batches(), epochs=1, quiet=True)
    with pytest.raises(ValueError, match=r"last\.npz: was written with SGD, this .* SGD and OneC"):
        problem.trainer(tmp_path).resume()
    other = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 3))
    optimizer = nn.optim.SGD(other.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"last\.npz .*0\.weight has shape \(5, 9\)"):
        nn.Trainer(other, nn.CrossEntropyLoss(), optimizer, directory=tmp_path).resume()
    nn.save(problem.network(), tmp_path / "last.npz")
    with pytest.raises(ValueError, match=r"last\.npz: holds weights only"):
        simple(tmp_path).resume()


# ---- numbers that are not numbers -----------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_input_is_named(tmp_path, bad):
    batches = plain_batches()
    batches[1][0][2, 3] = bad
    trainer = simple(tmp_path)
    with pytest.raises(ValueError) as error:
        trainer.fit(batches, epochs=2)
    text = str(error.value)
    assert "\n" not in text
    assert "epoch 1, step 2 of 3: input 0 (4, 5): 1 of 20 values" in text and "[2, 3]" in text
    assert trainer.progress.step == 1


def test_bad_targets_and_labels_are_named():
    x, labels = plain_batches((4,))[0]
    model = problem.network(0.0)
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), 0.1))
    targets = np.zeros((4, 3), np.float32)
    targets[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"epoch 1, step 1 of 1: labels \(4, 3\): 1 of 12"):
        trainer.fit([(x, targets)], epochs=1)
    labels[2] = 3
    with pytest.raises(ValueError, match=r"epoch 1, step 2 of 2: .*label 3 at position 2.*0\.\.2"):
        simple().fit([plain_batches((4,))[0], (x, labels)], epochs=1)
    with pytest.raises(ValueError, match=r"validation of epoch 1, batch 1: .*label 3"):
        simple().fit(plain_batches(), [(x, labels)], epochs=1, quiet=True)


def test_an_error_closes_the_loader():
    """Even while the error, and with it every frame it passed through, is still held."""
    loader, _ = problem.loaders()
    loader.y[:] = 3
    with pytest.raises(ValueError, match="label 3") as error:
        simple().fit(loader, epochs=1)
    assert not loader.open and error.traceback


def test_large_numbers_are_finite():
    """Their sum is not, in float32: it is no more than a reason to look closer."""
    large = np.full((3, 2), 3e38, np.float32)
    assert all_finite(large)
    large[2, 0] = -np.inf
    assert not all_finite(large)
    assert all_finite(np.arange(3)) and all_finite(np.empty(0, np.float32))


def test_wrong_loaders_are_named():
    x, labels = plain_batches((4,))[0]
    with pytest.raises(ValueError, match="epoch 1: the training loader gave no batches"):
        simple().fit([], epochs=1)
    with pytest.raises(TypeError, match="must have a length.*, got a generator"):
        simple().fit((batch for batch in plain_batches()), epochs=1)
    for bare in (lambda: simple().fit(x, labels, epochs=1), lambda: simple().fit((x, labels))):
        with pytest.raises(TypeError) as error:
            bare()
        assert "step 1 of " in str(error.value) and "got an array (" in str(error.value)
        assert "[(x, labels)] would do" in str(error.value)
    with pytest.raises(TypeError, match=r"step 1 of 1: expected a tuple \(inputs..., labels\)"):
        simple().fit([(x,)], epochs=1)
    with pytest.raises(TypeError, match=r"got a tuple of 2 \(list, ndarray\); np\.array\(\.\.\.\)"):
        simple().fit([(x.tolist(), labels)], epochs=1)
    with pytest.raises(ValueError, match="evaluation: the loader gave no batches"):
        simple().evaluate([])
    with pytest.raises(ValueError, match=r"step 1 of 1: .*Linear\(5, 9\): expected an input"):
        simple().fit([(x[:, :4], labels)], epochs=1)


class Breaks(nn.Module):
    """The identity, until a given step; there its output, or its gradient, is spoiled."""

    def __init__(self, step, spoil):
        self.step, self.spoil, self.forwards = step, spoil, 0
        self.gain = nn.Parameter(np.ones(1, np.float32))

    def forward(self, x):
        self.save()
        bad = np.float32(np.nan if self.spoil == "output" and self.forwards >= self.step else 1)
        self.forwards += 1
        return x * bad

    def backward(self, dy):
        self.take()
        late = self.forwards > self.step
        self.gain.add_grad(np.float32([np.inf if self.spoil == "gain" and late else 0.0]))
        return dy * np.float32(np.inf if self.spoil == "gradient" and late else 1)


@pytest.mark.parametrize(
    "spoil, what",
    [
        ("output", "the loss is nan; it begins in the output of 3: Breaks()"),
        ("gradient", "a gradient is not finite; it begins in the input gradient of 3: Breaks()"),
        ("gain", "a gradient is not finite; it begins in the gradient of the parameter gain of 3:"),
    ],
)
def test_training_stops_at_the_layer_that_breaks(tmp_path, spoil, what):
    """Two epochs of three steps are fine, the fifth step is not: the first epoch is kept."""
    model = problem.network(0.5)
    model.modules.insert(3, Breaks(4, spoil))
    optimizer = nn.optim.SGD(model.parameters(), 0.1)
    trainer = nn.Trainer(model, nn.CrossEntropyLoss(), optimizer, directory=tmp_path)
    with pytest.raises(FloatingPointError) as error:
        trainer.fit(plain_batches(), epochs=3, quiet=True)
    text = str(error.value)
    assert text.startswith(f"epoch 2, step 2 of 3: {what}") and "\n" not in text
    assert all(np.isfinite(p.data).all() for p in model.parameters()), "the step was not taken"
    assert "forward" not in vars(model[3]), "nothing is watched any longer"
    header, _ = checkpoint.read(tmp_path / "last.npz")
    assert header["training"]["epoch"] == 1


def test_a_bad_weight_is_named():
    trainer = simple()
    trainer.model[3].weight.data[1, 2] = np.inf
    with pytest.raises(
        FloatingPointError, match="begins in the parameter weight of 3: Linear.*inf"
    ):
        trainer.fit(plain_batches(), epochs=1)


def test_dropout_draws_the_same_mask_when_the_step_is_repeated():
    """The one weight that overflows is used only where the mask lets it through."""
    model = nn.Sequential(nn.Dropout(0.5, rng=3), nn.Linear(40, 2, rng=0))
    model[1].weight.data *= 1e38
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), 0.1))
    x = np.zeros((1, 40), np.float32)
    x[0, 7] = 1e3
    for _ in range(20):  # some of these masks drop x[0, 7], and the loss is finite
        kept = np.random.Generator(np.random.PCG64())
        kept.bit_generator.state = model[0].rng.bit_generator.state
        if kept.random((1, 40), np.float32)[0, 7] < 0.5:
            model[0].rng.random((1, 40), np.float32)
            continue
        with pytest.raises(FloatingPointError, match="begins in the output of 1: Linear"):
            trainer.fit([(x, np.zeros((1, 2), np.float32))], epochs=1)
        model[0].rng.random((1, 40), np.float32)


def test_weights_that_overflow_do_not_reach_the_checkpoint(tmp_path):
    """The last step of an epoch may break the weights; no loss would show it before the next."""
    trainer = simple(tmp_path)
    trainer.fit(plain_batches(), epochs=1, quiet=True)
    kept = (tmp_path / "last.npz").read_bytes(), (tmp_path / "best.npz").read_bytes()
    trainer.optimizer.lr = 1e40  # in float32 that is infinite
    with pytest.raises(FloatingPointError, match=r"epoch 2, after step 1: the parameter 0\.weight"):
        trainer.fit(plain_batches((4,)), epochs=2, quiet=True)
    assert kept == ((tmp_path / "last.npz").read_bytes(), (tmp_path / "best.npz").read_bytes())


def test_a_loss_that_breaks_in_validation_is_named():
    val = plain_batches((4,))
    val[0][0][:] = 3e38
    with pytest.raises(
        FloatingPointError, match="validation of epoch 1, batch 1: .*output of 0: L"
    ):
        simple().fit(plain_batches(), val, epochs=1)


# ---- the ladder -----------------------------------------------------------------------------


def rungs(report):
    return {name: passed for name, passed, _ in report.rungs}


def test_sanity_check_climbs_and_changes_nothing(capsys):
    trainer = problem.trainer()
    loader, _ = problem.loaders()
    weights, random = trainer.model.state_dict(), checkpoint.random_states(trainer.model)
    optimizer = trainer.optimizer.state_dict()
    report = trainer.sanity_check(loader)
    assert report.passed and len(report.rungs) == 3
    assert capsys.readouterr().out == f"{report}\n"
    assert "log 3 = 1.099" in str(report)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, weights[name])
    assert checkpoint.random_states(trainer.model) == random
    assert trainer.optimizer.state_dict().keys() == optimizer.keys()
    assert loader.state_dict() == {"epoch": 0, "batch": 0} and not loader.open
    assert trainer.sanity_check(next(iter(loader))).passed, "one batch will do as well"


def test_sanity_check_of_convolutions_on_black_pixels():
    """Zeros in, biases of zero: every ReLU stands on its corner, unless it is moved off it."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 3 * 2, 4, rng=rng),
    )
    x = rng.standard_normal((8, 6, 5, 2)).astype(np.float32)
    x[:, :4] = 0
    trainer = nn.Trainer(model, nn.CrossEntropyLoss(), nn.optim.SGD(model.parameters(), 0.1))
    with nn.kernels.using("reference"):
        assert rungs(trainer.sanity_check((x, rng.integers(0, 4, 8))))["gradients"]


def test_sanity_check_of_a_regression():
    model = nn.Sequential(nn.Linear(5, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1))
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), 0.1))
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((9, d)).astype(np.float32) for d in (5, 2))
    assert trainer.sanity_check((x, t)).passed


class WrongLinear(nn.Linear):
    """Forgets that the bias reaches every row."""

    def backward(self, dy, need_input_grad=True):
        dx = super().backward(dy, need_input_grad=need_input_grad)
        self.bias.grad = dy[0]
        return dx


def test_each_rung_can_break(capsys):
    batch = plain_batches((8,))[0]
    loud = simple()
    loud.model[3].weight.data *= 50
    report = loud.sanity_check(batch)
    assert not rungs(report)["loss at the start"]
    assert "log 3 = 1.099, expected 0.549 to 1.648: scale the inputs" in str(report)
    problem_solved = simple()
    problem_solved.model[3].bias.data[:] = [9, 0, 0]
    report = problem_solved.sanity_check((batch[0], np.zeros(8, int)))
    assert "expected 0.549 to 1.648: is the model trained already" in str(report)

    wrong = simple()
    wrong.model.modules[3] = WrongLinear(9, 3, rng=0)
    report = wrong.sanity_check(batch)
    assert not rungs(report)["gradients"] and not report.passed
    assert "in 3.bias" in capsys.readouterr().out.splitlines()[-2]

    same = np.repeat(batch[0][:1], 8, axis=0)  # eight times the same input, different labels
    assert not rungs(simple().sanity_check((same, batch[1])))["one batch learned"]
