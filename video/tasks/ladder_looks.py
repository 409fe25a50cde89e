"""Looks into the networks of a ladder's run: the numbers behind `ladder_pictures`.

Each function takes a network and clips and gives plain arrays, so that a notebook can use it too.
"""

import numpy as np

import nn
from nn.activation import softmax
from video import models
from video.models.base import entering
from video.tasks import ladder


def trained(name, seed, settings, directory):
    """The network that a run has left, in `eval()` mode; None if it did not train that one."""
    weights = ladder.place_of(name, seed, directory) / "model.npz"
    if name not in settings.networks or not weights.exists():
        return None
    return models.load(weights)


def chosen(test, names):
    """The number of the first test clip of each class in `names`: chosen before any answer."""
    labels = [label for _, label in test.samples]
    return [labels.index(test.classes.index(name)) for name in names]


def played(test, way, indices):
    """Test clips played as `ladder.WAYS[way]` says, uint8 (N, T, H, W, C)."""
    view = test.replace(transform=ladder.WAYS[way])
    return np.stack([view[i][0] for i in indices])


def entered(clips):
    """uint8 clips (N, T, H, W, C) as the networks of the ladder were trained on them, float32."""
    enter = entering(ladder.PREPROCESSING)
    return np.stack([enter(clip) for clip in clips])


def answers(model, clips):
    """(class id, its probability) for each of the uint8 clips."""
    with nn.inference():
        p = softmax(model(entered(clips)))
    return [(int(k), float(p_k[k])) for k, p_k in zip(p.argmax(axis=1), p, strict=True)]


def attention(model, clips):
    """Where a `CNNAttention` looks: (asked (N, heads, T), among (N, heads, T, T)).

    asked: how much of its answer the class query takes from each frame. among: row i of the
    self-attention says from which frames frame i takes what it adds to itself.
    """
    with nn.inference(), nn.watch(model.ask, model.encoder.self_attn) as seen:
        model(entered(clips))
    return seen[model.ask].weights[:, :, 0], seen[model.encoder.self_attn].weights


def degrees(model, clips):
    """The article's degree and ordinary attention on the same features: (a, p).

    The features v of the frames are those of the network's CNN, without the positions. With
    s = v_i · v_j / √D: a (N, T) is Σ_j p_ij s_ij, `AttentionDegree`; p (N, T, T) are the weights
    with which `Attention` sums the v_j.
    """
    degree, attention = nn.AttentionDegree(), nn.Attention()
    with nn.inference(), nn.watch(attention) as seen:
        v = model.features(entered(clips))
        a = degree(v)
        attention(v)
    return a, seen[attention].weights[:, 0]


def gradients_by_step(model, clips, labels):
    """‖∂L/∂v_t‖ of a `CNNRNN` for each step t, mean over the clips: (T,).

    v_t are the features that enter the recurrent layer at step t, L is the cross-entropy, which
    hears of the last step only. The network is left in the mode it came in.
    """
    loss = nn.CrossEntropyLoss()
    with nn.watch(model.features) as seen:
        loss(model(entered(clips)), labels)
        model.backward(loss.backward(), need_input_grad=False)
    model.zero_grad()
    return np.linalg.norm(seen[model.features].grad, axis=2).mean(axis=0) * len(clips)
