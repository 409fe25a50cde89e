"""How Backreel does each row. A builder returns {what: function}; calling one does it once.

The function's result is what the two sides are compared by before anything is timed.
"""

import numpy as np

import nn
from nn.bench import rows


def build(row):
    """{"training step": …} or {"forward": …, "forward+backward": …} for one row."""
    return BUILDERS[row.kind](row)


def article_cnn(row):
    """One training step of the article's network, SGD with momentum."""
    x, labels, weights = rows.article_cnn(row)
    C, hidden = row.shape[-1], weights["dense1"].shape
    model = nn.Sequential(
        nn.Conv2d(C, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(*hidden),
        nn.ReLU(),
        nn.Linear(hidden[1], 10),
    )
    names = zip([0, 3, 7, 9], ["conv1", "conv2", "dense1", "dense2"], strict=True)
    for i, name in names:
        model[i].weight.data[...] = weights[name]
        model[i].bias.data[...] = weights[f"{name}_bias"]
    loss = nn.CrossEntropyLoss()
    optimizer = nn.optim.SGD(model.parameters(), **rows.SGD)

    def step():
        optimizer.zero_grad()
        value = loss(model(x), labels)
        model.backward(loss.backward(), need_input_grad=False)
        optimizer.step()
        return np.array([value])

    return {"training step": step}


BUILDERS = {"article_cnn": article_cnn}
