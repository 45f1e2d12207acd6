"""Rules of proposal programs: how a choice is answered on the way forth, on the way back, and in the target.

Law: the density that a rule gives out is that of the value that it gives, or was given, under the law of the site.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.form import Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.passes.thread_sites import Answer, Answers, log_prob_at

from .redraw import PREFIX, RedrawLaw, SplitScore


@dataclass(frozen=True)
class Draw(Answers):
    """The rule of the way forth: no inputs; outputs (value, log density)."""

    def outputs(self, place: Choice) -> list[Var]:
        """The value and its log density."""
        return [Var(place.shape, place.dtype), Var((), jnp.result_type(float))]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the draw and its score."""
        value = block.site((PREFIX, "proposal", *site.address), site.law, site.parameters)
        term = block.log_prob(site.law, value, site.parameters, label="log q")
        return Answer(value, term, (value, term))


@dataclass(frozen=True)
class Score(Answers):
    """The rule of the way back: input the value; output its log density."""

    def inputs(self, place: Choice) -> list[Var]:
        """The value."""
        return [Var(place.shape, place.dtype)]

    def outputs(self, place: Choice) -> list[Var]:
        """Its log density."""
        return [Var((), jnp.result_type(float))]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the score."""
        term = block.log_prob(site.law, given[0], site.parameters, label="log q")
        return Answer(given[0], term, (term,))


@dataclass(frozen=True)
class Replace(Answers):
    """The rule of the target: inputs (old, was active, offered, is offered); outputs (value, density drawn).

    Attributes:
        offered: choices for which a value may be offered.
        always: those for which it always is.
        switched: choices that may begin to run.
    """

    offered: frozenset[Address]
    always: frozenset[Address]
    switched: Collection[Address]

    def inputs(self, place: Choice) -> list[Var]:
        """The old value, whether it ran, the value offered, whether it is."""
        boolean = jnp.dtype(bool)
        value = Var(place.shape, place.dtype)
        return [value, Var((), boolean), value.like(), Var((), boolean)]

    def outputs(self, place: Choice) -> list[Var]:
        """The value, and the log density of what was drawn from the prior."""
        return [Var(place.shape, place.dtype), Var((), jnp.result_type(float))]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the choice between what is offered, what was there, and a draw."""
        old, was, offered, is_offered = given
        value = old
        if site.address in self.always:
            value = offered
        elif site.address in self.offered:
            value = block.det(jnp.where, is_offered, offered, old, label="offered?")
        if site.address not in self.switched:
            term = log_prob_at(block, site, value)
            return Answer(value, term, (value, block.constant(np.zeros((), term.dtype))))
        drawn = block.det(_Fresh(tuple(site.law.units)), was, is_offered, label="draw?")
        value = block.site((PREFIX, "value", *site.address), RedrawLaw(site.law), (drawn, value, *site.parameters))
        kept = block.det(jnp.logical_not, drawn, label="kept?")
        term, rest = block.det(SplitScore(site.law), value, kept, *site.parameters, label=f"log p({site.address[-1]})")
        return Answer(value, term, (value, rest))

    def absent(self, block: Block, place: Choice, given: Sequence[Var]) -> list[Var]:
        """The old value, and a term of zero."""
        return [given[0], block.constant(np.zeros(place.loops, jnp.result_type(float)))]


@dataclass(frozen=True)
class _Fresh:
    shape: tuple[int, ...]

    def __call__(self, was: jax.Array, offered: jax.Array) -> jax.Array:
        return jnp.broadcast_to(~was & ~offered, self.shape)
