"""Soft labels: every member of a bag gets the proportion of its bag as its label, the naive method.

Law: the loss is the cross-entropy of proportions and probabilities, a mean over members. On bags of one it is that of a
supervised net: `SoftLabels().fit(X, singletons(y))` is the reference with all labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.training.fitted import Fitted
from lawful.models.llp.training.losses import cross_entropy, summed
from lawful.models.llp.training.network import Recipe
from lawful.models.llp.training.network_program import Batch, Terms

from .nets import fit_net


@dataclass(frozen=True)
class SoftLabels:
    """A net fitted to the proportions of the bags as labels of their members.

    >>> bags = Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> z = SoftLabels(Recipe(hidden=(4,), learning_rate=0.1)).fit(X, bags).decision_function(X)
    >>> bool(z[:2].max() < z[2:].min())
    True
    """

    recipe: Recipe = Recipe()

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags."""
        return fit_net(X, bags, soft_label_loss, self.recipe, seed)


def soft_label_loss(batch: Batch) -> Terms:
    """Return the cross-entropy of the members and the proportion of their bag; all members weigh one."""
    return summed(cross_entropy(batch.z, (batch.counts / batch.sizes)[:, None]), batch)
