"""Losses of bags: what a loss is told of a batch of them, and what it says.

Law: the loss of a batch is the sum of the totals over the sum of the weights, so a bag that fills a batch up, with
weight 0, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Bool, Float

__all__ = ["Batch", "Loss", "Terms"]


class Terms(NamedTuple):
    """What a loss says about each bag of a batch: a sum and the weight to divide it by, each (bags,)."""

    total: Float[Array, " bags"]
    weight: Float[Array, " bags"]


class Batch(NamedTuple):
    """What a loss is told: log odds `z` and which members are `real` (bags, W), the counts and the base rate."""

    z: Float[Array, "bags W"]
    real: Bool[Array, "bags W"]
    counts: Float[Array, " bags"]
    sizes: Float[Array, " bags"]
    log_weights: Float[Array, "bags S"]  # of the counts 0..W
    rate: Float[Array, ""]
    told: Float[Array, "bags W t"] | None = None  # numbers of the members, where the fit was given some
    bag: Float[Array, " bags"] | None = None  # log odds of the bags themselves, where the recipe has a head for them


Loss = Callable[[Batch], Terms]
