"""Powers: a program whose observations and factors are raised to exponents that the program receives.

Law: with every exponent 1 the measure is the program's, with every exponent 0 it is the prior, and 0 * (-inf) = 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Branch, Det, Factor, Form, Loop, Site, Var, walk
from lawful.form.builder import Block, LogProb
from lawful.form.fold import Visitor

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
    point = Var((), jnp.dtype("int32")), Var((), jnp.result_type(float))
    block = Block()
    arrays = {a: block.constant(entries[a].astype(np.int32)) for a in _weighing(form) if entries[a].ndim}
    walked = _Walk(form, entries, exponent, point, arrays, block).run()
    return replace(walked, inputs=(*form.inputs, *point), in_tree=None, out_tree=form.out_tree)


def _weighing(form: Form) -> list[Address]:
    """List the addresses that weigh, each once."""
    nodes = (n for n in walk(form) if isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None))
    return list(dict.fromkeys(node.address for node in nodes))


@dataclass(frozen=True)
class _Whole:
    """Raise a term to the exponent of a part that enters as a whole, in a known block."""

    exponent: Exponent
    entry: int

    def __call__(self, term: jax.Array, block: jax.Array, power: jax.Array) -> jax.Array:
        return times(self.exponent(self.entry, block, power), term)


@dataclass(frozen=True)
class _Step:
    """The same where the block depends on the step of a loop."""

    exponent: Exponent

    def __call__(self, term: jax.Array, block: jax.Array, power: jax.Array, entry: jax.Array) -> jax.Array:
        return times(self.exponent(entry, block, power), term)


@dataclass(frozen=True)
class _Parts:
    """Score a value part by part, each raised to its own exponent."""

    law: Any
    exponent: Exponent

    def __call__(
        self, block: jax.Array, power: jax.Array, entry: jax.Array, value: jax.Array, *parameters: jax.Array
    ) -> jax.Array:
        return jnp.sum(times(self.exponent(entry, block, power), self.law.log_prob_units(value, *parameters)))


class _Walk(Visitor):
    """Writes one form; `arrays` holds the entries that are not the same for all parts, by address."""

    def __init__(
        self,
        form: Form,
        entries: Entries,
        exponent: Exponent,
        point: tuple[Var, Var],
        arrays: Mapping[Address, Var],
        block: Block,
    ) -> None:
        self.form, self.entries, self.exponent = form, entries, exponent
        self.point, self.arrays, self.block = point, arrays, block
        self.names: dict[Var, Var] = {}

    def run(self) -> Form:
        self.block.constants.extend(self.form.constants)
        for node in self.form.nodes:
            self.node(node)
        return self.block.form(self.form.inputs, self.all(self.form.outputs))

    def det(self, node: Det) -> None:
        self.block.nodes.append(node.with_ins(self.all(node.ins)))

    def factor(self, node: Factor) -> None:
        self.weigh(node.address, self.read(node.term), node)

    def site(self, node: Site) -> None:
        if node.observed is None:
            self.block.nodes.append(node.with_ins(self.all(node.ins)))
        else:
            self.observe(node, self.read(node.observed))

    def read(self, value: Var) -> Var:
        return self.names.get(value, value)

    def all(self, values: Sequence[Var]) -> tuple[Var, ...]:
        return tuple(self.read(v) for v in values)

    def weigh(self, address: Address, term: Var, node: Factor | Site) -> None:
        """Append a factor: the term, raised."""
        if address in self.arrays:
            raised = self.block.det(_Step(self.exponent), term, *self.point, self.arrays[address], label="power")
        else:
            entry = int(self.entries[address])
            raised = self.block.det(_Whole(self.exponent, entry), term, *self.point, label="power")
        role = node.role if isinstance(node, Factor) else "likelihood"
        self.block.nodes.append(Factor(address, raised, source=node.source, role=role))

    def observe(self, node: Site, observed: Var) -> None:
        self.names[node.out] = observed
        parameters = self.all(node.parameters)
        label = f"log p({node.address[-1]})"
        entry = self.arrays.get(node.address)
        if entry is None or not entry.shape:
            (term,) = self.block.det(LogProb(node.law), observed, *parameters, label=label)
            self.weigh(node.address, term, node)
            return
        raised = self.block.det(
            _Parts(node.law, self.exponent), *self.point, entry, observed, *parameters, label=f"{label}, power"
        )
        self.block.nodes.append(Factor(node.address, raised, source=node.source))

    def inner(self, form: Form, addresses: Sequence[Address], stepped: bool) -> tuple[Form, tuple[Var, ...]]:
        """Write a form inside this one; gives it with its additional inputs: the point, then the entries."""
        point = self.point[0].like(), self.point[1].like()
        arrays = {a: Var(self.arrays[a].shape[1 if stepped else 0 :], self.arrays[a].dtype) for a in addresses}
        body = _Walk(form, self.entries, self.exponent, point, arrays, Block()).run()
        return body, (*point, *arrays.values())

    def loop(self, node: Loop) -> None:
        addresses = [a for a in _weighing(node.body) if a in self.arrays]
        body, (block, power, *entries) = self.inner(node.body, addresses, stepped=True)
        n = len(node.constants)
        inputs = (*body.inputs[:n], block, power, *body.inputs[n:], *entries)
        constants = (*self.all(node.constants), *self.point)
        xs = (*self.all(node.xs), *(self.arrays[a] for a in addresses))
        body = replace(body, inputs=inputs)
        self.block.nodes.append(replace(node, body=body, constants=constants, init=self.all(node.init), xs=xs))

    def branch(self, node: Branch) -> None:
        addresses = [a for a in dict.fromkeys(a for arm in node.forms for a in _weighing(arm)) if a in self.arrays]
        forms = []
        for arm in node.forms:
            form, more = self.inner(arm, addresses, stepped=False)
            forms.append(replace(form, inputs=(*form.inputs, *more)))
        operands = (*self.all(node.operands), *self.point, *(self.arrays[a] for a in addresses))
        self.block.nodes.append(replace(node, index=self.read(node.index), forms=tuple(forms), operands=operands))
