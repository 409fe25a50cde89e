"""What all optimisers share: parameters in groups, their rates, what is remembered for each."""

import numpy as np

from nn.module import Parameter


class Optimizer:
    """What all optimisers share: parameters in groups, the rate, and memory per parameter.

    parameters: a list of parameters, or of groups. A group is a dict with the key "parameters"
    and settings that differ for them:

        SGD([{"parameters": body, "lr": 0.001}, {"parameters": head}], lr=0.01, momentum=0.9)

    `.lr` is the base rate. What a group keeps is the *proportion* of its rate to the base, here
    a tenth: whatever sets `.lr`, a schedule or a user, scales the rates of all groups alike.

    A subclass says in `slots` which arrays it remembers for each parameter and writes
    `update(parameter, memory, lr, ...)` with its settings by name; `memory` is a dict of these
    arrays, empty at first.

    Raises ValueError for a parameter that is given twice, unknown settings, or settings out of
    their range.
    """

    slots = ()

    def __init__(self, parameters, lr, **settings):
        self._check({"lr": lr, **settings})
        self.lr = lr
        self.groups = [self._group(group, settings) for group in self._in_groups(parameters)]
        self.parameters = [p for group in self.groups for p in group["parameters"]]
        if not self.parameters:
            raise ValueError(f"{type(self).__name__}: no parameters to optimise")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            ids = [id(p) for p in self.parameters]
            twice = next(p for p in self.parameters if ids.count(id(p)) > 1)
            raise ValueError(
                f"{type(self).__name__}: {twice} is given twice, and would take two steps for one"
            )
        self.steps = 0
        self.memory = [{} for _ in self.parameters]

    def step(self):
        """Change every trainable parameter by its gradient."""
        self.steps += 1
        memories = iter(self.memory)
        for group in self.groups:
            lr = float(self.lr) * group["proportion"]  # a NumPy number would widen float32
            for parameter in group["parameters"]:
                memory = next(memories)
                if parameter.trainable and parameter.has_grad:
                    self.update(parameter, memory, lr, **group["settings"])

    def update(self, parameter, memory, lr, **settings):
        raise NotImplementedError

    def zero_grad(self):
        """Clear the gradients."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self):
        """{"lr": …, "steps": …, "3.velocity": array, …}: copies; numbers as 0-d arrays.

        Parameters are counted through all groups. The groups and their settings are not in it:
        they are given anew when the optimiser is built.
        """
        state = {"lr": np.float64(self.lr), "steps": np.int64(self.steps)}
        for i, memory in enumerate(self.memory):
            state.update({f"{i}.{name}": np.copy(array) for name, array in memory.items()})
        return state

    def load_state_dict(self, state):
        """Go on where another optimiser of the same kind and parameters stopped."""
        for key in ("lr", "steps"):
            if key not in state:
                raise ValueError(f"{type(self).__name__}: the saved state has no {key}")
        memory = [{} for _ in self.parameters]
        for key, array in state.items():
            if key in ("lr", "steps"):
                continue
            index, _, name = key.partition(".")
            known = index.isdigit() and int(index) < len(memory) and name in self.slots
            if not known or np.shape(array) not in ((), self.parameters[int(index)].shape):
                raise ValueError(
                    f"{type(self).__name__}: the saved state {key} {np.shape(array)} does not "
                    f"fit these {len(memory)} parameters"
                )
            memory[int(index)][name] = np.array(array)
        self.lr, self.steps, self.memory = float(state["lr"]), int(state["steps"]), memory

    # ---- groups --------------------------------------------------------------------------

    def _in_groups(self, parameters):
        """A list of parameters is one group without settings of its own."""
        given = list(parameters) if np.iterable(parameters) else [parameters]
        groups = given if given and isinstance(given[0], dict) else [{"parameters": given}]
        for group in groups:
            if not isinstance(group, dict) or "parameters" not in group:
                raise ValueError(
                    f"{type(self).__name__}: expected groups like "
                    f'{{"parameters": [...], "lr": 0.1}}, got {type(group).__name__}'
                )
        return groups

    def _group(self, group, settings):
        own = {name: value for name, value in group.items() if name != "parameters"}
        unknown = own.keys() - settings.keys() - {"lr"}
        if unknown:
            known = ", ".join(["lr", *settings])
            raise ValueError(
                f"{type(self).__name__}: a group sets {min(unknown)!r}; there are {known}"
            )
        lr = own.pop("lr", self.lr)
        if self.lr == 0 and lr != 0:
            raise ValueError(
                f"{type(self).__name__}: a group has the rate {lr}, which is in no proportion "
                "to the base rate 0"
            )
        settings = settings | own
        self._check({"lr": lr, **settings})
        parameters = list(group["parameters"])
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise ValueError(
                    f"{type(self).__name__}: expected parameters, as model.parameters() gives "
                    f"them, got {type(parameter).__name__}"
                )
        proportion = lr / self.lr if self.lr else 1.0
        return {"parameters": parameters, "proportion": proportion, "settings": settings}

    def _check(self, settings):
        name = type(self).__name__
        for key in ("lr", "momentum", "weight_decay", "eps"):
            value = np.asarray(settings.get(key, 0))
            if value.ndim or value.dtype.kind not in "biuf":
                raise ValueError(f"{name}: {key} is {settings[key]!r}, expected a number >= 0")
            if not value >= 0:
                what = "the learning rate" if key == "lr" else key
                raise ValueError(f"{name}: {what} is {settings[key]}, expected >= 0")
        for key in ("betas", "alpha"):
            if not all(0 <= share < 1 for share in np.atleast_1d(settings.get(key, 0))):
                raise ValueError(f"{name}: {key}={settings[key]}, expected 0 <= ... < 1")
        if settings.get("nesterov") and not settings["momentum"] > 0:
            raise ValueError(f"{name}: nesterov needs a momentum above 0")
