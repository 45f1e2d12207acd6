"""Scoring without labels: how well a classifier tells the counts of bags, for scikit-learn's searches and validations.

Law: the score of a bag is log P(count | X), exactly, and labels are read through their counts alone; the mean over bags
is a proper score of the probabilities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError, ObservationError

from .bags.bags import Bags
from .inputs import bag_numbers
from .labels.likelihood import count_log_likelihood

__all__ = ["bag_score", "bag_scorer"]

LARGEST = 1e30  # log odds of a classifier that is certain


def bag_score(y: Any, probability: Any, *, bags: Any = None, classes: Any = None) -> float:
    """Give the mean over bags of log P(count | probabilities).

    Args:
        y: labels (n,), read through their counts within bags.
        probability: of the second class (n,), or of all classes (n, K).
        bags: as for `LabelProportionClassifier.fit`.
        classes: the labels in the order of the probabilities; by default those in y, or 0 and 1 where y has one alone.

    Raises: ObservationError without bags, and where no row is in one; LawfulError where `classes` cannot be told from
        y.

    >>> round(bag_score([1, 0], [0.5, 0.5], bags=[0, 0]), 4)  # one of two
    -0.6931
    """
    y, p = np.asarray(y), np.asarray(probability, float)
    numbers = bag_numbers(bags, len(y), "bag_score")
    number = 2 if p.ndim == 1 else p.shape[1]
    names = np.unique(y) if classes is None else np.asarray(classes)
    if classes is None and len(names) < number and np.isin(names, np.arange(number)).all():
        names = np.arange(number)
    if len(names) != number or not np.isin(y, names).all():
        raise LawfulError(
            f"bag_score: labels {np.unique(y).tolist()} and probabilities of {number} classes. Fix: give classes=, in "
            "the order of the classifier's classes_."
        )
    bagged = Bags.from_labels(np.argmax(y[:, None] == names, axis=1), numbers, number)
    if not len(bagged.members):
        raise ObservationError("bag_score: no row is in a bag. Fix: give the bag of each row; -1 is for none.")
    if number == 2:
        p = p if p.ndim == 1 else p[:, 1]
        with np.errstate(divide="ignore"):
            z = np.clip(np.log(p) - np.log1p(-p), -LARGEST, LARGEST)
    else:
        with np.errstate(divide="ignore"):
            z = np.maximum(np.log(p), -LARGEST)
    return float(np.mean(np.asarray(count_log_likelihood(z, bagged))[bagged.sizes > 0]))


def bag_scorer(classes: Any = None) -> Any:
    """Make a scorer for `cross_validate` and `GridSearchCV`, which asks them for `bags`.

    Args:
        classes: the labels in the order of the probabilities, where they cannot be told from those of a test set.

    Raises: LawfulError where routing of metadata is off, as it is by default in scikit-learn: bags would not reach it.

    >>> import sklearn
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     bag_scorer([0, 1])  # doctest: +ELLIPSIS
    make_scorer(bag_score, ...)
    """
    try:
        from sklearn import get_config
        from sklearn.metrics import make_scorer
    except ImportError as error:
        raise LawfulError("bag_scorer needs scikit-learn. Fix: pip install 'lawful[llp]'.") from error
    if not get_config()["enable_metadata_routing"]:
        raise LawfulError(
            "bag_scorer: routing of metadata is off, so bags would not reach the score. "
            "Fix: sklearn.set_config(enable_metadata_routing=True), before the scorer is made and while it is used."
        )
    return make_scorer(bag_score, response_method="predict_proba", classes=classes).set_score_request(bags=True)
