"""The methods of the tables, by name: each is a function of a split and a seed. Add a row, and every table has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.label_proportions.protocol import Split
from benchmarks.studies.label_proportions.baselines import (
    DLLP,
    BagRidge,
    CountEM,
    EasyLLP,
    Method,
    Proportion,
    SoftLabels,
    singletons,
)
from benchmarks.studies.label_proportions.baselines.easy_llp import LEARNING_RATES
from lawful.models.llp import Bags, LabelProportionClassifier, LabelProportionSelfTraining
from lawful.models.llp.bag_process import BagProcess
from lawful.models.llp.training.fitted import Fitted
from lawful.models.llp.training.network import Recipe

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


def classified(settings: Any) -> Fit:
    """Fit a classifier as users do."""

    def fit(split: Split, seed: int) -> Fitted:
        model = clone(settings).set_params(random_state=seed).fit_bags(*shown(split))
        verdict = "" if model.labelling_ is None else model.labelling_.verdict
        told = {"posterior": model.posterior_, "verdict": verdict}
        return Fitted(model.decision_function, model.decision_function, told)

    return fit


def with_all_labels(split: Split, seed: int) -> Fitted:
    """Fit the classifier to the labels of all rows of the training part: for comparison alone."""
    model = LabelProportionClassifier(random_state=seed).fit(split.train.X, split.train.y, bags="rows")
    return Fitted(model.decision_function, model.decision_function)


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
    "lawful, all labels": with_all_labels,
}
ONLY: dict[str, tuple[int, ...]] = {"lawful, all labels": (8,)}  # sizes of bags, of what hardly depends on them
OURS: dict[str, Fit] = {
    "lawful": classified(LabelProportionClassifier()),
    "lawful, uncoupled": classified(LabelProportionClassifier(coupling="off")),
    "lawful, boosting": classified(LabelProportionSelfTraining(HistGradientBoostingClassifier(), rounds=1)),
    "bag process": from_counts(BagProcess()),
}
METHODS = BASELINES | OURS | REFERENCES
