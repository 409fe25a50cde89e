"""Ctrl-C is heard, and a second core helps to compile.

A shell starts what runs in the background deaf to Ctrl-C, and what that starts is deaf too. The
tests that interrupt a training need to be heard, wherever they are run.

While the first tests run on one core, another compiles the kernels that later ones need.
Compiling everything once, in both precisions, takes two minutes of a first run, and the compiler
uses one core. So a process of its own does a training step, in float32, and the checks of
all layers, in float64, and leaves the kernels in the cache on disk. Meanwhile the tests that read
files, which need few of them, come first, and the page whose kernels take longest comes last. What
is not there in time the tests compile themselves.
"""

import signal
import subprocess
import sys
from pathlib import Path

from nn.kernels import jit

MANY = 1000  # tests: for a few it would not pay
FIRST = ("faults", "video")  # folders
LAST = "test_code_blocks_run[docs/19-fast-kernels.md]"
AHEAD = """
import runpy, sys
from nn.bench.backreel_networks import first_step
first_step()
sys.argv = ["nn.gradcheck", "--kernels", "fast"]
try:
    runpy.run_module("nn.gradcheck", run_name="__main__")
except SystemExit:
    pass
import numpy as np
from nn.kernels import ladder
x, w = np.ones((1, 8, 8, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
for rung in ladder.RUNGS:
    rung(x, w)
"""
helper = None

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent

    def place(item):
        return (item.name == LAST, item.path.relative_to(here).parts[0] not in FIRST)

    items.sort(key=place)


def pytest_collection_finish(session):
    global helper
    compiled = jit.FOLDER is not None and any(jit.FOLDER.rglob("*.nbc"))
    if len(session.items) > MANY and not compiled and not session.config.option.collectonly:
        helper = subprocess.Popen(
            [sys.executable, "-c", AHEAD],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def pytest_sessionfinish():
    if helper is not None:
        helper.kill()
        helper.wait()
