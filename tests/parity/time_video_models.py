"""Training steps of the networks of `video.models` beside PyTorch's, best of several.

    python tests/parity/time_video_models.py [--threads 2] [NAME ...]

Batches of 8 clips, 16 frames of 64×64, cross-entropy and AdamW. Each library runs in a process of
its own, so that their thread pools do not fight. Not a test: nothing is asserted.
"""

import argparse
import os
import subprocess
import sys
import time

N, T, H, W, C, K = 8, 16, 64, 64, 3, 10
STEPS = 8
NAMES = [
    "EarlyFusionCNN",
    "Conv3dNet",
    "R2Plus1DNet",
    "SmallResNet3D",
    "CNNRNN",
    "CNNAttention",
    "VideoTransformer",
]


def batch():
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((N, T, H, W, C), dtype=np.float32), rng.integers(0, K, N)


def backreel_step(name, threads):
    import nn
    from video import models

    x, labels = batch()
    model, loss = getattr(models, name)(K, rng=0), nn.CrossEntropyLoss()
    optimizer = nn.optim.AdamW(model.parameters(), 1e-3)

    def step():
        model.zero_grad()
        loss(model(x), labels)
        model.backward(loss.backward(), need_input_grad=False)
        optimizer.step()

    return step


def torch_step(name, threads):
    import numpy as np
    import torch
    import torch_video_models

    from video import models

    torch.set_num_threads(threads)
    x, labels = batch()
    x, labels = torch.from_numpy(np.moveaxis(x, -1, 1).copy()), torch.from_numpy(labels)
    channels = getattr(models, name)(K).channels
    model = torch_video_models.build(name, K, (H, W), T, channels)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def best(step):
    """Milliseconds of the quickest of some steps, after one that compiles and warms up."""
    step()
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def measured(library, name, threads):
    variables = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
    command = [sys.executable, __file__, "--threads", str(threads), "--only", library, name]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(run.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["backreel", "torch"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        make = {"backreel": backreel_step, "torch": torch_step}[chosen.only]
        print(best(make(chosen.names[0], chosen.threads)))
    else:
        print(f"{'network':20}{'Backreel ms':>12}{'PyTorch ms':>12}{'ratio':>8}")
        for name in chosen.names:
            ours, theirs = (measured(lib, name, chosen.threads) for lib in ("backreel", "torch"))
            print(f"{name:20}{ours:12.0f}{theirs:12.0f}{theirs / ours:8.2f}", flush=True)
