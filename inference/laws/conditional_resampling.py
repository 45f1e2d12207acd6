"""Conditional resampling: ancestors given that of the first slot.

Law: the slots of a scheme are shifted at random, so that each has ancestor i with probability w_i / sum(w); then the
first slot's ancestor is given. A slot with that ancestor is drawn with the uniform that put it there, and comes first.

Reference: Chopin and Singh (2015), On particle Gibbs sampling, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.distributions.observed_law import DerivedLaw
from lawful.errors import UnsupportedProgramError

from .resampling_schemes import AncestorsLaw, ResampleLaw


@dataclass(frozen=True)
class ConditionalLaw(AncestorsLaw, DerivedLaw):
    """Ancestors of a scheme, given the ancestor of the first slot: parameters are (weights, that ancestor)."""

    base: ResampleLaw

    def __post_init__(self) -> None:
        """Refuse a scheme that has no conditional draw."""
        if self.base.scheme.name not in DRAWS:
            raise UnsupportedProgramError(
                f"a path cannot be retained by {self.base.scheme} resampling. Fix: resampling={' or '.join(DRAWS)}."
            )

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.base.label}, first given"

    @property
    def atoms(self) -> int:
        """Cells of the scheme, shifted by every number of slots; independent slots need no shift."""
        return self.base.atoms * (1 if self._independent else self.base.offspring)

    @property
    def _independent(self) -> bool:
        return self.base.scheme.name == "multinomial"

    def draw(self, key: jax.Array, weights: jax.Array, first: jax.Array) -> jax.Array:
        """Draw the other ancestors."""
        return DRAWS[self.base.scheme.name](self.base, key, weights, first)

    def enumerate(self, weights: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the ancestors with their log masses."""
        ancestors, masses = self.base.enumerate(weights)
        if self._independent:
            return ancestors.at[:, 0].set(first), masses
        shifted = jnp.concatenate([jnp.roll(ancestors, -slot, axis=1) for slot in range(self.base.offspring)])
        masses = jnp.where(shifted[:, 0] == first, jnp.tile(masses, self.base.offspring), -jnp.inf)
        return shifted, masses - jax.scipy.special.logsumexp(masses)


def _multinomial(law: ResampleLaw, key: jax.Array, weights: jax.Array, first: jax.Array) -> jax.Array:
    return law.draw(key, weights).at[0].set(first)


def _systematic(law: ResampleLaw, key: jax.Array, weights: jax.Array, first: jax.Array) -> jax.Array:
    """All slots share the uniform of the slot that hit the given item."""
    slot, uniform = _hit(law, key, weights, first)
    return _first_slot(law.scheme.push(uniform, weights, law.offspring), slot, first)


def _stratified(law: ResampleLaw, key: jax.Array, weights: jax.Array, first: jax.Array) -> jax.Array:
    """The slots have uniforms of their own, but for the one that hit the given item."""
    place, others = jax.random.split(key)
    slot, uniform = _hit(law, place, weights, first)
    uniforms = jax.random.uniform(others, (law.offspring,), weights.dtype).at[slot].set(uniform)
    return _first_slot(law.scheme.push(uniforms, weights, law.offspring), slot, first)


def _hit(law: ResampleLaw, key: jax.Array, weights: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw a point of the given item's part of [0, M): its slot, and its place between the slot's ends."""
    ends = jnp.cumsum(weights)
    end = ends[first]
    point = end - weights[first] * jax.random.uniform(key, (), weights.dtype)
    point = jnp.clip(point / ends[-1], 0.0, 1.0) * law.offspring
    slot = jnp.minimum(jnp.floor(point).astype(jnp.int32), law.offspring - 1)
    return slot, jnp.clip(point - slot, 0.0, 1.0 - jnp.finfo(weights.dtype).epsneg)


def _first_slot(ancestors: jax.Array, slot: jax.Array, first: jax.Array) -> jax.Array:
    """Shift a slot to the first place; rounding may have put a neighbour there."""
    return jnp.roll(ancestors.astype(jnp.int32).at[slot].set(first), -slot)


DRAWS: dict[str, Callable[[ResampleLaw, jax.Array, jax.Array, jax.Array], Any]] = {
    "multinomial": _multinomial,
    "systematic": _systematic,
    "stratified": _stratified,
}
