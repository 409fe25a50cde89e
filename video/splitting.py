"""A data set of clips divided into parts, such as one to train on and one to test on."""

import re
import warnings
from pathlib import Path

import numpy as np


def split(dataset, fractions, group=None, seed=0):
    """Divide a data set into parts that share no group of clips.

    fractions: the share of each part, e.g. `(0.8, 0.2)`; they sum to one.
    group: a function of the file name, or a regular expression searched for in it: clips with
        the same result (the same text matched; of the expression's groups, if it has any) stay
        together. Pieces of one recording on both sides would make a test of memory out of a test
        of understanding. Without it each clip stands alone; so does a clip that does not match.
    seed: decides, with the names alone, who goes where.

    Each part keeps all of `dataset.classes`, and about the same mixture of them: groups go one
    by one, large ones first, to the part that is furthest from what it should have, in each class
    and altogether (see `_choose`). A part left without a class is warned about.

    Works on any data set with `samples` [(path, label)], `classes` and `subset(indices)`.
    Raises ValueError for fewer groups than parts, for what is no expression or matches no file,
    and for a part that would be empty.
    """
    fractions = np.asarray(fractions, dtype=np.float64)
    if fractions.ndim != 1 or not (fractions > 0).all() or abs(fractions.sum() - 1) > 1e-6:
        raise ValueError(f"fractions: expected positive numbers with sum 1, got {fractions}")

    groups = _groups([Path(path).name for path, _ in dataset.samples], group)
    if len(groups) < len(fractions):
        raise ValueError(
            f"{_several(len(groups), 'group')} of clips cannot fill {len(fractions)} parts: "
            f"groups stay whole ({', '.join(map(repr, list(groups)[:3]))})"
        )
    K = len(dataset.classes)
    counts = np.zeros((len(groups), K + 1))  # clips of each group in each class, and altogether
    for g, members in enumerate(groups.values()):
        for i in members:
            counts[g, dataset.samples[i][1]] += 1
    counts[:, K] = counts[:, :K].sum(axis=1)

    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(-counts[order, K], kind="stable")]
    part_of = _choose(counts, fractions, order)

    parts = []
    members = list(groups.values())
    for s in range(len(fractions)):
        indices = sorted(i for g in np.flatnonzero(part_of == s) for i in members[g])
        if not indices:
            raise ValueError(
                f"part {s} (fraction {fractions[s]:g}) would be empty: "
                f"{_several(len(groups), 'group')} of clips cannot fill it"
            )
        present = {dataset.samples[i][1] for i in indices}
        missing = [name for k, name in enumerate(dataset.classes) if k not in present]
        if missing:
            told = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            warnings.warn(
                f"part {s} of the split has no clip of {_several(len(missing), 'class')}: {told}",
                stacklevel=2,
            )
        parts.append(dataset.subset(indices))
    return parts


def _choose(counts, fractions, order):
    """The part of each group, (G,): one by one, to the part whose chi-square it lowers most.

    With n_sk clips of class k in part s and f_s N_k expected there, the sum over s and k of
    (n_sk - f_s N_k)^2 / f_s is to become small. A group of m_k clips changes the term of part s
    by sum_k (2 m_k (n_sk - f_s N_k) + m_k^2) / f_s. The last column counts all clips.
    """
    expected = fractions[:, None] * counts.sum(axis=0)  # (S, K+1)
    have = np.zeros_like(expected)
    part_of = np.empty(len(counts), dtype=np.int64)
    for g in order:
        m = counts[g]
        change = (2 * m * (have - expected) + m**2).sum(axis=1) / fractions  # (S,)
        part_of[g] = s = change.argmin()
        have[s] += m
    return part_of


def _several(count, word):
    """1 group, 2 groups, 3 classes."""
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count} {word}{ending}"


def _groups(names, group):
    """{key: [indices]}, keys in the order they are met; see `split` for what a key is."""
    if group is None:
        keys = [(i,) for i in range(len(names))]
    elif callable(group):
        keys = [group(name) for name in names]
    else:
        try:
            expression = re.compile(group)
        except (re.error, TypeError) as error:
            raise ValueError(f"group {group!r} is no regular expression: {error}") from None
        matches = [expression.search(name) for name in names]
        alone = [name for name, match in zip(names, matches, strict=True) if match is None]
        if len(alone) == len(names):
            raise ValueError(f"group {group!r} matches no file name, such as {names[0]!r}")
        if alone:
            warnings.warn(
                f"group {group!r} does not match {_several(len(alone), 'file name')}, such as "
                f"{alone[0]!r}: what does not match stands alone",
                stacklevel=3,
            )
        keys = [
            (i,) if match is None else match.groups() or match.group()
            for i, match in enumerate(matches)
        ]
    groups = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return groups
