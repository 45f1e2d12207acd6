"""Rounds: a learner fitted to counts tells labels, counts and neighbours correct them, and a learner is fitted to them.

Law: nothing but covariates, counts and neighbours is read, for fitting and for stopping. A round is kept only if it
tells the counts of held-out bags better, by more than the standard error of the paired differences; where fewer than 20
bags can be held out that comparison has no power, and one round is made. The last fit reads every bag.

Labels of a run of messages that did not settle are never fitted to. What calibration finds that counts do not confirm,
and a learner that had not settled, are told in notes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .bags.bags import Bags
from .labelling import Labelling
from .labels.calibration import Calibration, calibrated, recalibrated
from .labels.held_out import LEAST_HELD, cross_fitted, held_out, without_counts
from .labels.likelihood import count_score
from .training.fitted import Fitted

__all__ = ["Round", "Rounds", "train"]

MOST = 3  # rounds
FOLDS, FOLDED_FROM = 5, 50  # cross-fitting, and from how many bags
UNCONFIRMED = (
    "counts that were not fitted do not confirm the scores: probabilities are nearly the base rate, and the order of "
    "rows is kept."
)


@dataclass(frozen=True)
class Round:
    """What happened in a round; number 0 is the fit to counts, before any labels.

    Whether counts can tell that neighbours agree is asked once, of the counts and the graph, and is the same for all
    rounds: `identifiability_` of the classifier has the estimate, its standard error and the verdict.

    Attributes:
        number: of the round.
        labelling: what the messages were worth, without the labels themselves; None in round 0.
        held_out: mean log-likelihood of the counts of held-out bags, NaN without any.
        gain: mean of the paired differences to the best round before.
        gain_error: its standard error.
        slope: of the calibration of the learner.
        seconds: time.
    """

    number: int
    labelling: Labelling | None
    held_out: float
    gain: float
    gain_error: float
    slope: float
    seconds: float


@dataclass(frozen=True)
class Rounds:
    """Settings.

    Attributes:
        number: of rounds at most; None stops by the held-out bags, after at most three.
        folds: for log odds of rows from fits that did not see their bags; 0 for none, None for 5 from 50 bags on.
        count_weight: of the likelihood of the counts, beside the labels.
        unseen: whether a row can be scored without its own bag. It cannot where bags were made by features: leaving out
            a bag leaves out all rows like it, and scores by the others may run against its count.

    >>> [Rounds().folds_for(Bags.from_ids(np.arange(n), np.ones(n))) for n in (40, 60)]
    [0, 5]
    """

    number: int | None = None
    folds: int | None = None
    count_weight: float = 1.0
    unseen: bool = True

    def folds_for(self, bags: Bags) -> int:
        """Give the number of folds for these bags."""
        if not self.unseen:
            return 0
        groups = len(np.unique(bags.groups[bags.known & (bags.sizes > 0)]))
        if self.folds is None:
            return FOLDS if groups >= FOLDED_FROM else 0
        return self.folds if groups >= self.folds else 0


@dataclass(frozen=True)
class Trained:
    """What `train` gives.

    Attributes:
        fitted: the learner, fitted to every bag.
        labelling: of the rows, given all counts.
        rounds: what happened, from the fit to counts on.
        best: the round that was taken.
        notes: what a reader should know, in words.
    """

    fitted: Fitted
    labelling: Labelling
    rounds: tuple[Round, ...]
    best: int
    notes: tuple[str, ...]


def train(
    X: np.ndarray,
    bags: Bags,
    learner: Any,
    label: Callable[[np.ndarray, Bags, Fitted], Labelling],
    settings: Rounds = Rounds(),
    *,
    seed: int = 0,
    tell: Callable[[Round], None] | None = None,
) -> Trained:
    """Fit in rounds.

    Args:
        X: rows (n, d).
        bags: the bags and what is known of their counts.
        learner: see `learners`.
        label: from log odds of the rows, bags and the fit that they come from to a `Labelling`.
        settings: rounds, folds and weights.
        seed: of bags held out, folds and fits.
        tell: is called with each round.

    >>> from lawful.models.llp.labelling import labelled
    >>> from lawful.models.llp.learners import Ridge
    >>> X, bags = np.array([[-1.0], [-2.0], [1.0], [2.0]]), Bags.from_ids([0, 1, 0, 1], counts=[1, 1])
    >>> found = train(X, bags, Ridge(), lambda z, shown, fitted: labelled(z, shown), Rounds(number=1))
    >>> [round.number for round in found.rounds], found.best, found.labelling.verdict
    ([0, 1], 1, 'exact')
    """
    held = held_out(bags, seed) if settings.number is None else np.zeros(bags.n_bags, bool)
    shown = without_counts(bags, held)
    most = settings.number if settings.number is not None else MOST if held.any() else 1
    at = _Fits(X, learner, settings, seed)
    rounds: list[Round] = []
    notes: list[str] = []
    if settings.number is None and not held.any():
        notes.append(
            f"of {bags.n_bags} bags fewer than {LEAST_HELD} can be held out: one round is made, without a test of it."
        )

    began = time.perf_counter()
    stages = [at.judged(at.to_counts(shown), bags, held)]
    _note(rounds, None, stages, 0, began, tell)
    told: Labelling | None = None
    best = 0
    for number in range(1, most + 1):
        began = time.perf_counter()
        told = label(at.log_odds(stages[-1], bags, held).mapped, shown, stages[-1].fitted)
        if not told.usable:
            notes.append(
                f"round {number}: messages were {told.verdict} without coupling too; nothing was fitted to them."
            )
            break
        stages.append(at.judged(at.to_labels(told, shown), bags, held))
        helps = _note(rounds, told, stages, best, began, tell)
        if not helps:
            break
        best = number
    flat = stages[best].calibration.flat
    if held.any() or told is None or not told.usable:  # with all counts: the labels, and the fit to them
        final = stages[max(best - 1, 0)]
        final = _Stage(final.fit, final.fit(bags)) if held.any() else final
        scored = at.log_odds(final, bags, np.zeros_like(held))
        told, flat = label(scored.mapped, bags, final.fitted), flat or scored.calibration.flat
        final = final if best == 0 else at.to_labels(told, bags)
    else:
        final = stages[best]
    if flat:
        notes.append(UNCONFIRMED)
    if not final.fitted.details.get("settled", True):
        notes.append("the learner had not settled when its steps were used up.")
    fitted = recalibrated(_without_rows(final.fitted), stages[best].calibration)
    return Trained(fitted, told, tuple(rounds), best, tuple(notes))


class _Stage(NamedTuple):
    """A fit, as a function of bags and as it came out; its calibration, and how well it tells held-out counts."""

    fit: Callable[[Bags], Fitted]
    fitted: Fitted
    calibration: Calibration = Calibration()
    held: np.ndarray = np.empty(0)


class _Scored(NamedTuple):
    """Log odds of the rows, and their calibration."""

    raw: np.ndarray
    calibration: Calibration

    @property
    def mapped(self) -> np.ndarray:
        return self.calibration(self.raw)


@dataclass(frozen=True)
class _Fits:
    """Fits of one learner to rows."""

    X: np.ndarray
    learner: Any
    settings: Rounds
    seed: int

    def to_counts(self, bags: Bags) -> _Stage:
        def fit(bags: Bags) -> Fitted:
            fitted = self.learner.from_counts(self.X, bags, seed=self.seed)
            return _asked_once(fitted) if self.settings.unseen else _without_rows(fitted)

        return _Stage(fit, fit(bags))

    def to_labels(self, told: Labelling, bags: Bags) -> _Stage:
        def fit(bags: Bags) -> Fitted:
            weight = self.settings.count_weight
            fitted = self.learner.from_labels(self.X, told.posterior, bags, count_weight=weight, seed=self.seed)
            return _asked_once(fitted)

        return _Stage(fit, fit(bags))

    def log_odds(self, stage: _Stage, bags: Bags, held: np.ndarray) -> _Scored:
        """Give calibrated log odds for labelling: from fits that did not see the bag, where there are enough bags."""
        shown = without_counts(bags, held)
        folds = self.settings.folds_for(shown)
        out_of_bag = stage.fitted.details.get("out_of_bag")
        if out_of_bag is not None:  # as from a fit for each bag without it, at once
            z = out_of_bag()
            return _Scored(z, calibrated(z, bags, ~held, slope="free" if folds else "one"))
        if folds:
            z = cross_fitted(stage.fit, self.X, shown, stage.fitted, folds, self.seed)
            return _Scored(z, calibrated(z, bags, ~held, slope="free"))
        z = np.asarray(stage.fitted.logits(self.X), float)
        return _Scored(z, calibrated(z, bags, ~held, slope="one"))

    def judged(self, stage: _Stage, bags: Bags, held: np.ndarray) -> _Stage:
        """Calibrate a fit on the bags held out, and tell their counts; without any, on scores that are out of bag.

        Where there are neither, only the base rate is set right.
        """
        if held.any():
            z = np.asarray(stage.fitted.logits(self.X), float)
            found = calibrated(z, bags, held, slope="free")
            return stage._replace(calibration=found, held=count_score(found(z), bags, held).log_likelihood[held])
        out_of_bag = stage.fitted.details.get("out_of_bag")
        z = np.asarray(stage.fitted.logits(self.X) if out_of_bag is None else out_of_bag(), float)
        free = out_of_bag is not None and self.settings.folds_for(bags) > 0
        return stage._replace(calibration=calibrated(z, bags, slope="free" if free else "one"))


def _asked_once(fitted: Fitted) -> Fitted:
    """Keep the log odds out of bag, which take as long as a fit: calibration and labelling both ask for them."""
    out_of_bag = fitted.details.get("out_of_bag")
    if out_of_bag is None:
        return fitted
    return replace(fitted, details={**fitted.details, "out_of_bag": cache(out_of_bag)})


def _without_rows(fitted: Fitted) -> Fitted:
    """Leave out the scores of the rows of the fit, which hold all of these."""
    return replace(fitted, details={name: told for name, told in fitted.details.items() if name != "out_of_bag"})


def _note(
    rounds: list[Round], told: Labelling | None, stages: list[_Stage], best: int, began: float, tell: Any
) -> bool:
    """Record a round, and say whether it is better than the best one before: always, where nothing was held out."""
    now, gains = stages[-1], stages[-1].held - stages[best].held
    mean, error, held = (float("nan"),) * 3
    if len(gains):
        held, mean = float(now.held.mean()), float(gains.mean())
        error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    labelling = None if told is None else replace(told, posterior=np.empty(0), beliefs=None)
    slope = now.calibration.slope
    rounds.append(Round(len(rounds), labelling, held, mean, error, slope, time.perf_counter() - began))
    if tell is not None:
        tell(rounds[-1])
    return not len(gains) or mean > error
