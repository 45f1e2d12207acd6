"""Refresh: new parameters by a proposal, and everything else drawn anew from its prior given them, or near to it.

Law: what is drawn from the prior cancels, and so does a step of an autoregression that keeps the prior; the ratio is
that of the weights, times that of prior and proposal of the parameters. Of a state only parameters and weight are read,
so a chain may keep these, with what the program names, and forget the rest: what it keeps moves as it would beside the
rest. On a program that runs a particle filter inside, this is particle marginal Metropolis-Hastings, correlated where
the step is small; without parameters it is particle independent Metropolis-Hastings.

References: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, sections 2.4.1, 2.4.2 and
4.4: the filter's choices as auxiliary variables; Andrieu and Roberts (2009); Deligiannidis, Doucet and Pitt (2018), The
correlated pseudo-marginal method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of, is_own
from lawful.passes.condition import conditioned
from lawful.passes.record import record
from lawful.passes.thread_sites import Given, Parts, interpose

from ...contract import Contract
from ...registered import stored_as
from ...representations.kernel_form import KernelForm, Proposed, State, scoped, scored, state_inputs
from ...representations.parameters import Parameters, parameters_of
from ...representations.standard_normals import NORMAL, normal_site
from ...transformers.evidence_estimate import weighing, with_evidence
from ..base.acceptance import INFO, chosen
from ..base.base import INVARIANT, finished, nothing_to_move, scored_anew
from ..base.redraw import PREFIX
from .mh import mh

type Kept = Literal["all", "named", "parameters"]


class Run(NamedTuple):
    """A run of a program at given parameters: values by address, flags of the conditional ones, log of the weight."""

    values: dict[Address, Var]
    flags: tuple[Var, ...]
    log_weight: Var


@stored_as("kernels.refresh")
@dataclass(frozen=True)
class Refresh:
    """The kernel; see `refresh`. What is carried ends with the log of density of parameters x weight."""

    proposal: Any
    sites: tuple[Any, ...]
    correlation: float = 0.0
    contract: Contract = INVARIANT
    keep: Kept = "all"

    def build(self, program: Form) -> KernelForm:
        """Write proposal, fresh run or step of the noise, coin and choice."""
        known = parameters_of(program, self.sites, "refresh")
        if not known.choices:
            raise nothing_to_move()
        kept, block, inputs = self._kept(known), Block(), tuple(v.like() for v in program.inputs)
        state = state_inputs(kept)
        values = dict(zip((c.address for c in kept), state.values, strict=True))
        here = tuple(values[c.address] for c in known.chosen)
        proposed = self._proposed(block, known, inputs, here)
        if self.correlation:
            new = self._near(block, known, inputs, proposed.state.values, state)
        else:
            new = anew(block, known, inputs, proposed.state.values, self.keep)
        before = kept_weight(block, known, inputs, here, state.log_density)
        prior, weight = proposed.state.log_density, new.log_weight
        ratio = block.det(_ratio, proposed.log_ratio, prior, weight, before, label="log ratio")
        there = (*(new.values[c.address] for c in kept), *new.flags, _both(block, prior, weight))
        step = finished(block.form((*inputs, *state.flat), chosen(block, state.flat, there, ratio)))
        if self.keep == "all":
            return KernelForm(step, kept, INFO, enter=_enter(known), leave=scored_anew(program))
        return KernelForm(step, kept, INFO, states=self._states(known))

    def _kept(self, known: Parameters) -> tuple[Choice, ...]:
        """List what a state has values for."""
        if self.keep == "all":
            return known.choices
        kinds = ("sample", "deterministic") if self.keep == "named" else ("sample",)
        every = choices_of(known.program, kinds)
        return tuple(c for c in every if c.address in known.moved or (c.kind != "sample" and not is_own(c)))

    def _states(self, known: Parameters) -> Form:
        """Draw parameters from their prior and all else given them, weighed by the weight of that run."""
        block, inputs = Block(), tuple(v.like() for v in known.program.inputs)
        values = block.splice(known.prior, inputs)
        log_density, _ = scored(block, known.prior, inputs, values)
        run = anew(block, known, inputs, values, self.keep)
        block.factor(("~estimate", "evidence"), run.log_weight)
        both = _both(block, log_density, run.log_weight)
        return finished(block.form(inputs, (*(run.values[c.address] for c in self._kept(known)), *run.flags, both)))

    def _proposed(self, block: Block, known: Parameters, inputs: Sequence[Var], here: tuple[Var, ...]) -> Proposed:
        """Append a proposal of new parameters; the ratio is that of their prior and of the proposal."""
        log_density, _ = scored(block, known.prior, inputs, here)
        if not known.moved:
            none = block.constant(np.zeros((), jnp.result_type(float)))
            return Proposed(State((), (), log_density), none)
        found: Proposed = self.proposal.propose(block, known.prior, inputs, known.chosen, State(here, (), log_density))
        return found

    def _near(
        self, block: Block, known: Parameters, inputs: Sequence[Var], parameters: Sequence[Var], state: State
    ) -> Run:
        """Append a step of the autoregression for each noise, and the weight there."""
        there = dict(zip((c.address for c in known.chosen), parameters, strict=True))
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
            there[choice.address] = block.det(partial(_step, self.correlation), old, noise, label="noise")
        at = _given(block, known, inputs, [there[c.address] for c in known.choices])
        return Run(there, at.flags, at.sums[1])

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        known = parameters_of(program, self.sites, "refresh")
        lines = dict(line.split(": ", 1) for line in (self.proposal.plan(known.prior) if known.moved else ()))
        how = f"a step of correlation {self.correlation:g}" if self.correlation else "drawn anew from its prior"
        how = how if self.keep == "all" else "of a fresh run given the parameters"
        return [f"{c.name}: {lines.get(c.name, how)}" for c in self._kept(known)]

    def __repr__(self) -> str:
        """Show the proposal, the parameters, and what is not usual."""
        given = [repr(self.proposal), repr(list(self.sites))] if self.sites else []
        given += [f"correlation={self.correlation:g}"] if self.correlation else []
        given += [] if self.keep == "all" else [f"keep={self.keep!r}"]
        return f"refresh({', '.join(given)})"


def refresh(
    proposal: Any = None, sites: Sequence[Any] | None = None, *, correlation: float = 0.0, keep: Kept = "all"
) -> Refresh:
    """Move parameters by a proposal, and draw all other sites anew from their prior given them.

    It suits programs whose other sites are the random numbers of an algorithm (see `inference.nested`): there a fresh
    run is a fresh estimate. On plain programs with much data hardly any move would be accepted.

    Args:
        proposal: how the parameters are proposed, as `random_walk(0.1)`; None: there are none, and all is drawn anew.
        sites: names of the parameters; default: those that the proposal names.
        correlation: of the other sites before and after a move, at least 0 and below 1. More than 0 needs sites that
            are noises of `inference.by_normals`; then an estimate changes little from move to move, and fewer
            particles are enough.
        keep: what a chain keeps. "all": all sites. "named": parameters, and what the program names by `deterministic`,
            as the path of a filter inside; "parameters": parameters alone. With these a state has the weight of its run
            besides, and `lp` is the log of the parameters' density x weight; less is computed in each step, and a
            filter inside stores no history where no path is kept. The kernel is then used alone or repeated: it cannot
            be a part of `cycle`, `mixture` or `on`, where others would change what the weight belongs to.

    Raises: LawfulError for settings that do not go together.

    >>> from lawful.inference import kernels
    >>> refresh(kernels.random_walk(0.1), ["sigma"])
    refresh(random_walk(0.1), ['sigma'])
    >>> refresh(kernels.random_walk(0.1), ["sigma"], keep="parameters")
    refresh(random_walk(0.1), ['sigma'], keep='parameters')
    """
    proposal = None if proposal is None else joint_proposal(proposal, "refresh")
    named = tuple(sites) if sites is not None else tuple(getattr(proposal, "sites", None) or ())
    if (proposal is None) != (not named):
        raise LawfulError(
            "refresh: expected a proposal and the names of the sites that it moves, or neither. Fix: "
            "refresh(random_walk(0.1), ['sigma'])."
        )
    if not 0.0 <= correlation < 1.0:
        raise LawfulError(f"refresh: expected a correlation of at least 0 and below 1, got {correlation!r}.")
    if keep not in get_args(Kept.__value__) or (keep == "parameters" and not named):
        raise LawfulError(
            f"refresh: keep: expected 'all', 'named', or 'parameters' where there are some, got {keep!r}. Fix: leave "
            "keep out, or name the sites that are parameters, as in refresh(random_walk(0.1), ['sigma'])."
        )
    if correlation and keep != "all":
        raise LawfulError(
            f"refresh: with a correlation a chain keeps all noises, so keep={keep!r} saves nothing. Fix: leave it out."
        )
    return Refresh(proposal, named, float(correlation), keep=keep)


def anew(block: Block, known: Parameters, inputs: Sequence[Var], parameters: Sequence[Var], keep: Kept) -> Run:
    """Append a fresh run given the parameters: gives what is kept of it, parameters among it, and its weight."""
    there = dict(zip((c.address for c in known.chosen), parameters, strict=True))
    given = conditioned(known.program, known.moved, weighing(known.program))
    kinds = {"all": ("sample",), "named": ("deterministic",), "parameters": ()}[keep]
    recorded = record(replace(given.form, outputs=(), out_tree=None), kinds)
    fresh = scoped(with_evidence(recorded.form), ("~refresh",))
    *outs, weight = block.splice(fresh, [*inputs, *(there[c.address] for c in given.choices)])
    found = recorded.split(outs)
    return Run(there | dict(zip((c.address for c in recorded.choices), found.values, strict=True)), found.flags, weight)


def kept_weight(block: Block, known: Parameters, inputs: Sequence[Var], here: Sequence[Var], log_density: Var) -> Var:
    """Append the log weight of the current state, which is the one that it was accepted with."""
    before, _ = scored(block, known.prior, inputs, here)
    kept: Var = block.det(jnp.subtract, log_density, before, label="weight")
    return kept


def _step(correlation: float, old: jax.Array, noise: jax.Array) -> jax.Array:
    """Take a step that keeps the standard normal law."""
    return (correlation * old + jnp.sqrt(1.0 - correlation**2) * noise).astype(old.dtype)


def joint_proposal(proposal: Any, who: str) -> Any:
    """Take a proposal of several sites at once, or a program as one."""
    found = proposal if hasattr(proposal, "propose") else mh(proposal).proposal
    if not hasattr(found, "propose"):
        raise LawfulError(f"{who}: {found!r} moves a site at a time. Fix: a joint proposal, as kernels.random_walk.")
    return found


def _given(block: Block, known: Parameters, inputs: Sequence[Var], values: Sequence[Var]) -> Parts[Var]:
    """Append the program at given choices; the second sum is the log of its weight, of factors and observations."""
    return interpose(known.program, Given(), weighing(known.program)).spliced(block, [*inputs, *values])


def _enter(known: Parameters) -> Form:
    """Write the way from a state of the program to one that ends with log of density of parameters x weight."""
    block, inputs, state = Block(), tuple(v.like() for v in known.program.inputs), state_inputs(known.choices)
    log_density, _ = scored(block, known.prior, inputs, known.among(state.values))
    both = _both(block, log_density, _given(block, known, inputs, state.values).sums[1])
    return finished(block.form((*inputs, *state.flat), (*state.values, *state.flags, both)))


def _both(block: Block, log_density: Var, log_weight: Var) -> Var:
    both: Var = block.det(jnp.add, log_density, log_weight, label="log density x weight")
    return both


def _ratio(proposed: jax.Array, prior: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Log ratio of prior and proposal times that of the weights; a weight of zero is never accepted."""
    return jnp.where(jnp.isneginf(new) | jnp.isneginf(prior), -jnp.inf, proposed + (new - old))
