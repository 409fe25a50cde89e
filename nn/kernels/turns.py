"""Which thread does which task: whoever is free takes the next number.

Two threads that finish at the same time waste nothing; a fixed half for each leaves the faster one
waiting. So the tasks of a kernel are numbered, and handed out by a counter in memory:

    task = take(turns)
    while task < tasks:
        ...
        task = take(turns)

`take` is one instruction that no other thread can interrupt: it reads the counter and raises it.

Where some tasks need what others have made, these come first in one kernel, and are counted:

    task = take(turns)
    while task < first_tasks:
        ...
        finish(turns)
        task = take(turns)
    await_finished(turns, first_tasks)
    while task < first_tasks + other_tasks:
        ...
        task = take(turns)

A thread that has finished spins for a moment before it goes to sleep: in a training step the next
kernel is a tenth of a millisecond away, and waking a sleeping thread takes half as long.
"""

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from nn.kernels.jit import kernel

# The counters: tasks handed out so far, tasks finished, workers back from their work. Each has a
# cache line of its own: writing to one takes it away from other threads.
TURNS, FINISHED, BACK, ALL = 0, 8, 16, 24
SPINS = 14_000  # of 15 to 60 ns: less than a millisecond, while threads of OpenMP spin for many


def _counter(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def _raise(typing_context, counters, which):
    """counters[which] += 1, at one go; returns the number before."""

    def codegen(context, builder, signature, args):
        at = _counter(context, builder, signature, args)
        return builder.atomic_rmw("add", at, ir.IntType(64)(1), "seq_cst")

    return types.int64(counters, types.intp), codegen


@intrinsic
def _look(typing_context, counters, which):
    """counters[which] as it is now, whatever was read before."""

    def codegen(context, builder, signature, args):
        at = _counter(context, builder, signature, args)
        return builder.load_atomic(at, "acquire", 8)

    return types.int64(counters, types.intp), codegen


@intrinsic
def _pause(typing_context):
    """Leave the core to its other hardware thread for a moment."""

    def codegen(context, builder, signature, args):
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            pause = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause")
            builder.call(pause, [])
        return context.get_dummy_value()

    return types.none(), codegen


@kernel
def take(turns):
    """The number of the next task."""
    return _raise(turns, TURNS)


@kernel
def finish(turns):
    """Count a finished task."""
    _raise(turns, FINISHED)


@kernel
def await_finished(turns, tasks):
    """Spin until so many tasks are finished. The last ones have all been taken: it is not long."""
    while _look(turns, FINISHED) < tasks:
        _pause()


@kernel
def await_work(turns):
    """A worker has finished. Spin until the next kernel begins, if that is soon."""
    _raise(turns, BACK)
    spins = 0
    while _look(turns, TURNS) != 0 and spins < SPINS:  # the others still work
        _pause()
        spins += 1
    while _look(turns, TURNS) == 0 and spins < SPINS:
        _pause()
        spins += 1


@kernel
def await_workers(turns, back):
    """Spin until the workers have come back so many times, if that is soon."""
    spins = 0
    while _look(turns, BACK) < back and spins < SPINS:
        _pause()
        spins += 1
