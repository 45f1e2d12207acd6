"""Nets, and what losses on members of bags share: cross-entropy, sums over real members, a net shown as `Fitted`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lawful.distributions.softplus import softplus

from ..bags.bags import Bags
from ..training.network import Recipe, fit_network
from ..training.network_program import Batch, Loss, Terms
from .interface import Fitted, check_rows


def cross_entropy(z: Float[Array, "bags ..."], target: Float[Array, "bags ..."]) -> Float[Array, "bags ..."]:
    """Return -t log sigma(z) - (1 - t) log sigma(-z); t may lie outside [0, 1].

    >>> [round(float(x), 4) for x in cross_entropy(jnp.zeros((1, 2)), jnp.array([[0.0, 2.0]]))[0]]
    [0.6931, 0.6931]
    """
    return softplus(z) - target * z


def summed(each: Float[Array, "bags W"], batch: Batch) -> Terms:
    """Return the sums over the real members of bags, with their numbers as weights."""
    return Terms(jnp.sum(jnp.where(batch.real, each, 0), axis=1), batch.sizes)


def fit_net(X: np.ndarray, bags: Bags, loss: Loss, recipe: Recipe, seed: int) -> Fitted:
    """Fit a net and show it as a fitted method; `details["network"]` is the net."""
    network = fit_network(check_rows(X, bags, "fit"), bags, loss, recipe=recipe, seed=seed)
    return Fitted(network.logits, network.logits, {"network": network, "losses": network.losses})
