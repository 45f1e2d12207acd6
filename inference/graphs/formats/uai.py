"""UAI: a factor graph as the text that solvers exchange.

Format: `BAYES` or `MARKOV`; the number of variables and their numbers of states; the number of factors and, for each,
how many variables its scope has and which; then for each factor the number of entries of its table and the entries,
linear, in row-major order: the last variable of the scope runs fastest. In a `BAYES` file it is the child, given the
others. Words stand apart by white space of any kind.

Law: reading keeps the order of the factors and of the axes, and the measure is the product of the tables. A file that
was read and written again holds the same float64 numbers in the same places; a graph that was written and read again
has the same logs, as far as `linear` says. A scope that holds a variable twice comes back without the second one.

Reference: the file formats of the UAI inference competitions (2006 to 2022).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ..model.graph import FactorGraph
from ..model.notes import Notes
from .assembling import MOST_AXES, Ragged, concrete, with_factors
from .linear import beyond, entries_of, is_zero, log_of_word, logs_of, same_number, words_of
from .uai_evidence import chosen_evidence, evidence_text, observed
from .words import Words, text_of, write

HEADS = ("BAYES", "MARKOV")
MOST_BITS = 40  # of the number of entries of a table: no file holds so many


def from_uai(
    source: str | os.PathLike[str], evidence: str | os.PathLike[str] | Mapping[int, int] | None = None
) -> FactorGraph:
    r"""Read a network.

    The variables are `x`, an array in the order of the file, where all have as many states; otherwise `x:2`, `x:3` and
    so on are those with two, three and more, each in the order of the file. `uai_results.in_file_order` puts what is
    known of them into the order of the file.

    Args:
        source: path of a file, or its text.
        evidence: path of an evidence file, its text, or states by the numbers of the variables in the file.

    Raises: MalformedFileError, which says where, what was expected and what was found.

    >>> graph = from_uai("MARKOV 2  2 2  1  2 0 1  4  1.0 2.0 3.0 4.0")
    >>> graph.log_score({"x": [0, 1]}).item()
    0.69314718...
    """
    words = Words(*text_of(source, _is_network))
    head = words.words[0] if words.left else ""
    if head.upper() not in HEADS:
        words.fail(0, "BAYES or MARKOV, with which a UAI file begins")
    words.at = 1
    count = words.integer("the number of variables")
    cards = words.integers(count, "the number of states of a variable, 1 or more", low=1)
    graph, numbers = _variables(cards)
    arity, scopes = _scopes(words, count)
    logs, entries = _tables(words, arity, scopes, cards)
    if words.left:
        words.fail(words.at, f"the end after the tables of {len(arity)} factors")
    directed = head.upper() == "BAYES"
    graph = with_factors(graph, Ragged(arity, numbers[scopes], logs, entries, None), directed)
    return graph if evidence is None else observed(graph, chosen_evidence(evidence, cards))


def _is_network(text: str) -> bool:
    return text.split(maxsplit=1)[0].upper() in HEADS


def _variables(cards: np.ndarray) -> tuple[FactorGraph, np.ndarray]:
    """Make one array of variables for each number of states, and number the file's variables in the graph."""
    graph = FactorGraph()
    kinds, counts = np.unique(cards, return_counts=True)
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        graph.variables("x" if len(kinds) == 1 else f"x:{kind}", (count,), kind)
    order = np.argsort(cards, kind="stable")
    graph.notes = Notes(numbers=None if len(kinds) < 2 else order)
    return graph, np.argsort(order)


def _scopes(words: Words, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the scopes; each says where the next one begins."""
    total = words.integer("the number of factors")
    if total > words.left:
        words.fail(len(words.words), f"the scopes of {total} factors")
    arity = np.zeros(total, np.int64)
    start = words.at
    for k in range(total):
        arity[k] = size = words.integer(f"the number of variables in the scope of factor {k}")
        if size > MOST_AXES:
            words.fail(words.at - 1, f"at most {MOST_AXES} variables in the scope of factor {k}")
        if size > words.left:
            words.fail(len(words.words), f"a variable in the scope of factor {k}")
        words.at += size
    end, words.at = words.at, start
    listed = words.integers(end - start, "the number of a variable", low=-(2**62))
    heads = np.cumsum(arity + 1) - arity - 1
    is_head = np.zeros(end - start, bool)
    is_head[heads] = True
    outside = ~is_head & ((listed < 0) | (listed >= count))
    if outside.any():
        place = int(np.argmax(outside))
        factor = int(np.searchsorted(heads, place, side="right")) - 1
        words.fail(start + place, f"a variable from 0 to {count - 1} in the scope of factor {factor}")
    return arity, listed[~is_head]


def _tables(words: Words, arity: np.ndarray, scopes: np.ndarray, cards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read the tables: logs and entries of all factors, NaN for entries that float64 cannot hold in full."""
    start = words.at
    heads = np.concatenate([[0], np.cumsum(arity)])
    bits = np.add.reduceat(np.append(np.log2(cards[scopes]), 0.0), heads[:-1]) * (arity > 0) if len(arity) else arity
    if len(arity) and bits.max() > MOST_BITS:
        factor = int(np.argmax(bits))
        words.fail(start, f"tables that fit in memory, but factor {factor} has 2**{bits[factor]:.0f} entries")
    sizes = np.ones(len(arity), np.int64)
    np.multiply.at(sizes, np.repeat(np.arange(len(arity)), arity), cards[scopes])
    ends = np.cumsum(sizes + 1)
    begins = ends - sizes - 1
    total = int(ends[-1]) if len(arity) else 0
    found = words.numbers(min(total, words.left), "the entry of a table")
    there = begins < len(found)
    wrong = found[begins[there]] != sizes[there]
    if wrong.any():
        factor = int(np.argmax(wrong))
        words.fail(
            start + int(begins[factor]),
            f"{sizes[factor]}, the number of entries of factor {factor} on {_scope(scopes, heads, factor)}",
            "" if not factor else f"see whether the table of factor {factor - 1} has {sizes[factor - 1]} entries.",
        )
    if len(found) < total:
        factor = int(np.searchsorted(ends, len(found), side="right"))
        words.fail(
            len(words.words),
            f"{sizes[factor]} entries of factor {factor} on {_scope(scopes, heads, factor)} "
            f"({max(0, len(found) - int(begins[factor]) - 1)} are there)",
        )
    is_entry = np.ones(total, bool)
    is_entry[begins] = False
    return _checked(words, start, found, is_entry)


def _checked(words: Words, start: int, found: np.ndarray, is_entry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    refused = is_entry & ~(found >= 0)
    if refused.any():
        words.fail(start + int(np.argmax(refused)), "an entry that is zero or positive")
    found = found + 0.0  # no negative zero
    logs = logs_of(found)
    there = np.flatnonzero(is_entry & beyond(found)).tolist()
    zeros = {word for word in {words.words[start + place] for place in there} if is_zero(word)}
    for place in there:
        word = words.words[start + place]
        if word not in zeros and not same_number(word, float(found[place])):
            logs[place], found[place] = log_of_word(word), np.nan
            if not np.isfinite(logs[place]):
                words.fail(start + place, "an entry that is finite")
    return logs[is_entry], found[is_entry]


def _scope(scopes: np.ndarray, heads: np.ndarray, factor: int) -> str:
    own = scopes[heads[factor] : heads[factor + 1]].tolist()
    return f"variables {', '.join(map(str, own))}" if own else "no variables"


def to_uai(
    graph: FactorGraph, path: str | os.PathLike[str] | None = None, evidence: str | os.PathLike[str] | None = None
) -> str:
    r"""Write a network, entries with 17 significant digits.

    Scores of single variables become factors before all others, unless they are all zero. The file is called BAYES
    where the graph was read as one and each variable is the child of one factor, and MARKOV otherwise.

    Args:
        graph: the graph.
        path: where to write, if anywhere.
        evidence: where to write the evidence; without it, what was seen is a factor of zeros and ones on each variable
            that was seen, so that the measure is that of the graph.

    Returns: the text.

    Raises: LawfulError for potentials or evidence that are traced.

    >>> print(to_uai(from_uai("MARKOV\n1\n2\n1\n1 0\n2\n0.25 0.75")))
    MARKOV
    1
    2
    1
    1 0
    <BLANKLINE>
    2
    0.25 0.75
    <BLANKLINE>
    """
    plain, structure = concrete(graph), graph.structure
    numbers = graph.notes.file_numbers(structure.size)
    order = np.argsort(numbers)
    first: list[tuple[list[int], list[str]]] = []
    unary = [(scores, entries_of(scores)) for scores in plain.unary]
    rows = [(logs[k], entries[k]) for logs, entries in unary for k in range(len(logs))]
    for place, v in enumerate(order.tolist()):
        if np.any(rows[v][0] != 0):
            first.append(([place], words_of(rows[v][1], rows[v][0])))
        if evidence is None and plain.seen[v] >= 0:
            first.append(([place], ["1" if s == plain.seen[v] else "0" for s in range(len(rows[v][0]))]))
    if evidence is not None:
        write(evidence_text(dict(enumerate(plain.seen[order].tolist()))), evidence)
    factors = first + _written(graph, plain.tables, numbers)
    directed = graph.notes.directed and _is_directed([scope for scope, _ in factors], structure.size)
    lines = [HEADS[not directed], str(structure.size), " ".join(map(str, structure.cardinalities[order].tolist()))]
    lines += [str(len(factors)), *(" ".join(map(str, (len(scope), *scope))) for scope, _ in factors)]
    tables = "".join(f"\n{len(table)}\n{' '.join(table)}\n" for _, table in factors)
    return write("\n".join(lines) + "\n" + tables, path)


def _written(graph: FactorGraph, tables: list[np.ndarray], numbers: np.ndarray) -> list[tuple[list[int], list[str]]]:
    """Write scopes and tables, those that have a place in a file in its order, then the others."""
    found: list[tuple[list[int], list[str]]] = []
    places: list[np.ndarray] = [np.zeros(0)]
    for group, logs in zip(graph.structure.groups, tables, strict=True):
        note = graph.notes.on(group.name)
        words = words_of(entries_of(logs, note.entries), logs)
        size = len(words) // len(logs) if len(logs) else 0
        starts = [0] * group.size if group.shared else range(0, len(words), max(size, 1))
        scopes = numbers[group.scopes].tolist()
        found += [(scope, words[start : start + size]) for scope, start in zip(scopes, starts, strict=True)]
        places.append(np.full(group.size, np.inf) if note.places is None else note.places.astype(np.float64))
    return [found[k] for k in np.argsort(np.concatenate(places), kind="stable").tolist()]


def _is_directed(scopes: list[list[int]], size: int) -> bool:
    """Tell whether each variable is the last of one scope, and none its own ancestor."""
    if not all(scopes) or sorted(scope[-1] for scope in scopes) != list(range(size)):
        return False
    children: list[list[int]] = [[] for _ in range(size)]
    waits = [0] * size
    for *parents, child in scopes:
        for parent in parents:
            children[parent].append(child)
            waits[child] += 1
    ready = [v for v in range(size) if not waits[v]]
    for v in ready:  # grows as it is walked
        for child in children[v]:
            waits[child] -= 1
            if not waits[child]:
                ready.append(child)
    return len(ready) == size
