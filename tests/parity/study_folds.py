"""Cross-validation of one network here and in PyTorch: same folds, batches, recipe and steps.

    python tests/parity/study_folds.py DIR --group '^\\d+_\\d+' [--folds 5] [--epochs 30]

DIR/CLASS/* are clips; what --group matches in their names stays together. Both sides train
`Conv3dNet` on the very same augmented batches from the same first weights (--own-start: PyTorch
draws its own), with the same AdamW, schedule, smoothing and clipping, and are judged by the same
views. Prints accuracy of each fold, both means ± standard deviation over the folds, and the time
that the training steps took, without that of the batches, which is the same for both. Each side of
each fold runs in a process of its own. Finished ones are kept in --out, and not done again.

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
        step, judged = backreel_step(learner), model
    else:
        schedule = OneCycleLR(SimpleNamespace(lr=settings.lr), settings.lr, total_steps=steps)
        step, judged = torch_step(model, settings, schedule, options)

    x, labels = next(iter(loader))
    step(x, labels, warm_up=True)  # compiles, and leaves no trace
    loader.load_state_dict({"epoch": 0, "batch": 0})
    seconds = 0.0
    for _ in range(settings.epochs):
        for x, labels in loader:
            start = time.perf_counter()
            step(x, labels)
            seconds += time.perf_counter() - start
    probabilities, labels = classification.judge(judged, test, settings, swap)
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
    }


def backreel_step(learner):
    def step(x, labels, warm_up=False):
        if warm_up:
            model = learner.model.train()
            kept = model.state_dict()
            learner.loss(model(x), labels)
            model.backward(learner.loss.backward(), need_input_grad=False)
            model.zero_grad()
            model.load_state_dict(kept)
        else:
            learner.model.train()
            learner.step([x], labels)

    return step


def torch_step(model, settings, schedule, options):
    import torch

    import nn
    from nn.bench import torch_video_models
    from video.tasks.recipe import WEIGHT_DECAY

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    twin = torch_video_models.build(
        MODEL, model.num_classes, model.size, model.frames, model.channels
    )
    if not options.own_start:
        state = {k: torch.from_numpy(v) for k, v in nn.interop.torch_state(model).items()}
        twin.load_state_dict(state, strict=False)
    optimizer = torch.optim.AdamW(twin.parameters(), settings.lr, weight_decay=WEIGHT_DECAY)

    def clips(x):
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))

    taken = iter(range(10**9))

    def step(x, labels, warm_up=False):
        twin.train()
        x, labels = clips(x), torch.from_numpy(labels)
        if warm_up:
            kept = {name: value.clone() for name, value in twin.state_dict().items()}
        else:
            optimizer.param_groups[0]["lr"] = schedule.rate(next(taken))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            twin(x), labels, label_smoothing=settings.smoothing
        )
        loss.backward()
        if warm_up:
            twin.load_state_dict(kept)
            return
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()

    class Judged:
        """The twin as `judge` calls a network: arrays in, arrays out."""

        def eval(self):
            twin.eval()

        def __call__(self, x):
            with torch.no_grad():
                return twin(clips(x)).numpy()

    return step, Judged()


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
        f"{found['steps']} steps in {found['seconds']:.0f} s",
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
