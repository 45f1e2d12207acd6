"""Classifiers of rows whose labels are seen as counts within bags: by a Gaussian process, and by training oneself.

Law: the joint of labels is `program.llp_program`, with log odds from a learner. `LabelProportionClassifier` has one
learner, whose log odds are the mode of the exact likelihood of the counts; `LabelProportionSelfTraining` fits any
learner to the labels that the joint tells, in rounds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .bags.bags import Bags
from .estimator import CountClassifier
from .fitting import Learned, learned
from .learners import Process, learner_of
from .neighbourhood import Neighbourhood
from .neighbours.coupling import Coupling
from .remarks import unread
from .rounds import Rounds

__all__ = ["LabelProportionClassifier", "LabelProportionSelfTraining"]


class _Coupled(CountClassifier):
    """A classifier that couples neighbours."""

    coupling: Any
    n_neighbors: Any
    metric: Any

    @abstractmethod
    def _learner(self) -> Any:
        """Give what learns log odds."""

    def _rounds(self, made: bool) -> Rounds:
        """Give the settings of rounds."""
        return Rounds(unseen=not made)

    def _learned(
        self, Z: np.ndarray, bags: Bags, made: bool, *, seed: int, tell: Callable[[Any], None] | None
    ) -> Learned:
        learner = self._learner()
        found = learned(Z, bags, learner, self._neighbourhood(), self._rounds(made), seed=seed, tell=tell)
        return replace(found, notes=unread(self.get_params(deep=False), bags, learner) + found.notes)

    def _neighbourhood(self) -> Neighbourhood:
        hidden = getattr(self._learner(), "hidden_neighbors", False)
        return Neighbourhood(self.coupling, self.n_neighbors, self.metric, hidden)

    def _couple_rows(self, X: Any) -> Coupling | None:
        if self.coupling_ is None:
            return None
        return self._neighbourhood().of_rows(self._on_scale(X), self.learner_, self.coupling_.base_rate)


class LabelProportionClassifier(_Coupled):
    """A Gaussian process of log odds, fitted to counts of labels within bags by their exact likelihood.

    Args:
        coupling: how strongly neighbours agree, as the spectral radius of their gains: a number below 1, "off", or
            "auto", which is off where the counts say that neighbours do not agree, or not beyond the process, and else
            0.95.
        n_neighbors: neighbours of each row.
        metric: of the neighbours, "cosine" or "euclidean".
        count_noise: how a reported count comes from the true one, as `Normal(1.0)`; None where they are equal. `fit`
            counts labels, so its counts are exact.
        n_components: number of random features that stand for the kernel of the process.
        random_state: seed of all randomness.
        verbose: 1 prints a line for each fit to counts.
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
        rounds_: a record of each round, of which the first is the fit to counts; `best_round_` is the one taken.
        labelling_: how `posterior_` was found: verdict, residual, strength and all else.
        count_noise_: how counts came from true ones in this fit, None where they are equal.
        notes_: what a reader should know, in words: of settings that were not read, too.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]] * 4)
    >>> district = ["north", "north", "south", "south"] * 4
    >>> model = LabelProportionClassifier(coupling="off", n_components=20, random_state=0)
    >>> model.fit_bags(X, district, {"north": 0, "south": 8}, classes=["no", "yes"]).predict([[-1.5], [1.5]]).tolist()
    ['no', 'yes']
    """

    def __init__(
        self, *, coupling: Any = "auto", n_neighbors: Any = 5, metric: Any = "cosine", count_noise: Any = None,
        n_components: Any = 1000, random_state: Any = None, verbose: Any = 0, checkpoint: Any = None,
    ) -> None:  # fmt: skip
        self.coupling = coupling
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.count_noise = count_noise
        self.n_components = n_components
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    def _learner(self) -> Any:
        return Process(features=int(self.n_components))


class LabelProportionSelfTraining(_Coupled):
    """Any classifier, fitted in rounds to the labels that counts, neighbours and the last round's log odds tell.

    Args:
        estimator: what is fitted: "mlp" for a net, "ridge", "logistic", a classifier of scikit-learn that takes
            `sample_weight`, or a `Learner`, as `learners.Net(Recipe(epochs=5))`.
        rounds: of labelling and fitting; "auto" stops by the likelihood of held-out counts.
        cross_fit: number of folds that log odds for labelling come from, 0 for none; "auto" is 5 from 50 bags on. There
            are none where bags are fewer than folds.
        coupling: as for `LabelProportionClassifier`.
        n_neighbors: neighbours of each row.
        metric: of the neighbours, "cosine" or "euclidean".
        count_noise: as for `LabelProportionClassifier`.
        random_state: seed of all randomness.
        verbose: 1 prints a line for each round.
        checkpoint: as for `LabelProportionClassifier`; what a learner of another library does is made again.

    Attributes: those of `LabelProportionClassifier`.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]] * 4)
    >>> fitted = LabelProportionSelfTraining("ridge", coupling="off").fit_bags(X, np.arange(16) // 2, [0, 2] * 4)
    >>> fitted.predict([[-1.5], [1.5]]).tolist()
    [0, 1]
    """

    def __init__(
        self, estimator: Any = "mlp", *, rounds: Any = "auto", cross_fit: Any = "auto", coupling: Any = "auto",
        n_neighbors: Any = 5, metric: Any = "cosine", count_noise: Any = None, random_state: Any = None,
        verbose: Any = 0, checkpoint: Any = None,
    ) -> None:  # fmt: skip
        self.estimator = estimator
        self.rounds = rounds
        self.cross_fit = cross_fit
        self.coupling = coupling
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.count_noise = count_noise
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    def _learner(self) -> Any:
        return learner_of(self.estimator)

    def _rounds(self, made: bool) -> Rounds:
        number = None if self.rounds == "auto" else int(self.rounds)
        folds = None if self.cross_fit == "auto" else int(self.cross_fit)
        return Rounds(number, folds, unseen=not made)
