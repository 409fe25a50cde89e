"""A small problem for the trainer's tests, with everything that a resumed run could get wrong."""

import sys

import numpy as np

import nn

N, STEPS = 22, 6  # examples, and batches of four of them: the last has only two


class ShuffledLoader:
    """Batches in a new order with new noise in each epoch: like video.DataLoader, without video.

    An iteration that is broken off counts as an epoch, unless `load_state_dict` says otherwise.
    """

    def __init__(self, x, y, on_batch=None, seed=0):
        self.x, self.y, self.seed = x, y, seed
        self.on_batch = on_batch or (lambda epoch, batch: None)
        self.epoch, self.batch, self.begun, self.open = 0, 0, False, 0

    def __len__(self):
        return -(-len(self.y) // 4)

    def __iter__(self):
        if self.begun:
            self.epoch, self.batch = self.epoch + 1, 0
        self.begun, epoch = True, self.epoch
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.y))
        self.open += 1
        try:
            for b in range(self.batch, len(self)):
                noise = np.random.default_rng([self.seed, epoch, b])
                rows = order[4 * b : 4 * b + 4]
                x = self.x[rows] + noise.standard_normal((len(rows), 5)).astype(np.float32) / 9
                self.batch = b + 1
                self.on_batch(epoch, b)
                yield x, self.y[rows]
        finally:
            self.open -= 1
        self.epoch, self.batch, self.begun = epoch + 1, 0, False

    def state_dict(self):
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state):
        self.epoch, self.batch, self.begun = state["epoch"], state["batch"], False


class ListLoader(list):
    """The same batches in every epoch, and nothing that says where it stands."""

    def __init__(self, batches, on_batch):
        super().__init__(batches)
        self.on_batch, self.epoch = on_batch, 0

    def __iter__(self):
        epoch, self.epoch = self.epoch, self.epoch + 1
        for b, batch in enumerate(super().__iter__()):
            self.on_batch(epoch, b)
            yield batch


def data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 5)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] * x[:, 2] > 0)


def network(dropout=0.3, seed=1):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(5, 9, rng=rng),
        nn.ReLU(),
        nn.Dropout(dropout, rng=rng),
        nn.Linear(9, 3, rng=rng),
        nn.Dropout(dropout / 3, rng=rng),
    )


def trainer(directory=None, optimizer="SGD", epochs=4):
    model = network()
    if optimizer == "SGD":
        optimizer = nn.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    else:
        optimizer = nn.optim.AdamW(model.parameters(), 0.02)
    schedule = nn.optim.OneCycleLR(optimizer, 0.1, epochs * STEPS)
    return nn.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, schedule, clip=2.0, directory=directory
    )


def loaders(on_train=None, on_val=None, plain=False):
    x, y = data()
    if plain:
        batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, N, 4)]
        nothing = lambda epoch, batch: None  # noqa: E731
        return ListLoader(batches, on_train or nothing), ListLoader(batches[1:3], on_val or nothing)
    return ShuffledLoader(x, y, on_train), ShuffledLoader(*data(5), on_val, seed=7)


def main(directory, *options):
    """Train with a word per step, so that another process knows when to interrupt it."""
    import signal
    import time

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored

    def on_train(epoch, batch):
        print(f"step {epoch} {batch}", flush=True)
        if "slow" in options:
            time.sleep(0.02)

    made = trainer(directory)
    if "resume" in options:
        made.resume()
    try:
        made.fit(*loaders(on_train), epochs=4, monitor="val_accuracy")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(*sys.argv[1:])
