"""Conditional SMC kernel: a move of all choices, particle Gibbs, with those of the state as the reference.

Law: pi K = pi, for any number of particles; with more of them the new path depends less on the old one.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, section 2.4.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Loop, walk
from lawful.form.choices import choices_of
from lawful.passes.record import record

from ...contract import Contract
from ...laws.picks import PickLaw
from ...laws.resampling_schemes import EssBelow
from ...laws.resampling_schemes import scheme as scheme_named
from ...registered import stored_as
from ...representations.conditional import reference, retained, without_factors
from ...representations.kernel_form import KernelForm, scored
from ...representations.population import Population, gather
from ...representations.sequential import Cuts, sequential
from ...transformers.backward_sampling import backward
from ...transformers.conditional_smc import Ancestors, conditional_filter, refuse_memory
from ...transformers.pauses import finish
from ..base.base import finished, opened

INFO = ("n_changed", "n_nonfinite")


@stored_as("kernels.particle_gibbs")
@dataclass(frozen=True)
class ParticleGibbs:
    """Conditional SMC on the program; see `particle_gibbs`."""

    particles: int
    scheme: Any
    resample_below: float | None
    ancestors: Ancestors
    cuts: Cuts = None
    contract: Contract = Contract("conditional_kernel", target="the program's posterior", parametric=True)

    def build(self, program: Form) -> KernelForm:
        """Write the filter around the state."""
        choices, block, inputs, state = opened(program)
        filtered = without_factors(retained(self._run(reference(program).form)))
        *outputs, lost = block.splice(filtered, [*inputs, *state.values])
        values = outputs[: len(choices)]
        log_density, flags = scored(block, program, inputs, values)
        pairs = zip(values, state.values, strict=True)
        changed = block.det(
            lambda *x: _changed(x[::2], x[1::2]), *(v for pair in pairs for v in pair), label="n_changed"
        )
        form = block.form((*inputs, *state.flat), (*values, *flags, log_density, changed, lost))
        return KernelForm(finished(form), choices, INFO)

    def _run(self, known: Form) -> Form:
        """Write the filter of a program that knows its reference: the choices of one path."""
        recorded = record(known, ("sample",))
        source = replace(recorded.form, outputs=recorded.form.outputs[recorded.own :], out_tree=None)
        cut = sequential(source, self.cuts)
        ancestors = self.ancestors if cut.loops or not _has_no_step(known) else "retained"
        if ancestors != "retained":
            refuse_memory(cut)
        when = None if self.resample_below is None else EssBelow(self.resample_below)
        population: Population = conditional_filter(self.particles, self.scheme, when, ancestors)(cut)
        counts = [stage[INFO[1]] for stage in population.trail.stats if INFO[1] in stage]
        if ancestors == "backward":
            block, outputs = backward(population)
            return block.form(population.inputs, (*outputs, block.det(_total, *counts, label=INFO[1])))
        population = finish(population)
        assert population.weight is not None
        pick = population.block.site(population.address("pick"), PickLaw(self.particles), (population.weight,))
        outputs = gather(population.block, population.values, pick, population.plate, ())
        lost = population.block.det(_total, *counts, label=INFO[1])
        return population.block.form(population.inputs, (*outputs, lost))

    def plan(self, program: Form) -> list[str]:
        """Say what is moved how."""
        how = {"retained": "", "sampled": ", ancestors sampled", "backward": ", drawn backwards"}[self.ancestors]
        return [f"{c.name}: by conditional SMC of {self.particles} particles{how}" for c in choices_of(program)]

    def __repr__(self) -> str:
        """Show the settings."""
        return f"particle_gibbs({self.particles}, {self.scheme}, ancestors={self.ancestors!r})"


def particle_gibbs(
    particles: int,
    *,
    ancestors: Ancestors = "sampled",
    resampling: str | Any = "multinomial",
    resample_below: float | None = None,
    cuts: Cuts = None,
) -> ParticleGibbs:
    """Move all choices of a sequence at once, by conditional SMC; parameters are moved beside, by `cycle` and `on`.

    Args:
        particles: number of particles, the reference among them.
        ancestors: "sampled" draws an ancestor of the reference anew at every step (Lindsten, Jordan and Schön 2014);
            "backward" draws a path from the last step to the first (Whiteley 2010); both let a path change early with
            few particles, and need a sequence whose state is made of choices. "retained" is plain conditional SMC, for
            any program.
        resampling: "multinomial"; with "retained" also "systematic" or "stratified", or a scheme object.
        resample_below: resample when the effective sample size is below this fraction; None: at every step.
        cuts: where a program without a weighed loop pauses, as in `smc`.

    Raises:
        UnsupportedProgramError: the path cannot get new ancestors, with the reason.

    >>> from lawful.inference import kernels
    >>> kernels.cycle(kernels.on("x", particle_gibbs(20)), kernels.on("sigma", kernels.random_walk(0.1)))
    cycle(on(['x'], particle_gibbs(20, multinomial, ancestors='sampled')), on(['sigma'], mh(random_walk(0.1))))
    """
    if not isinstance(particles, int | np.integer) or particles < 1:
        raise LawfulError(f"particle_gibbs: particles: expected an integer of 1 or more, got {particles!r}.")
    if ancestors not in ("retained", "sampled", "backward"):
        raise LawfulError(
            f"particle_gibbs: ancestors: expected 'retained', 'sampled' or 'backward', got {ancestors!r}."
        )
    scheme = scheme_named(resampling)
    if ancestors != "retained" and scheme.name != "multinomial":
        raise LawfulError(
            f"particle_gibbs: new ancestors need independent ones, but got {scheme} resampling. Fix: "
            "resampling='multinomial', or ancestors='retained'."
        )
    return ParticleGibbs(int(particles), scheme, resample_below, ancestors, cuts)


def _changed(new: Any, old: Any) -> Any:
    """Count the elements that changed."""
    return sum((jnp.sum(a != b, dtype=jnp.int32) for a, b in zip(new, old, strict=True)), jnp.int32(0))


def _has_no_step(form: Form) -> bool:
    """Tell whether a loop has no step, as of no data: there nothing is resampled, and no ancestor is drawn."""
    return any(isinstance(node, Loop) and not node.length for node in walk(form))


def _total(*counts: jax.Array) -> jax.Array:
    return sum((jnp.sum(c, dtype=jnp.int32) for c in counts), jnp.zeros((), jnp.int32))
