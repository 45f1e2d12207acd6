"""One against the rest: a learner of two classes serves for K, each class against all others by its own counts.

Law: log scores are the log probabilities of the K answers; where these are calibrated they are the law of the label. A
class that no count has is told by its share alone.

Where counts are all of one label, of two, the other label was seen nowhere, which makes no row certain: every row has
the log odds of half a row of it among all that were counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..bags.bags import Bags
from ..training.fitted import Fitted

__all__ = ["OneAgainstRest", "bags_of_class", "fitted_to_one_label", "one_label"]


@dataclass(frozen=True)
class OneAgainstRest:
    """A learner for K classes, of one for two."""

    learner: Any

    def from_counts(self, X: np.ndarray, bags: Bags, *, seed: int) -> Fitted:
        """Fit each class to its counts."""
        return _joined(
            [
                fitted_to_one_label(own) if one_label(own) else self.learner.from_counts(X, own, seed=seed)
                for own in _each(bags)
            ]
        )

    def from_labels(self, X: np.ndarray, labels: np.ndarray, bags: Bags, *, count_weight: float, seed: int) -> Fitted:
        """Fit each class to its column of the probabilities (n, K)."""
        return _joined(
            [
                fitted_to_one_label(own)
                if one_label(own)
                else self.learner.from_labels(X, labels[:, k], own, count_weight=count_weight, seed=seed)
                for k, own in enumerate(_each(bags))
            ]
        )


def bags_of_class(bags: Bags, k: int) -> Bags:
    """Give the bags with the counts of one class (n_b,) in place of all.

    >>> bags_of_class(Bags.from_ids([0, 0, 0], counts=[[1, 2, 0]]), 1).counts.tolist()
    [2]
    """
    return replace(bags, counts=bags.counts[:, k])


def _each(bags: Bags) -> list[Bags]:
    return [bags_of_class(bags, k) for k in range(bags.n_classes)]


def _joined(parts: list[Fitted]) -> Fitted:
    scores = partial(_scores, logits=[part.logits for part in parts])
    out_of_bag = [part.details["out_of_bag"] for part in parts if "out_of_bag" in part.details]
    # Each of these holds all rows, so they are not kept with the parts.
    kept = [{name: told for name, told in part.details.items() if name != "out_of_bag"} for part in parts]
    details: dict[str, Any] = {
        "parts": [replace(part, details=told) for part, told in zip(parts, kept, strict=True)],
        "iterations": max(told.get("iterations", 1) for told in kept),
        "settled": all(told.get("settled", True) for told in kept),
    }
    if len(out_of_bag) == len(parts):
        details["out_of_bag"] = partial(_out_of_bag, each=out_of_bag)
    return Fitted(scores, scores, details)


def _out_of_bag(each: Sequence[Callable[[], np.ndarray]]) -> np.ndarray:
    return np.stack([-np.logaddexp(0, -out_of_bag()) for out_of_bag in each], axis=1)


def _scores(X: np.ndarray, logits: Sequence[Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
    return np.stack([-np.logaddexp(0, -np.asarray(each(X), float)) for each in logits], axis=1)


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
