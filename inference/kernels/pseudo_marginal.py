"""Pseudo-marginal: Metropolis-Hastings on parameters whose likelihood is estimated by a particle filter.

Law: the estimate is part of the state, and that of the current state is kept until a move is accepted; then parameters
and path have the posterior, for any number of particles. Without parameters every move proposes a new path alone.

References: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, sections 2.4.1 (PIMH) and
2.4.2 (PMMH); Andrieu and Roberts (2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, as_address
from lawful.analysis import without_dead_code
from lawful.block import Block
from lawful.conditioned import conditioned
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.record import Choice, choices_of, record

from ..check.contracts import Contract
from ..estimated import Filter, weighing
from ..numerics.ess import EssBelow
from ..numerics.resampling import scheme as scheme_named
from ..representations.sequential import Cuts
from .acceptance import INFO, accept, refuse_nothing_to_move
from .base import KernelForm, Proposed, State, finished, scoped, scored, state_inputs, without_weights
from .mh import mh


@dataclass(frozen=True)
class PseudoMarginal:
    """The kernel; see `pseudo_marginal`. Its state ends with the log of density of parameters x estimate."""

    proposal: Any
    sites: tuple[Any, ...]
    estimate: Filter
    contract: Contract = Contract(
        "invariant_kernel", target="parameters, path and estimate", reversible=True, parametric=True
    )

    def build(self, program: Form) -> KernelForm:
        """Write proposal, filter, coin and choice; and how states are drawn."""
        parts = self._parts(program)
        choices = parts.choices
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        here = tuple(v for c, v in zip(choices, state.values, strict=True) if c.address in parts.moved)
        proposed = self._proposed(block, parts, inputs, here)
        old = kept_estimate(block, parts, inputs, here, state)
        there, estimate = parts.estimated(block, inputs, proposed.state.values)
        new = (*there, block.det(jnp.add, proposed.state.log_density, estimate, label="log density x estimate"))
        ratio = block.det(_ratio, proposed.log_ratio, estimate, old, label="log ratio")
        probability, coin, broken = accept(block, ratio)
        after = [block.det(jnp.where, coin, x, y, label="accept?") for x, y in zip(new, state.flat, strict=True)]
        form = block.form((*inputs, *state.flat), (*after, probability, coin, broken))
        return KernelForm(finished(form), choices, INFO, states=parts.states())

    def _proposed(self, block: Block, parts: _Parts, inputs: Sequence[Var], here: tuple[Var, ...]) -> Proposed:
        log_density, _ = scored(block, parts.prior, inputs, here)
        state = State(here, (), log_density)
        if not parts.moved:
            return Proposed(state, block.constant(jnp.zeros((), jnp.result_type(float))))
        proposed: Proposed = self.proposal.propose(block, parts.prior, inputs, parts.parameters, state)
        return proposed

    def _parts(self, program: Form) -> _Parts:
        choices = choices_of(program)
        refuse_nothing_to_move(choices)
        known = {c.address: c.address for c in choices} | {c.name: c.address for c in choices}
        moved: dict[Address, Choice] = {}
        for site in self.sites:
            address = known.get(site, known.get(as_address(site)))
            if address is None:
                names = ", ".join(c.name for c in choices)
                raise LawfulError(f"pseudo_marginal: no latent site {site!r}; the program has: {names}.", site=site)
            moved[address] = next(c for c in choices if c.address == address)
        return _Parts(program, choices, frozenset(moved), self.estimate)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        parts = self._parts(program)
        lines = dict(line.split(": ", 1) for line in (self.proposal.plan(parts.prior) if parts.moved else []))
        how = f"a path of a particle filter, {self.estimate.particles} particles"
        return [f"{c.name}: {lines.get(c.name, how)}" for c in parts.choices]

    def __repr__(self) -> str:
        """Show the proposal and the number of particles."""
        if not self.sites:
            return f"pseudo_marginal(particles={self.estimate.particles})"
        return f"pseudo_marginal({self.proposal!r}, {list(self.sites)}, particles={self.estimate.particles})"


@dataclass(frozen=True)
class _Parts:
    """A program split into parameters and the rest, whose evidence is estimated."""

    program: Form
    choices: tuple[Choice, ...]
    moved: frozenset[Address]
    estimate: Filter

    @property
    def parameters(self) -> tuple[Choice, ...]:
        """The parameters, in the order of the state."""
        return tuple(c for c in self.choices if c.address in self.moved)

    @property
    def prior(self) -> Form:
        """The program of the parameters alone."""
        recorded = record(without_weights(self.program), ("sample",))
        values = dict(zip((c.address for c in recorded.choices), recorded.values, strict=True))
        outputs = tuple(values[c.address] for c in self.parameters)
        prior = without_dead_code(replace(recorded.form, outputs=outputs, out_tree=None))
        found = {c.address: c for c in choices_of(prior)}
        for choice in (*self.parameters, *(c for a, c in found.items() if a not in self.moved)):
            if choice.conditional or choice.address not in self.moved:
                why = "is made in one arm only" if choice.conditional else "decides the law of a parameter"
                raise UnsupportedProgramError(
                    f"pseudo_marginal: site '{choice.name}' ({choice.source}) {why}. Fix: name sites that always run, "
                    "with all sites that their laws read.",
                    site=choice.address,
                )
        return prior

    def estimated(self, block: Block, inputs: Sequence[Var], values: Sequence[Var]) -> tuple[tuple[Var, ...], Var]:
        """Append the filter at given parameters: gives a state but for its last value, and the log estimate."""
        given = conditioned(self.program, self.moved, weighing(self.program))
        filtered = scoped(self.estimate(given.form), ("~estimate",))
        order = {c.address: v for c, v in zip(self.parameters, values, strict=True)}
        *outs, estimate = block.splice(filtered, [*inputs, *(order[c.address] for c in given.fixed)])
        rest = [c for c in self.choices if c.address not in self.moved]
        order |= zip((c.address for c in rest), outs, strict=False)
        return (*(order[c.address] for c in self.choices), *outs[len(rest) :]), estimate

    def states(self) -> Form:
        """Draw parameters from their prior and a path by the filter, weighed by the estimate."""
        block, inputs = Block(), tuple(v.like() for v in self.program.inputs)
        values = block.splice(self.prior, inputs)
        log_density, _ = scored(block, self.prior, inputs, values)
        state, estimate = self.estimated(block, inputs, values)
        block.factor(("~estimate", "evidence"), estimate)
        return finished(block.form(inputs, (*state, block.det(jnp.add, log_density, estimate, label="log density"))))


def pseudo_marginal(
    proposal: Any = None,
    sites: Sequence[Any] | None = None,
    *,
    particles: int,
    resampling: str | Any = "systematic",
    resample_below: float | None = 0.5,
    cuts: Cuts = None,
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

    Raises:
        LawfulError: a name is no site, or no parameters are named.
        UnsupportedProgramError: a parameter is made in one arm only, or its law reads a site that is no parameter.

    >>> from lawful.inference import kernels
    >>> pseudo_marginal(kernels.random_walk(0.1), ["sigma"], particles=100)
    pseudo_marginal(random_walk(0.1), ['sigma'], particles=100)
    """
    if not isinstance(particles, int | np.integer) or particles < 1:
        raise LawfulError(f"pseudo_marginal: particles: expected an integer of 1 or more, got {particles!r}.")
    if proposal is not None and not hasattr(proposal, "propose"):
        proposal = mh(proposal).proposal
        if not hasattr(proposal, "propose"):
            raise LawfulError(
                f"pseudo_marginal: {proposal!r} moves a site at a time. Fix: a joint proposal, as kernels.random_walk."
            )
    named = tuple(sites) if sites is not None else tuple(getattr(proposal, "sites", None) or ())
    if (proposal is None) != (not named):
        raise LawfulError(
            "pseudo_marginal: expected a proposal and the names of the sites that it moves, or neither. Fix: "
            "pseudo_marginal(random_walk(0.1), ['sigma'], particles=100)."
        )
    scheme = scheme_named(resampling) if isinstance(resampling, str) else resampling
    when = None if resample_below is None else EssBelow(resample_below)
    return PseudoMarginal(proposal, named, Filter(int(particles), scheme, when, cuts))


def kept_estimate(block: Block, parts: _Parts, inputs: Sequence[Var], here: tuple[Var, ...], state: State) -> Var:
    """Append the log estimate of the current state, which is the one that it was accepted with."""
    before, _ = scored(block, parts.prior, inputs, here)
    estimate: Var = block.det(jnp.subtract, state.log_density, before, label="estimate")
    return estimate


def _ratio(proposed: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Log ratio of the proposal times that of the estimates; an estimate of zero is never accepted."""
    return jnp.where(jnp.isneginf(new), -jnp.inf, proposed + (new - old))
