"""Persons classified: what follows from the probabilities of their classes alone, whoever gives these.

Law: labels, sizes and agreement are functions of `predict_proba`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .agreement import accuracy, entropy_index, kappa

__all__ = ["Classified"]


class Classified(ABC):
    """What a fit and a posterior say of classes of persons in one way."""

    @abstractmethod
    def predict_proba(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the probability of each class for each person (n, K)."""

    def predict(self, data: Any = None, outcomes: bool = True) -> np.ndarray:
        """Give the most probable class of each person, from 1 (n,); arguments are those of `predict_proba`."""
        return 1 + np.argmax(self.predict_proba(data, outcomes), axis=1)

    @property
    def class_sizes(self) -> np.ndarray:
        """Mean membership of each class (K,), decreasing."""
        return self.predict_proba().mean(axis=0)

    @property
    def entropy(self) -> float:
        """1 where every person surely belongs to one class, 0 where nobody can be told; NaN for one class."""
        return entropy_index(self.predict_proba())

    def accuracy(self, labels: Any) -> float:
        """Give the share of persons in their known class, under the best naming of the classes."""
        return accuracy(self.predict(), labels)

    def kappa(self, other: Any) -> float:
        """Give the agreement beyond chance with another result, or with labels, under the best naming of classes."""
        return kappa(self.predict(), other.predict() if isinstance(other, Classified) else other)
