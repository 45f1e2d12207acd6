"""Redraw: run a program with most choices kept and some drawn again from their prior.

Law: given which parts are drawn again, the new value of such a part has its prior law given its new parents, and every
other part keeps its value; a part that was not active before is always drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.distributions.observed_law import DerivedLaw
from lawful.distributions.protocol import product_grid
from lawful.errors import UnsupportedProgramError
from lawful.form import Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.passes.thread_sites import Answer, Answers, log_prob_at

PREFIX = "~mh"


def expand(mask: Any, rank: int) -> Any:
    """Give a mask over the parts of a value the value's event axes."""
    return mask.reshape(mask.shape + (1,) * (rank - mask.ndim))


@dataclass(frozen=True)
class RedrawLaw(DerivedLaw):
    """The law of a value some parts of which are drawn again: parameters are (again, old, *parameters of the base)."""

    base: Any

    @property
    def label(self) -> str:
        """Name for people."""
        return f"again {self.base.label}"

    def draw(self, key: jax.Array, again: jax.Array, old: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw all parts and keep the old ones where they are not wanted."""
        fresh = self.base.draw(key, *parameters)
        return jnp.where(expand(again, fresh.ndim), fresh, old)

    def enumerate(self, again: jax.Array, old: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values; a kept part has its old value in all, with the mass on the first of its equal copies."""
        if not self.base.shape:
            values, masses = self.base.enumerate(*parameters)
            first = jnp.where(jnp.arange(self.base.atoms) == 0, 0.0, -jnp.inf)
            return jnp.where(again, values, old), jnp.where(again, masses, first)
        support, table = self.base.element_table(*parameters)
        grid = product_grid(len(support), math.prod(self.shape))
        wanted = jnp.broadcast_to(again, self.shape).reshape(-1)
        first = jnp.where(jnp.arange(len(support)) == 0, 0.0, -jnp.inf)[:, None]
        masses = jnp.where(wanted[None], table, first)
        values = jnp.where(wanted[None], support[grid], old.reshape(-1)[None])
        chosen = masses[grid, jnp.arange(grid.shape[1])]
        return values.reshape((len(grid), *self.shape)), jnp.sum(chosen, axis=1, dtype=chosen.dtype)

    def finite_elements(self, site_of: Callable[[Any], Any], again: Any, old: Any, *parameters: Any) -> Any:
        """List the elements of the base; a kept element has its old value only."""
        elements, assemble = self.base.finite_elements(site_of, *parameters)
        wanted = np.broadcast_to(expand(np.asarray(again), len(self.shape)), self.shape).reshape(-1)
        if len(elements) != len(wanted):
            raise UnsupportedProgramError(f"{self.label}: the value is not a product of its elements.")
        kept = np.asarray(old).reshape(-1)
        chosen = [e if w else ([kept[i]], [1.0]) for i, (e, w) in enumerate(zip(elements, wanted, strict=True))]
        return chosen, assemble

    def log_prob(self, value: jax.Array, again: jax.Array, old: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score the parts drawn again; a kept part must have its old value."""
        scores = jnp.where(again, self.base.log_prob_units(value, *parameters), 0.0)
        same = jnp.all(expand(again, value.ndim) | (value == old))
        return jnp.where(same, jnp.sum(scores), -jnp.inf)


@dataclass(frozen=True)
class SplitScore:
    """The log density of a value in two sums: over the parts that are kept, and over the others."""

    law: Any

    def __call__(self, value: jax.Array, kept: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score the parts once, and sum them apart."""
        scores = self.law.log_prob_units(value, *parameters)
        return jnp.sum(jnp.where(kept, scores, 0.0)), jnp.sum(jnp.where(kept, 0.0, scores))


@dataclass(frozen=True)
class Redraw(Answers):
    """The rule of a move: inputs (old value, was active, draw again), outputs (new value, kept parts, density drawn).

    Attributes:
        prefix: stands before the addresses of the sites that draw.
        fixed: choices that keep their value whatever happens.
    """

    prefix: tuple[str, ...] = (PREFIX, "value")
    fixed: frozenset[Address] = frozenset()

    def inputs(self, place: Choice) -> list[Var]:
        """Old value, whether it was active, which parts to draw again."""
        boolean = jnp.dtype(bool)
        return [Var(place.shape, place.dtype), Var((), boolean), Var(place.units, boolean)]

    def outputs(self, place: Choice) -> list[Var]:
        """New value, which of its parts are kept, and the log density of the parts drawn again."""
        return [Var(place.shape, place.dtype), Var(place.units, jnp.dtype(bool)), Var((), jnp.result_type(float))]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the draw and the scores of what is kept and of what is drawn."""
        old, was, again = given
        if site.address in self.fixed:
            value, kept = old, block.constant(np.ones(again.shape, bool))
        else:
            drawn = block.det(_drawn, again, was, label="draw again?")
            value = block.site((*self.prefix, *site.address), RedrawLaw(site.law), (drawn, old, *site.parameters))
            kept = block.det(jnp.logical_not, drawn, label="kept?")
        label = f"log p({site.address[-1]})"
        term, rest = block.det(SplitScore(site.law), value, kept, *site.parameters, label=label)
        return Answer(value, term, (value, kept, rest))

    def absent(self, block: Block, place: Choice, given: Sequence[Var]) -> list[Var]:
        """The old value, nothing kept and nothing drawn."""
        none = block.constant(np.zeros((*place.loops, *place.units), bool))
        return [given[0], none, block.constant(np.zeros(place.loops, jnp.result_type(float)))]


@dataclass(frozen=True)
class ScoreKept(Answers):
    """The rule that scores given choices in two sums: inputs (value, kept parts), outputs (density of the others).

    Attributes:
        whole: choices all of whose parts are kept, whatever the inputs say.
    """

    whole: frozenset[Address] = frozenset()

    def inputs(self, place: Choice) -> list[Var]:
        """The value and the parts to score."""
        return [Var(place.shape, place.dtype), Var(place.units, jnp.dtype(bool))]

    def outputs(self, place: Choice) -> list[Var]:
        """The log density of the parts that are not kept."""
        return [Var((), jnp.result_type(float))]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the scores."""
        value, kept = given
        if site.address in self.whole:
            term = log_prob_at(block, site, value)
            return Answer(value, term, (block.constant(np.zeros((), term.dtype)),))
        label = f"log p({site.address[-1]})"
        term, rest = block.det(SplitScore(site.law), value, kept, *site.parameters, label=label)
        return Answer(value, term, (rest,))


def _drawn(again: jax.Array, was: jax.Array) -> jax.Array:
    return again | ~was
