"""Pseudo-marginal: Metropolis-Hastings on parameters whose likelihood is estimated by a particle filter.

Law: the estimate is part of the state, and that of the current state is kept until a move is accepted; then parameters
and path have the posterior, for any number of particles. Without parameters every move proposes a new path alone.

References: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, sections 2.4.1 (PIMH) and
2.4.2 (PMMH); Andrieu and Roberts (2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.passes.condition import conditioned

from ...contract import Contract
from ...laws.resampling import EssBelow
from ...laws.resampling import scheme as scheme_named
from ...registered import stored_as
from ...representations.parameters import Parameters, parameters_of
from ...representations.sequential import Cuts
from ...transformers.evidence_estimate import Filter, weighing
from ..base.acceptance import INFO, accept
from ..base.base import KernelForm, Proposed, State, finished, refuse_nothing_to_move, scoped, scored, state_inputs
from ..combine.refresh import joint_proposal, proposed_parameters

KEEP = ("paths", "parameters")


@stored_as("kernels.pseudo_marginal")
@dataclass(frozen=True)
class PseudoMarginal:
    """The kernel; see `pseudo_marginal`. Its state ends with the log of density of parameters x estimate."""

    proposal: Any
    sites: tuple[Any, ...]
    estimate: Filter
    keep: str = "paths"
    contract: Contract = Contract(
        "invariant_kernel", target="parameters, path and estimate", reversible=True, parametric=True
    )

    def build(self, program: Form) -> KernelForm:
        """Write proposal, filter, coin and choice; and how states are drawn."""
        known = self._parameters(program)
        refuse_nothing_to_move(known.choices)
        choices = self._kept(known, known.choices)
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        here = known.among(state.values) if self.keep == "paths" else state.values
        proposed = self._proposed(block, known, inputs, here)
        old = kept_estimate(block, known, inputs, here, state)
        there, estimate = estimated(block, known, self.estimate, inputs, proposed.state.values)
        new = (
            *self._kept(known, there),
            block.det(jnp.add, proposed.state.log_density, estimate, label="log density x estimate"),
        )
        ratio = block.det(_ratio, proposed.log_ratio, estimate, old, label="log ratio")
        probability, coin, broken = accept(block, ratio)
        after = [block.det(jnp.where, coin, x, y, label="accept?") for x, y in zip(new, state.flat, strict=True)]
        form = block.form((*inputs, *state.flat), (*after, probability, coin, broken))
        return KernelForm(finished(form), choices, INFO, states=self._states(known))

    def _kept[T](self, known: Parameters, state: Sequence[T]) -> tuple[T, ...]:
        """Give what chains keep of all values and flags; a parameter has no flag."""
        return tuple(state) if self.keep == "paths" else known.among(state[: len(known.choices)])

    def _states(self, known: Parameters) -> Form:
        """Draw parameters from their prior and a path by the filter, weighed by the estimate."""
        block, inputs = Block(), tuple(v.like() for v in known.program.inputs)
        values = block.splice(known.prior, inputs)
        log_density, _ = scored(block, known.prior, inputs, values)
        state, log_estimate = estimated(block, known, self.estimate, inputs, values)
        block.factor(("~estimate", "evidence"), log_estimate)
        both = block.det(jnp.add, log_density, log_estimate, label="log density x estimate")
        return finished(block.form(inputs, (*self._kept(known, state), both)))

    def _parameters(self, program: Form) -> Parameters:
        return parameters_of(program, self.sites, "pseudo_marginal")

    def _proposed(self, block: Block, known: Parameters, inputs: Sequence[Var], here: tuple[Var, ...]) -> Proposed:
        if known.moved:
            return proposed_parameters(block, known, self.proposal, inputs, here)
        none = block.constant(np.zeros((), jnp.result_type(float)))
        return Proposed(State((), (), scored(block, known.prior, inputs, ())[0]), none)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        known = self._parameters(program)
        lines = dict(line.split(": ", 1) for line in (self.proposal.plan(known.prior) if known.moved else []))
        how = f"a path of a particle filter, {self.estimate.particles} particles"
        return [f"{c.name}: {lines.get(c.name, how)}" for c in known.choices]

    def __repr__(self) -> str:
        """Show the proposal and the number of particles."""
        if not self.sites:
            return f"pseudo_marginal(particles={self.estimate.particles})"
        keep = "" if self.keep == "paths" else f", keep={self.keep!r}"
        return f"pseudo_marginal({self.proposal!r}, {list(self.sites)}, particles={self.estimate.particles}{keep})"


def estimated(
    block: Block, known: Parameters, estimate: Filter, inputs: Sequence[Var], values: Sequence[Var]
) -> tuple[tuple[Var, ...], Var]:
    """Append the filter at given parameters: gives a state but for its last value, and the log estimate."""
    given = conditioned(known.program, known.moved, weighing(known.program))
    order = dict(zip((c.address for c in known.chosen), values, strict=True))
    run = scoped(estimate(given.form), ("~estimate",))
    *outs, log_estimate = block.splice(run, [*inputs, *(order[c.address] for c in given.choices)])
    path, flags = outs[: len(known.rest)], outs[len(known.rest) :]
    order |= zip((c.address for c in known.rest), path, strict=True)
    return (*(order[c.address] for c in known.choices), *flags), log_estimate


def kept_estimate(block: Block, known: Parameters, inputs: Sequence[Var], here: tuple[Var, ...], state: State) -> Var:
    """Append the log estimate of the current state, which is the one that it was accepted with."""
    before, _ = scored(block, known.prior, inputs, here)
    kept: Var = block.det(jnp.subtract, state.log_density, before, label="estimate")
    return kept


def pseudo_marginal(
    proposal: Any = None,
    sites: Sequence[Any] | None = None,
    *,
    particles: int,
    resampling: str | Any = "systematic",
    resample_below: float | None = 0.5,
    cuts: Cuts = None,
    keep: str = "paths",
) -> PseudoMarginal:
    """Move parameters by a proposal and everything else by a particle filter: particle marginal Metropolis-Hastings.

    Each move runs a filter at the proposed parameters; its evidence stands for their likelihood. `lp` of a draw is the
    log of density of the parameters x estimate. The kernel is used alone or repeated; it cannot be a part of `cycle`,
    `mixture` or `on`, where others would change what its estimate belongs to (see `particle_gibbs`).

    Args:
        proposal: how parameters are proposed, as `random_walk(0.1)`; None: there are no parameters, and the kernel is
            particle independent Metropolis-Hastings.
        sites: names of the parameters; default: those that the proposal names.
        particles: number of particles; a variance of the log estimate near 1 to 3 is a good choice (Doucet et al.
            2015).
        resampling: a scheme, as for `smc`.
        resample_below: resample when the effective sample size is below this fraction; None: at every step.
        cuts: where the program pauses, as for `smc`.
        keep: "paths": a draw is parameters and a path. "parameters": a draw is parameters alone, and what a model names
            by `deterministic` is left out; then the filters store no history, so that a step takes less time and its
            memory does not grow with the length of the sequence.

    Raises:
        LawfulError: a name is no site, no parameters are named, or `keep` is none of these.
        UnsupportedProgramError: a parameter is made in one arm only, or its law reads a site that is no parameter.

    >>> from lawful.inference import kernels
    >>> pseudo_marginal(kernels.random_walk(0.1), ["sigma"], particles=100)
    pseudo_marginal(random_walk(0.1), ['sigma'], particles=100)
    """
    if not isinstance(particles, int | np.integer) or particles < 1:
        raise LawfulError(f"pseudo_marginal: particles: expected an integer of 1 or more, got {particles!r}.")
    proposal = None if proposal is None else joint_proposal(proposal, "pseudo_marginal")
    named = tuple(sites) if sites is not None else tuple(getattr(proposal, "sites", None) or ())
    if (proposal is None) != (not named):
        raise LawfulError(
            "pseudo_marginal: expected a proposal and the names of the sites that it moves, or neither. Fix: "
            "pseudo_marginal(random_walk(0.1), ['sigma'], particles=100)."
        )
    if keep not in KEEP or (keep == "parameters" and not named):
        raise LawfulError(
            f"pseudo_marginal: keep: expected 'paths', or 'parameters' where there are some, got {keep!r}. Fix: "
            "keep='paths', or name the sites that are parameters, as in pseudo_marginal(random_walk(0.1), ['sigma'])."
        )
    scheme = scheme_named(resampling)
    when = None if resample_below is None else EssBelow(resample_below)
    return PseudoMarginal(proposal, named, Filter(int(particles), scheme, when, cuts), keep)


def _ratio(proposed: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Log ratio of the proposal times that of the estimates; an estimate of zero is never accepted."""
    return jnp.where(jnp.isneginf(new), -jnp.inf, proposed + (new - old))
