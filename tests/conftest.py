"""While the first tests run on one core, another compiles the kernels that later ones need.

Compiling everything once, in both precisions, takes two minutes of a first run, and the compiler
uses one core. The checks of all layers call all kernels in float64: run in a process of their own,
they leave them in the cache on disk. What is not there in time the tests compile themselves.
"""

import subprocess
import sys

from nn.kernels import jit

MANY = 1000  # tests: for a few it would not pay
helper = None


def pytest_collection_finish(session):
    global helper
    compiled = jit.FOLDER is not None and any(jit.FOLDER.rglob("*.nbc"))
    if len(session.items) > MANY and not compiled and not session.config.option.collectonly:
        helper = subprocess.Popen(
            [sys.executable, "-m", "nn.gradcheck", "--kernels", "fast"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def pytest_sessionfinish():
    if helper is not None:
        helper.kill()
        helper.wait()
