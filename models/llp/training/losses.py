"""Refitting a net in a round, by losses: cross-entropy to the labels found, and what the counts say of rows or of bags.

Law: mean_i BCE(z_i, q_i) + weight mean_b -log P(S_b | z), by its gradient; a bag counts by its size where sizes differ.
In place of the second term the published method has the cross-entropy of a bag's share of ones to a head for bags. Both
weights are numbers of the rows, so one program serves the fit to counts alone and all fits to labels.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .baselines.em import posterior_loss
from .baselines.nets import cross_entropy, summed
from .training.network_program import Batch, Terms

__all__ = ["labels_and_aggregates", "labels_and_counts", "told"]


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


def labels_and_aggregates(batch: Batch) -> Terms:
    """Return the sum over the members of the cross-entropy to labels, and of that of the bag to its share of ones."""
    assert batch.told is not None and batch.bag is not None
    label, weight, bag_weight = batch.told[..., 0], batch.told[..., 1], batch.told[..., 2]
    fit = summed(weight * cross_entropy(batch.z, label), batch)
    share = batch.counts / jnp.maximum(batch.sizes, 1)
    return Terms(fit.total + bag_weight[:, 0] * batch.sizes * cross_entropy(batch.bag, share), fit.weight)
