"""Examples put together into batches, decoded ahead while the network works."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import numpy as np

from video.sampling import BATCH, ORDER, generator

AHEAD = 2  # how many batches are decoded before they are asked for


class DataLoader:
    """Batches of a data set; each iteration is one epoch.

    The data set has `len(ds)` and `ds[i] -> tuple`, or `ds.example(i, epoch) -> tuple` where
    something is drawn anew in each epoch. A batch is the tuple of its examples' entries, each
    stacked along a new first axis: (clip, label) becomes (N, T, H, W, C) and (N,). Types of
    arrays are kept; plain ints become int64 and plain floats float32.

    batch_size: N, examples per batch. The last batch has the rest, or goes with `drop_last`.
    shuffle: a new order in each epoch, drawn from (seed, epoch).
    workers: threads that read examples ahead; 0 reads in the foreground. Threads are enough:
        ffmpeg is a process of its own, and NumPy lets other threads run while it copies. At
        most two batches are held ready, and batches are the same for any number of workers.
    batch_transform: called as `batch_transform(batch, rng)` on the tuple of stacked arrays, the
        generator made from (seed, epoch, number of the batch).

    An error while an example is read is raised here in its turn, after the batches before it.
    However an iteration ends (exhausted, `break`, an error, Ctrl-C) its threads end with it.

    The loader counts epochs by itself. An iteration that was broken off counts too: the next one
    is the next epoch, unless `load_state_dict` says where to go on.
    """

    def __init__(
        self,
        dataset,
        batch_size,
        shuffle=False,
        workers=2,
        batch_transform=None,
        seed=0,
        drop_last=False,
    ):
        for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
            if isinstance(value, bool) or int(value) != value or value < least:
                raise ValueError(
                    f"DataLoader: {name} is a whole number of at least {least}, not {value!r}"
                )
        if len(dataset) == 0:
            raise ValueError("DataLoader: the data set is empty")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"DataLoader: {len(dataset)} examples fill no batch of {batch_size}, "
                "and drop_last drops the rest"
            )
        self.dataset = dataset
        self.batch_size, self.drop_last = int(batch_size), bool(drop_last)
        self.shuffle, self.seed = bool(shuffle), int(seed)
        self.workers = int(workers)
        self.batch_transform = batch_transform
        self._epoch, self._batch = 0, 0  # batches handed out, not batches decoded
        self._begun = False  # whether an iteration has begun this epoch here

    def __len__(self):
        """Batches per epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self):
        if self._begun:  # and broken off: an exhausted one has moved on to the next epoch
            self._epoch, self._batch = self._epoch + 1, 0
        self._begun = True
        epoch, first = self._epoch, self._batch

        order = self._order(epoch)
        with closing(self._examples(order[first * self.batch_size :], epoch)) as examples:
            for b in range(first, len(self)):
                indices = order[b * self.batch_size : (b + 1) * self.batch_size]
                batch = _stack(list(islice(examples, len(indices))), indices)
                if self.batch_transform is not None:
                    rng = generator(self.seed, epoch, b, BATCH)
                    batch = self.batch_transform(batch, rng)
                self._epoch, self._batch = epoch, b + 1
                yield batch
        self._epoch, self._batch, self._begun = epoch + 1, 0, False

    def _order(self, epoch):
        """The indices of the examples of an epoch, in the order in which they are met."""
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = generator(self.seed, epoch, 0, ORDER).permutation(order)
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        return order.tolist()

    def _examples(self, indices, epoch):
        """The examples one by one, in order, with a few being read ahead by threads."""

        def read(i):
            if hasattr(self.dataset, "example"):
                return self.dataset.example(i, epoch)
            return self.dataset[i]

        if self.workers == 0:
            yield from map(read, indices)
            return

        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="DataLoader")
        try:
            indices = iter(indices)
            ahead = deque(pool.submit(read, i) for i in islice(indices, AHEAD * self.batch_size))
            while ahead:
                example = ahead.popleft().result()
                ahead.extend(pool.submit(read, i) for i in islice(indices, 1))
                yield example
        finally:
            # Reached at the end, on an error, and when the generator is closed or collected.
            pool.shutdown(wait=True, cancel_futures=True)

    def state_dict(self):
        """Where the loader stands: plain numbers, for `load_state_dict` of an equal loader."""
        return {"epoch": self._epoch, "batch": self._batch, **self._course()}

    def load_state_dict(self, state):
        """Let the next iteration go on where `state` was taken, batch for batch.

        Raises ValueError if this loader would give other batches than the one of the state did.
        """
        course = self._course()
        for name in course.keys() & state.keys():
            if state[name] != course[name]:
                raise ValueError(
                    f"DataLoader: the state is of a loader with {name} = {state[name]!r}, here "
                    f"{name} = {course[name]!r}: it would not go on with the same batches"
                )
        epoch, batch = int(state["epoch"]), int(state["batch"])
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ValueError(
                f"DataLoader: no batch {batch} in epoch {epoch}; an epoch has {len(self)} batches"
            )
        self._epoch, self._batch, self._begun = epoch, batch, False

    def _course(self):
        """What decides which examples form which batch."""
        return {
            "seed": self.seed,
            "shuffle": self.shuffle,
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "examples": len(self.dataset),
        }

    def __repr__(self):
        return (
            f"DataLoader({len(self)} batches of {self.batch_size} of {len(self.dataset)} examples, "
            f"shuffle={self.shuffle}, workers={self.workers})"
        )


def _stack(examples, indices):
    """Tuple of stacked entries of the examples; `indices` are their numbers, for errors."""
    width = len(examples[0]) if isinstance(examples[0], tuple) else 0
    for i, example in zip(indices, examples, strict=True):
        if not isinstance(example, tuple) or len(example) != width:
            got = f"{len(example)} entries" if isinstance(example, tuple) else type(example)
            raise TypeError(
                f"DataLoader: expected tuples of {width or 'equally many'} entries, "
                f"got {got} from example {i}"
            )
    return tuple(
        _stack_entry(k, [example[k] for example in examples], indices) for k in range(width)
    )


def _stack_entry(k, values, indices):
    plain = {int: np.int64, float: np.float32}
    arrays = [np.asarray(value, dtype=plain.get(type(value))) for value in values]
    for i, array in zip(indices, arrays, strict=True):
        if array.dtype == object:
            raise TypeError(
                f"DataLoader: entry {k} of example {i} is no array: {type(values[0]).__name__}"
            )
        if array.shape != arrays[0].shape or array.dtype.kind != arrays[0].dtype.kind:
            raise ValueError(
                f"DataLoader: entry {k} is {arrays[0].dtype} of shape {arrays[0].shape} in example "
                f"{indices[0]}, but {array.dtype} of shape {array.shape} in example {i}; a batch "
                "needs equal ones: give VideoFolder a size=, or end its transform with a "
                "transforms.Resize or a crop"
            )
    return np.stack(arrays)
