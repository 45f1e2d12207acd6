"""UAI results: what solvers say of a network, as files of three kinds, in the order of the network's variables.

Format: `MAR`, the number of variables and, for each, its number of states and their probabilities; `PR` and the log10
of the total mass; `MAP`, the number of variables and the state of each. Older files have the number of samples, one,
after the first word; both forms are read, the newer one is written.

Law: probabilities and states are read as they were written, bit for bit. The log of the mass is kept as a natural log
and written as log10, so it comes back within one unit in its last place.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from ..model.graph import FactorGraph
from .words import Words, text_of, write

LOG_10 = math.log(10.0)

type Source = str | os.PathLike[str]


def mar_text(marginals: Sequence[Any], path: Source | None = None) -> str:
    r"""Write the probabilities of the states of each variable.

    >>> mar_text([np.array([0.25, 0.75]), np.array([1.0])])
    'MAR\n2 2 0.25 0.75 1 1\n'
    """
    rows = [np.asarray(row, np.float64).reshape(-1) for row in marginals]
    words = [str(len(rows)), *(word for row in rows for word in (str(len(row)), *map("%.17g".__mod__, row.tolist())))]
    return write(f"MAR\n{' '.join(words)}\n", path)


def read_mar(source: Source) -> list[np.ndarray]:
    r"""Read the probabilities of the states of each variable.

    Raises: MalformedFileError, which says where, what was expected and what was found.

    >>> [row.tolist() for row in read_mar("MAR\n2 2 0.25 0.75 1 1")]
    [[0.25, 0.75], [1.0]]
    """
    words = _opened(source, "MAR")
    older = words.left > 1 and words.words[1] == "1" and not _ends(words.words[1:]) and _ends(words.words[2:])
    words.at += older
    found = []
    for v in range(words.integer("the number of variables")):
        count = words.integer(f"the number of states of variable {v}", low=1)
        row = words.numbers(count, f"{count} probabilities of variable {v}")
        if not np.all((row >= 0) & (row <= 1 + 1e-6)):
            words.fail(words.at - count + int(np.argmin((row >= 0) & (row <= 1 + 1e-6))), "a probability")
        found.append(row)
    return _closed(words, found)


def _ends(words: list[str]) -> bool:
    """Tell whether the words are marginals of as many variables as the first one says."""
    place = 1
    try:
        for _ in range(int(words[0])):
            count = int(words[place])
            if count < 1:
                return False
            place += 1 + count
    except (ValueError, IndexError):
        return False
    return place == len(words)


def pr_text(log_mass: float, path: Source | None = None) -> str:
    r"""Write the total mass, given as a natural log.

    >>> pr_text(math.log(100.0))
    'PR\n2\n'
    """
    return write(f"PR\n{float(log_mass) / LOG_10:.17g}\n", path)


def read_pr(source: Source) -> float:
    r"""Read the natural log of the total mass.

    Raises: MalformedFileError, which says where, what was expected and what was found.

    >>> read_pr("PR\n2") == math.log(100.0)
    True
    """
    words = _opened(source, "PR")
    words.at += words.left > 1 and words.words[1] == "1"
    (found,) = words.numbers(1, "the log10 of the total mass").tolist()
    if not found < math.inf:
        words.fail(words.at - 1, "the log10 of a finite mass")
    return _closed(words, found * LOG_10)


def map_text(states: Sequence[int] | np.ndarray, path: Source | None = None) -> str:
    r"""Write the state of each variable.

    >>> map_text([1, 0, 2])
    'MAP\n3 1 0 2\n'
    """
    numbers = np.asarray(states, np.int64).reshape(-1).tolist()
    return write(f"MAP\n{' '.join(map(str, (len(numbers), *numbers)))}\n", path)


def read_map(source: Source) -> np.ndarray:
    r"""Read the state of each variable; older files begin with MPE.

    Raises: MalformedFileError, which says where, what was expected and what was found.

    >>> read_map("MAP\n3 1 0 2").tolist()
    [1, 0, 2]
    """
    words = _opened(source, "MAP", "MPE")
    # With the number of samples in front there is one word more than the number of variables asks for.
    older = words.left > 1 and words.words[1] == "1" and words.left == 2 + int(_or_zero(words.words[2]))
    words.at += older and words.left != 2
    count = words.integer("the number of variables")
    return _closed(words, words.integers(count, f"the states of {count} variables"))


def _or_zero(word: str) -> int:
    return int(word) if word.isdigit() else 0


def _opened(source: Source, *heads: str) -> Words:
    words = Words(*text_of(source, lambda text: text.split(maxsplit=1)[0] in heads))
    if not words.left or words.words[0] not in heads:
        words.fail(0, f"{heads[0]}, with which the file begins")
    words.at = 1
    return words


def _closed[T](words: Words, found: T) -> T:
    if words.left:
        words.fail(words.at, "the end")
    return found


def in_file_order(graph: FactorGraph, values: Mapping[str, Any]) -> list[Any]:
    """Put what is known of the variables of a graph into the order of its file.

    Args:
        graph: the graph.
        values: for the variables of each name an array `(*shape, ...)`, such as beliefs or states.

    Returns: for each variable of the file, its part.

    Raises: LawfulError for a name that is missing, or an array that does not fit.
    """
    rows: list[Any] = []
    for family in graph.structure.families:
        if family.name not in values:
            raise LawfulError(f"values of {family.name!r} are missing; given were those of {list(values)}.")
        array = np.asarray(values[family.name])
        if array.shape[: len(family.shape)] != family.shape:
            raise LawfulError(f"{family.name!r}: expected an array {family.shape} + (...), got {array.shape}.")
        rows += list(array.reshape((family.size, *array.shape[len(family.shape) :])))
    return [rows[v] for v in np.argsort(graph.notes.file_numbers(len(rows))).tolist()]
