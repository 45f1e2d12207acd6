"""Conditional SMC: a particle filter that keeps a reference, as a composition; and how a path gets new ancestors.

Law: (P) a path drawn from the posterior stays so: the filter is conditioned on the path, and a path is picked from its
particles by weight. (A) At a step that resamples, the ancestor of the reference may be drawn anew, by weight times the
density of the reference's next step from there (ancestor sampling); that is a Gibbs step on one ancestor.

References: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods; Lindsten, Jordan and
Schön (2014), Particle Gibbs with ancestor sampling.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.liveness import has_weight, random_values

from ..contract import PRESERVES, Transformer
from ..laws.conditional_resampling import ConditionalLaw
from ..laws.invalid_weights import cleaned
from ..laws.picks import PickLaw
from ..laws.resampling_schemes import ResampleLaw
from ..representations.population import Advance, Population
from ..representations.sequential import Sequential
from .pauses import repeat_to_end, spawn
from .resample import When, push_evidence_with, resample, resampled
from .through_loop import Step

type Ancestors = Literal["retained", "sampled", "backward"]


def conditional_filter(particles: int, scheme: Any, when: When | None, ancestors: Ancestors) -> Transformer:
    """The composition, on a suspended program made by `reference`; `retained` keeps the first particle afterwards.

    >>> conditional_filter(5, "multinomial", None, "sampled").name
    'spawn(5) >> push_evidence >> (resample(multinomial, reference aimed) >> advance >> push_evidence)^T'
    """
    again = aim(scheme, when) if ancestors == "sampled" else resample(scheme, when, counted=False)
    again = REMEMBER >> again if ancestors == "backward" else again
    push = push_evidence_with("rejected")
    return spawn(particles) >> push >> repeat_to_end(again >> Advance >> push)


def aim(scheme: Any, when: When | None = None) -> Transformer:
    """Resample, and draw the ancestor of the first slot by weight times the density of the reference's next step."""

    def draw(block: Block, address: Address, weight: Var, density: Var) -> Var:
        size = weight.plates[0].size
        chances = block.det(aimed, weight, density, label="weight x next step", adds=(weight.plates[0],))
        own = block.site((*address, "reference"), PickLaw(size), (chances,))
        return block.site(address, ConditionalLaw(ResampleLaw(scheme, size, size)), (weight, own))

    def apply(population: Population) -> Population:
        step = population.pending
        if not isinstance(step, Step):
            raise UnsupportedProgramError(
                "particle Gibbs: new ancestors need a program that pauses at the steps of a lawful.scan. Fix: write "
                "the sequence as a scan, or use ancestors='retained'."
            )
        return resampled(population, draw, when, (step.on_reference(population),))

    shown = f"resample({scheme}{'' if when is None else f', when {when!r}'}, reference aimed)"
    return Transformer(shown, apply, PRESERVES)


def aimed(weight: jax.Array, density: jax.Array) -> jax.Array:
    """Multiply weights by densities given as logs, up to a factor; a density without a meaning is zero."""
    density, _ = cleaned(density)
    top = jnp.max(jnp.where(weight > 0, density, -jnp.inf))
    return jnp.where(weight > 0, weight * jnp.exp(density - jnp.where(jnp.isfinite(top), top, 0.0)), 0.0)


def _remember(population: Population) -> Population:
    """Leave weights and values as they are before resampling, for a walk back."""
    population.trail.note("~weight", population.log_weight)
    for position, value in enumerate(population.values):
        population.trail.note(f"~value{position}", value)
    return population


REMEMBER = Transformer("remember", _remember, PRESERVES)


def refuse_memory(cut: Sequential) -> None:
    """Refuse a program on which a path cannot get new ancestors by looking one step ahead.

    It has to be one weighed loop, with nothing after it that draws or weighs, without choices in arms, and whose steps
    read no choice made before the loop but through the carry.
    """
    why = ""
    if len(cut.loops) != 1 or len(cut.segments) != 3:
        why = "it is not one weighed loop"
    elif not random_values(cut.form).isdisjoint(cut.loops[0].constants):
        why = "every step reads a choice that was made before the loop"
    elif _draws_or_weighs(cut.suffix):
        why = "something after the loop draws or weighs"
    elif any(c.conditional for c in choices_of(cut.loops[0].body)):
        why = "a step makes a choice in one arm only"
    if why:
        raise UnsupportedProgramError(
            f"particle Gibbs: {why}, so a path cannot get other ancestors by one step alone. Fix: use "
            "ancestors='retained', or apply the kernel on([...]) the states of the sequence."
        )


def _draws_or_weighs(form: Form) -> bool:
    return has_weight(form) or bool(choices_of(form))
