"""One label alone: counts that are all of one label, of two, say nothing of which rows are like it.

Law: the other label was seen nowhere, which makes no row certain: every row has the log odds of half a row of it among
all that were counted.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from .bags import Bags
from .baselines import Fitted

__all__ = ["fitted_to_one_label", "one_label"]


def one_label(bags: Bags, which: np.ndarray | None = None) -> bool:
    """Tell whether the counts that are known, of some bags (n_b,) or of all, are all zero or all as large as the bags.

    Counts of classes are not: they tell which row is of which.

    >>> one_label(Bags.from_ids([0, 0, 1], [0, np.nan])), one_label(Bags.from_ids([0, 0, 1], [0, 1]))
    (True, False)
    """
    if bags.counts.ndim > 1:
        return False
    used = bags.known if which is None else which & bags.known
    ones = bags.estimates[used].sum()
    return bool(ones <= 0 or ones >= bags.sizes[used].sum())


def fitted_to_one_label(bags: Bags) -> Fitted:
    """Give the same log odds to every row.

    >>> fitted_to_one_label(Bags.from_ids([0, 0, 1], [0, 0])).logits(np.zeros((1, 4))).round(3).tolist()  # 1 to 5
    [-1.609]
    """
    rows = max(float(bags.sizes[bags.known].sum()), 1.0)
    z = float(np.log(max(2 * rows - 1, 1.0))) * (-1 if bags.estimates[bags.known].sum() <= 0 else 1)
    same = partial(_same, z=z)
    return Fitted(same, same, {"out_of_bag": partial(np.full, bags.n_rows, z)})


def _same(X: np.ndarray, z: float) -> np.ndarray:
    return np.full(len(X), z)
