"""The mixture result: what a fit and a posterior answer alike, under one name and with one signature.

Law: `TrajectoryFit` and `TrajectoryPosterior` both have every member, with these arguments and defaults; each may take
more of its own. Of a fit intervals are those of confidence, of a posterior credible ones.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .model.parameters import Model, Parameters
from .model.reports import Row
from .model.scaling import Scaling
from .reading.measured import Measured
from .tables.predicted_outcomes import PredictedOutcomes

__all__ = ["MixtureResult"]


class MixtureResult(Protocol):
    """A mixture of trajectories that was estimated, in whichever way.

    Arrays of a fit are those of its estimates; those of a posterior have axes of chains and draws in front, where they
    are of draws: `parameters`, `values`, `log_likelihood_by_person`.

    >>> def largest_class(result: MixtureResult) -> float:
    ...     return float(result.class_sizes.max())
    """

    @property
    def model(self) -> Model:
        """Which mixture."""

    @property
    def data(self) -> Measured:
        """What it was estimated from."""

    @property
    def scaling(self) -> Scaling:
        """From standard units to the user's."""

    @property
    def reference(self) -> int:
        """The class that odds are told against, from 0."""

    @property
    def n(self) -> int:
        """Number of persons."""

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""

    @property
    def parameters(self) -> Parameters:
        """Parameters in the user's units, classes in order."""

    @property
    def rows(self) -> list[Row]:
        """What is reported (R,)."""

    @property
    def ties(self) -> np.ndarray:
        """Of each reported parameter, whether it is "equal" in all classes, "fixed", or "" (R,)."""

    @property
    def values(self) -> np.ndarray:
        """The reported parameters (..., R)."""

    @property
    def log_likelihood_by_person(self) -> np.ndarray:
        """Log-likelihood of each person in the user's units (..., n)."""

    @property
    def class_sizes(self) -> np.ndarray:
        """Mean membership of each class (K,)."""

    @property
    def entropy(self) -> float:
        """1 where every person surely belongs to one class, 0 where nobody can be told."""

    @property
    def plot(self) -> Any:
        """Pictures; both have `curves(times)`, and `persons(most, seed)`."""

    def estimates(self, level: float = 0.95) -> Any:
        """A frame of pandas: class, parameter, meaning, estimate, se, lower, upper, flag, and more."""

    def to_nlpsem_names(self) -> dict[str, float]:
        """Give the estimates under the names of nlpsem."""

    def summary(self) -> str:
        """Tell the result on a page."""

    def predict_proba(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the probability of each class for each person (n, K)."""

    def predict(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the most probable class of each person, from 1 (n,)."""

    def curves(self, times: Any, level: float = 0.95) -> np.ndarray:
        """Give the curve of each class where covariates are 0, with its pointwise interval (K, m, 3)."""

    def predict_outcome(
        self, times: Any, covariates: Any = None, data: Any = None, level: float = 0.95, interval: str = "mean"
    ) -> PredictedOutcomes:
        """Predict outcomes at given times, of persons or at given covariates, with intervals."""

    def fitted_values(self, outcomes: bool = True) -> np.ndarray:
        """Give expected outcomes, as the rows of the data come."""

    def residuals(self, outcomes: bool = True) -> np.ndarray:
        """Give outcomes less those expected, as the rows of the data come."""

    def accuracy(self, labels: Any) -> float:
        """Give the share of persons in their known class, under the best naming of the classes."""

    def kappa(self, other: Any) -> float:
        """Give the agreement beyond chance with another result, or with labels."""
