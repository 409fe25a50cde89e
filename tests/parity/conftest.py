"""PyTorch as an oracle. Without it these tests are skipped; where BACKREEL_REQUIRE_TORCH is set,
as in continuous integration, they fail instead."""

import importlib.util
import os

if os.environ.get("BACKREEL_REQUIRE_TORCH") or importlib.util.find_spec("torch"):
    import torch

    # PyTorch and the compiled kernels each bring a thread pool: in one process they would fight.
    torch.set_num_threads(1)
