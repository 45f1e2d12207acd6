"""The methods of the tables, by name: each is a function of a split and a seed. Add a row, and every table has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.label_proportions.protocol import Split
from lawful.models.llp import Bags
from lawful.models.llp.bag_process import BagProcess
from lawful.models.llp.baselines import (
    DLLP,
    BagRidge,
    CountEM,
    EasyLLP,
    Fitted,
    Method,
    Proportion,
    SoftLabels,
    singletons,
)
from lawful.models.llp.baselines.easy_llp import LEARNING_RATES
from lawful.models.llp.network import Recipe

Fit = Callable[[Split, int], Fitted]


def shown(split: Split) -> tuple[np.ndarray, Bags]:
    """Return what a contestant may see: covariates of the training rows, and the counts of their bags."""
    return split.train.X, split.bags


def from_counts(method: Method) -> Fit:
    """Fit to covariates and counts."""
    return lambda split, seed: method.fit(*shown(split), seed=seed)


def from_labels(method: Method, one_a_bag: bool = False) -> Fit:
    """Fit to the labels of all rows of the training part, or of as many as there are bags: for comparison alone."""

    def fit(split: Split, seed: int) -> Fitted:
        y = split.train.y[: split.bags.n_bags] if one_a_bag else split.train.y
        return method.fit(split.train.X, singletons(y, len(split.train.y)), seed=seed)

    return fit


BASELINES: dict[str, Fit] = {
    "DLLP": from_counts(DLLP()),
    **{f"EasyLLP {rate:g}": from_counts(EasyLLP(replace(Recipe(), learning_rate=rate))) for rate in LEARNING_RATES},
    "EM": from_counts(CountEM()),
    "BagRidge": from_counts(BagRidge()),
}
REFERENCES: dict[str, Fit] = {
    "soft labels": from_counts(SoftLabels()),
    "proportion": from_counts(Proportion()),
    "sup n/B": from_labels(BagRidge(), one_a_bag=True),
    "supervised": from_labels(SoftLabels()),
}
OURS: dict[str, Fit] = {"bag process": from_counts(BagProcess())}
METHODS = BASELINES | OURS | REFERENCES
