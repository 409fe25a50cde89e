"""The processes that the bench starts, the environment they get, and the talk with a worker."""

import json
import os
import subprocess
import sys

# What holds each library to 8-wide vectors (AVX2) on a CPU that has wider ones.
ONLY_AVX2 = {
    "backreel": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "torch": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
THREAD_COUNTS = ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
PATIENCE = 2  # seconds a worker has to finish once it is told to


def environment(library, threads, avx2=False):
    """The environment of a process that runs "backreel" or "torch"."""
    variables = {**os.environ, **dict.fromkeys(THREAD_COUNTS, str(threads))}
    if library == "torch":
        variables.pop("OMP_WAIT_POLICY", None)  # set by importing nn: see worker.py
    if avx2:
        variables.update(ONLY_AVX2[library])
    return variables


def start(command, library, threads, avx2=False):
    """Start Python with these arguments. Ctrl-C reaches this process only, which ends the other."""
    return subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(library, threads, avx2),
        start_new_session=True,
    )


def end(process, patience=PATIENCE):
    """Close a process's input, and stop it where that does not end it in so many seconds."""
    process.stdin.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


class Side:
    """One worker process: "backreel", "torch plain" or "torch channels last"."""

    def __init__(self, name, threads, avx2=False):
        self.name = name
        command = ["-m", "nn.bench.worker", name, str(threads)]
        self.process = start(command, name.split()[0], threads, avx2)

    def ask(self, **command):
        """Send a command and wait for the answer."""
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"the {self.name} side stopped; its message stands above")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        end(self.process, 0 if error else PATIENCE)  # nobody waits after Ctrl-C
