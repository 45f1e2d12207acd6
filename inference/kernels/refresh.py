"""Refresh: new parameters by a proposal, and everything else drawn anew from its prior given them.

Law: what is drawn from the prior cancels, so the ratio is that of the weights, times that of prior and proposal of the
parameters. On a program that runs a particle filter inside, this is particle marginal Metropolis-Hastings.

Reference: Andrieu, Doucet and Holenstein (2010), section 4.4: the filter's choices as auxiliary variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.block import Block
from lawful.conditioned import conditioned
from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.interpose import Given, interpose
from lawful.record import choices_of, record

from ..check.contracts import Contract
from ..estimated import weighing, with_evidence
from .acceptance import INFO, accept, refuse_nothing_to_move
from .base import INVARIANT, KernelForm, finished, scoped, scored, state_inputs
from .mh import mh
from .parameters import parameters_of


@dataclass(frozen=True)
class Refresh:
    """The kernel; see `refresh`."""

    proposal: Any
    sites: tuple[Any, ...]
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Write proposal, fresh run, coin and choice."""
        choices = choices_of(program)
        refuse_nothing_to_move(choices)
        known = parameters_of(program, self.sites, "refresh")
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        proposed = known.propose(block, self.proposal, inputs, known.among(state.values))
        given = conditioned(program, known.moved, weighing(program))
        recorded = record(replace(given.form, outputs=(), out_tree=None), ("sample",))
        fresh = scoped(with_evidence(recorded.form), ("~refresh",))
        there = dict(zip((c.address for c in known.chosen), proposed.state.values, strict=True))
        *outs, after = block.splice(fresh, [*inputs, *(there[c.address] for c in given.fixed)])
        there |= zip((c.address for c in recorded.choices), outs, strict=False)
        values = tuple(there[c.address] for c in choices)
        before = _weight(block, program, inputs, state.values)
        ratio = block.det(_ratio, proposed.log_ratio, proposed.state.log_density, after, before, label="log ratio")
        log_density, flags = scored(block, program, inputs, values)
        probability, coin, broken = accept(block, ratio)
        pairs = zip((*values, *flags, log_density), state.flat, strict=True)
        new = [block.det(jnp.where, coin, x, y, label="accept?") for x, y in pairs]
        form = block.form((*inputs, *state.flat), (*new, probability, coin, broken))
        return KernelForm(finished(form), choices, INFO)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        known = parameters_of(program, self.sites, "refresh")
        lines = dict(line.split(": ", 1) for line in self.proposal.plan(known.prior))
        return [f"{c.name}: {lines.get(c.name, 'drawn anew from its prior')}" for c in known.choices]

    def __repr__(self) -> str:
        """Show the proposal and the parameters."""
        return f"refresh({self.proposal!r}, {list(self.sites)})"


def refresh(proposal: Any, sites: Sequence[Any] | None = None) -> Refresh:
    """Move parameters by a proposal, and draw all other sites anew from their prior given them.

    It suits programs whose other sites are the random numbers of an algorithm (see `inference.nested`): there a fresh
    run is a fresh estimate. On plain programs with much data hardly any move would be accepted.

    Args:
        proposal: how the parameters are proposed, as `random_walk(0.1)`.
        sites: names of the parameters; default: those that the proposal names.

    >>> from lawful.inference import kernels
    >>> refresh(kernels.random_walk(0.1), ["sigma"])
    refresh(random_walk(0.1), ['sigma'])
    """
    proposal = joint_proposal(proposal, "refresh")
    named = tuple(sites) if sites is not None else tuple(getattr(proposal, "sites", None) or ())
    if not named:
        raise LawfulError("refresh: expected the names of the sites that the proposal moves, got none.")
    return Refresh(proposal, named)


def joint_proposal(proposal: Any, who: str) -> Any:
    """Take a proposal of several sites at once, or a program as one."""
    found = proposal if hasattr(proposal, "propose") else mh(proposal).proposal
    if not hasattr(found, "propose"):
        raise LawfulError(f"{who}: {found!r} moves a site at a time. Fix: a joint proposal, as kernels.random_walk.")
    return found


def _weight(block: Block, program: Form, inputs: Sequence[Var], values: Sequence[Var]) -> Var:
    """Append the log of the weight of a program at given choices: its factors and observations alone."""
    scored_ = interpose(program, Given(), weighing(program))
    return block.splice(scored_.form, [*inputs, *values])[scored_.own + 1]


def _ratio(proposed: jax.Array, prior: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Log ratio of prior and proposal times that of the weights; a weight of zero is never accepted."""
    return jnp.where(jnp.isneginf(new) | jnp.isneginf(prior), -jnp.inf, proposed + (new - old))
