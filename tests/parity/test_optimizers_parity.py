"""Twenty steps of each optimiser beside PyTorch's, from equal weights; clipping; schedules."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")

OPTIMIZERS = [
    ("SGD", dict(lr=0.1)),
    ("SGD", dict(lr=0.1, weight_decay=0.05)),
    ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    ("SGD", dict(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.05)),
    ("AdamW", dict(lr=0.01)),
    ("AdamW", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    ("AdamW", dict(lr=0.05, weight_decay=0.0)),
    ("Adam", dict()),
    ("Adam", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    ("RMSprop", dict()),
    ("RMSprop", dict(lr=0.02, alpha=0.9, eps=1e-6, weight_decay=0.1)),
    ("RMSprop", dict(lr=0.005, momentum=0.9)),
    ("RMSprop", dict(lr=0.005, centered=True)),
    ("RMSprop", dict(lr=0.005, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1)),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in OPTIMIZERS]


def networks(dtype):
    """The same two-layer network twice."""
    ours = nn.Sequential(nn.Linear(5, 7, rng=0), nn.Tanh(), nn.Linear(7, 3, rng=1)).astype(dtype)
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).to(
        getattr(torch, np.dtype(dtype).name)
    )
    with torch.no_grad():
        for i in (0, 2):
            theirs[i].weight.copy_(torch.from_numpy(ours[i].weight.data.T.copy()))
            theirs[i].bias.copy_(torch.from_numpy(ours[i].bias.data))
    return ours, theirs


on_both_dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 5e-5)], ids=["float64", "float32"]
)


def assert_same_after_twenty_steps(ours, theirs, optimizer, their_optimizer, dtype, tolerance):
    loss, their_loss = nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    rng = np.random.default_rng(2)
    before = ours[0].weight.data.copy()
    for step in range(20):
        x, labels = rng.standard_normal((6, 5)).astype(dtype), rng.integers(0, 3, 6)
        if step == 10:  # as a schedule would
            optimizer.lr /= 2
            for group in their_optimizer.param_groups:
                group["lr"] /= 2
        optimizer.zero_grad()
        loss(ours(x), labels)
        ours.backward(loss.backward())
        optimizer.step()
        their_optimizer.zero_grad()
        their_loss(theirs(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        their_optimizer.step()
    assert np.abs(ours[0].weight.data - before).max() > 0.01  # something was learned
    for i in (0, 2):
        for mine, other in (
            (ours[i].weight.data, theirs[i].weight.detach().numpy().T),
            (ours[i].bias.data, theirs[i].bias.detach().numpy()),
        ):
            assert mine.dtype == dtype
            assert np.abs(mine - other).max() <= tolerance * np.abs(other).max()


@on_both_dtypes
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=IDS)
def test_twenty_steps(name, options, dtype, tolerance):
    ours, theirs = networks(dtype)
    optimizer = getattr(nn.optim, name)(ours.parameters(), **options)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **options)
    assert_same_after_twenty_steps(ours, theirs, optimizer, their_optimizer, dtype, tolerance)


GROUPS = [
    ("SGD", dict(lr=0.1, weight_decay=0.05), dict(lr=0.3, momentum=0.9)),
    ("AdamW", dict(lr=0.02), dict(lr=0.004, weight_decay=0.0, betas=(0.8, 0.9))),
    ("Adam", dict(lr=0.02, weight_decay=0.1), dict(weight_decay=0.0)),
    ("RMSprop", dict(lr=0.01, momentum=0.5), dict(lr=0.002, alpha=0.9, centered=True)),
]


@on_both_dtypes
@pytest.mark.parametrize(("name", "options", "own"), GROUPS, ids=[name for name, *_ in GROUPS])
def test_twenty_steps_in_groups(name, options, own, dtype, tolerance):
    """The first layer with settings of its own, the other with those of all."""
    ours, theirs = networks(dtype)
    optimizer = getattr(nn.optim, name)(
        [{"parameters": ours[0].parameters(), **own}, {"parameters": ours[2].parameters()}],
        **options,
    )
    their_optimizer = getattr(torch.optim, name)(
        [{"params": theirs[0].parameters(), **own}, {"params": theirs[2].parameters()}], **options
    )
    assert_same_after_twenty_steps(ours, theirs, optimizer, their_optimizer, dtype, tolerance)


def test_a_frozen_parameter_stays_as_in_pytorch():
    ours, theirs = networks(np.float64)
    ours[0].weight.trainable = False
    theirs[0].weight.requires_grad_(False)
    frozen = ours[0].weight.data.copy()
    optimizer = nn.optim.AdamW(ours.parameters(), lr=0.1)
    their_optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.1)
    x = np.random.default_rng(0).standard_normal((4, 5))
    for _ in range(3):
        optimizer.zero_grad()
        ours.backward(2 * ours(x))
        optimizer.step()
        their_optimizer.zero_grad()
        (theirs(torch.from_numpy(x)) ** 2).sum().backward()
        their_optimizer.step()
    np.testing.assert_array_equal(ours[0].weight.data, frozen)
    np.testing.assert_allclose(ours[2].weight.data, theirs[2].weight.detach().numpy().T, rtol=1e-10)


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_clipping_the_gradient_norm(max_norm):
    ours, theirs = networks(np.float64)
    x = np.random.default_rng(0).standard_normal((4, 5))
    ours.backward(2 * ours(x))
    (theirs(torch.from_numpy(x)) ** 2).sum().backward()
    norm = nn.optim.clip_grad_norm(ours.parameters(), max_norm)
    their_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert norm == pytest.approx(their_norm.item(), rel=1e-12)
    for i in (0, 2):  # PyTorch adds 1e-6 to the norm before it divides
        np.testing.assert_allclose(ours[i].weight.grad, theirs[i].weight.grad.numpy().T, rtol=2e-5)


SCHEDULES = {
    "step": (
        lambda o: nn.optim.StepLR(o, 4, gamma=0.3),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 4, gamma=0.3),
    ),
    "cosine": (
        lambda o: nn.optim.CosineLR(o, 24, min_lr=0.01),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 24, eta_min=0.01),
    ),
    "cosine after a warm-up": (
        lambda o: nn.optim.CosineLR(o, 24, warmup=5),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.LinearLR(o, 1 / 6, total_iters=5),
                torch.optim.lr_scheduler.CosineAnnealingLR(o, 19),
            ],
            milestones=[5],
        ),
    ),
    # PyTorch has its peak one step before that share of all steps, and divides the first rate.
    "one cycle": (
        lambda o: nn.optim.OneCycleLR(o, 0.7, 24, warmup=0.25, start_div=20.0, end_div=2000.0),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 0.7, 24, pct_start=7 / 24, div_factor=20, final_div_factor=100
        ),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of its own SequentialLR
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    ours, theirs = networks(np.float64)
    optimizer = nn.optim.SGD(ours.parameters(), lr=0.4)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.4)
    make, their_make = SCHEDULES[name]
    schedule, their_schedule = make(optimizer), their_make(their_optimizer)
    rates, their_rates = [], []
    for _ in range(24):
        rates.append(optimizer.lr)
        their_rates.append(their_optimizer.param_groups[0]["lr"])
        their_optimizer.step()
        schedule.step()
        their_schedule.step()
    assert max(rates) > 10 * min(rates)
    np.testing.assert_allclose(rates, their_rates, rtol=1e-9)
