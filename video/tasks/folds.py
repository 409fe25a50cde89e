"""Cross-validation: every clip is a test clip once, judged by a network that never saw its group.

Where clips are few a single split says little: another one gives another number. K folds use all
clips, and their spread says how far the mean can be trusted.
"""

import json
import os
from pathlib import Path

import numpy as np

import nn
import video
from video import plots
from video.tasks.classification import check, folder_options, open_folder, run
from video.tasks.classification_report import commonest_class


def divide(clips, K, group, seed=0):
    """[(train, test)] for each of K folds; what `group` matches in file names stays together.

    The folds are parts of `video.split`: about equal in size and in their mixture of classes.
    Raises ValueError if there are fewer groups than folds.
    """
    parts = video.split(clips, [1 / K] * K, group=group, seed=seed)
    folds = []
    for test in parts:
        held_out = {path for path, _ in test.samples}
        others = [i for i, (path, _) in enumerate(clips.samples) if path not in held_out]
        folds.append((clips.subset(others), test))
    return folds


def open_folds(settings, cache=None):
    """The folds of `settings.data`, DIR/CLASS/*, as [(train, test)]."""
    root = Path(settings.data)
    if (root / "train").is_dir() or (root / "test").is_dir():
        raise ValueError(f"{root}: folds are made of DIR/CLASS/*; here train and test are given")
    clips = open_folder(root, **folder_options(settings, cache))
    check(clips)
    return divide(clips, settings.folds, settings.group, settings.seed)


def cross_validate(folds, settings, directory):
    """Train and judge on each fold; a list of one dict of plain values for each.

    A finished fold is kept in `directory/fold-K/result.json` and read from there the next time;
    one that was broken off is gone on with.
    """
    results = []
    for k, (train, test) in enumerate(folds, start=1):
        place = Path(directory) / f"fold-{k}"
        finished = place / "result.json"
        if finished.exists():
            results.append(json.loads(finished.read_text()))
        else:
            print(f"fold {k} of {len(folds)}: {len(train)} clips to train on, {len(test)} to test")
            results.append(_one(k, train, test, settings, place))
            part = place / "result.part"  # there whole or not at all
            part.write_text(json.dumps(results[-1], indent=1))
            os.replace(part, finished)
            (place / "last.npz").unlink(missing_ok=True)
        print(line(results[-1]), flush=True)
    return results


def _one(k, train, test, settings, place):
    outcome = run(train, test, settings, place, glimpses=False)
    return {
        "fold": k,
        "accuracy": outcome.accuracy,
        "commonest_class": commonest_class(train, test),
        "training_clips": len(train),
        "seconds": outcome.seconds,
        "parameters": outcome.model.num_parameters,
        "clips": [Path(path).name for path, _ in test.samples],
        "labels": outcome.labels.tolist(),
        "answers": outcome.answers.tolist(),
        "probabilities": np.round(outcome.probabilities, 5).tolist(),
    }


def line(result):
    """One fold in words."""
    return (
        f"fold {result['fold']}: {100 * result['accuracy']:.1f} % of {len(result['labels'])} clips "
        f"(commonest class {100 * result['commonest_class']:.1f} %), "
        f"{result['seconds'] / 60:.1f} min of training"
    )


def report(directory, results, classes, settings):
    """Write `confusion.png` of all clips and `metrics.json`; returns the metrics.

    mean and sd: of the folds' accuracies (sd with K − 1). pooled: over all clips, each judged by
    the network that did not see it. commonest_class: pooled as well.
    """
    directory = Path(directory)
    labels, answers = (sum((r[name] for r in results), []) for name in ("labels", "answers"))
    matrix = nn.metrics.confusion_matrix(answers, labels, len(classes))
    plots.confusion_matrix(matrix, classes, directory / "confusion.png")
    accuracies = [r["accuracy"] for r in results]
    sizes = [len(r["labels"]) for r in results]
    metrics = {
        "model": settings.model,
        "mean": float(np.mean(accuracies)),
        "sd": float(np.std(accuracies, ddof=1)),
        "pooled": float(np.trace(matrix) / matrix.sum()),
        "commonest_class": float(
            np.average([r["commonest_class"] for r in results], weights=sizes)
        ),
        "seconds": float(sum(r["seconds"] for r in results)),
        "classes": list(classes),
        "confusion_matrix": matrix.tolist(),
        "folds": results,
    }
    (directory / "metrics.json").write_text(json.dumps(metrics, indent=1))
    return metrics
