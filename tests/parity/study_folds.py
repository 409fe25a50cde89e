"""Cross-validation of one network here and in PyTorch: same folds, batches, recipe and steps.

    python tests/parity/study_folds.py DIR --group '^\\d+_\\d+' [--folds 5] [--epochs 30]

DIR/CLASS/* are clips; what --group matches in their names stays together. Both sides train
`Conv3dNet` on the very same augmented batches from the same first weights (--own-start: PyTorch
draws its own), with the same AdamW, schedule, smoothing and clipping, and are judged by the same
views. Prints accuracy of each fold, both means ± standard deviation over the folds, and the time
that the training steps took, without that of the batches, which is the same for both, nor that of
their way into PyTorch's layout. There are two of these, and PyTorch gets the one in which it is
faster. Each side of each fold runs in a process of its own. Finished ones are kept in --out, and
not done again.

Not a test: nothing is asserted.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

MODEL = "Conv3dNet"
SIDES = ("backreel", "torch")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", metavar="DIR")
    add("--group", required=True, metavar="REGEX")
    add("--folds", type=int, default=5, metavar="K")
    add("--epochs", type=int, help="(as examples/classify.py)")
    add("--size", type=int, default=48, metavar="PIXELS")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=2, help="of each side (%(default)s)")
    add(
        "--layout",
        choices=["plain", "channels_last", "faster"],
        default="faster",
        help="of PyTorch's clips and kernels (%(default)s: of the two, after a few steps of each)",
    )
    add("--own-start", action="store_true", help="PyTorch begins with its own random weights")
    add("--out", type=Path, default=Path("runs/study-folds"), metavar="DIR")
    add("--only", nargs=2, metavar=("SIDE", "FOLD"), help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- one side of one fold, in a process of its own ---------------------------------------


def one(options, side, k):
    """Train and judge; the result as a dict of plain values."""
    from nn.optim import OneCycleLR
    from video.tasks import classification, folds, recipe

    settings = recipe.Settings(
        data=options.data,
        model=MODEL,
        group=options.group,
        folds=options.folds,
        epochs=options.epochs,
        size=(options.size, options.size),
        seed=options.seed,
        workers=0,  # batches are made between the steps, which alone are timed
    )
    train, test = folds.open_folds(settings, cache=options.out.parent / "cache")[k]
    settings = settings.settled(len(train))
    swap = recipe.mirrors(train.classes, settings)
    loader = recipe.training_loader(train, settings, swap)
    model, _ = classification.new_model(settings, train.classes)
    steps = settings.epochs * len(loader)
    if side == "backreel":
        learner = recipe.new_trainer(model, model.parameters(), steps, settings, None)
        learning = Backreel(learner)
    else:
        schedule = OneCycleLR(SimpleNamespace(lr=settings.lr), settings.lr, total_steps=steps)
        learning = PyTorch(model, settings, schedule, options)

    learning.warm_up(*next(iter(loader)))
    loader.load_state_dict({"epoch": 0, "batch": 0})
    seconds = 0.0
    for _ in range(settings.epochs):
        for batch in loader:
            x, labels = learning.enter(*batch)
            start = time.perf_counter()
            learning.step(x, labels)
            seconds += time.perf_counter() - start
    probabilities, labels = classification.judge(learning.judged, test, settings, swap)
    right = probabilities.argmax(axis=1) == labels
    ids = np.array([label for _, label in train.samples])
    return {
        "side": side,
        "fold": k + 1,
        "accuracy": float(right.mean()),
        "clips": len(test),
        "commonest_class": float(np.mean(labels == np.bincount(ids).argmax())),
        "steps": steps,
        "seconds": seconds,
        "layout": learning.layout,
    }


class Backreel:
    """The network and its trainer, a step at a time."""

    layout = "channels_last"  # there is no other

    def __init__(self, learner):
        self.learner, self.judged = learner, learner.model

    def enter(self, x, labels):
        return x, labels

    def warm_up(self, x, labels):
        """Compile all that a step needs; the weights stay."""
        model, loss = self.learner.model.train(), self.learner.loss
        kept = model.state_dict()
        loss(model(x), labels)
        model.backward(loss.backward(), need_input_grad=False)
        model.zero_grad()
        model.load_state_dict(kept)

    def step(self, x, labels):
        self.learner.model.train()
        self.learner.step([x], labels)


class PyTorch:
    """The same in PyTorch."""

    def __init__(self, model, settings, schedule, options):
        import torch

        import nn
        from nn.bench import torch_video_models
        from video.tasks.recipe import WEIGHT_DECAY

        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.torch, self.layout = torch, options.layout
        self.twin = torch_video_models.build(
            MODEL, model.num_classes, model.size, model.frames, model.channels
        )
        if not options.own_start:
            state = nn.interop.torch_state(model).items()
            self.twin.load_state_dict({name: torch.from_numpy(array) for name, array in state})
        self.optimizer = torch.optim.AdamW(
            self.twin.parameters(), settings.lr, weight_decay=WEIGHT_DECAY
        )
        self.smoothing, self.schedule, self.steps = settings.smoothing, schedule, 0

    def lay_out(self, layout):
        """Clips and kernels in `layout` from now on."""
        formats = {
            "plain": self.torch.contiguous_format,
            "channels_last": self.torch.channels_last_3d,
        }
        self.layout, self.format = layout, formats[layout]
        self.twin.to(memory_format=self.format)

    def enter(self, x, labels):
        return self.clips(x), self.torch.from_numpy(labels)

    def clips(self, x):
        """(N, T, H, W, C) → (N, C, T, H, W), in memory as the layout has it."""
        return self.torch.from_numpy(x).movedim(-1, 1).contiguous(memory_format=self.format)

    def warm_up(self, x, labels, tries=4):
        """Choose the layout, unless it was told; the weights stay."""
        kept = {name: value.clone() for name, value in self.twin.state_dict().items()}
        layouts = ["plain", "channels_last"] if self.layout == "faster" else [self.layout]
        times = {}
        for layout in layouts:
            self.lay_out(layout)
            entered = self.enter(x, labels)
            times[layout] = min(self.timed_gradients(*entered) for _ in range(tries))
        self.optimizer.zero_grad()
        self.lay_out(min(times, key=times.get))
        self.twin.load_state_dict(kept)

    def timed_gradients(self, x, labels):
        start = time.perf_counter()
        self.gradients(x, labels)
        return time.perf_counter() - start

    def gradients(self, x, labels):
        self.twin.train()
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(
            self.twin(x), labels, label_smoothing=self.smoothing
        )
        loss.backward()

    def step(self, x, labels):
        self.optimizer.param_groups[0]["lr"] = self.schedule.rate(self.steps)
        self.steps += 1
        self.gradients(x, labels)
        self.torch.nn.utils.clip_grad_norm_(self.twin.parameters(), 1.0)
        self.optimizer.step()

    # What `classification.judge` asks of a network: arrays in, arrays out.

    def eval(self):
        self.twin.eval()

    def __call__(self, x):
        with self.torch.no_grad():
            return self.twin(self.clips(x)).numpy()

    @property
    def judged(self):
        return self


# ---- all of them ------------------------------------------------------------------------


def result(options, side, k):
    """The result of one side of one fold, from its file or from a process of its own."""
    path = options.out / f"{side}-fold{k + 1}.json"
    if not path.exists():
        variables = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(variables, str(options.threads))}
        command = [sys.executable, __file__, *sys.argv[1:], "--only", side, str(k)]
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(run.returncode)
        path.write_text(run.stdout.splitlines()[-1])
    found = json.loads(path.read_text())
    print(
        f"fold {found['fold']} of {options.folds}, {side:8}: {100 * found['accuracy']:5.1f} % of "
        f"{found['clips']} clips (commonest class {100 * found['commonest_class']:.1f} %), "
        f"{found['steps']} steps in {found['seconds']:.0f} s, {found['layout']}",
        flush=True,
    )
    return found


def main(options):
    if options.only:
        print(json.dumps(one(options, options.only[0], int(options.only[1]))))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
    kept = options.out / "options.json"
    if kept.exists() and json.loads(kept.read_text()) != asked:
        sys.exit(f"error: {options.out}: holds results of other options; name another --out")
    kept.write_text(json.dumps(asked, indent=1))
    results = [result(options, side, k) for k in range(options.folds) for side in SIDES]
    print()
    for side in SIDES:
        own = [r for r in results if r["side"] == side]
        accuracy = 100 * np.array([r["accuracy"] for r in own])
        seconds = sum(r["seconds"] for r in own)
        print(
            f"{side:8}: {accuracy.mean():.1f} ± {accuracy.std(ddof=1):.1f} % over {len(own)} "
            f"folds, {seconds:.0f} s of training steps"
        )
    times = [sum(r["seconds"] for r in results if r["side"] == side) for side in SIDES]
    print(f"PyTorch's time divided by Backreel's: {times[1] / times[0]:.2f}")


if __name__ == "__main__":
    main(arguments())
