"""Match steps: the stretches of nodes that repeat, and where each operand of a step of theirs comes from.

Law: within a repeat the code of a node equals the code one period later. In a matched run every operand comes, at all
steps alike, from the same place of its own step, from the same place a fixed number of steps before, or from outside.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...addresses import Address
from ...form import Form, Loop, Node, Var, subforms, within
from ...form.rewriting import with_addresses

LONGEST_PERIOD = 256
ENOUGH = 0.9  # a shorter period that saves this share of all codes ends the search


type Repeat = tuple[int, int, int]  # position, period and number of steps of codes that repeat


def repeats(codes: np.ndarray, least: int) -> list[Repeat]:
    """Find the repeats of at least `least` steps, those that save most first, and the shortest period among equals.

    >>> repeats(np.array([9, 1, 2, 1, 2, 1, 2, 7]), least=3)
    [(1, 2, 3)]
    """
    found: list[tuple[int, Repeat]] = []  # with less the codes that writing one step instead of all saves
    for period in range(1, min(LONGEST_PERIOD, len(codes) // least) + 1):
        if any(-less >= ENOUGH * len(codes) for less, _ in found):
            break
        equal = np.concatenate([[False], codes[period:] == codes[:-period], [False]])
        for start, stop in np.flatnonzero(equal[1:] != equal[:-1]).reshape(-1, 2).tolist():
            steps = 1 + (stop - start) // period
            if steps >= least:
                found.append((-(steps - 1) * period, (start, period, steps)))
    return [repeat for _, repeat in sorted(found, key=lambda pair: (pair[0], pair[1][1]))]


@dataclass(frozen=True)
class Made:
    """An operand that node `node` of a step makes as its result `result`, of its own step or `delay` steps before.

    `first` are the values that the first `delay` steps read.
    """

    node: int
    result: int
    delay: int
    first: tuple[Var, ...]


type Origin = Made | tuple[Var, ...]  # or it comes from outside the run, a value for each step


@dataclass(frozen=True)
class Steps:
    """A run of isomorphic steps: its nodes, step after step, from position `start` of the form.

    `origins[j]` says of each operand of node j of a step where it comes from; `addresses` lists the addresses of the
    first step with those of all steps.
    """

    nodes: tuple[Node, ...]
    start: int
    period: int
    origins: tuple[tuple[Origin, ...], ...]
    addresses: tuple[tuple[Address, tuple[Address, ...]], ...]

    @property
    def length(self) -> int:
        """Number of steps."""
        return len(self.nodes) // self.period

    @property
    def stop(self) -> int:
        """Position of the first node after the run."""
        return self.start + len(self.nodes)


class _Operand:
    """One operand of one node of a step, over all steps of a repeat."""

    def __init__(self, values: Sequence[Var], made: Mapping[Var, tuple[int, int, int]]) -> None:
        self.values = values
        self.places = [made.get(v) for v in values]  # step, node of the step, result of the node
        self.pattern = [self._pattern(k) for k in range(len(values))]

    def _pattern(self, k: int) -> tuple[int, int, int] | None:
        """Delay and place in the step; None for a value from outside, or one that neighbouring steps share."""
        place = self.places[k]
        if place is None:
            return None
        shared = self.values[k] in (self.values[k - 1], self.values[(k + 1) % len(self.values)])
        return None if place[0] != k and shared else (k - place[0], *place[1:])

    def begins(self, low: int, high: int) -> int:
        """Give the first step from `low` on, as far as this tells it, from which all are like the last before `high`.

        The first steps read what is made before all of them, as many steps as the delay is; all, where it is outside.
        """
        delay, *place = self.pattern[high - 1] or (high,)
        for k in range(high - 1, low + delay - 1, -1):
            if self.pattern[k] != self.pattern[high - 1] and self.places[k] != (k - delay, *place):
                low = k + 1 - delay
                break
        return max([low, *(place[0] + 1 for place in self.places[low : min(low + delay, high)] if place)])

    def origin(self, low: int, high: int) -> Origin:
        settled = self.pattern[high - 1]
        if settled is None:
            return tuple(self.values[low:high])
        delay, node, result = settled
        return Made(node, result, delay, tuple(self.values[low : low + delay]))


def matched(nodes: Sequence[Node], offset: int, repeat: Repeat, least: int) -> Steps | None:
    """Find the longest run of isomorphic steps that ends where the operands of a repeat stop coming from one place.

    Args:
        nodes: those of a form.
        offset: where the repeat counts from.
        repeat: the repeat.
        least: the least number of steps; None is given where there are fewer.
    """
    start, period, count = repeat
    start += offset
    nodes = nodes[start : start + period * count]
    made = {v: (i // period, i % period, o) for i, node in enumerate(nodes) for o, v in enumerate(node.outs)}
    operands = [
        [_Operand([node.ins[m] for node in nodes[j::period]], made) for m in range(len(nodes[j].ins))]
        for j in range(period)
    ]
    flat = [operand for group in operands for operand in group]
    changes = {k for o in flat for k in range(1, count) if o.pattern[k] != o.pattern[k - 1]}
    _, high = max(itertools.pairwise([0, *sorted(changes), count]), key=lambda pair: pair[1] - pair[0])
    low, sure = 0, -1
    while low > sure:
        low, sure = max((operand.begins(low, high) for operand in flat), default=0), low
    chosen = tuple(nodes[low * period : high * period])
    addresses = _addresses(chosen, period) if high - low >= least else None
    if addresses is None:
        return None
    origins = tuple(tuple(operand.origin(low, high) for operand in group) for group in operands)
    return Steps(chosen, start + low * period, period, origins, addresses)


def _addresses(nodes: Sequence[Node], period: int) -> tuple[tuple[Address, tuple[Address, ...]], ...] | None:
    """List the addresses of the first step with those of all steps; None where a step names its sites otherwise."""
    inner = [[*within(node)] if subforms(node) else [node] for node in nodes]
    if any(getattr(n, "unrolled", False) for group in inner[:period] for n in group):
        return None
    names = [[a for n in group if (a := getattr(n, "address", None)) is not None] for group in inner]
    found: dict[Address, tuple[Address, ...]] = {}
    for j in range(period):
        for column in zip(*names[j::period], strict=True):
            if found.setdefault(column[0], column) != column:
                return None
    return tuple(found.items())


@functools.lru_cache(maxsize=4096)
def step_of(loop: Loop, index: int) -> Form:
    """Return the body of an unrolled loop with the addresses that a step has."""
    assert loop.addresses is not None
    return with_addresses(loop.body, {first: steps[index] for first, steps in loop.addresses}.__getitem__)
