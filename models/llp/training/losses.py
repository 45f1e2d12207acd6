"""Losses of a net: cross-entropy to the labels found, and what the counts say of the members of bags.

Law: `posterior_loss` has the gradient of -log P(sum_i y_i = S) under the net, summed over bags: one step is a step of
exact maximum likelihood of the counts, noisy reports by their own factor. In a round the loss is
mean_i BCE(z_i, q_i) + weight mean_b -log P(S_b | z), by its gradient; a bag counts by its size where sizes differ. Both
weights are numbers of the rows, so one program serves the fit to counts alone and all fits to labels.

Bags that share rows are taken for independent reports.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lawful.inference.graphs import counts

from .network_program import Batch, Terms

__all__ = ["cross_entropy", "labels_and_counts", "posterior_loss", "summed", "told"]


def cross_entropy(z: Float[Array, "bags ..."], target: Float[Array, "bags ..."]) -> Float[Array, "bags ..."]:
    """Return -t log sigma(z) - (1 - t) log sigma(-z); t may lie outside [0, 1].

    >>> [round(float(x), 4) for x in cross_entropy(jnp.zeros((1, 2)), jnp.array([[0.0, 2.0]]))[0]]
    [0.6931, 0.6931]
    """
    return jax.nn.softplus(z) - target * z


def summed(each: Float[Array, "bags W"], batch: Batch) -> Terms:
    """Return the sums over the real members of bags, with their numbers as weights."""
    return Terms(jnp.sum(jnp.where(batch.real, each, 0), axis=1), batch.sizes)


def posterior_loss(batch: Batch) -> Terms:
    """Return the cross-entropy of the members and their posterior under the net as it is; all members weigh one."""
    z = jax.lax.stop_gradient(jnp.where(batch.real, batch.z, -jnp.inf))
    posterior = jax.nn.sigmoid(z + counts.messages(z, batch.log_weights))
    return summed(cross_entropy(batch.z, jax.lax.stop_gradient(posterior)), batch)


def told(labels: np.ndarray | None, n_rows: int, count_weight: float) -> np.ndarray:
    """Give what the loss reads: the label of each row, its weight, and that of the counts (n, 3).

    >>> told(None, 1, 1.0).tolist()
    [[0.0, 0.0, 1.0]]
    """
    found = np.zeros((n_rows, 3), np.float32)
    if labels is not None:
        found[:, 0], found[:, 1] = labels, 1
    found[:, 2] = count_weight
    return found


def labels_and_counts(batch: Batch) -> Terms:
    """Return the sum over the members of both losses; the gradient of the second is that of -log P(S_b | z)."""
    assert batch.told is not None
    label, weight, count_weight = batch.told[..., 0], batch.told[..., 1], batch.told[..., 2]
    fit = summed(weight * cross_entropy(batch.z, label), batch)
    return Terms(fit.total + count_weight[:, 0] * posterior_loss(batch).total, fit.weight)
