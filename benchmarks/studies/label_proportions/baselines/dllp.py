"""DLLP: the mean of the members' probabilities is held against the proportion of the bag, by cross-entropy.

Law: the loss of a bag is -a log p - (1 - a) log(1 - p), a its proportion of ones and p the mean of sigma(z_i); it is
least where p = a. Each bag counts the same.

Reference: Ardehaly and Culotta (2017), Co-training for demographic classification using deep learning from label
proportions.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.training.fitted import Fitted
from lawful.models.llp.training.network import Recipe
from lawful.models.llp.training.network_program import Batch, Terms

from .nets import fit_net

CLIP = 1e-6


@dataclass(frozen=True)
class DLLP:
    """A net whose mean probability in each bag is the proportion of ones.

    >>> bags = Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> z = DLLP(Recipe(hidden=(4,), learning_rate=0.1)).fit(X, bags).decision_function(X)
    >>> bool(z[:2].max() < z[2:].min())
    True
    """

    recipe: Recipe = Recipe()

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags."""
        return fit_net(X, bags, proportion_loss, self.recipe, seed)


def proportion_loss(batch: Batch) -> Terms:
    """Return the cross-entropy of each bag's proportion and mean probability; all bags weigh one."""
    mean = jnp.sum(jnp.where(batch.real, jax.nn.sigmoid(batch.z), 0), axis=1) / batch.sizes
    mean = jnp.clip(mean, CLIP, 1 - CLIP)
    share = batch.counts / batch.sizes
    return Terms(-share * jnp.log(mean) - (1 - share) * jnp.log1p(-mean), jnp.ones_like(share))
