"""A transformer on patches of frames: attention along time and over space in turn."""

import numpy as np

import nn
from nn.arguments import whole_number
from nn.positional import sinusoids
from video.models.base import VideoModel


class DividedBlock(nn.Module):
    """One layer of divided space-time attention: x (N, T, S, D) → y of the same shape.

        x ← x + attention(norm(x))  along time:  each place looks at itself in the other frames
        x ← x + attention(norm(x))  over space:  each frame's places look at each other
        x ← x + dense(norm(x))      each place of each frame by itself

    T·S·(T + S) pairs instead of (T·S)² (Bertasius et al. 2021, arXiv:2102.05095). The axis that
    is not looked along is folded into the batch; backward folds the same way.
    """

    def __init__(self, dim, heads, rng=None):
        rng = np.random.default_rng(rng)
        self.time = nn.Residual(nn.LayerNorm(dim), nn.MultiHeadAttention(dim, heads, rng=rng))
        self.space = nn.Residual(nn.LayerNorm(dim), nn.MultiHeadAttention(dim, heads, rng=rng))
        self.dense = nn.Residual(
            nn.LayerNorm(dim),
            nn.Linear(dim, 4 * dim, rng=rng),
            nn.GELU(),
            nn.Linear(4 * dim, dim, rng=rng),
        )

    def forward(self, x):
        N, T, S, D = x.shape
        self.save(x.shape)
        x = x.swapaxes(1, 2).reshape(N * S, T, D)  # a sequence of frames for each place
        x = self.time(x)
        x = x.reshape(N, S, T, D).swapaxes(1, 2).reshape(N * T, S, D)  # of places for each frame
        x = self.space(x)
        return self.dense(x).reshape(N, T, S, D)

    def backward(self, dy, need_input_grad=True):
        N, T, S, D = self.take()[0]
        dx = self.dense.backward(dy.reshape(N * T, S, D))
        dx = self.space.backward(dx)
        dx = dx.reshape(N, T, S, D).swapaxes(1, 2).reshape(N * S, T, D)
        dx = self.time.backward(dx)
        return dx.reshape(N, S, T, D).swapaxes(1, 2)


class VideoTransformer(VideoModel):
    """Frames cut into patches, patches into vectors, and layers of divided attention.

    (N, T, H, W, C) → logits (N, num_classes):

        patches (N, T, H/P, W/P, P·P·C) → dense D → + space-time position
        → `DividedBlock` × depth → layer norm → mean over times and places → dense num_classes

    - patch: P; frames whose height or width it does not divide are filled up with zeros at the
      lower and right border.
    - depth: number of blocks. heads: of each attention; they divide D.
    - size: (H, W), which clips must have, for every place has its own position vector.
    - frames: the most frames a clip may have.
    - channels: (input channels, D).
    """

    options = ("patch", "depth", "heads")
    takes_channels = ("input", "D")

    def __init__(
        self,
        num_classes,
        size=(64, 64),
        frames=16,
        channels=(3, 64),
        rng=None,
        patch=8,
        depth=4,
        heads=4,
    ):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        self.patch = whole_number(self, "patch", patch)
        self.depth = whole_number(self, "depth", depth)
        self.heads = whole_number(self, "heads", heads)
        C, D = self.channels
        grid = tuple(-(-n // patch) for n in self.size)  # patches that are begun count
        self.embed = nn.Linear(patch * patch * C, D, rng=rng)
        self.positions = nn.PositionalEncoding(D, "space-time", (self.frames, *grid), rng=rng)
        self.start_positions()
        self.blocks = nn.Sequential(*[DividedBlock(D, heads, rng) for _ in range(depth)])
        self.norm = nn.LayerNorm(D)
        self.pool = nn.GlobalAvgPool()
        self.classifier = nn.Linear(D, num_classes, rng=rng)
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.classifier.weight.data *= 0.1

    def start_positions(self):
        """Let positions start as waves, of time, and half each of row and column.

        They are learned from there. The usual start, vectors fifty times smaller than features,
        leaves a clip all but a bag of frames, and on few clips training does not get beyond it.
        """
        D = self.channels[1]
        time, space = self.positions.time_weight.data, self.positions.space_weight.data
        T, (H, W) = len(time), space.shape[:2]
        time[...] = sinusoids(T, D)
        space[..., : D // 2] = sinusoids(H, D // 2)[:, None]
        space[..., D // 2 :] = sinusoids(W, D - D // 2)

    def forward(self, x):
        self.expect_clips(x, fixed="HW")
        if x.shape[1] > self.frames:
            raise ValueError(
                f"VideoTransformer: expected clips of at most {self.frames} frames, got {x.shape}"
            )
        x = self.positions(self.embed(self.cut(x)))  # (N, T, H', W', D)
        N, T, H, W, D = x.shape
        self.save(x.shape)
        x = self.blocks(x.reshape(N, T, H * W, D))
        return self.classifier(self.pool(self.norm(x)))  # (N, K)

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        dx = self.norm.backward(self.pool.backward(self.classifier.backward(dy)))
        dx = self.positions.backward(self.blocks.backward(dx).reshape(shape))
        dpatches = self.embed.backward(dx, need_input_grad=need_input_grad)
        if need_input_grad:
            return self.put_together(dpatches)

    def cut(self, x):
        """Clips (N, T, H, W, C) → the pixels of each patch (N, T, ⌈H/P⌉, ⌈W/P⌉, P·P·C)."""
        N, T, H, W, C = x.shape
        P = self.patch
        missing = [(0, -n % P) for n in (H, W)]
        x = np.pad(x, [(0, 0), (0, 0), *missing, (0, 0)])
        x = x.reshape(N, T, -(-H // P), P, -(-W // P), P, C)
        return x.swapaxes(3, 4).reshape(N, T, -(-H // P), -(-W // P), P * P * C)

    def put_together(self, patches):
        """The way back of `cut`: every pixel to its place, what was filled up dropped."""
        N, T, rows, columns, _ = patches.shape
        P, (H, W) = self.patch, self.size
        x = patches.reshape(N, T, rows, columns, P, P, -1).swapaxes(3, 4)
        return x.reshape(N, T, rows * P, columns * P, -1)[:, :, :H, :W]
