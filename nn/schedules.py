"""Schedules: the learning rate over time, counted in steps of the optimiser.

    schedule = nn.optim.CosineLR(optimizer, total_steps=1000, warmup=50)
    for ...:
        optimizer.step()
        schedule.step()

Each sets the rate of step 0 when it is made, and that of the next one at each `step()`. It sets
`optimizer.lr`, the base rate; groups with rates of their own keep their proportion to it.
"""

import math

import numpy as np


class Schedule:
    """What all schedules share. A subclass writes `rate(step)`, the rate of step 0, 1, 2, …"""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.steps = 0
        optimizer.lr = self.rate(0)

    def rate(self, step):
        raise NotImplementedError

    def step(self):
        """Set the rate for the next step."""
        self.steps += 1
        self.optimizer.lr = self.rate(self.steps)

    def state_dict(self):
        """{"steps": how many were taken}: all else is given when the schedule is made."""
        return {"steps": np.int64(self.steps)}

    def load_state_dict(self, state):
        """Go on where another schedule with the same settings stopped."""
        self.steps = int(state["steps"])
        self.optimizer.lr = self.rate(self.steps)


class WarmedUp(Schedule):
    """A schedule that begins with `warmup` steps of a linear rise to the optimiser's own rate r:

    rate(t) = r (t + 1) / (warmup + 1)      for t < warmup
    rate(t) = after(t − warmup)             from there on, beginning with after(0) = r

    r is the rate that the optimiser has when the schedule is made. A subclass writes `after`.
    """

    def __init__(self, optimizer, warmup):
        if not warmup >= 0:
            raise ValueError(f"{type(self).__name__}: warmup is {warmup} steps, expected >= 0")
        self.base, self.warmup = optimizer.lr, warmup
        super().__init__(optimizer)

    def rate(self, step):
        """The learning rate of the given step, 0 for the first."""
        if step < self.warmup:
            return self.base * (step + 1) / (self.warmup + 1)
        return self.after(step - self.warmup)

    def after(self, step):
        raise NotImplementedError


class StepLR(WarmedUp):
    """The rate r of the optimiser, times `gamma` after every `step_size` steps.

    rate(t) = r · gamma^⌊t / step_size⌋, where t counts from the end of the `warmup` steps, which
    rise linearly. Call `step()` after each optimiser step.
    """

    def __init__(self, optimizer, step_size, gamma=0.1, warmup=0):
        if not step_size >= 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        if not gamma >= 0:
            raise ValueError(f"StepLR: gamma must be at least 0, got {gamma}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, warmup)

    def after(self, step):
        return self.base * self.gamma ** (step // self.step_size)


class CosineLR(WarmedUp):
    """From the rate r of the optimiser down to `min_lr` along half a cosine (arXiv:1608.03983).

    rate(t) = min_lr + (r − min_lr) · (1 + cos(π t / n)) / 2,    n = total_steps − warmup

    where t counts from the end of the `warmup` steps, which rise linearly; from t = n on the rate
    stays at min_lr. Call `step()` after each optimiser step.
    """

    def __init__(self, optimizer, total_steps, min_lr=0.0, warmup=0):
        if not total_steps > warmup:
            raise ValueError(
                f"CosineLR: total_steps must be above the {warmup} of the warm-up, got "
                f"{total_steps}"
            )
        if not 0 <= min_lr <= optimizer.lr:
            raise ValueError(
                f"CosineLR: min_lr must be from 0 to the optimiser's rate {optimizer.lr}, got "
                f"{min_lr}"
            )
        self.fall, self.min_lr = total_steps - warmup, min_lr
        super().__init__(optimizer, warmup)

    def after(self, step):
        return _cosine(self.base, self.min_lr, min(1.0, step / self.fall))


class OneCycleLR(Schedule):
    """Up to `max_lr` and down again, each along half a cosine (Smith 2018, arXiv:1803.09820).

    The rate starts at max_lr / start_div, reaches max_lr after the share `warmup` of all
    steps, and ends at max_lr / end_div. Counted in steps: call `step()` after each optimiser
    step. `momentum` is left alone.
    """

    def __init__(self, optimizer, max_lr, total_steps, warmup=0.3, start_div=25.0, end_div=1e4):
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: total_steps must be at least 1, got {total_steps}")
        if not 0 <= warmup <= 1:
            raise ValueError(
                f"OneCycleLR: warmup is the share of the steps that rise, 0 to 1, got {warmup}"
            )
        self.max_lr, self.total_steps = max_lr, total_steps
        self.warmup, self.start_div, self.end_div = warmup, start_div, end_div
        super().__init__(optimizer)

    def rate(self, step):
        """The learning rate of the given step, 0 for the first."""
        rise = self.warmup * self.total_steps
        low, end = self.max_lr / self.start_div, self.max_lr / self.end_div
        if step < rise:
            return _cosine(low, self.max_lr, step / rise)
        fall = max(1.0, self.total_steps - 1 - rise)
        return _cosine(self.max_lr, end, min(1.0, (step - rise) / fall))


def _cosine(start, end, share):
    """From start (share 0) to end (share 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
