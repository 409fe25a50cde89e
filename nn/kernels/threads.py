"""The threads that the kernels run on. How many, and how they behave, is settled here, once.

A kernel for several threads is a plain kernel whose first argument counts the tasks that have
been handed out. All threads run it at the same time, and each takes the next task when it is free
(see `turns`):

    @kernel
    def double_all(turns, x, y):
        task = take(turns)
        while task < len(x):
            y[task] = 2 * x[task]
            task = take(turns)

    threads.run(double_all, x, y)

Compiled code lets go of Python's lock, so the threads are ordinary Python threads. They wait for
work in a queue: at first awake, for a fifth of a millisecond, then asleep. Numba's own parallel
loops (`numba.prange`, which the ladder shows) do the same work, but each takes seconds more to
compile; and the idle threads of their pool *spin* for long, in case more work comes at once. In a
training step that is the wrong bet: the next work is often a matrix product, which has a thread
pool of its own (OpenBLAS), and the spinning threads hold the cores that it needs. A small kernel
and a small product in turn then take 30 times as long as the two by themselves. For whoever uses
such loops beside this library, OpenMP's threads are told to sleep; a choice made outside stays as
it is.

The number of threads is Numba's setting: `NUMBA_NUM_THREADS` in the environment, all cores
without it; `set_count` changes it later. It changes the speed and no bit of any result, because
no two tasks write to the same place, and sums are shared out by the problem, not by the threads.
"""

import os
import queue
import threading

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_one_at_a_time = threading.Lock()
_count = None  # not asked yet
_team = None  # (the counters, a queue of jobs for each worker) while nobody runs on them


def count():
    """How many threads a kernel runs on."""
    if _count is None:
        import numba  # not at the top: it takes half a second, and is loaded when first needed

        set_count(numba.config.NUMBA_NUM_THREADS)
    return _count


def set_count(threads):
    """Run kernels on so many threads from now on."""
    global _count
    if threads < 1:
        raise ValueError(f"set_count: expected at least one thread, got {threads}")
    _count = int(threads)


def run(kernel, *args):
    """kernel(turns, *args) on all threads; returns when the last has finished."""
    from nn.kernels.turns import ALL, await_workers  # not at the top: it loads numba

    global _team
    with _one_at_a_time:
        counters, workers = _team or (np.zeros(ALL, np.int64), [])
        # Should Ctrl-C break in before all have finished, these counters are not used again: a
        # thread may still be at work, and would take the next kernel's tasks for its own.
        _team = None
        while len(workers) < count() - 1:
            workers.append(_start_worker(len(workers) + 1, counters))
        others, done = workers[: count() - 1], queue.SimpleQueue()
        for jobs in others:
            jobs.put((kernel, args, done))
        try:
            kernel(counters, *args)
        finally:
            busy = sum(not _take_back(jobs) for jobs in others)
            await_workers(counters, busy)
            errors = [done.get() for _ in range(busy)]
            counters[:] = 0
            _team = counters, workers
    for error in errors:
        if error is not None:
            raise error


def run_if(large, kernel, *args):
    """`run` for work that is large enough to be shared; small work is done at once, by us."""
    if large:
        run(kernel, *args)
    else:
        from nn.kernels.turns import ALL

        kernel(np.zeros(ALL, np.int64), *args)


def _take_back(jobs):
    """Take the job from a thread that has not woken up: what it would have done is done."""
    try:
        jobs.get_nowait()
    except queue.Empty:
        return False
    return True


def _start_worker(number, counters):
    """A thread that does what is put into the queue that is returned."""
    jobs = queue.SimpleQueue()
    name = f"backreel-kernels-{number}"
    threading.Thread(target=_work, args=(jobs, counters), name=name, daemon=True).start()
    return jobs


def _work(jobs, counters):
    from nn.kernels.turns import await_work

    while True:
        await_work(counters)
        kernel, args, done = jobs.get()
        error = None
        try:
            kernel(counters, *args)
        except BaseException as problem:  # it is raised again where `run` was called
            error = problem
        done.put(error)
        del kernel, args, done  # hold no array while asleep


def _forget_team():
    global _team
    _team = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)  # a child process has one thread only
