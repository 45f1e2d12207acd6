"""Resampling schemes: how N weighted items get M offspring, as one structured random choice.

Law: E[offspring_i] = M w_i / sum(w); an item of weight zero never has offspring. A draw places the offspring by
`push`, a pure function of uniforms, and `enumerate` lists the exact law of that. Weights without a finite positive
sum leave the population untouched, slot k from item k modulo N: whoever calls flags dead weights (all zero), and NaN
or infinite ones, from the weights themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lawful.distributions.sampling.threefry import words as random_words


@dataclass(frozen=True)
class Scheme:
    """A resampling scheme; equal by its name and functions, so that it can be a static argument.

    Attributes:
        name: the name in the literature.
        uniforms_shape: (N, M) -> shape of the uniforms of one draw.
        push: (uniforms, weights (N,), M) -> ancestors (M,). Uniforms are floats in [0, 1), or unsigned words read as
            word / 2**width. Weights are linear, non-negative, of any common scale, and may be traced.
        enumerate: (weights (N,), M) -> ancestors (C, M) and their log masses (C,), -inf for cells that cannot occur.
        cells: (N, M) -> C, the static number of cells.
        paired: whether each uniform is a pair along the last axis whose second part refines the first (by 2**-24 for
            floats, by 2**-32 for words): more random bits than one float32 holds.
        ascending: whether ancestors always come in ascending order.
    """

    name: str
    uniforms_shape: Callable[[int, int], tuple[int, ...]] = field(repr=False)
    push: Callable[[jax.Array, jax.Array, int], jax.Array] = field(repr=False)
    enumerate: Callable[[jax.Array, int], tuple[jax.Array, jax.Array]] = field(repr=False)
    cells: Callable[[int, int], int] = field(repr=False)
    paired: bool = field(default=False, repr=False)
    ascending: bool = field(default=False, repr=False)

    def draw(self, key: jax.Array, weights: Float[Array, " N"], n_offspring: int) -> Int[Array, " M"]:
        """Draw ancestors (M,), int32, with random words as wide as the weights can tell apart."""
        wide = weights.dtype == jnp.float64 and not self.paired
        shape = self.uniforms_shape(weights.shape[0], n_offspring)
        if wide:
            return self.push(jax.random.bits(key, shape, jnp.uint64), weights, n_offspring)
        return self.push(random_words(key, shape), weights, n_offspring)

    def __str__(self) -> str:
        """Show the name."""
        return self.name
