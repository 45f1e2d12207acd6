"""Refresh: new parameters by a proposal, and everything else drawn anew from its prior given them, or near to it.

Law: what is drawn from the prior cancels, and so does a step of an autoregression that keeps the prior; the ratio is
that of the weights, times that of prior and proposal of the parameters. On a program that runs a particle filter
inside, this is particle marginal Metropolis-Hastings, correlated where the step is small.

References: Andrieu, Doucet and Holenstein (2010), section 4.4: the filter's choices as auxiliary variables;
Deligiannidis, Doucet and Pitt (2018), The correlated pseudo-marginal method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.passes.condition import conditioned
from lawful.passes.record import record
from lawful.passes.thread_sites import Given, interpose

from ...contract import Contract
from ...registered import stored_as
from ...representations.parameters import Parameters, parameters_of
from ...representations.standard_normals import NORMAL, normal_site
from ...transformers.evidence_estimate import weighing, with_evidence
from ..base.acceptance import INFO, accept
from ..base.base import INVARIANT, KernelForm, Proposed, State, finished, opened, scoped, scored
from ..base.redraw import PREFIX
from .mh import mh


@stored_as("kernels.refresh")
@dataclass(frozen=True)
class Refresh:
    """The kernel; see `refresh`."""

    proposal: Any
    sites: tuple[Any, ...]
    correlation: float = 0.0
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Write proposal, fresh run or step of the noise, coin and choice."""
        choices, block, inputs, state = opened(program)
        known = parameters_of(program, self.sites, "refresh")
        proposed = proposed_parameters(block, known, self.proposal, inputs, known.among(state.values))
        there = dict(zip((c.address for c in known.chosen), proposed.state.values, strict=True))
        if self.correlation:
            there |= self._near(block, known, state)
            values = tuple(there[c.address] for c in choices)
            after = _weight(block, program, inputs, values)
        else:
            rest, after = _anew(block, known, inputs, there)
            there |= rest
            values = tuple(there[c.address] for c in choices)
        before = _weight(block, program, inputs, state.values)
        ratio = block.det(_ratio, proposed.log_ratio, proposed.state.log_density, after, before, label="log ratio")
        log_density, flags = scored(block, program, inputs, values)
        probability, coin, broken = accept(block, ratio)
        pairs = zip((*values, *flags, log_density), state.flat, strict=True)
        new = [block.det(jnp.where, coin, x, y, label="accept?") for x, y in pairs]
        form = block.form((*inputs, *state.flat), (*new, probability, coin, broken))
        return KernelForm(finished(form), choices, INFO)

    def _near(self, block: Block, known: Parameters, state: State) -> dict[Address, Var]:
        """Append a step of the autoregression for each noise."""
        near: dict[Address, Var] = {}
        for choice, old in zip(known.choices, state.values, strict=True):
            if choice.address in known.moved:
                continue
            if choice.address[-1] != NORMAL:
                raise UnsupportedProgramError(
                    f"refresh: with a correlation, site '{choice.name}' ({choice.source}) has to be a noise of "
                    "by_normals. Fix: rewrite the filter by by_normals, as pmmh(model, ..., correlation=...) does.",
                    site=choice.address,
                )
            noise = normal_site(block, (PREFIX, "refresh", *choice.address), choice.full_shape)
            near[choice.address] = block.det(partial(_step, self.correlation), old, noise, label="noise")
        return near

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        known = parameters_of(program, self.sites, "refresh")
        lines = dict(line.split(": ", 1) for line in self.proposal.plan(known.prior))
        how = f"a step of correlation {self.correlation:g}" if self.correlation else "drawn anew from its prior"
        return [f"{c.name}: {lines.get(c.name, how)}" for c in known.choices]

    def __repr__(self) -> str:
        """Show the proposal, the parameters, and the correlation if there is one."""
        correlation = f", correlation={self.correlation:g}" if self.correlation else ""
        return f"refresh({self.proposal!r}, {list(self.sites)}{correlation})"


def refresh(proposal: Any, sites: Sequence[Any] | None = None, *, correlation: float = 0.0) -> Refresh:
    """Move parameters by a proposal, and draw all other sites anew from their prior given them.

    It suits programs whose other sites are the random numbers of an algorithm (see `inference.nested`): there a fresh
    run is a fresh estimate. On plain programs with much data hardly any move would be accepted.

    Args:
        proposal: how the parameters are proposed, as `random_walk(0.1)`.
        sites: names of the parameters; default: those that the proposal names.
        correlation: of the other sites before and after a move, at least 0 and below 1. More than 0 needs sites that
            are noises of `inference.by_normals`; then an estimate changes little from move to move, and fewer
            particles are enough.

    >>> from lawful.inference import kernels
    >>> refresh(kernels.random_walk(0.1), ["sigma"])
    refresh(random_walk(0.1), ['sigma'])
    """
    proposal = joint_proposal(proposal, "refresh")
    named = tuple(sites) if sites is not None else tuple(getattr(proposal, "sites", None) or ())
    if not named:
        raise LawfulError("refresh: expected the names of the sites that the proposal moves, got none.")
    if not 0.0 <= correlation < 1.0:
        raise LawfulError(f"refresh: expected a correlation of at least 0 and below 1, got {correlation!r}.")
    return Refresh(proposal, named, float(correlation))


def _anew(
    block: Block, known: Parameters, inputs: Sequence[Var], there: Mapping[Address, Var]
) -> tuple[dict[Address, Var], Var]:
    """Append a fresh run given the parameters: gives its choices, and the log of its weight."""
    given = conditioned(known.program, known.moved, weighing(known.program))
    recorded = record(replace(given.form, outputs=(), out_tree=None), ("sample",))
    fresh = scoped(with_evidence(recorded.form), ("~refresh",))
    *outs, weight = block.splice(fresh, [*inputs, *(there[c.address] for c in given.choices)])
    return dict(zip((c.address for c in recorded.choices), recorded.split(outs).values, strict=True)), weight


def _step(correlation: float, old: jax.Array, noise: jax.Array) -> jax.Array:
    """Take a step that keeps the standard normal law."""
    return (correlation * old + jnp.sqrt(1.0 - correlation**2) * noise).astype(old.dtype)


def proposed_parameters(
    block: Block, known: Parameters, proposal: Any, inputs: Sequence[Var], here: tuple[Var, ...]
) -> Proposed:
    """Append a proposal of new parameters; the ratio is that of their prior and of the proposal."""
    log_density, _ = scored(block, known.prior, inputs, here)
    proposed: Proposed = proposal.propose(block, known.prior, inputs, known.chosen, State(here, (), log_density))
    return proposed


def joint_proposal(proposal: Any, who: str) -> Any:
    """Take a proposal of several sites at once, or a program as one."""
    found = proposal if hasattr(proposal, "propose") else mh(proposal).proposal
    if not hasattr(found, "propose"):
        raise LawfulError(f"{who}: {found!r} moves a site at a time. Fix: a joint proposal, as kernels.random_walk.")
    return found


def _weight(block: Block, program: Form, inputs: Sequence[Var], values: Sequence[Var]) -> Var:
    """Append the log of the weight of a program at given choices: its factors and observations alone."""
    return interpose(program, Given(), weighing(program)).spliced(block, [*inputs, *values]).sums[1]


def _ratio(proposed: jax.Array, prior: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Log ratio of prior and proposal times that of the weights; a weight of zero is never accepted."""
    return jnp.where(jnp.isneginf(new) | jnp.isneginf(prior), -jnp.inf, proposed + (new - old))
