"""Routing: how a resampling is drawn, and how particles move, where devices hold a part of them each.

Law: a route gives the bits that its law gives on the whole population, or a draw of the same law; what it keeps on one
device is enough to move particles, and `join` recovers the ancestors of all of them where somebody asks.

Systematic resampling across devices has the law, and the bits, of one device: |offspring_i - N w_i / sum(w)| < 1,
E[offspring_i] = N w_i / sum(w), and the new weights are sum(w) / N each, so E[sum_i w'_i f(x'_i)] = sum_i w_i f(x_i)
for every f. Offspring do not depend on the number of devices: they are counted in integers, and the floats are summed
in fixed blocks. Equal weights give the identity; weights without a finite positive sum leave all particles in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from lawful.distributions.sampling.threefry import words

from ..laws.resampling_schemes import Distinct, ResampleLaw
from ..laws.systematic_resampling import ancestors_from_ends, expected_offspring, systematic, uniform_units
from .axis import Axis
from .exchange import exchanged
from .island_laws import WholeLaw, WithinLaw


@runtime_checkable
class Route(Protocol):
    """One resampling across devices."""

    def kept(self, particles: int) -> jax.ShapeDtypeStruct:
        """Describe what a device of so many particles keeps."""

    def draw(self, key: jax.Array, part: jax.Array) -> jax.Array:
        """Draw, from this device's part of the law's parameter, what this device needs to know."""

    def join(self, found: jax.Array) -> jax.Array:
        """Give the ancestors of all particles."""

    def move(self, found: jax.Array, *parts: jax.Array) -> tuple[jax.Array, ...]:
        """Give this device's particles after the resampling."""


@runtime_checkable
class CountedRoute(Route, Protocol):
    """A route that tells how many distinct ancestors it drew, without their list."""

    def distinct(self, found: jax.Array) -> jax.Array:
        """Count those of all devices."""


def route_of(law: Any, axis: Axis) -> Route | None:
    """Give the route of a law, or None where the whole parameter has to be seen."""
    if isinstance(law, ResampleLaw) and law.scheme == systematic and law.size == law.offspring:
        return Systematic(axis)
    if isinstance(law, WithinLaw | WholeLaw) and law.islands == axis.size:
        return Within(axis, law.scheme) if isinstance(law, WithinLaw) else Whole(axis, law.each)
    return None


@dataclass(frozen=True)
class Systematic:
    """Systematic resampling of all particles; what is kept are the running counts of offspring."""

    axis: Axis

    def kept(self, particles: int) -> jax.ShapeDtypeStruct:
        """One count for each particle."""
        return jax.ShapeDtypeStruct((particles,), jnp.int32)

    def draw(self, key: jax.Array, part: jax.Array) -> jax.Array:
        """Count."""
        return draw_ends(self.axis, key, part)

    def join(self, found: jax.Array) -> jax.Array:
        """Read the ancestors off the counts."""
        return ancestors(self.axis, found)

    def move(self, found: jax.Array, *parts: jax.Array) -> tuple[jax.Array, ...]:
        """Move in rounds between devices."""
        return exchanged(self.axis, found, parts)

    def distinct(self, found: jax.Array) -> jax.Array:
        """Count the particles at which the running counts grow."""
        ends, own = self.axis.gather(found[-1:]), self.axis.index()
        before = jnp.where(own > 0, ends[own - 1], 0)
        grows = jnp.diff(found, prepend=before[None]) > 0
        return jnp.sum(self.axis.gather(jnp.sum(grows, dtype=jnp.int32)[None]), dtype=jnp.int32)


@dataclass(frozen=True)
class Within:
    """Each device resamples its own particles; what is kept are their ancestors, numbered on the device."""

    axis: Axis
    scheme: Any

    def kept(self, particles: int) -> jax.ShapeDtypeStruct:
        """One index for each particle."""
        return jax.ShapeDtypeStruct((particles,), jnp.int32)

    def draw(self, key: jax.Array, part: jax.Array) -> jax.Array:
        """Draw the device's own ancestors."""
        drawn = self.scheme.draw(jax.random.fold_in(key, self.axis.index()), part, part.shape[0])
        return drawn.astype(jnp.int32)

    def join(self, found: jax.Array) -> jax.Array:
        """Number them among all."""
        return self.axis.gather(found + self.axis.index().astype(jnp.int32) * found.shape[0])

    def move(self, found: jax.Array, *parts: jax.Array) -> tuple[jax.Array, ...]:
        """Copy on the device."""
        return tuple(x[found] for x in parts)

    def distinct(self, found: jax.Array) -> jax.Array:
        """Count on each device; ancestors of different ones differ."""
        own = Distinct(found.shape[0], self.scheme.ascending)(found)
        return jnp.sum(self.axis.gather(own[None]), dtype=jnp.int32)


@dataclass(frozen=True)
class Whole:
    """Whole devices are resampled; what is kept is the running count of a device's offspring, as an array of one."""

    axis: Axis
    each: int

    def kept(self, particles: int) -> jax.ShapeDtypeStruct:
        """One count."""
        return jax.ShapeDtypeStruct((1,), jnp.int32)

    def draw(self, key: jax.Array, part: jax.Array) -> jax.Array:
        """Count; all particles of a device have one weight."""
        return draw_ends(self.axis, key, part[:1])

    def join(self, found: jax.Array) -> jax.Array:
        """Number the particles of the devices that were drawn."""
        devices = ancestors(self.axis, found)
        return (devices[:, None] * self.each + jnp.arange(self.each, dtype=jnp.int32)).reshape(-1)

    def move(self, found: jax.Array, *parts: jax.Array) -> tuple[jax.Array, ...]:
        """Send whole parts."""
        return tuple(x[0] for x in exchanged(self.axis, found, tuple(x[None] for x in parts)))


# Systematic resampling across devices


def offspring_ends(axis: Axis, u: Shaped[Array, ""], weights: Float[Array, " M"]) -> Int[Array, " M"]:
    """Count the offspring of all particles up to each of this device's.

    The uniform is the same on all devices: a float in [0, 1), or an unsigned word read as word / 2**width. Weights are
    linear, of any scale that all devices share.
    """
    particles = axis.count(weights)
    expected = expected_offspring(weights, particles, axis)
    return expected.ends(uniform_units(u, weights, particles), axis)


def draw_ends(axis: Axis, key: jax.Array, weights: Float[Array, " M"]) -> Int[Array, " M"]:
    """Draw the uniform from the key, with as many random bits as the weights can tell apart, and count."""
    if weights.dtype == jnp.float64:
        both = words(key, (2,)).astype(jnp.uint64)
        return offspring_ends(axis, (both[0] << 32) | both[1], weights)
    return offspring_ends(axis, words(key, ()), weights)


def ancestors(axis: Axis, ends: Int[Array, " M"]) -> Int[Array, " N"]:
    """List the ancestors of all slots, on every device."""
    return ancestors_from_ends(axis.gather(ends), axis.count(ends))
