"""Ctrl-C is heard, and a second core helps to compile.

A shell starts what runs in the background deaf to Ctrl-C, and what that starts is deaf too. The
tests that interrupt a training need to be heard, wherever they are run.

While the first tests run on one core, another compiles the kernels that later ones need.

Compiling everything once, in both precisions, takes two minutes of a first run, and the compiler
uses one core. The checks of all layers call all kernels in float64: run in a process of their own,
they leave them in the cache on disk. What is not there in time the tests compile themselves.
"""

import signal
import subprocess
import sys

from nn.kernels import jit

MANY = 1000  # tests: for a few it would not pay
helper = None

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
