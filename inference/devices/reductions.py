"""Reductions: operations on whole populations that need only a few numbers of each device.

Law: each gives what its operation gives on the whole population, to the order of floating sums, and that does not
depend on the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..representations.population import mean_weights, take
from ..transformers.rejuvenation import join_states
from .axis import Axis
from .island_resampling import Apart, Levels


def across(
    function: Any, axis: Axis, ins: Sequence[int | None], outs: Sequence[int | None]
) -> Callable[..., Any] | None:
    """Give the operation on parts that stands for one on whole populations; None where there is none.

    `ins` and `outs` say which axis of each operand and each result is in parts.
    """
    inner = getattr(function, "function", function)
    if inner is mean_weights:
        return MeanWeights(axis)
    if inner is take and list(ins) == [0, None] and list(outs) == [0]:
        return Fetch(axis)
    if inner is join_states and set(ins) == {0} and list(outs) == [0]:
        return Joined()
    if isinstance(inner, Levels | Apart) and inner.islands == axis.size:
        return OwnLevel(axis, inner) if isinstance(inner, Levels) else OwnApart(axis, inner)
    return None


@dataclass(frozen=True)
class MeanWeights:
    """`mean_weights`, summed in fixed blocks."""

    axis: Axis

    def __call__(self, log_weight: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Normalise this device's log weights by the mean of all."""
        axis = self.axis
        top = axis.maximum(log_weight)
        shift = jnp.where(jnp.isfinite(top), top, 0.0)
        scaled = jnp.exp(log_weight - shift)
        total = axis.total(scaled)
        alive = total > 0
        finite = shift + jnp.log(jnp.where(alive, total / axis.count(log_weight), 1.0))
        log_mean = jnp.where(alive, finite, jnp.where(jnp.isnan(total), jnp.nan, -jnp.inf))
        ess = jnp.where(alive, total * total / axis.total(scaled * scaled), 0.0)
        return scaled, log_weight - jnp.where(alive, finite, 0.0), log_mean, ess


@dataclass(frozen=True)
class Fetch:
    """`take` by ancestors that every device knows: particles are gathered, each device copies its own."""

    axis: Axis

    def __call__(self, values: jax.Array, index: jax.Array) -> tuple[jax.Array]:
        """Copy the ancestors of this device's particles."""
        return (take(self.axis.gather(values), self.axis.own(index)),)


@dataclass(frozen=True)
class Joined:
    """`join_states` where chains are in parts: particles stand chain by chain, so a device has those of its own."""

    def __call__(self, start: jax.Array, later: jax.Array) -> tuple[jax.Array]:
        """Join this device's chains."""
        return (join_states(start, later),)


@dataclass(frozen=True)
class OwnLevel:
    """`Levels` where each device is an island."""

    axis: Axis
    levels: Levels

    def __call__(self, weight: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Compare this device's mean weight with those of the others."""
        means = self.axis.gather(jnp.mean(weight)[None])
        scaled, level = (x[self.axis.index()] for x in self.levels.of_means(means, size))
        return jnp.full_like(weight, scaled), jnp.full_like(weight, level)


@dataclass(frozen=True)
class OwnApart:
    """`Apart` where each device is an island."""

    axis: Axis
    apart: Apart

    def __call__(self, weight: jax.Array) -> tuple[jax.Array]:
        """Compare the weights of the devices."""
        return (self.apart.of_levels(self.axis.gather(weight[:1])),)
