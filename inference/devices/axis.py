"""Axis: the devices of a mesh as an axis of a mapped program, and what they tell each other.

Law: every reduction gives the same bits on all devices, and the same whatever their number: integers add exactly, and
floats are summed in blocks of particles that do not depend on the number of devices. The axis may be one of
`jax.shard_map`, or of `jax.vmap(axis_name=...)`, which stands for devices without having any.

Why blocks: a cumulative sum along a sharded axis, left to the compiler, takes time quadratic in the particles
(jax-ml/jax#21403), and a sum of floats depends on where it was cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lawful.distributions.sampling.integer_weights import running_sum

BLOCKS = 960  # has 1..6, 8, 10, 12, 15, 16, ... 64 among its divisors: numbers of devices


def blocks_of(particles: int) -> int:
    """Give the number of blocks of a population: the greatest common divisor of its size and 960.

    >>> blocks_of(1_000_000), blocks_of(1 << 20), blocks_of(1000), blocks_of(7)
    (320, 64, 40, 1)
    """
    return math.gcd(particles, BLOCKS)


@dataclass(frozen=True)
class Axis:
    """The devices along one mapped axis, `size` of them; a function of these arrays sees the part of one device."""

    name: str
    size: int

    def index(self) -> jax.Array:
        """Give the number of this device."""
        return jax.lax.axis_index(self.name)

    def gather(self, part: jax.Array, axis: int = 0) -> jax.Array:
        """Join the parts of all devices along an axis."""
        return jax.lax.all_gather(part, self.name, axis=axis, tiled=True)

    def own(self, whole: jax.Array, axis: int = 0) -> jax.Array:
        """Take this device's part of what all devices have."""
        size = whole.shape[axis] // self.size
        return jax.lax.dynamic_slice_in_dim(whole, self.index() * size, size, axis)

    def rotated(self, part: jax.Array, by: int) -> jax.Array:
        """Get the part of the device `by` places before this one, round the circle."""
        return jax.lax.ppermute(part, self.name, [(p, (p + by) % self.size) for p in range(self.size)])

    def reaches(self, by: int) -> jax.Array:
        """Tell whether the device `by` places before this one is there without going round."""
        return (self.index() - by >= 0) & (self.index() - by < self.size)

    # ---- reductions over the items of all devices, as `laws.strata.Items` asks for

    def count(self, values: jax.Array) -> int:
        """Count the items."""
        return values.shape[0] * self.size

    def maximum(self, values: jax.Array) -> jax.Array:
        """Give the largest value; NaN where one is."""
        return jnp.max(self.gather(jnp.max(values)[None]))

    def total(self, values: jax.Array) -> jax.Array:
        """Sum all values, block by block."""
        blocks = blocks_of(self.count(values)) // self.size
        return jnp.sum(self.gather(jnp.sum(values.reshape(blocks, -1), axis=1)))

    def running(self, values: jax.Array) -> jax.Array:
        """Sum integers up to each item."""
        sums = running_sum(values)
        ends = self.gather(sums[-1:])
        before = jnp.arange(self.size) < self.index()
        return sums + jnp.sum(jnp.where(before, ends, 0), dtype=values.dtype)

    def highest(self, values: jax.Array) -> jax.Array:
        """Give the largest integer up to each item."""
        own = jax.lax.cummax(values)
        before = jnp.arange(self.size) < self.index()
        return jnp.maximum(own, jnp.max(jnp.where(before, self.gather(own[-1:]), jnp.iinfo(values.dtype).min)))

    def last(self, values: jax.Array) -> jax.Array:
        """Give the value of the last item."""
        return self.gather(values[-1:])[-1]
