"""Fitting: from rows on one scale and the counts of their bags to a learner and to labels of the rows.

Law: counts that leave no choice are not inferred: with one label alone every row is certain, and where each count tells
the labels of its members the learner is fitted to these. Where counts of one label alone are noisy, or not of all rows,
rows are told apart by these counts and by nothing else. Everything else is `train`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .bags.bags import Bags
from .inputs import determined
from .labelling import Labelling, labelled
from .labels.one_against_rest import OneAgainstRest, fitted_to_one_label, one_label
from .neighbourhood import Near, Neighbourhood
from .rounds import Rounds, train
from .training.fitted import Fitted

__all__ = ["Learned", "from_one_label", "learned"]


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned.

    Attributes:
        fitted: the learner.
        posterior: P(second class) of the rows given all counts (n,), or of all classes (n, K).
        near: their neighbours.
        labelling: how the posterior was found, without it; None where that took no inference of ours.
        rounds: a record of each round.
        best: the round that was taken.
        notes: what a reader should know, in words.
    """

    fitted: Fitted
    posterior: np.ndarray
    near: Near = Near()
    labelling: Labelling | None = None
    rounds: tuple[Any, ...] = ()
    best: int = 0
    notes: tuple[str, ...] = ()


def learned(
    Z: np.ndarray,
    bags: Bags,
    learner: Any,
    neighbourhood: Neighbourhood = Neighbourhood(),
    rounds: Rounds = Rounds(),
    *,
    seed: int = 0,
    tell: Callable[[Any], None] | None = None,
) -> Learned:
    """Fit a learner to counts.

    Args:
        Z: rows (n, d).
        bags: the bags and their counts.
        learner: of two classes; see `learners`. For more it serves each against the rest.
        neighbourhood: which rows are near each other, and how strongly they are coupled.
        rounds: of labelling and fitting; a number of None is as many as help the learner, which may say how much counts
            weigh in them, too.
        seed: of all randomness.
        tell: is called with each round.

    >>> from lawful.models.llp.learners import Ridge
    >>> Z = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> found = learned(Z, Bags.from_ids([0, 0, 1, 1], [0, 2]), Ridge())  # counts that leave no choice
    >>> found.posterior.tolist(), found.labelling is None
    ([0.0, 0.0, 1.0, 1.0], True)
    """
    alone = from_one_label(Z, bags)
    if alone is not None:
        return alone
    labels = determined(bags)
    rounds = replace(rounds, count_weight=getattr(learner, "count_weight", rounds.count_weight))
    if rounds.number is None:
        rounds = replace(rounds, number=getattr(learner, "rounds", None))
    learner = learner if bags.counts.ndim == 1 else OneAgainstRest(learner)
    if labels is not None:
        return Learned(learner.from_labels(Z, labels, bags, count_weight=0.0, seed=seed), labels)
    near, looked = Near(), False  # counts are asked about neighbours where labels are first: those held out say nothing

    def label(z: np.ndarray, shown: Bags, fitted: Fitted) -> Labelling:
        nonlocal near, looked
        near = neighbourhood.after(near if looked else neighbourhood.first(Z, shown), Z, z, shown, fitted)
        looked = True
        return labelled(z, shown, near.coupling)

    found = train(Z, bags, learner, label, rounds, seed=seed, tell=tell)
    labels = found.labelling.posterior
    return Learned(found.fitted, labels, near, _without_labels(found.labelling), found.rounds, found.best, found.notes)


def from_one_label(Z: np.ndarray, bags: Bags) -> Learned | None:
    """Give what counts of one label alone say of rows (n, d); None where there are others.

    >>> from_one_label(np.zeros((2, 1)), Bags.from_ids([0, 0], [0])).posterior.tolist()
    [0.0, 0.0]
    """
    if not one_label(bags):
        return None
    same, labels = fitted_to_one_label(bags), determined(bags)
    if labels is not None:
        return Learned(same, labels)
    alone = labelled(same.logits(Z), bags)
    return Learned(same, alone.posterior, labelling=_without_labels(alone))


def _without_labels(told: Labelling) -> Labelling:
    return replace(told, posterior=np.empty(0), beliefs=None)
