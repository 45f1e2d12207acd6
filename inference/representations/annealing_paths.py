"""Annealing paths: how the observations of a program enter, from none to all: by a power, or one after the other.

Law: every observation and factor of the program enters exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError
from lawful.form import Det, Form, Loop, Site
from lawful.form.fold import placed
from lawful.messages import PlateFrame

from ..registered import stored_as
from .tempered_program import Entries


@runtime_checkable
class Path(Protocol):
    """A way from the prior to the program's measure."""

    def entries(self, program: Form) -> tuple[Entries, int]:
        """Give for every address that weighs the blocks in which its parts enter, and the number of blocks."""


@stored_as("prior_to_posterior")
@dataclass(frozen=True)
class PriorToPosterior:
    """All observations and factors as one block: gamma(beta) = prior * likelihood ^ beta."""

    def entries(self, program: Form) -> tuple[Entries, int]:
        """One block for all."""
        return {place.address: np.zeros((), np.int32) for place in weighing_places(program)}, 1

    def __repr__(self) -> str:
        return "prior_to_posterior()"


def prior_to_posterior() -> PriorToPosterior:
    """The path prior * likelihood ^ beta, beta from 0 to 1.

    >>> prior_to_posterior()
    prior_to_posterior()
    """
    return PriorToPosterior()


@stored_as("data_by_data")
@dataclass(frozen=True)
class DataByData:
    """Observations enter in blocks, each block by a power of its own."""

    block: int
    along: str | None
    sites: tuple[tuple[Address, ...], ...] | None

    def entries(self, program: Form) -> tuple[Entries, int]:
        """Number the parts of what weighs, and cut the numbers into blocks."""
        places = list(weighing_places(program))
        if not places:
            raise LawfulError("data_by_data: the program has no observation and no factor that could enter.")
        if self.sites is not None:
            return self._by_site(places, self.sites)
        numbers = _in_order(places) if self.along is None else _along(places, self.along)
        entries = {address: _one_if_equal(np.asarray(number // self.block)) for address, number in numbers.items()}
        return entries, max(int(number.max(initial=0)) for number in entries.values()) + 1

    def _by_site(self, places: Sequence[Place], groups: Sequence[Sequence[Address]]) -> tuple[Entries, int]:
        known = [place.address for place in places]
        order = {address: position for position, group in enumerate(groups) for address in group}
        for address in order:
            if address not in known:
                raise LawfulError(
                    f"data_by_data: no observation or factor is named '{show_address(address)}'; the program has: "
                    f"{', '.join(map(show_address, known))}.",
                    site=address,
                )
        return {address: np.asarray(order.get(address, 0), np.int32) for address in known}, len(groups)

    def __repr__(self) -> str:
        """Show what enters in which order."""
        if self.sites is not None:
            named = ["+".join(map(show_address, group)) for group in self.sites]
            return f"data_by_data(sites={named})"
        return f"data_by_data(block={self.block}{'' if self.along is None else f', along={self.along!r}'})"


def data_by_data(*, block: int = 1, along: str | None = None, sites: Sequence[Any] | None = None) -> DataByData:
    """The path on which observations enter one by one, or in blocks (Chopin 2002, A sequential particle filter method).

    Args:
        block: how many elements enter together.
        along: name of a plate: its elements enter in order, and what lies outside the plate enters with the first; by
            default all elements of all observed sites enter in the order of the program, those of a loop by steps.
        sites: names of observed sites and factors in the order in which they enter, each as a whole; an item may be a
            list of names that enter together. What is not named enters with the first.

    >>> data_by_data(block=10, along="patient")
    data_by_data(block=10, along='patient')
    """
    if not isinstance(block, int | np.integer) or block < 1:
        raise LawfulError(f"data_by_data: block: expected an integer of 1 or more, got {block!r}.")
    if sites is None:
        return DataByData(int(block), along, None)
    if along is not None or block != 1:
        raise LawfulError("data_by_data: sites enter as wholes. Fix: give sites, or block and along, not both.")
    groups = [item if isinstance(item, list) else [item] for item in sites]
    named = tuple(tuple(map(as_address, group)) for group in groups)
    flat = [address for group in named for address in group]
    twice = [address for address in flat if flat.count(address) > 1]
    if not flat or twice:
        what = f"'{show_address(twice[0])}' stands twice" if twice else "it is empty"
        raise LawfulError(f"data_by_data: sites must name each site once, but {what}.")
    return DataByData(1, None, named)


@dataclass(frozen=True)
class Place:
    """Where a program is weighed: address, lengths of the loops around, parts of the value, plates, outermost loop."""

    address: Address
    loops: tuple[int, ...] = ()
    units: tuple[int, ...] = ()
    frames: tuple[PlateFrame, ...] = ()
    loop: Loop | None = None


def weighing_places(form: Form) -> Iterator[Place]:
    """List the observations and factors in the order of the program; those of exclusive arms are one place."""
    found: dict[Address, Place] = {}
    for node, around in placed(form):
        if isinstance(node, Det) or (isinstance(node, Site) and node.observed is None):
            continue
        units = node.law.units if isinstance(node, Site) else ()
        place = Place(node.address, around.lengths, units, node.frames if units else (), *around.loops[:1])
        first = found.setdefault(place.address, place)
        if (first.loops, first.units) != (place.loops, place.units):
            found[place.address] = replace(first, units=(), frames=())
    yield from found.values()


def _in_order(places: Sequence[Place]) -> dict[Address, np.ndarray]:
    """Number all parts: places in order, elements in order, and the places of one loop step by step."""
    numbers: dict[Address, np.ndarray] = {}
    start = 0
    for group in _grouped(places):
        steps = group[0].loops[0] if group[0].loop is not None else 1
        sizes = [math.prod((*place.loops, *place.units)) // max(steps, 1) for place in group]
        inside = 0
        for place, size in zip(group, sizes, strict=True):
            rest = start + inside + np.arange(size)
            table = np.arange(steps)[:, None] * sum(sizes) + rest[None]
            numbers[place.address] = table.reshape((*place.loops, *place.units))
            inside += size
        start += steps * sum(sizes)
    return numbers


def _grouped(places: Sequence[Place]) -> Iterator[list[Place]]:
    group: list[Place] = []
    for place in places:
        if group and (place.loop is None or place.loop != group[0].loop):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _one_if_equal(numbers: np.ndarray) -> np.ndarray:
    """A part that enters as a whole needs one number, and its density no sum of its own."""
    flat = numbers.reshape(-1)
    return np.asarray(flat[0]) if len(flat) and (flat == flat[0]).all() else numbers


def _along(places: Sequence[Place], plate: str) -> dict[Address, np.ndarray]:
    """Number the elements of a plate; what lies outside it has the number 0."""
    numbers: dict[Address, np.ndarray] = {}
    for place in places:
        shape = (*place.loops, *place.units)
        axis = next((len(shape) + frame.dim for frame in place.frames if frame.name == plate), None)
        if axis is None:
            numbers[place.address] = np.zeros((), np.int32)
            continue
        index = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        numbers[place.address] = np.broadcast_to(index, shape)
    if not any(number.ndim for number in numbers.values()):
        known = sorted({frame.name for place in places for frame in place.frames})
        raise LawfulError(
            f"data_by_data: no observed site stands in a plate named '{plate}'; the observed sites have the plates: "
            f"{', '.join(known) or 'none'}.",
            plate=plate,
        )
    return numbers
