"""Picks: one item by its weight, one for each row of a table, one of equally likely indices, coins.

Law: the draw and the list of all values come from one pure function of a uniform, so both describe one distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.distributions.protocol import Law
from lawful.distributions.sampling.categorical import sample_categorical, sample_rows
from lawful.distributions.sampling.threefry import words
from lawful.distributions.sampling.uint64 import Wide, portion


@dataclass(frozen=True)
class PickLaw(Law):
    """One index with probability proportional to a non-negative weight; all-zero weights pick uniformly.

    Where it is `shared` and its weights are the same for runs side by side, these take one index for all.
    """

    size: int
    shared: bool = False
    shape = ()
    dtype = jnp.dtype("int32")
    label = "pick"

    @property
    def atoms(self) -> int:
        """One value per item."""
        return self.size

    def draw(self, key: jax.Array, weights: jax.Array) -> jax.Array:
        """Draw by exact sums, so that in float32 an item of small weight is picked as often as it should be."""
        weights = jnp.where(jnp.sum(weights) > 0, weights, jnp.ones_like(weights))
        picked = sample_categorical(key, jnp.log(weights))
        return jnp.maximum(picked, 0).astype(jnp.int32)

    def draw_side_by_side(self, key: jax.Array, count: int, laned: Sequence[bool], *parameters: jax.Array) -> jax.Array:
        """Draw from each row of weights."""
        if not all(laned):
            return super().draw_side_by_side(key, count, laned, *parameters)
        (weights,) = parameters
        usable = jnp.sum(weights, axis=1, keepdims=True) > 0
        picked = sample_rows(key, jnp.where(usable, weights, jnp.ones_like(weights)))
        return jnp.maximum(picked, 0).astype(jnp.int32)

    def log_masses(self, weights: jax.Array) -> jax.Array:
        """Log probabilities."""
        whole = jnp.sum(weights)
        return jnp.where(whole > 0, jnp.log(weights) - jnp.log(whole), -jnp.log(float(self.size)))

    def enumerate(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the indices."""
        return jnp.arange(self.size, dtype=jnp.int32), self.log_masses(weights)

    def log_prob(self, value: jax.Array, weights: jax.Array) -> jax.Array:
        """Log probability of an index."""
        return self.log_masses(weights)[value]


@dataclass(frozen=True)
class RowPicksLaw(Law):
    """An index for each row of a table of log weights, independent of each other; some weight of a row is positive."""

    rows: int
    size: int
    dtype = jnp.dtype("int32")
    label = "picks of rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """One index a row."""
        return (self.rows,)

    @property
    def element_values(self) -> np.ndarray:
        """The indices."""
        return np.arange(self.size)

    def draw(self, key: jax.Array, log_weights: jax.Array) -> jax.Array:
        """Draw from each row."""
        return jax.random.categorical(key, log_weights, mode="high").astype(jnp.int32)

    def element_masses(self, *parameters: jax.Array) -> jax.Array:
        """Log probabilities (size, rows)."""
        return jax.nn.log_softmax(parameters[0], axis=1).T

    def log_prob(self, value: jax.Array, log_weights: jax.Array) -> jax.Array:
        """Log probability of an index for each row."""
        return jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(log_weights, axis=1), value[:, None], axis=1))


@dataclass(frozen=True)
class CoinLaw(Law):
    """A coin with a given probability of heads: acceptance decisions are coins, so that they can be enumerated."""

    probability_dtype: str = "float64"
    shape = ()
    dtype = jnp.dtype(bool)
    atoms = 2
    label = "coin"

    def draw(self, key: jax.Array, probability: jax.Array) -> jax.Array:
        """Compare a uniform with the probability."""
        return jax.random.uniform(key, (), probability.dtype) < probability

    def enumerate(self, probability: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List both sides."""
        return jnp.array([False, True]), jnp.log(jnp.stack([1.0 - probability, probability]))

    def log_prob(self, value: jax.Array, probability: jax.Array) -> jax.Array:
        """Log probability of a side."""
        return jnp.log(jnp.where(value, probability, 1.0 - probability))


@dataclass(frozen=True)
class UniformIndexLaw(Law):
    """One of `count` indices, all equally likely; `count` may vary up to `size`.

    Where it is `shared`, runs side by side draw one index for all: each of them has the law, and what it decides is the
    same branch for all.
    """

    size: int
    shared: bool = False
    shape = ()
    dtype = jnp.dtype("int32")
    label = "uniform index"

    @property
    def atoms(self) -> int:
        """The largest count."""
        return self.size

    def draw(self, key: jax.Array, count: jax.Array) -> jax.Array:
        """Draw an index below the count, from 64 random bits: a shared one by the short way, which has no lanes."""
        bits = words(key, (2,)) if self.shared else jax.random.bits(key, (2,), jnp.uint32)
        return portion(jnp.maximum(count, 1).astype(jnp.uint32), Wide(bits[0], bits[1])).astype(jnp.int32)

    def enumerate(self, count: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List all indices; those at or above the count have probability zero."""
        index = jnp.arange(self.size, dtype=jnp.int32)
        return index, self.log_prob(index, count)

    def log_prob(self, value: jax.Array, count: jax.Array) -> jax.Array:
        """Log probability of an index; of none, the first is drawn."""
        count = jnp.maximum(count, 1)
        return jnp.where(value < count, -jnp.log(count * 1.0), -jnp.inf)
