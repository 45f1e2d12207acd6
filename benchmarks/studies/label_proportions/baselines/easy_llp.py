"""EasyLLP: a debiased soft label for every member of a bag, t = B (a - pi) + pi, in place of its label.

Law: for a bag of B members drawn at random the mean of t given the row is the mean of its label, so the mean loss is
that of the labels; t may lie outside [0, 1], and its variance grows with B.

Reference: Busa-Fekete, Choi, Dick, Gentile, Medina (2023), Easy learning from label proportions.
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

LEARNING_RATES = (1e-3, 3e-4, 1e-4)  # to choose among, by something that needs no labels


@dataclass(frozen=True)
class EasyLLP:
    """A net on debiased soft labels; the rate is worth tuning, since 1e-4 is too slow for small bags.

    >>> bags = Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> z = EasyLLP(Recipe(hidden=(4,), learning_rate=0.1)).fit(X, bags).decision_function(X)
    >>> bool(z[:2].max() < z[2:].min())
    True
    """

    recipe: Recipe = Recipe()

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags."""
        return fit_net(X, bags, debiased_loss, self.recipe, seed)


def debiased_loss(batch: Batch) -> Terms:
    """Return the cross-entropy of the members and the debiased label of their bag; all members weigh one."""
    target = batch.counts - batch.sizes * batch.rate + batch.rate
    return summed(cross_entropy(batch.z, target[:, None]), batch)
