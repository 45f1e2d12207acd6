"""Predicted outcomes, of a fit or of a posterior: arrays, and a frame of them.

Law: the marginal outcome is that of the classes, mixed by their probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PredictedOutcomes"]


@dataclass(frozen=True, repr=False)
class PredictedOutcomes:
    """Outcomes of r persons, or at r settings of covariates, at m times.

    Attributes:
        times: (m,).
        persons: identifiers, or numbers from 1 where covariates alone are known (r,).
        probabilities: of each class (r, K).
        by_class: in each class the mean, and the lower and the upper end of its interval (r, K, m, 3).
        marginal: the same with the classes summed out (r, m, 3).
    """

    times: np.ndarray
    persons: np.ndarray
    probabilities: np.ndarray
    by_class: np.ndarray
    marginal: np.ndarray

    def __repr__(self) -> str:
        """Tell the sizes in a line."""
        persons, classes, times, _ = self.by_class.shape
        return f"<PredictedOutcomes: {persons} persons, {classes} classes, {times} times>"

    def frame(self) -> Any:
        """Give a frame of pandas: person, class (from 1, or "all"), time, mean, lower, upper.

        >>> one = np.array([[[1.0, 0.5, 1.5]]])
        >>> PredictedOutcomes(np.zeros(1), np.array(["a"]), np.ones((1, 1)), one[None], one).frame()["class"].tolist()
        [1, 'all']
        """
        import pandas

        persons, classes, times, _ = self.by_class.shape
        values = np.concatenate([self.by_class, self.marginal[:, None]], axis=1).reshape(-1, 3)
        labels = np.array([*range(1, classes + 1), "all"], object)
        return pandas.DataFrame({
            "person": np.repeat(self.persons, (classes + 1) * times),
            "class": np.tile(np.repeat(labels, times), persons), "time": np.tile(self.times, persons * (classes + 1)),
            "mean": values[:, 0], "lower": values[:, 1], "upper": values[:, 2],
        })  # fmt: skip
