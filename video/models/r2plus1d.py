"""(2+1)-D convolution: first over space, then over time."""

import nn
from video.models.conv3d import Conv3dNet


class R2Plus1DNet(Conv3dNet):
    """`Conv3dNet` with every kernel taken apart: 3×3 places of one frame, then 3 frames of a place.

    (N, T, H, W, C) → logits (N, num_classes). A 3-D convolution from A to B channels becomes

        conv 1×3×3, A → M     batch norm, ReLU     conv 3×1×1, M → B

    with M chosen so that both have the same number of weights: 9AM + 3MB ≈ 27AB. In between there
    is one more ReLU, so the same weights can say more, and they are easier to train (Tran et al.
    2018, arXiv:1711.11248). What was one kernel for a moving pattern is now a pattern, then its
    movement.

    Arguments, sizes and receptive fields are those of `Conv3dNet`.
    """

    def block(self, channels_in, channels_out, time_stride, rng):
        middle = middle_channels(channels_in, channels_out)
        return nn.Sequential(
            nn.Conv3d(channels_in, middle, (1, 3, 3), padding=(0, 1, 1), bias=False, rng=rng),
            nn.BatchNorm(middle),
            nn.ReLU(),
            nn.Conv3d(
                middle,
                channels_out,
                (3, 1, 1),
                stride=(time_stride, 1, 1),
                padding=(1, 0, 0),
                bias=False,
                rng=rng,
            ),
            nn.BatchNorm(channels_out),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
        )


def middle_channels(A, B):
    """M with 9AM + 3MB ≤ 27AB: no more weights than one 3×3×3 kernel from A to B channels has."""
    return max(1, 27 * A * B // (9 * A + 3 * B))
