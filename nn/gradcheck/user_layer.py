"""A layer from a file of one's own, judged from the command line.

    python -m nn.gradcheck "my_layer.py:MyLayer(3, 8)" --input 2,5,5,3

Everything that can be wrong before the first gradient ends in one line: no such file or class,
a constructor or a forward that raises, an input that cannot be read.
"""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path

import numpy as np

import nn
from nn.gradcheck.errors import line_of, said
from nn.gradcheck.subject import Subject

TARGET = re.compile(r"(?P<place>.+?\.py|[A-Za-z_][\w.]*):(?P<call>\s*[A-Za-z_]\w*\s*(\(.*\))?\s*)")


class CannotJudge(Exception):
    """Why there is nothing to compare, in one line. The cause is kept for --traceback."""


def judge(target, input_specs, kernels="both", seed=0, evaluate=False):
    """Build the layer that `target` names, check it on every kernel set: a list of reports.

    target: "file.py:Class(arguments)", "file.py:name" or "package.module:Class(arguments)".
    Arguments are literals. A name without a call is a module, or something to be called without
    arguments. `rng=...` is filled in where a constructor takes it and none is given.
    input_specs: as `make_inputs` takes them. evaluate: check it after `eval()`.
    Raises CannotJudge.
    """
    place, call = split(target)
    namespace = load(place)
    inputs, options = make_inputs(input_specs, seed)
    reports = []
    for kernel_set in ("reference", "fast") if kernels == "both" else (kernels,):
        module = build(namespace, place, call, seed)
        module.train(not evaluate)
        with nn.kernels.using(kernel_set):
            reports.append((kernel_set, _check(module, call, inputs, options, seed)))
    return reports


def _check(module, call, inputs, options, seed):
    try:
        return nn.check_gradients(module, *inputs, seed=seed, **options)
    except Exception as error:
        if not _came_from_forward(error):
            raise CannotJudge(
                f"{call}: the checker failed; run with --traceback ({said(error)})"
            ) from error
        shapes = [str(_shape(value)) for value in inputs]
        shapes += [f"{name}={_shape(value)}" for name, value in options.items()]
        raise CannotJudge(
            f"{call}: forward on {', '.join(shapes)} raised {said(error)}{line_of(error)}"
        ) from error


def _came_from_forward(error):
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is Subject.forward.__code__ for frame, _ in frames)


def _shape(value):
    return tuple(map(_shape, value)) if isinstance(value, tuple) else value.shape


# ---- the layer ----------------------------------------------------------------------------


def split(target):
    """("C:/a/my_layer.py", "MyLayer(3, 8)"): what stands before and after the right colon."""
    match = TARGET.fullmatch(target.strip())
    if not match:
        unclosed = ": a bracket is not closed" if target.count("(") > target.count(")") else ""
        raise CannotJudge(
            f'expected "file.py:Class(arguments)", such as "my_layer.py:MyLayer(3, 8)", '
            f"got {target!r}" + unclosed
        )
    return match["place"], match["call"].strip()


def load(place):
    """The names in a Python file, or in a module that can be imported."""
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise CannotJudge(f"no file {place}" + _instead(path))
        name = f"judged_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        run = lambda: spec.loader.exec_module(module)  # noqa: E731
        sys.modules[name] = module  # so that inspect finds its source
        folder = str(path.resolve().parent)
    else:
        module, folder = None, ""
        run = lambda: importlib.import_module(place)  # noqa: E731
    if folder not in sys.path:
        sys.path.insert(0, folder)  # the file may import its neighbours
    try:
        return vars(run() or module)
    except (Exception, SystemExit) as error:
        raise CannotJudge(f"{place} cannot be run: {said(error)}{line_of(error)}") from error


def _instead(path):
    folder = path.parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    files = sorted(file.name for file in folder.glob("*.py"))[:5]
    return f"; {folder.resolve()} has {', '.join(files) if files else 'no .py files'}"


def build(namespace, place, call, seed=0):
    """The module that a call such as `MyLayer(3, 8)` makes."""
    name, args, options = parse(call)
    if name not in namespace:
        classes = [
            key
            for key, value in namespace.items()
            if isinstance(value, type) and issubclass(value, nn.Module) and key != "Module"
        ]
        there = f"its modules are {', '.join(classes[:8])}" if classes else "it has no nn.Module"
        raise CannotJudge(f"{place} has no {name!r}; {there}")
    made = namespace[name]
    if not (isinstance(made, nn.Module) and "(" not in call):
        made = _construct(made, call, args, options, seed)
    if not isinstance(made, nn.Module):
        raise CannotJudge(
            f"{call} gives a {type(made).__name__}, not an nn.Module: derive the class from it"
        )
    return made


def _construct(maker, call, args, options, seed):
    try:
        if "rng" not in options and "rng" in inspect.signature(maker).parameters:
            options = {**options, "rng": np.random.default_rng(seed)}
            inspect.signature(maker).bind(*args, **options)
    except (TypeError, ValueError):  # not callable, no signature, or rng stands among args
        options = {key: value for key, value in options.items() if key != "rng" or "rng=" in call}
    try:
        return maker(*args, **options)
    except Exception as error:
        raise CannotJudge(f"{call} cannot be made: {said(error)}{line_of(error)}") from error


def parse(call):
    """(name, positional arguments, keyword arguments) of a call whose arguments are literals."""
    try:
        tree = ast.parse(call, mode="eval").body
    except SyntaxError as error:
        raise CannotJudge(f"{call} is no Python call: {error.msg}") from error
    if isinstance(tree, ast.Name):
        return tree.id, [], {}
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise CannotJudge(f"{call}: expected a class and its arguments, such as MyLayer(3, 8)")
    try:
        args = [ast.literal_eval(value) for value in tree.args]
        options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in tree.keywords}
    except ValueError as error:
        name = tree.func.id
        raise CannotJudge(
            f"{call}: arguments must be plain values (numbers, texts, tuples, True, None); for "
            f"others put a function into the file, such as def make(): return {name}(...), and "
            "name that one"
        ) from error
    return tree.func.id, args, options


# ---- its inputs ---------------------------------------------------------------------------


def make_inputs(specs, seed):
    """(positional inputs, {name: input}) as `--input` describes them.

    2,5,5,3          normal random numbers of that shape
    positive:4,3     between 0.5 and 2
    ids:2,5:10       integers from 0 to 9
    mask:2,5         True and False, the first of each row True
    2,3+2,3          a pair, handed on as a tuple
    mask=mask:2,5    passed by name
    """
    rng = np.random.default_rng(seed)
    inputs, options = [], {}
    for spec in specs:
        name, equals, rest = spec.rpartition("=")
        parts = tuple(_draw(part.strip(), spec, rng) for part in rest.split("+"))
        value = parts if len(parts) > 1 else parts[0]
        if equals:
            options[name.strip()] = value
        else:
            inputs.append(value)
    return inputs, options


def _draw(part, spec, rng):
    kind, colon, rest = part.partition(":")
    kind, rest = (kind, rest) if colon else ("", part)
    try:
        shape, *below = (text.strip("()") for text in rest.split(":"))
        shape = tuple(int(length) for length in shape.split(",") if length.strip())
        if not shape or min(shape) < 1 or (len(below) == 1) != (kind == "ids") or len(below) > 1:
            raise ValueError(spec)
        if kind == "":
            return rng.standard_normal(shape)
        if kind == "positive":
            return rng.uniform(0.5, 2.0, shape)
        if kind == "ids":
            return rng.integers(0, int(below[0]), shape)
        if kind == "mask":
            mask = rng.random(shape) < 0.7
            mask[..., 0] = True
            return mask
        raise ValueError(spec)
    except ValueError as error:
        raise CannotJudge(
            f"--input {spec} cannot be read; write a shape such as 2,5,5,3, or ids:2,5:10 "
            "(integers below 10), mask:2,5, positive:2,5, name=2,5, or a pair 2,3+2,3"
        ) from error
