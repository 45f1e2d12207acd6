"""The classifier: learning from label proportions behind scikit-learn's conventions.

Law: `fit(X, y, bags=...)` reads nothing of y but its counts within bags: permuting y within a bag, or renaming bags,
gives the same fit, bit by bit; rows in another order give it to rounding in single precision, log odds to 1e-3.
Without bags every row is a bag of its own, and the fit is supervised.
"""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .bags.bags import Bags
from .bags.checks import check_classes, check_counted, check_settings
from .bags.feature_bags import warned
from .bags.noise import Sampled
from .covariates import scaling_of
from .fitting import learned
from .inputs import bags_of_labels, counted_bags, probabilities, reweighed
from .labels.likelihood import count_log_likelihood
from .learners import learner_of
from .neighbourhood import Neighbourhood
from .neighbours.coupling import Coupling
from .published_settings import Published, coded
from .remarks import missed, unread
from .rounds import Rounds
from .training.journal import journal_of
from .transduction import check_kind, transduced

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise LawfulError(
        "LabelProportionClassifier needs scikit-learn, which is not installed. Fix: pip install 'lawful[llp]'."
    ) from error

__all__ = ["LabelProportionClassifier"]

OUTSIDE = ("checkpoint", "verbose")  # settings that change nothing of a fit


class LabelProportionClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of rows whose labels are seen only as counts within bags.

    Args:
        base: what is learned: "process", a Gaussian process of log odds by the exact likelihood of the counts; "mlp",
            "ridge", "logistic", a classifier of scikit-learn that takes `sample_weight`, or a `Learner`.
        coupling: how strongly neighbours agree, as the spectral radius of their gains: a number below 1, "off", or
            "auto", which is off where the counts say that neighbours do not agree, or not beyond the learner, and else
            0.95.
        n_neighbors: neighbours of each row.
        metric: of the neighbours, "cosine" or "euclidean".
        graph: where neighbours are near each other: in the "covariates", or from the second round on in the last hidden
            layer of the net, "hidden".
        count_noise: how a reported count comes from the true one, as `Normal(1.0)`; None where they are equal. `fit`
            counts labels, so its counts are exact.
        rounds: of labelling and fitting; "auto" stops by the likelihood of held-out counts, and makes none for
            "process", which is at rest where they would lead it.
        cross_fit: number of folds that log odds for labelling come from, 0 for none; "auto" is 5 from 50 bags on. There
            are none where bags are fewer than folds, and for "process", whose log odds come out of bag by themselves.
        count_weight: weight of the likelihood of the counts where a net is fitted to labels; other learners have none.
        random_state: seed of all randomness.
        max_iter: epochs of a net, or iterations of a logistic regression; None for those of the recipe.
        verbose: 1 prints a line for each round.
        method: "recommended", "published" for the method of the paper, or its `Published(...)`, which says what differs
            from the paper; settings of the recommended method are then not read.
        checkpoint: a folder for the state of the fit, from which the same fit goes on after a stop, bit by bit. It is a
            setting, as what is cached where is to scikit-learn's pipelines; a folder is for one fit of one data set, so
            in a search or a validation leave it None.

    Attributes:
        classes_: labels (K,).
        class_prior_: share of each class in the counts (K,).
        n_bags_: number of bags; on random bags about the number of labels that they are worth.
        n_iter_: iterations of the learner, where it has any, else 1.
        learner_: the fitted learner; `learner_.logits` takes rows on the scale of `scaling_`.
        posterior_: P(second class) of the rows that were fitted, given all counts (n,), or of all classes (n, K);
            `max_posterior_` is the probability of the most probable class, which is how much the counts reveal.
        identifiability_: whether counts can tell that neighbours agree, with the estimate; `graph_` has neighbours and
            `coupling_` their strength.
        residual_correlation_: the same of what the learner leaves of counts that it has not seen.
        rounds_: a record of each round; `best_round_` is the one taken.
        labelling_: how `posterior_` was found: verdict, residual, strength and all else.
        count_noise_: how counts came from true ones in this fit, None where they are equal.
        notes_: what a reader should know, in words: of settings that were not read, too.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]] * 4)
    >>> fitted = LabelProportionClassifier("ridge", coupling="off").fit_bags(X, np.arange(16) // 2, [0, 2] * 4)
    >>> fitted.predict([[-1.5], [1.5]]).tolist()
    [0, 1]
    """

    def __init__(
        self, base: Any = "process", coupling: Any = "auto", n_neighbors: Any = 5, metric: Any = "cosine",
        count_noise: Any = None, rounds: Any = "auto", cross_fit: Any = "auto", count_weight: Any = 1.0,
        random_state: Any = None, max_iter: Any = None, verbose: Any = 0, method: Any = "recommended",
        graph: Any = "covariates", checkpoint: Any = None,
    ) -> None:  # fmt: skip
        self.base = base
        self.coupling = coupling
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.count_noise = count_noise
        self.rounds = rounds
        self.cross_fit = cross_fit
        self.count_weight = count_weight
        self.random_state = random_state
        self.max_iter = max_iter
        self.verbose = verbose
        self.method = method
        self.graph = graph
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any, bags: Any = None) -> LabelProportionClassifier:
        """Fit to the counts of labels within bags.

        Args:
            X: rows (n, d).
            y: labels of the rows (n,), of which nothing but counts within bags is read.
            bags: number or name of the bag of each row (n,), -1 for none; a sparse membership (n_b, n); None where each
                row is a bag of its own.

        Raises: ValueError as scikit-learn's classifiers do; ObservationError for bags that do not fit;
            CheckpointMismatch where the folder `checkpoint` is of another fit, with what differs.
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
    ) -> LabelProportionClassifier:  # fmt: skip
        """Fit to counts, or to proportions.

        Args:
            X: rows (n, d).
            bags: the number of the bag of each row, from 0, -1 for none (n,); a sparse membership (n_b, n); or `Bags`.
            counts: of the second class (n_b,), or of each class (n_b, K); NaN where it is not known.
            proportions: the same over the sizes of the bags.
            classes: labels (K,); 0 to K - 1 by default.
            count_noise: in place of the estimator's.
            n_trials: how many members of each bag, drawn at random, the counts or proportions are of (n_b,), or one
                number for all; None where everybody was counted.

        Raises: ObservationError for counts that cannot be, with the bag.
        """
        X = validate_data(self, X)
        noise = self.count_noise if count_noise is None else count_noise
        check_settings(self.get_params(deep=False) | {"count_noise": noise})
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

    def _fit(self, X: np.ndarray, bags: Bags) -> LabelProportionClassifier:
        learner = learner_of(self.base, max_iter=self.max_iter)
        folds = None if self.cross_fit == "auto" else int(self.cross_fit)
        made = warned(X, bags, getattr(self, "feature_names_in_", None))
        rounds = Rounds(None if self.rounds == "auto" else int(self.rounds), folds, self.count_weight, not made)
        rate = bags.base_rate
        self.n_bags_ = bags.n_bags
        self.class_prior_ = np.array([1 - rate, rate] if np.ndim(rate) == 0 else rate)[: len(self.classes_)]
        self.scaling_ = scaling_of(X[bags.memberships > 0])
        method = self.method
        if isinstance(method, Published) and method.validation is not None:
            rows, labels = method.validation
            rows = self.scaling_(validate_data(self, rows, reset=False))
            method = replace(method, validation=(rows, coded(labels, self.classes_)))
        settings = (learner, method, self._neighbourhood(), rounds)
        tell = print if self.verbose else None
        own = {name: value for name, value in self.get_params(deep=False).items() if name not in OUTSIDE}
        with journal_of(self.checkpoint, X, bags, own, self._seed()) as journal:
            found = learned(self.scaling_(X), bags, *settings, seed=journal.seed, tell=tell)
        self.learner_, self.posterior_, self.labelling_ = found.fitted, found.posterior, found.labelling
        self.n_iter_ = int(found.fitted.details.get("iterations", 1))
        self.rounds_, self.best_round_ = found.rounds, found.best
        usual = {name: each.default for name, each in signature(type(self)).parameters.items()}
        ignored = unread(self.get_params(deep=False), usual, bags, learner)
        self.notes_ = made + ignored + found.notes + missed(found.labelling, bags) + tuple(journal.notes)
        self.graph_, self.coupling_ = found.near.graph, found.near.coupling
        self.identifiability_, self.residual_correlation_ = found.near.told, found.near.beyond
        return self

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

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _neighbourhood(self) -> Neighbourhood:
        return Neighbourhood(self.coupling, self.n_neighbors, self.metric, self.graph)

    def _couple_rows(self, X: Any) -> Coupling | None:
        """Couple neighbours among other rows, where those of the fit were coupled."""
        if self.coupling_ is None:
            return None
        Z = self.scaling_(validate_data(self, X, reset=False))
        return self._neighbourhood().of_rows(Z, self.learner_, self.coupling_.base_rate)
