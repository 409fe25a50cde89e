"""Training the last layer of a network alone, at no cost for the others."""

import nn
from nn.module import inference


class HeadOnly(nn.Module):
    """A network whose last dense layer learns while all before it stays as it is.

    x (N, T, H, W, C) → body → features (N, D) → head → logits (N, K)

    The body is the network with the identity for a head. It runs as in use, `eval()`, so that the
    running averages of its norms stay, and inside `inference()`, so that nothing is saved; backward
    ends at the head. Thus a step costs one forward pass, and a matrix product.

    Wrap a network, train this module's `head.parameters()`, then `release()` gives the network back
    with its new head. (Where the logits are a mean over frames, as in FrameCNN, the mean is taken
    of the features here: the head is linear, so that is the same up to rounding.)
    """

    def __init__(self, model):
        self.head = model.swap_head(nn.Sequential())  # no modules: the identity
        self.body = model.eval()

    def forward(self, x):
        with inference():
            features = self.body(x)
        return self.head(features)

    def backward(self, dy, need_input_grad=True):
        self.head.backward(dy, need_input_grad=False)

    def train(self, training=True):
        super().train(training)
        self.body.eval()
        return self

    def release(self):
        """The network with its head in place again."""
        self.body.swap_head(self.head)
        return self.body

    def describe(self):
        return "HeadOnly()"
