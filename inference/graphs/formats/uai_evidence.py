"""UAI evidence: states of variables of a network, by the numbers that these have in its file.

Format: how many variables were seen, then number and state of each. The older form has the number of samples in front,
and each sample is written as above. A text that can be read in both ways is of the older form only where its lines say
so: the number of samples on one line, each sample on a line of its own.

Law: reading what was written gives the same states.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from lawful.errors import IndexRangeError, LawfulError

from ..model.graph import FactorGraph
from .assembling import observed_by_number
from .words import Words, text_of

type Evidence = dict[int, int]


def read_evidence(source: str | os.PathLike[str]) -> list[Evidence]:
    r"""Read evidence.

    Args:
        source: path of a file, or its text.

    Returns: for each sample, the states by the numbers of the variables; files of the newer form have one sample.

    Raises: MalformedFileError, which says where, what was expected and what was found.

    >>> read_evidence("2 0 1 3 0"), read_evidence("1\n2 0 1 3 0\n")
    ([{0: 1, 3: 0}], [{0: 1, 3: 0}])
    """
    words = Words(*text_of(source, lambda text: "".join(text.split()).isdigit()))
    numbers = words.integers(words.left, "a whole number, of variables, or of a variable and its state").tolist()
    if not numbers:
        words.fail(0, "how many variables were seen, and number and state of each")
    newer = len(numbers) == 1 + 2 * numbers[0]
    ends = _samples(numbers)
    if newer and not (ends and _in_lines(words.text, numbers, ends)):
        return [_sample(words, numbers, 0)]
    if not ends:
        words.fail(
            len(numbers) if len(numbers) < 1 + 2 * numbers[0] else 1 + 2 * numbers[0],
            f"number and state of {numbers[0]} variables and then the end, or as many samples of this form",
        )
    return [_sample(words, numbers, start) for start in ends[:-1]]


def _samples(numbers: list[int]) -> list[int]:
    """Find where the samples of the older form begin, and the end; nothing where it is not of this form."""
    ends = [1]
    for _ in range(numbers[0]):
        if ends[-1] >= len(numbers):
            return []
        ends.append(ends[-1] + 1 + 2 * numbers[ends[-1]])
    return ends if ends[-1] == len(numbers) else []


def _in_lines(text: str, numbers: list[int], ends: list[int]) -> bool:
    lines = [len(line.split()) for line in text.splitlines() if line.strip()]
    return len(numbers) > 1 and lines == [1, *(b - a for a, b in zip(ends[:-1], ends[1:], strict=True))]


def _sample(words: Words, numbers: list[int], start: int) -> Evidence:
    found: Evidence = {}
    for place in range(start + 1, start + 1 + 2 * numbers[start], 2):
        variable, state = numbers[place], numbers[place + 1]
        if found.setdefault(variable, state) != state:
            words.fail(place + 1, f"{found[variable]}, the state of variable {variable} that was given before")
    return found


def chosen_evidence(given: str | os.PathLike[str] | Mapping[int, int], cards: np.ndarray) -> Evidence:
    """Read the evidence of one sample, and check it against the numbers of states (n,) of the file's variables.

    Raises: MalformedFileError for a file with more samples than one; IndexRangeError for a variable or a state that the
        network does not have.
    """
    if not isinstance(given, Mapping):
        samples = read_evidence(given)
        if len(samples) != 1:
            raise LawfulError(
                f"evidence: expected one sample, got {len(samples)}. Fix: give one of "
                "uai_evidence.read_evidence(source)."
            )
        given = samples[0]
    for variable, state in given.items():
        if not 0 <= variable < len(cards):
            raise IndexRangeError(f"evidence: the network has {len(cards)} variables, there is no number {variable}.")
        if not 0 <= state < cards[variable]:
            raise IndexRangeError(
                f"evidence: variable {variable} has states from 0 to {cards[variable] - 1}, got {state}."
            )
    return dict(given)


def observed(graph: FactorGraph, evidence: Mapping[int, int]) -> FactorGraph:
    """Observe variables by the numbers that they have in the file.

    >>> graph = FactorGraph()
    >>> z = graph.variables("z", shape=(3,))
    >>> observed(graph, {2: 1}).evidence["z"].tolist()
    [-1, -1, 1]
    """
    place = np.argsort(graph.notes.file_numbers(graph.structure.size))
    return observed_by_number(graph, place[np.array(list(evidence), np.int64)], np.array(list(evidence.values())))


def evidence_text(seen: Mapping[int, int]) -> str:
    r"""Write evidence in the newer form; states below zero are those of variables that were not seen.

    >>> evidence_text({0: 1, 1: -1, 3: 0})
    '2 0 1 3 0\n'
    """
    found: Sequence[int] = [number for variable, state in seen.items() if state >= 0 for number in (variable, state)]
    return " ".join(map(str, (len(found) // 2, *found))) + "\n"
