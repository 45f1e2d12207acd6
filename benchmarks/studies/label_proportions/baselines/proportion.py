"""Proportion: the score of a row is the proportion of ones in its bag, whatever its covariates.

Law: it is the posterior probability of a member when all members of a bag are alike. It has nothing to say of new rows:
`decision_function` gives every row the base rate, which ranks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawful.models.llp import Bags
from lawful.models.llp.training.fitted import Fitted, check_rows


@dataclass(frozen=True)
class Proportion:
    """The proportion of its bag for each row; `details["posterior"]` has those of the rows that were fitted (n,).

    Rows in no bag with a known count have the base rate, and rows in several the mean of their bags' proportions.

    >>> bags = Bags.from_ids([0, 0, 1], counts=[1, 1])
    >>> Proportion().fit(np.zeros((3, 1)), bags).details["posterior"].tolist()
    [0.5, 0.5, 1.0]
    """

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Take the proportions."""
        check_rows(X, bags, "Proportion")
        rate = bags.base_rate
        known = bags.known[bags.owners]
        owners, members = bags.owners[known], bags.members[known]
        total = np.bincount(members, weights=bags.proportions[owners], minlength=bags.n_rows)
        number = np.bincount(members, minlength=bags.n_rows)
        posterior = np.where(number > 0, total / np.maximum(number, 1), rate)
        log_odds = float(np.log(rate) - np.log1p(-rate))

        def flat(rows: np.ndarray) -> np.ndarray:
            return np.full(len(rows), log_odds)

        return Fitted(flat, flat, {"posterior": posterior})
