"""The loader: the right batches in the right order, whatever the threads do, and none left."""

import gc
import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from video.loader import AHEAD, DataLoader


class Numbers:
    """Example i of epoch e is (array of i and e, i), after a pause that differs per example."""

    def __init__(self, n, pause=0.0):
        self.n, self.pause = n, pause
        self.started = []

    def __len__(self):
        return self.n

    def example(self, i, epoch):
        self.started.append(i)
        time.sleep(self.pause * (i * 7 % 5))
        draw = np.random.default_rng((0, epoch, i)).integers(1000)
        return np.array([i, epoch, draw], np.uint16), i

    def __getitem__(self, i):
        return self.example(i, 0)


def batches(loader):
    return [tuple(array.tolist() for array in batch) for batch in loader]


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("DataLoader")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert threads() == []


def test_batches_are_stacked_examples_in_order():
    got = list(DataLoader(Numbers(7), 3, workers=2))
    assert [len(labels) for _, labels in got] == [3, 3, 1]
    x, labels = got[1]
    assert x.dtype == np.uint16 and labels.dtype == np.int64
    assert x[:, 0].tolist() == labels.tolist() == [3, 4, 5]


def test_drop_last_drops_the_rest():
    loader = DataLoader(Numbers(7), 3, drop_last=True, shuffle=True)
    assert len(loader) == 2 and [len(y) for _, y in loader] == [3, 3]
    assert len(DataLoader(Numbers(6), 3)) == 2


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_change_nothing(workers):
    quiet = DataLoader(Numbers(23), 4, shuffle=True, workers=0, seed=5)
    busy = DataLoader(Numbers(23, pause=0.001), 4, shuffle=True, workers=workers, seed=5)
    for _ in range(3):
        assert batches(quiet) == batches(busy)


def test_each_iteration_is_an_epoch_with_its_own_order_and_draws():
    loader = DataLoader(Numbers(12), 12, shuffle=True, workers=0)
    epochs = [next(iter(loader)) for _ in range(3)]  # broken off after all of it: counts too
    assert [x[0, 1] for x, _ in epochs] == [0, 1, 2]
    orders = [labels.tolist() for _, labels in epochs]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    other = DataLoader(Numbers(12), 12, shuffle=True, workers=0, seed=1)
    assert next(iter(other))[1].tolist() != orders[0]


def test_every_example_comes_once_per_epoch():
    loader = DataLoader(Numbers(50), 7, shuffle=True)
    for _ in range(2):
        assert sorted(i for _, labels in batches(loader) for i in labels) == list(range(50))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 4, 6])
def test_a_resumed_epoch_goes_on_batch_for_batch(workers, stop):
    def loader():
        return DataLoader(Numbers(23, pause=0.0005), 4, shuffle=True, workers=workers, seed=2)

    whole = loader()
    expected = [batches(whole) for _ in range(3)]
    first = loader()
    assert batches(first) == expected[0]
    seen = []
    if stop:
        for batch in first:
            seen.append(tuple(array.tolist() for array in batch))
            if len(seen) == stop:
                break  # by now more batches are decoded than handed out
    state = json.loads(json.dumps(first.state_dict()))
    assert (state["epoch"], state["batch"]) == (1, stop)
    resumed = loader()
    resumed.load_state_dict(state)
    assert seen + batches(resumed) == expected[1]
    assert batches(resumed) == expected[2]


def test_the_state_moves_on_as_batches_are_handed_out():
    loader = DataLoader(Numbers(6), 3)
    states = [(loader.state_dict()["epoch"], loader.state_dict()["batch"])]
    for _ in loader:
        states.append((loader.state_dict()["epoch"], loader.state_dict()["batch"]))
    states.append((loader.state_dict()["epoch"], loader.state_dict()["batch"]))
    assert states == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_an_epoch_broken_off_is_over_unless_a_state_is_loaded():
    loader = DataLoader(Numbers(6), 2, shuffle=True)
    for _ in loader:
        break
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (0, 1)
    assert [x[0, 1] for x, _ in loader] == [1, 1, 1]
    for _ in loader:
        break
    loader.load_state_dict(state)
    assert [x[0, 1] for x, _ in loader] == [0, 0]
    assert [x[0, 1] for x, _ in loader] == [1, 1, 1]


def test_a_state_of_other_batches_is_refused():
    state = DataLoader(Numbers(6), 2).state_dict()
    with pytest.raises(ValueError, match="batch_size = 2, here batch_size = 3"):
        DataLoader(Numbers(6), 3).load_state_dict(state)
    with pytest.raises(ValueError, match="examples = 6, here examples = 7"):
        DataLoader(Numbers(7), 2).load_state_dict(state)
    with pytest.raises(ValueError, match="no batch 4 in epoch 0"):
        DataLoader(Numbers(6), 2).load_state_dict({"epoch": 0, "batch": 4})


def test_no_more_is_read_ahead_than_two_batches():
    data = Numbers(100)
    iterator = iter(DataLoader(data, 5, workers=3))
    next(iterator)
    limit = (1 + AHEAD) * 5
    deadline = time.monotonic() + 5
    while len(data.started) < limit and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(data.started) == limit
    iterator.close()


@pytest.mark.parametrize("end", ["exhausted", "break", "close", "collected", "error in the loop"])
def test_no_thread_outlives_the_iteration(end):
    loader = DataLoader(Numbers(40, pause=0.002), 4)
    if end == "exhausted":
        for _ in loader:
            assert threads()
    elif end == "break":
        for _ in loader:
            break
    elif end == "close":
        iterator = iter(loader)
        next(iterator)
        assert threads()
        iterator.close()
    elif end == "collected":
        circle = [iter(loader)]
        circle.append(circle)
        next(circle[0])
        del circle
        gc.collect()
    else:
        with pytest.raises(ZeroDivisionError):
            for _ in loader:
                raise ZeroDivisionError
    assert threads() == []


@pytest.mark.skipif(os.name == "nt", reason="a signal to oneself ends the process on Windows")
def test_ctrl_c_while_waiting_ends_the_threads():
    class Slow(Numbers):
        def example(self, i, epoch):
            if i >= 8:
                time.sleep(0.4)
            return super().example(i, epoch)

    loader = DataLoader(Slow(48), 8)
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    handed_out = 0
    with pytest.raises(KeyboardInterrupt):
        for _ in loader:
            if handed_out == 0:
                timer.start()
            handed_out += 1
    timer.join()
    assert threads() == []
    assert loader.state_dict()["batch"] == handed_out
    assert len(loader.dataset.started) < 20  # of 24 asked for: what was waiting is called off


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_its_turn_and_the_batches_before_it_too(workers):
    class Broken(Numbers):
        def example(self, i, epoch):
            if i == 7:
                raise OSError(f"clip{i}.mp4: cannot be read")
            return super().example(i, epoch)

    seen = []
    with pytest.raises(OSError, match=r"clip7\.mp4: cannot be read"):
        for _, labels in DataLoader(Broken(20), 3, workers=workers):
            seen.append(labels.tolist())
    assert seen == [[0, 1, 2], [3, 4, 5]]


class Listed(list):
    """A data set without `example`: a list of tuples."""


def test_any_tuple_any_type():
    data = Listed((np.float32(i), np.full((2, 1), i, np.int8), i, i / 2, i > 1) for i in range(4))
    batch = next(iter(DataLoader(data, 4)))
    assert [a.dtype for a in batch] == [np.float32, np.int8, np.int64, np.float32, np.bool_]
    assert [a.shape for a in batch] == [(4,), (4, 2, 1), (4,), (4,), (4,)]
    assert batch[3].tolist() == [0, 0.5, 1, 1.5]


def test_shapes_that_do_not_fit_are_named_with_a_way_out():
    data = Listed((np.zeros((2, 4 + (i == 5), 3)), i) for i in range(6))
    loader = DataLoader(data, 3)
    with pytest.raises(ValueError, match=r"\(2, 4, 3\) in example 3.*\(2, 5, 3\) in example 5"):
        list(loader)
    with pytest.raises(ValueError, match="size=.*Resize"):
        list(loader)
    mixed = Listed([(np.zeros(3, np.uint8),), (np.zeros(3, np.float32),)])
    with pytest.raises(ValueError, match="uint8 .* but float32"):
        list(DataLoader(mixed, 2))


def test_examples_that_are_no_tuples_of_arrays_are_refused():
    with pytest.raises(TypeError, match="expected tuples .* from example 0"):
        list(DataLoader(Listed([np.zeros(3)]), 1))
    with pytest.raises(TypeError, match="tuples of 2 entries, got 1 entries from example 1"):
        list(DataLoader(Listed([(1, 2), (3,)]), 2))
    with pytest.raises(TypeError, match="entry 1 of example 0 is no array: NoneType"):
        list(DataLoader(Listed([(1, None)]), 1))


def test_batch_transform_draws_from_seed_epoch_and_batch():
    def noisy(batch, rng):
        x, labels = batch
        return x + rng.normal(size=len(x))[:, None], labels

    def run(workers, state=None):
        loader = DataLoader(Numbers(9), 3, workers=workers, batch_transform=noisy)
        if state:
            loader.load_state_dict(state)
        return batches(loader)

    whole = run(0)
    assert whole == run(2)
    assert run(2, {"epoch": 0, "batch": 1}) == whole[1:]
    noise = [x[0][1] for x, _ in whole]  # entry 1 is the epoch, 0, so the noise alone is left
    assert len(set(noise)) == 3


def test_what_cannot_be_a_loader_is_said():
    with pytest.raises(ValueError, match="the data set is empty"):
        DataLoader(Listed(), 2)
    with pytest.raises(ValueError, match="2 examples fill no batch of 3"):
        DataLoader(Numbers(2), 3, drop_last=True)
    for wrong in ({"batch_size": 0}, {"batch_size": 1.5}, {"batch_size": 2, "workers": -1}):
        with pytest.raises(ValueError, match="whole number of at least"):
            DataLoader(Numbers(2), **wrong)
