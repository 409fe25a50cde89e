"""Spot the bug: a backward from the gallery, with one mistake, and four descriptions of it.

python -m nn.gradcheck --spot-the-bug
"""

import ast
import inspect
import random
import re
import textwrap

import nn
from nn.gradcheck.bugs import BUGS, plant
from nn.gradcheck.cases import CASES
from nn.module import Module

CHOICES = 4
LETTERS = "abcd"
LEARNED = re.compile(r"\b(d[wWbγ]|[wW]|bias|body|weights?|taps?|γ|rows? of an id|ids)\b|running")
ELEMENTS = 40  # of each tensor, for the report that may be asked for


def play(seed=0, rounds=5, layer=None, ask=input):
    """Play some rounds in the terminal; returns 0, also when the player leaves early.

    seed: draws bugs, layers and the order of answers. layer: only bugs of this one.
    """
    rng = random.Random(seed)
    bugs = [bug for bug in BUGS if layer is None or layer in bug.layers]
    rng.shuffle(bugs)
    bugs = bugs[: max(1, rounds)]
    many = "This backward has" if len(bugs) == 1 else f"Each of these {len(bugs)} backwards has"
    print(f"{many} one bug. Answer with a letter; ? shows what the gradient check\nsays, q leaves.")
    score = seen = 0
    try:
        for number, bug in enumerate(bugs, start=1):
            of = layer or rng.choice(bug.layers)
            print(f"\n==== {number} of {len(bugs)}: {of} " + "=" * 40)
            right = _round(bug, of, rng, ask)
            if right is None:
                break
            seen += 1
            score += right
    except (EOFError, KeyboardInterrupt):
        print()
    print(f"\n{score} of {seen} spotted.")
    return 0


def _round(bug, layer, rng, ask):
    """One bug: True if it was spotted, False if not, None if the player leaves."""
    kind = getattr(nn, layer)
    print(formula(kind) + "\n\nA backward for it, with one bug:\n")
    print(textwrap.indent(shown(bug.code), "    "))
    for base in bug.code.__mro__[1:-1]:
        if base is not Module and issubclass(base, Module):
            print("\nThe rest of it, which is right (`super()` is this):\n")
            print(textwrap.indent(shown(base, without=replaced(bug.code)), "    "))
    choices = descriptions(bug, layer, rng)
    print("\nWhat is wrong?")
    for letter, about in zip(LETTERS, choices, strict=False):
        print(f"  {letter}) {about}")
    letters = LETTERS[: len(choices)]
    while True:
        answer = ask(f"{'/'.join(letters)}, ? or q: ").strip().lower()
        if answer == "q":
            return None
        if answer == "?":
            print(report_of(bug, layer))
        elif len(answer) == 1 and answer in letters:
            break
        else:
            print(f"{', '.join(letters[:-1])} or {letters[-1]} (or ?, or q)")
    right = choices[letters.index(answer)] == bug.about
    print("Right." if right else f"No: {letters[choices.index(bug.about)]}) {bug.about}")
    if bug.only_with:
        print(f"It hides, and shows only with {bug.only_with}.")
    print(f"\nThe library's own backward ({inspect.getmodule(kind.backward).__name__}):\n")
    print(textwrap.indent(textwrap.dedent(inspect.getsource(kind.backward)).rstrip(), "    "))
    return right


def formula(kind):
    """What a layer computes, as its docstring says, down to where it tells its backward."""
    text = inspect.getdoc(kind) or kind.__name__
    return re.split(r"\s*\bBackward\b", text)[0]


def shown(code, without=()):
    """The methods of a class, without its name and docstring, which would name the bug."""
    source = textwrap.dedent(inspect.getsource(code))
    lines = source.splitlines()
    methods = []
    for node in ast.parse(source).body[0].body:
        if not (isinstance(node, ast.Expr) or getattr(node, "name", None) in without):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            methods.append(textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno])))
    return "\n\n".join(methods)


def replaced(code):
    """Names of the methods that a bug writes anew: the right ones beside it would tell all."""
    return [
        name
        for name, method in vars(code).items()
        if inspect.isfunction(method) and f"super().{name}(" not in inspect.getsource(method)
    ]


def descriptions(bug, layer, rng):
    """The right description among wrong ones: of the same layer first, then of its kin."""
    others = [b for b in BUGS if b.about != bug.about]
    of_layer = [b for b in others if layer in b.layers]
    of_kin = [b for b in others if b not in of_layer and b.code.__module__ == bug.code.__module__]
    rest = [b for b in others if b not in of_layer and b not in of_kin]
    if not CASES[layer][0].build()[0].parameters():  # these would stand out
        of_kin, rest = (
            [b for b in group if not LEARNED.search(b.about)] for group in (of_kin, rest)
        )
    wrong = []
    for group in (of_layer, of_kin, rest):
        rng.shuffle(group)
        wrong += [b.about for b in group if b.about not in wrong]
    choices = [bug.about, *wrong[: CHOICES - 1]]
    rng.shuffle(choices)
    return choices


def report_of(bug, layer):
    """The report of the first case that catches the bug, without the bug's name."""
    for case in CASES[layer]:
        module, inputs = case.build()
        with nn.kernels.using("reference"):
            report = nn.check_gradients(plant(bug, module), *inputs)
        if not report.passed:
            break
    return str(report).replace(bug.name, layer)
