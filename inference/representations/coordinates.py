"""Coordinates: choices as vectors without bounds, and a step of several of them together.

Law: value and coordinates are a bijection onto the support, so log |d value / d coordinates| turns a density of the one
into a density of the other. Where a support depends on parameters there is no such map: the value is its coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.distributions import constraints
from numpyro.distributions.transforms import biject_to

from lawful.addresses import Address
from lawful.distributions.absent import without_guard
from lawful.distributions.families import core_of
from lawful.errors import UnsupportedProgramError
from lawful.form.choices import Choice

from .naming import named_sites


@dataclass(frozen=True)
class Map:
    """The map from unconstrained coordinates to the values of a choice."""

    bijector: Any
    size: int
    shape: tuple[int, ...]

    @property
    def space(self) -> str:
        """Name of the coordinates for people."""
        return type(self.bijector).__name__.removesuffix("Transform").lower()

    def coordinates(self, value: jax.Array) -> jax.Array:
        """Give the coordinates of a value, as a vector."""
        return jnp.reshape(self.bijector.inv(value), (self.size,))

    def value(self, coordinates: jax.Array) -> jax.Array:
        """Give the value at given coordinates."""
        return self.bijector(jnp.reshape(coordinates, self.shape))

    def log_jacobian(self, coordinates: jax.Array, value: jax.Array) -> jax.Array:
        """Log |d value / d coordinates|."""
        return jnp.sum(self.bijector.log_abs_det_jacobian(jnp.reshape(coordinates, self.shape), value))


def map_of(choice: Choice) -> Map:
    """Map a choice to unconstrained coordinates."""
    bijector = bijector_of(choice)
    shape = jax.eval_shape(bijector.inv, jax.ShapeDtypeStruct(choice.full_shape, choice.dtype)).shape
    return Map(bijector, math.prod(shape), tuple(shape))


def bijector_of(choice: Choice) -> Any:
    """Map the whole space onto the support where it does not depend on parameters; else the space onto itself.

    In the second case a step out of the support is rejected.
    """
    support = static_support(choice.law)
    return biject_to(constraints.real if support is None else support)


def static_support(law: Any) -> Any:
    """The support of a law where it is the same for all parameters, else None."""
    distribution = law.innermost.numbered  # lanes have the support of one copy
    if distribution is None:
        return None
    support = type(core_of(without_guard(distribution))).support
    fixed = isinstance(support, constraints.Constraint) and not isinstance(support, type(constraints.dependent))
    return support if fixed else None


@dataclass(frozen=True)
class Step:
    """From a step of all coordinates and values: new values, and the change of log Jacobians."""

    maps: tuple[Map, ...]

    def __call__(self, step: jax.Array, *values: jax.Array) -> tuple[jax.Array, ...]:
        """Take the step."""
        new, difference, start = [], jnp.zeros((), step.dtype), 0
        for m, value in zip(self.maps, values, strict=True):
            here = m.coordinates(value)
            there = here + step[start : start + m.size].astype(here.dtype)
            proposed = m.value(there)
            difference += m.log_jacobian(there, proposed) - m.log_jacobian(here, value)
            new.append(proposed)
            start += m.size
        return (*new, difference)


def walking(choices: Sequence[Choice], wanted: Iterable[Any] | None) -> set[Address]:
    """Give the addresses of the choices that a walk moves: the named ones, or all.

    Raises:
        LawfulError: a name is no choice.
        UnsupportedProgramError: a choice takes no normal step, being discrete or made in a branch only.
    """
    every = wanted is None
    moved = {c.address for c in choices} if every else set(named_sites(choices, wanted or (), "random_walk"))
    for choice in choices:
        if choice.address in moved and (not jnp.issubdtype(choice.dtype, jnp.floating) or choice.conditional):
            why = "is conditional on a branch" if choice.conditional else "is discrete"
            raise UnsupportedProgramError(
                f"random_walk: site '{choice.name}' ({choice.source}) {why}. Fix: name the sites to move, "
                "random_walk(scale, sites=[...]), or use kernels.mh() for single-site moves.",
                site=choice.address,
            )
    return moved


def walk_ratio(new: jax.Array, old: jax.Array, *jacobians: jax.Array) -> jax.Array:
    """Log ratio of densities in unconstrained coordinates."""
    return sum(jacobians, new - old)
