"""The report of a classification: pictures, annotated clips and `metrics.json`."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nn
import video
from video import plots
from video.tasks.classification import running_prediction


def commonest_class(train, test):
    """The test accuracy of always answering the commonest class of the training clips."""
    counts = np.bincount([label for _, label in train.samples], minlength=len(train.classes))
    return float(np.mean([label == counts.argmax() for _, label in test.samples]))


def numbers(outcome, classes):
    """Accuracy, accuracy of each class and confusion matrix of one network, as plain values."""
    matrix = nn.metrics.confusion_matrix(outcome.answers, outcome.labels, len(classes)).tolist()
    return {
        "model": outcome.settings.model,
        "parameters": outcome.model.num_parameters,
        "seconds": outcome.seconds,  # of training
        "accuracy": outcome.accuracy,
        "per_class": {  # null for a class without test clips
            name: row[k] / sum(row) if sum(row) else None
            for k, (name, row) in enumerate(zip(classes, matrix, strict=True))
        },
        "confusion_matrix": matrix,  # rows: the truth; columns: the answers
        "history": outcome.history,
    }


def report(directory, train, test, outcome, baseline=None, most=32):
    """Write curves, confusion matrices, contact sheet, annotated clips and `metrics.json`.

    outcome: of the network, an `Outcome`; baseline: of the network of single frames, or None.
    Returns the metrics, with the names of what was written under "files".
    """
    directory = Path(directory)
    classes, labels, answers = train.classes, outcome.labels, outcome.answers
    chance = commonest_class(train, test)
    own = numbers(outcome, classes)
    shown = spread(len(labels), most)
    paths = [test.samples[i][0] for i in shown]
    middles = [video.read(path, frames=1, on_damage="ignore")[0] for path in paths]
    files = {
        "curves": plots.learning_curves(outcome.history, directory / "curves.png", chance=chance),
        "confusion": plots.confusion_matrix(
            own["confusion_matrix"], classes, directory / "confusion.png"
        ),
        "contact_sheet": plots.contact_sheet(
            middles,
            labels[shown],
            answers[shown],
            classes,
            directory / "contact_sheet.png",
            confidences=outcome.probabilities[shown].max(axis=1),
        ),
        "video": plots.annotated_video(
            directory / "predictions.mp4", playing(outcome.model, test, labels), classes
        ),
    }
    metrics = {
        **own,
        "commonest_class": chance,
        "classes": classes,
        "training_clips": len(train),
        "test_clips": len(test),
        "settings": asdict(outcome.settings),
    }
    if baseline is not None:
        metrics["baseline"] = numbers(baseline, classes)
        files["baseline_confusion"] = plots.confusion_matrix(
            metrics["baseline"]["confusion_matrix"], classes, directory / "confusion_baseline.png"
        )
    metrics["files"] = {name: path.name for name, path in files.items()}
    (directory / "metrics.json").write_text(json.dumps(metrics, indent=1, default=float))
    return metrics


def spread(total, most):
    """At most `most` indices, evenly spread over 0..total−1."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).astype(int))


def playing(model, test, labels, most=6, seconds=4.0):
    """A few test clips as `plots.annotated_video` takes them, one after the other."""
    for i in tqdm(spread(len(labels), most), "drawing clips", delay=1, leave=False, disable=None):
        path, fps = Path(test.samples[i][0]), 15
        shown = video.read(path, fps=fps, stop=seconds, on_damage="ignore")
        small = video.read(path, fps=fps, stop=seconds, size=model.size, on_damage="ignore")
        T = min(len(shown), len(small))
        probabilities = running_prediction(model, small[:T])
        truth = int(labels[i])
        yield f"{path.name}   truth: {test.classes[truth]}", shown[:T], probabilities, truth
