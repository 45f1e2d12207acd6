"""EM with the exact count factor: members are fitted to their posterior probabilities given the count of their bag.

Law: the gradient of the loss is that of -log P(sum_i y_i = S) under the net, summed over bags and divided by members:
one step is a step of exact maximum likelihood of the counts. Noisy reports use their own factor in place of the count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.training.fitted import Fitted
from lawful.models.llp.training.losses import posterior_loss
from lawful.models.llp.training.network import Recipe

from .nets import fit_net


@dataclass(frozen=True)
class CountEM:
    """A net fitted by maximum likelihood of the counts.

    >>> bags = Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> z = CountEM(Recipe(hidden=(4,), learning_rate=0.1)).fit(X, bags).decision_function(X)
    >>> bool(z[:2].max() < z[2:].min())
    True
    """

    recipe: Recipe = Recipe()

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and what is known of the counts of their bags."""
        return fit_net(X, bags, posterior_loss, self.recipe, seed)
