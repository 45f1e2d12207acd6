"""Estimator: what classifiers that learn from counts share, behind scikit-learn's conventions.

Law: `fit(X, y, bags)` reads nothing of y but its counts within bags: permuting y within a bag, or renaming bags, gives
the same fit, bit by bit; rows in another order give it to rounding in single precision, log odds to 1e-3. Without bags
nothing is fitted, since every label would be read: that is asked for by name, `bags="rows"`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from lawful.errors import LawfulError
from lawful.inference import Journal

from .bags.bags import Bags
from .bags.checks import check_classes, check_counted, check_settings
from .bags.feature_bags import warned
from .bags.names import named_classes
from .bags.noise import Sampled
from .covariates import scaling_of
from .fitting import Learned
from .inputs import bags_of_labels, counted_bags, probabilities, reweighed
from .labels.likelihood import count_log_likelihood
from .neighbours.coupling import Coupling
from .remarks import missed
from .transduction import check_kind, transduced

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise LawfulError(
        "classifiers that learn from label proportions need scikit-learn, which is not installed. "
        "Fix: pip install 'lawful[llp]'."
    ) from error

__all__ = ["CountClassifier"]

OUTSIDE = ("checkpoint", "verbose")  # settings that change nothing of a fit


class CountClassifier(ClassifierMixin, BaseEstimator, ABC):
    """A classifier of rows whose labels are seen only as counts within bags; what learns is a subclass's.

    A subclass has settings `count_noise`, `random_state` and `verbose`, and `checkpoint` if its fits can be taken up
    again; `_learned` learns from rows on one scale.
    """

    count_noise: Any
    random_state: Any
    verbose: Any
    checkpoint: Any = None
    coupling_: Coupling | None

    @abstractmethod
    def _learned(
        self, Z: np.ndarray, bags: Bags, made: bool, *, seed: int, tell: Callable[[Any], None] | None
    ) -> Learned:
        """Learn from rows on one scale (n, d) and counts; `made` says that features made the bags."""

    def _couple_rows(self, X: Any) -> Coupling | None:
        """Couple neighbours among other rows as those of the fit were; None where they were not."""
        return None

    def fit(self, X: Any, y: Any, bags: Any = None) -> Self:
        """Fit to the counts of labels within bags.

        Args:
            X: rows (n, d).
            y: labels of the rows (n,), of which nothing but counts within bags is read.
            bags: name of the bag of each row (n,), numbers or text, -1 for a row in none; a sparse membership (n_b, n);
                or "rows", with which every row is a bag of its own, every label is read, and the fit is supervised.

        Raises: ObservationError without bags, and for bags that do not fit; ValueError as scikit-learn's classifiers
            do; CheckpointMismatch where the folder `checkpoint` is of another fit, with what differs.
        """
        X, y = validate_data(self, X, y)
        check_settings(self.get_params(deep=False))
        check_classification_targets(y)
        self.classes_, bagged = bags_of_labels(y, bags)
        self.count_noise_ = self.count_noise  # of counts that are reported later
        return self._fit(X, bagged)

    def fit_bags(
        self, X: Any, bags: Any, counts: Any = None, proportions: Any = None, *, classes: Any = None,
        count_noise: Any = None, n_trials: Any = None,
    ) -> Self:  # fmt: skip
        """Fit to counts, or to proportions.

        Args:
            X: rows (n, d).
            bags: name of the bag of each row (n,), as for `fit`; a sparse membership (n_b, n); or `Bags`.
            counts: of the second class in each bag, by name: a dictionary, or a Series of pandas by its index; of each
                class a frame of pandas, a column a class. Where bags are numbers from 0, or a membership, also an array
                in their order, (n_b,) or (n_b, K). NaN where a count is not known.
            proportions: the same over the sizes of the bags.
            classes: labels (K,); by default the columns of a frame, else 0 to K - 1.
            count_noise: in place of the estimator's.
            n_trials: how many members of each bag, drawn at random, the counts or proportions are of, as for `counts`,
                or one number for all; None where everybody was counted.

        Raises: ObservationError for counts that cannot be, with the bag.
        """
        X = validate_data(self, X)
        noise = self.count_noise if count_noise is None else count_noise
        check_settings(self.get_params(deep=False) | {"count_noise": noise})
        classes = named_classes(counts, proportions) if classes is None else classes
        bagged = counted_bags(len(X), bags, counts, proportions, noise, "fit_bags", n_trials=n_trials)
        check_counted(bagged, "fit_bags")
        self.classes_ = check_classes(classes, bagged.n_classes)
        self.count_noise_ = bagged.noise
        return self._fit(X, bagged)

    def decision_function(self, X: Any) -> np.ndarray:
        """Give log odds of the second class (n,), or log scores of all classes (n, K)."""
        check_is_fitted(self, "learner_")
        X = validate_data(self, X, reset=False)
        return np.asarray(self.learner_.logits(self.scaling_(X)), float)

    def predict_proba(self, X: Any, class_prior: Any = None) -> np.ndarray:
        """Give the probability of each class (n, K).

        Args:
            X: rows (n, d).
            class_prior: shares of the classes where the rows come from (K,), if they are others than in the counts.
        """
        found = probabilities(self.decision_function(X), len(self.classes_))
        return found if class_prior is None else reweighed(found, self.class_prior_, class_prior)

    def predict(self, X: Any) -> np.ndarray:
        """Give the most probable class of each row (n,)."""
        probability = self.predict_proba(X)
        return self.classes_[np.argmax(probability, axis=1)]

    def bag_log_likelihood(
        self, X: Any, bags: Any, counts: Any = None, proportions: Any = None, *, count_noise: Any = None,
        n_trials: Any = None,
    ) -> float:  # fmt: skip
        """Give the mean of log P(count | X) over bags with a known count: how well counts are told, without labels.

        Args:
            X: rows (n, d).
            bags: as for `fit_bags`.
            counts: as for `fit_bags`.
            proportions: as for `fit_bags`.
            count_noise: as for `fit_bags`, by default that of the fit; `Bags` have their own.
            n_trials: as for `fit_bags`, by default that of the fit, if it was one number.
        """
        z = self.decision_function(X)
        bagged = self._counted(len(z), bags, counts, proportions, count_noise, n_trials, "bag_log_likelihood")
        check_counted(bagged, "bag_log_likelihood")
        logs = np.asarray(count_log_likelihood(z, bagged))
        return float(np.mean(logs[bagged.known]))

    def transduce(
        self, X: Any, bags: Any, counts: Any = None, kind: str = "marginal", proportions: Any = None,
        details: bool = False, *, count_noise: Any = None, n_trials: Any = None,
    ) -> Any:  # fmt: skip
        """Tell labels of rows whose bags were counted, with the neighbours among them where the fit had any.

        Args:
            X: rows (n, d).
            bags: as for `fit_bags`.
            counts: as for `fit_bags`.
            kind: "marginal" for P(second class | counts) (n,) or of all classes (n, K), "map" for the most probable
                labels, "sample" for a draw; these two have exactly the reported counts, where these are exact.
            proportions: as for `fit_bags`.
            details: whether to return what is known of the answer: a `Labelling` with its verdict, or the most probable
                labels with their score and an upper bound of all scores.
            count_noise: as for `bag_log_likelihood`.
            n_trials: as for `bag_log_likelihood`.

        Raises: LawfulError for another kind, and for "sample" where bags overlap; ObservationError where no labels have
            the counts of bags that overlap.
        """
        check_kind(kind)
        z = self.decision_function(X)
        bagged = self._counted(len(z), bags, counts, proportions, count_noise, n_trials, "transduce")
        seed = self._seed() if kind == "sample" else 0
        found = transduced(kind, z, bagged, self._couple_rows(X), seed=seed)
        if kind == "marginal":
            return found if details else found.posterior
        if kind == "map":
            return found if details else self.classes_[found.labels]
        return self.classes_[found]

    @property
    def max_posterior_(self) -> np.ndarray:
        """Probability of the most probable class of each fitted row (n,), which is how much the counts reveal of it."""
        check_is_fitted(self, "posterior_")
        q = self.posterior_
        return np.maximum(q, 1 - q) if q.ndim == 1 else q.max(axis=1)

    @property
    def yardstick_(self) -> str:
        """What the counts are worth, in labels."""
        check_is_fitted(self, "n_bags_")
        return f"{self.n_bags_} bags are worth about {self.n_bags_} labels, if their rows were put together at random."

    def _fit(self, X: np.ndarray, bags: Bags) -> Self:
        made = warned(X, bags, getattr(self, "feature_names_in_", None))
        rate = bags.base_rate
        self.n_bags_ = bags.n_bags
        self.class_prior_ = np.array([1 - rate, rate] if np.ndim(rate) == 0 else rate)[: len(self.classes_)]
        self.scaling_ = scaling_of(X[bags.memberships > 0])
        tell = print if self.verbose else None
        with self._journal(X, bags) as journal:
            found = self._learned(self.scaling_(X), bags, bool(made), seed=journal.seed, tell=tell)
        self.learner_, self.posterior_, self.labelling_ = found.fitted, found.posterior, found.labelling
        self.n_iter_ = int(found.fitted.details.get("iterations", 1))
        self.rounds_, self.best_round_ = found.rounds, found.best
        self.notes_ = made + found.notes + missed(found.labelling, bags) + tuple(journal.notes)
        self.graph_, self.coupling_ = found.near.graph, found.near.coupling
        self.identifiability_, self.residual_correlation_ = found.near.told, found.near.beyond
        return self

    def _journal(self, X: np.ndarray, bags: Bags) -> Journal:
        """Open the journal of a fit, in which a seed that was drawn is none of its settings."""
        seed = self._seed()
        settings = {name: value for name, value in self.get_params(deep=False).items() if name not in OUTSIDE}
        settings["random_state"] = None if self.random_state is None else seed
        members = {"offsets": bags.offsets, "members": bags.members}
        data = {"X": X, "bags": members, "counts": bags.counts, "known": bags.known, "count_noise": bags.noise}
        return Journal(self.checkpoint, "label proportions", data, settings, seed=seed)

    def _counted(
        self, n_rows: int, bags: Any, counts: Any, proportions: Any, noise: Any, n_trials: Any, where: str
    ) -> Bags:
        """Take counts of other rows, reported as those of the fit were if nothing else is said."""
        if noise is not None:
            check_settings({"count_noise": noise})
        if noise is None and n_trials is None and not isinstance(bags, Bags):
            noise = self.count_noise_
            if isinstance(noise, Sampled) and np.ndim(noise.trials):
                raise LawfulError(
                    f"{where}: the fit had a number of drawn members for each of its bags. Fix: give n_trials= of "
                    "these bags; Bags.from_ids(ids, counts), where everybody was counted."
                )
        return counted_bags(n_rows, bags, counts, proportions, noise, where, n_trials=n_trials)

    def _on_scale(self, X: Any) -> np.ndarray:
        """Give rows (n, d) on the scale of the fit."""
        return self.scaling_(validate_data(self, X, reset=False))

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))
