"""Slots: what the moves of several targets write into the state, arranged so that one of them is applied at a time.

Law: applying the slots of a move writes its edits, where it is accepted, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.form import Var
from lawful.form.builder import Block
from lawful.inference.kernels.local.places_written import Rule, ones
from lawful.inference.kernels.local.slice_operations import Put, Take

from .local import Edit, Local


@dataclass(frozen=True)
class Slot:
    """One place that moves write to: of which choice, its value or its flag, and which axes are sliced."""

    address: Address
    flag: bool
    drop: int
    axes: tuple[int, ...]
    number: int


@dataclass(frozen=True)
class Unravel:
    """The indices of a part from its position among the parts of its target."""

    sizes: tuple[int, ...]

    def __call__(self, position: jax.Array) -> tuple[jax.Array, ...]:
        """Split a position, the last index fastest; the first one takes what is left."""
        if not self.sizes:
            return ()
        found = []
        for n in reversed(self.sizes[1:]):
            found.append((position % n).astype(jnp.int32))
            position = position // n
        return (position.astype(jnp.int32), *reversed(found))


@dataclass(frozen=True)
class Starts:
    """Where a slot lies, for the target that is chosen: `tables[g]` has the sizes of target g and a rule per axis."""

    tables: tuple[tuple[tuple[int, ...], tuple[tuple[Rule, ...], ...]] | None, ...]
    axes: int

    def __call__(self, group: jax.Array, position: jax.Array) -> tuple[jax.Array, ...]:
        """Compute the index of each axis."""
        zero = jnp.zeros((), jnp.int32)
        rows = [(zero,) * self.axes if t is None else _indices(t[0], t[1], position) for t in self.tables]
        return tuple(jnp.stack([row[a] for row in rows])[group] for a in range(self.axes))


def _indices(sizes: tuple[int, ...], chains: tuple[tuple[Rule, ...], ...], position: jax.Array) -> tuple[Any, ...]:
    own = Unravel(sizes)(position)
    found = []
    for first, *others in chains:
        index: Any = own[first.base] if first.base is not None else jnp.asarray(first.offset, jnp.int32)
        for rule in others:
            index = jnp.clip(index + rule.offset, 0, rule.length - 1)
        found.append(index.astype(jnp.int32))
    return tuple(found)


def slots_of(moves: Sequence[Local]) -> list[tuple[Slot, list[Edit | None]]]:
    """Arrange the edits of all moves: for each slot, what each move writes there."""
    found: dict[Slot, list[Edit | None]] = {}
    for g, move in enumerate(moves):
        seen: dict[Any, int] = {}
        for edit in move.edits:
            key = (edit.address, edit.flag, len(edit.steps), tuple(a for a, _ in edit.at))
            slot = Slot(*key, seen.get(key, 0))
            seen[key] = slot.number + 1
            found.setdefault(slot, [None] * len(moves))[g] = edit
    return list(found.items())


def chain_of(move: Local, number: int) -> tuple[Rule, ...]:
    """Say how an index is made from those that choose the part: the first rule names one of them, or none."""
    rule = move.rules[number]
    if rule.base is None or number < len(move.target.sizes):
        return (rule,)
    return (*chain_of(move, rule.base), rule)


def table_of(move: Local, edit: Edit | None) -> tuple[tuple[int, ...], tuple[tuple[Rule, ...], ...]] | None:
    """Describe where an edit lies."""
    if edit is None:
        return None
    numbers = (*edit.steps, *(q for _, q in edit.at))
    return move.target.sizes, tuple(chain_of(move, q) for q in numbers)


def shape_in(slot: Slot, whole: Var) -> tuple[int, ...]:
    """Shape of the part that a slot writes."""
    return ones(whole.shape[slot.drop :], slot.axes)


def apply(block: Block, slot: Slot, starts: Sequence[Var], whole: Var, part: Var, written: Var) -> Var:
    """Write a part where `written` is true."""
    if not slot.drop and not slot.axes:
        return block.det(jnp.where, written, part, whole, label="accept?")
    old = block.det(Take(slot.drop, slot.axes), whole, *starts, label="slice")
    new = block.det(jnp.where, written, part, old, label="accept?")
    return block.det(Put(slot.drop, slot.axes), whole, new, *starts, label="put slice")
