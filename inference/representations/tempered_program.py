"""Tempered program: a program whose observations and factors are raised to exponents that the program receives.

Law: with every exponent 1 the measure is the program's, with every exponent 0 it is the prior, and 0 * (-inf) = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Det, Factor, Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of, kind_of
from lawful.passes.thread_sites import Rule, Walk, log_prob_at, threaded

WEIGHING = ("observed", "factor")
type Entries = Mapping[Address, np.ndarray]


@runtime_checkable
class Exponent(Protocol):
    """An exponent as a function of the block in which a part enters and of the point of the path."""

    def __call__(self, entry: Any, block: jax.Array, power: jax.Array) -> jax.Array:
        """Give the exponent."""


@dataclass(frozen=True)
class Entered:
    """How much of a part is in: all of an earlier block, the power of this one, nothing of a later one.

    >>> Entered()(jnp.arange(3), jnp.array(1), jnp.array(0.25)).tolist()
    [1.0, 0.25, 0.0]
    """

    def __call__(self, entry: Any, block: jax.Array, power: jax.Array) -> jax.Array:
        """Give the exponent of the target."""
        return jnp.where(entry < block, 1.0, jnp.where(entry == block, power, 0.0))


@dataclass(frozen=True)
class Before:
    """One for the parts of earlier blocks, zero for the others.

    >>> Before()(jnp.arange(3), jnp.array(1), jnp.array(0.25)).tolist()
    [1.0, 0.0, 0.0]
    """

    def __call__(self, entry: Any, block: jax.Array, power: jax.Array) -> jax.Array:
        """Give the exponent of what the slope leaves out."""
        return jnp.where(entry < block, jnp.ones_like(power), 0.0)


@dataclass(frozen=True)
class Entering:
    """One for the parts of this block, zero for the others.

    >>> Entering()(jnp.arange(3), jnp.array(1), jnp.array(0.25)).tolist()
    [0.0, 1.0, 0.0]
    """

    def __call__(self, entry: Any, block: jax.Array, power: jax.Array) -> jax.Array:
        """Give the exponent of the slope."""
        return jnp.where(entry == block, jnp.ones_like(power), 0.0)


def times(exponent: jax.Array, term: jax.Array) -> jax.Array:
    """Multiply a log density by an exponent, with 0 * (-inf) = 0.

    >>> times(jnp.array([0.0, 0.5]), jnp.array(-jnp.inf)).tolist()
    [0.0, -inf]
    """
    return jnp.where(exponent == 0, 0.0, exponent * term)


def powered(form: Form, entries: Entries, exponent: Exponent) -> Form:
    """Raise what weighs a form to exponents.

    Args:
        form: a program.
        entries: for every address that weighs, the blocks in which its parts enter: a number, or an array over the
            loops of the address and the independent parts of its value.
        exponent: the exponent at a point.

    Returns: a Form with two more inputs, block and power.
    """
    arrays = {address: entry.astype(np.int32) for address, entry in entries.items() if entry.ndim}
    places = choices_of(form, WEIGHING, arrays)
    parts = {p.address: arrays[p.address].shape[len(p.loops) :] for p in places}
    point = Var((), jnp.dtype("int32")), Var((), jnp.result_type(float))
    found = threaded(form, _Powered(entries, exponent, parts, point)).form
    block, inputs = Block(), tuple(v.like() for v in found.inputs[: len(form.inputs) + 2])
    outputs = block.splice(found, [*inputs, *(block.constant(arrays[p.address]) for p in places)])
    return block.form(inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)


@dataclass(frozen=True)
class _Raised:
    """The sum of scores, each raised to the exponent of its entry, which is the first operand where it is not known."""

    exponent: Exponent
    scores: Callable[..., jax.Array]
    entry: int | None

    def __call__(self, block: jax.Array, power: jax.Array, *operands: jax.Array) -> jax.Array:
        entry, rest = (operands[0], operands[1:]) if self.entry is None else (self.entry, operands)
        return jnp.sum(times(self.exponent(entry, block, power), self.scores(*rest)))


@dataclass(frozen=True)
class _Powered(Rule):
    """The rule that raises what weighs; `parts` are the shapes of the entries of one run that are not all the same."""

    flags: ClassVar[bool] = False
    entries: Entries
    exponent: Exponent
    parts: Mapping[Address, tuple[int, ...]]
    shared: tuple[Var, ...]

    def places(self, form: Form) -> tuple[Choice, ...]:
        return choices_of(form, WEIGHING, self.parts)

    def inputs(self, place: Choice) -> list[Var]:
        return [Var(self.parts[place.address], jnp.dtype("int32"))]

    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        if isinstance(node, Det) or kind_of(node) not in WEIGHING:
            walk.block.nodes.append(node)
            return
        entry, role, operands, scores = walk.given.get(node.address, []), "likelihood", node.ins, jnp.asarray
        if isinstance(node, Factor):
            role = node.role
        elif any(v.shape for v in entry):
            scores, operands = node.law.log_prob_units, (node.ins[-1], *node.parameters)
        else:
            operands = (log_prob_at(walk.block, node, node.ins[-1]),)
        known = None if entry else int(self.entries[node.address])
        raised = _Raised(self.exponent, scores, known)
        term = walk.block.det(raised, *walk.shared, *entry, *operands, label=f"log p({node.address[-1]}), power")
        walk.names |= dict.fromkeys(node.outs, node.ins[-1])  # a site gives back what was observed
        walk.block.nodes.append(Factor(node.address, term, source=node.source, role=role))
