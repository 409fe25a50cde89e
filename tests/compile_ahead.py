"""Compile all kernels, those of float32 first: what `conftest.py` runs beside the tests."""

import runpy
import sys

from nn.bench import backreel_networks

if __name__ == "__main__":
    backreel_networks.first_step()
    sys.argv = ["nn.gradcheck", "--kernels", "fast"]
    runpy.run_module("nn.gradcheck", run_name="__main__")
