"""The threads that the kernels run on. How many, and how they behave, is settled here, once.

A kernel for several threads is a plain kernel whose first two arguments say which share of the
work is its own: thread t of n does the tasks t, t + n, t + 2n, …

    @kernel
    def double_all(thread, threads, x, y):
        for task in range(thread, len(x), threads):
            y[task] = 2 * x[task]

    threads.run(double_all, x, y)

Compiled code lets go of Python's lock, so the threads are ordinary Python threads. They wait for
work asleep, in a queue. Numba's own parallel loops (`numba.prange`, which the ladder shows) do
the same work at the same speed, but each takes seconds more to compile; and the idle threads of
their pool *spin* for a while, in case more work comes at once. In a training step that is the
wrong bet: the next work is often a matrix product, which has a thread pool of its own (OpenBLAS),
and the spinning threads hold the cores that it needs. A small kernel and a small product in turn
then take 30 times as long as the two by themselves. For whoever uses such loops beside this
library, OpenMP's threads are told to sleep too; a choice made outside stays as it is.

The number of threads is Numba's setting: `NUMBA_NUM_THREADS` in the environment, all cores
without it; `set_count` changes it later. It changes the speed and no bit of any result, because
no two tasks write to the same place, and sums are shared out by the problem, not by the threads.
"""

import os
import queue
import threading

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The kernels let go of Python's lock while they run, so that files are decoded meanwhile. But
# one of them at a time: each uses all cores anyway.
one_at_a_time = threading.Lock()

_count = None  # not asked yet
_workers = []


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
    """kernel(thread, threads, *args) on all threads; returns when the last has finished."""
    threads = count()
    while len(_workers) < threads - 1:
        _workers.append(_start_worker(len(_workers) + 1))
    done = queue.SimpleQueue()
    for thread in range(1, threads):
        _workers[thread - 1].put((kernel, (thread, threads, *args), done))
    try:
        kernel(0, threads, *args)
    finally:
        errors = [done.get() for _ in range(1, threads)]
    for error in errors:
        if error is not None:
            raise error


def run_if(large, kernel, *args):
    """`run` for work that is large enough to be shared; small work is done at once, by us."""
    if large:
        run(kernel, *args)
    else:
        kernel(0, 1, *args)


def _start_worker(number):
    """A thread that does what is put into the queue that is returned."""
    jobs = queue.SimpleQueue()
    name = f"backreel-kernels-{number}"
    threading.Thread(target=_work, args=(jobs,), name=name, daemon=True).start()
    return jobs


def _work(jobs):
    while True:
        kernel, args, done = jobs.get()
        error = None
        try:
            kernel(*args)
        except BaseException as problem:  # it is raised again where `run` was called
            error = problem
        done.put(error)
        del kernel, args, done  # hold no array while asleep


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.clear)  # a child process has one thread only
