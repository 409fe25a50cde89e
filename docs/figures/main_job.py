"""Test clips of the main job with the network's answers: the picture of the README.

Runs `examples/classify.py` first (about three minutes); `main_job.py RUN` takes a finished run.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import nn
import video
from nn.activation import softmax
from video import plots
from video.tasks import classification
from video.tasks.classification_report import spread

HERE = Path(__file__).resolve().parent


def draw(run):
    """Two rows of clips from the test folder of a finished run, two of each class."""
    model = video.models.load(run / "model.npz")
    _, test = classification.open_folders(classification.Settings.load(run))
    chosen = spread(len(test), 16)
    frames, answers, truths, confidences = [], [], [], []
    for i in chosen:
        path, label = test.samples[i]
        with nn.inference():
            clip = video.read(path, size=model.size, frames=model.frames)
            probabilities = softmax(model(model.prepare(clip)))[0]
        frames.append(video.read(path, frames=1)[0])
        truths.append(label)
        answers.append(int(probabilities.argmax()))
        confidences.append(float(probabilities.max()))
    path = HERE / "main_job.png"
    plots.contact_sheet(frames, truths, answers, model.classes, path, confidences, dpi=64)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            script = HERE.parents[1] / "examples" / "classify.py"
            subprocess.run([sys.executable, script, "--out", f"{folder}/run"], check=True)
            draw(Path(folder) / "run")
