"""Scores without labels: how well a classifier tells the counts of bags, for scikit-learn's searches and validations.

Law: the score of a bag is log P(count | X), exactly, and labels are read through their counts alone; the mean over bags
is a proper score of the probabilities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .bags import Bags
from .inputs import bag_numbers
from .likelihood import count_log_likelihood

__all__ = ["bag_score", "bag_scorer"]

LARGEST = 1e30  # log odds of a classifier that is certain


def bag_score(y: Any, probability: Any, *, bags: Any = None, classes: Any = None) -> float:
    """Give the mean over bags of log P(count | probabilities).

    Args:
        y: labels (n,), read through their counts within bags.
        probability: of the second class (n,), or of all classes (n, K).
        bags: as for `LabelProportionClassifier.fit`; None where each row is a bag of its own.
        classes: the labels in the order of the probabilities; by default those in y, or 0 and 1 where y has one alone.

    Raises: LawfulError where `classes` cannot be told from y.

    >>> round(bag_score([1, 0], [0.5, 0.5], bags=[0, 0]), 4)  # one of two
    -0.6931
    """
    y, p = np.asarray(y), np.asarray(probability, float)
    number = 2 if p.ndim == 1 else p.shape[1]
    names = np.unique(y) if classes is None else np.asarray(classes)
    if classes is None and len(names) < number and np.isin(names, np.arange(number)).all():
        names = np.arange(number)
    if len(names) != number or not np.isin(y, names).all():
        raise LawfulError(
            f"bag_score: labels {np.unique(y).tolist()} and probabilities of {number} classes. Fix: give classes=, in "
            "the order of the classifier's classes_."
        )
    ids = np.arange(len(y)) if bags is None else bag_numbers(bags, len(y))
    codes = np.argmax(y[:, None] == names, axis=1)
    if number == 2:
        p = p if p.ndim == 1 else p[:, 1]
        with np.errstate(divide="ignore"):
            z = np.clip(np.log(p) - np.log1p(-p), -LARGEST, LARGEST)
    else:
        with np.errstate(divide="ignore"):
            z = np.maximum(np.log(p), -LARGEST)
    return float(np.mean(count_log_likelihood(z, Bags.from_labels(codes, ids, number))))


def bag_scorer(classes: Any = None) -> Any:
    """Make a scorer for `cross_validate` and `GridSearchCV`; where routing of metadata is on, it asks for `bags`.

    >>> bag_scorer([0, 1])  # doctest: +ELLIPSIS
    make_scorer(bag_score, ...)
    """
    try:
        from sklearn import get_config
        from sklearn.metrics import make_scorer
    except ImportError as error:
        raise LawfulError("bag_scorer needs scikit-learn. Fix: pip install 'lawful[llp]'.") from error
    scorer = make_scorer(bag_score, response_method="predict_proba", classes=classes)
    return scorer.set_score_request(bags=True) if get_config()["enable_metadata_routing"] else scorer
