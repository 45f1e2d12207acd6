"""Match steps: the stretches of nodes that repeat, and where each operand of a step of theirs comes from.

Law: within a repeat the code of a node equals the code one period later. In a matched run every operand comes, at all
steps alike, from the same place of its own step, from the same place a fixed number of steps before, or from outside.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...addresses import Address
from ...form import Det, Factor, Form, Loop, Node, Site, Var, subforms, walk
from ...form.fingerprint import addresses_of
from ...form.rewriting import with_subforms

LONGEST_PERIOD = 256
ENOUGH = 0.9  # a shorter period that saves this share of all codes ends the search
FURTHER = 8  # steps by which a run may begin before its operands have settled


@dataclass(frozen=True)
class Repeat:
    """`steps` copies of `period` codes, from position `start`."""

    start: int
    period: int
    steps: int

    @property
    def gain(self) -> int:
        """Number of codes that writing one step instead of all saves."""
        return (self.steps - 1) * self.period


def repeats(codes: np.ndarray, least: int) -> list[Repeat]:
    """Find the repeats of at least `least` steps, the largest gain first, and the shortest period among equals.

    >>> repeats(np.array([9, 1, 2, 1, 2, 1, 2, 7]), least=3)
    [Repeat(start=1, period=2, steps=3)]
    """
    found: list[Repeat] = []
    for period in range(1, min(LONGEST_PERIOD, len(codes) // least) + 1):
        if any(repeat.gain >= ENOUGH * len(codes) for repeat in found):
            break
        equal = np.concatenate([[False], codes[period:] == codes[:-period], [False]])
        edges = np.flatnonzero(equal[1:] != equal[:-1])
        for start, stop in edges.reshape(-1, 2):
            steps = 1 + int(stop - start) // period
            if steps >= least:
                found.append(Repeat(int(start), period, steps))
    return sorted(found, key=lambda r: (-r.gain, r.period))


@dataclass(frozen=True)
class Within:
    """The operand is a result of its own step: of node `node` of the step, its result `result`."""

    node: int
    result: int


@dataclass(frozen=True)
class Before:
    """The operand is such a result `delay` steps before; `first` are the values that the first `delay` steps read."""

    node: int
    result: int
    delay: int
    first: tuple[Var, ...]


@dataclass(frozen=True)
class Outside:
    """The operand comes from outside the run: one value per step."""

    values: tuple[Var, ...]


type Origin = Within | Before | Outside


@dataclass(frozen=True)
class Steps:
    """A run of `length` isomorphic steps: its nodes, step after step, from position `start` of the form.

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


type _Place = tuple[int, int, int]  # step, node of the step, result of the node


class _Operand:
    """One operand of one node of a step, over all steps of a repeat."""

    def __init__(self, values: Sequence[Var], made: dict[Var, _Place]) -> None:
        self.values = values
        self.places = [made.get(v) for v in values]
        self.pattern = [self._pattern(k) for k in range(len(values))]

    def _pattern(self, k: int) -> tuple[int, int, int] | None:
        """Delay and place in the step; None for a value from outside, or one that neighbouring steps share."""
        place = self.places[k]
        if place is None:
            return None
        delay = k - place[0]
        shared = self.values[k] is self.values[k - 1] or self.values[k] is self.values[(k + 1) % len(self.values)]
        return None if delay and shared else (delay, place[1], place[2])

    def inside(self, low: int, high: int) -> int:
        """Return the last step from `low` on that makes a value which a step reads as from outside, else -1."""
        places = (place for place in self.places[low:high] if place is not None)
        return max((step for step, _, _ in places if step >= low), default=-1)

    def fits(self, low: int, high: int) -> bool:
        """Tell whether the pattern of the last step also holds from step `low` on, where it holds after it."""
        settled = self.pattern[high - 1]
        if settled is None:
            return self.inside(low, high) < 0
        delay, node, result = settled
        outside = all(place is None or place[0] < low for place in self.places[low : min(low + delay, high)])
        return outside and (low + delay >= high or self.places[low + delay] == (low, node, result))

    def origin(self, low: int, high: int) -> Origin:
        """Say where the operand comes from in the steps from `low` to `high`."""
        settled = self.pattern[high - 1]
        if settled is None:
            return Outside(tuple(self.values[low:high]))
        delay, node, result = settled
        return Before(node, result, delay, tuple(self.values[low : low + delay])) if delay else Within(node, result)


def matched(nodes: Sequence[Node], repeat: Repeat, least: int) -> Steps | None:
    """Find the longest run of isomorphic steps in a repeat of a form's nodes; None where it has fewer than `least`."""
    period, count = repeat.period, repeat.steps
    nodes = nodes[repeat.start : repeat.start + period * count]
    made = {v: (i // period, i % period, o) for i, node in enumerate(nodes) for o, v in enumerate(node.outs)}
    operands = [
        [_Operand([node.ins[m] for node in nodes[j::period]], made) for m in range(len(nodes[j].ins))]
        for j in range(period)
    ]
    flat = [operand for group in operands for operand in group]
    low, high = _settled(flat, count)
    moved = True
    while moved and high - low >= least:
        bound = max((o.inside(low, high) for o in flat if o.pattern[high - 1] is None), default=-1)
        moved, low = bound >= 0, max(low, bound + 1)
    for _ in range(FURTHER):
        if low > 0 and all(operand.fits(low - 1, high) for operand in flat):
            low -= 1
    if high - low < least:
        return None
    chosen = tuple(nodes[low * period : high * period])
    addresses = _addresses(chosen, period)
    if addresses is None:
        return None
    origins = tuple(tuple(operand.origin(low, high) for operand in group) for group in operands)
    return Steps(chosen, repeat.start + low * period, period, origins, addresses)


def _settled(operands: Sequence[_Operand], count: int) -> tuple[int, int]:
    """Find the longest stretch of steps in which the pattern of no operand changes."""
    changes = {k for o in operands for k in range(1, count) if o.pattern[k] != o.pattern[k - 1]}
    edges = [0, *sorted(changes), count]
    return max(zip(edges, edges[1:], strict=False), key=lambda pair: pair[1] - pair[0])


def _addresses(nodes: Sequence[Node], period: int) -> tuple[tuple[Address, tuple[Address, ...]], ...] | None:
    """List the addresses of the first step with those of all steps; None where a step names its sites otherwise."""
    if any(getattr(inner, "unrolled", False) for node in nodes[:period] for inner in _all(node)):
        return None
    found: dict[Address, tuple[Address, ...]] = {}
    for j in range(period):
        columns = zip(*(addresses_of(node) for node in nodes[j::period]), strict=True)
        for column in columns:
            if found.setdefault(column[0], column) != column:
                return None
    return tuple(found.items())


def _all(node: Node) -> Sequence[Node]:
    return [node, *(inner for form in subforms(node) for inner in walk(form))]


@functools.lru_cache(maxsize=4096)
def step_of(loop: Loop, index: int) -> Form:
    """Return the body of an unrolled loop with the addresses that a step has."""
    assert loop.addresses is not None
    return renamed_form(loop.body, {first: steps[index] for first, steps in loop.addresses})


def renamed_form(form: Form, names: Mapping[Address, Address]) -> Form:
    """Return a form with other addresses, also in the forms inside it."""

    def rename(node: Node) -> Node:
        if isinstance(node, Site | Factor | Det):
            return node if node.address is None else replace(node, address=names[node.address])
        return with_subforms(node, lambda inner: renamed_form(inner, names))

    return replace(form, nodes=tuple(map(rename, form.nodes)))
