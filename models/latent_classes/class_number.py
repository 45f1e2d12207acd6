"""The number of classes: evidence with its error beside information criteria, one row a number.

Law: with a prior that treats classes alike the evidence needs no K!; probabilities are those of numbers that were
equally likely before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.inference import model_probabilities, pooled_evidence

__all__ = ["ClassNumbers"]


@dataclass(frozen=True)
class ClassNumbers:
    """A comparison of numbers of classes.

    Attributes:
        log_evidence: of each independent run, by the number of classes (runs,).
        criteria: further numbers by the number of classes, as bic and icl.
    """

    log_evidence: Mapping[int, np.ndarray]
    criteria: Mapping[int, Mapping[str, float]]

    @property
    def table(self) -> Any:
        """A frame of pandas: log evidence, its error and its spread over runs, probability and its error, criteria.

        `error` is that of the pooled value, NaN for one run; `spread` is the standard deviation of a run. Where an
        evidence is not known, neither is the probability of that number; `probability_error` tells how far it moves
        when all evidences do by their errors.
        """
        import pandas

        pooled = {k: pooled_evidence(runs) for k, runs in self.log_evidence.items()}
        value, error = np.array(list(pooled.values())).T
        share = dict(zip(pooled, np.array(model_probabilities(value, error, np.ones(len(value)))).T, strict=True))
        rows = []
        for k, runs in self.log_evidence.items():
            spread = float(np.std(runs, ddof=1)) if len(runs) > 1 else float("nan")
            rows.append({
                "log_evidence": pooled[k][0], "error": pooled[k][1], "spread": spread,
                "probability": share[k][0], "probability_error": share[k][1], **self.criteria.get(k, {}),
            })  # fmt: skip
        return pandas.DataFrame(rows, index=pandas.Index(list(self.log_evidence), name="classes"))

    @property
    def best(self) -> int:
        """The number of the highest evidence.

        >>> ClassNumbers({1: np.array([-3.0, -3.1]), 2: np.array([-1.0, -1.2])}, {}).best
        2
        """
        value = {k: pooled_evidence(runs)[0] for k, runs in self.log_evidence.items()}
        return max(value, key=lambda k: -np.inf if np.isnan(value[k]) else value[k])

    def best_by(self, criterion: str) -> int:
        """The number of the lowest value of a criterion.

        Raises: LawfulError where there is no such criterion.
        """
        known = sorted({name for told in self.criteria.values() for name in told})
        if criterion not in known:
            raise LawfulError(
                f"best_by: no criterion {criterion!r}; there are {known}. Fix: name one of these; there are none where "
                "the mixtures were not fitted (criteria=False)."
            )
        return min(self.criteria, key=lambda k: self.criteria[k][criterion])
