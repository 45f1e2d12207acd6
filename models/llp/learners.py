"""Learners: how a classifier of rows is fitted, first to the counts of bags, then to probabilities of labels.

Law: `from_counts` sees covariates and counts; `from_labels` sees a probability of each row's label too, which is all
that a round of labelling hands on. A row in no bag with a known count is not fitted to.

Rows with probabilities q become two rows with weights q and 1 - q for a learner that knows classes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from lawful.errors import LawfulError

from .bag_process import BagProcess
from .bags.bags import Bags
from .bags.noise import Soft
from .count_process import CountProcess
from .inputs import inner_shares
from .training.bag_ridge import BagRidge
from .training.fitted import Fitted
from .training.losses import labels_and_counts, told
from .training.network import Recipe, fit_network

__all__ = ["FromClassifier", "Learner", "Net", "Process", "Ridge", "embedded", "learner_of"]

STEPS = 400  # of a net at least, however few the bags
ENOUGH = 50  # bags, for the mode of a process to be told
MANY = 200_000  # rows that the likelihood is climbed with
CHUNK = 1 << 16  # rows that are scored at once
LEAST = 1e-3  # probabilities that a classifier of another library may give


@runtime_checkable
class Learner(Protocol):
    """A way to fit log odds (n,), or log scores of classes (n, K).

    What it may have besides: `rounds`, how many help at most; `count_weight`, how much the counts weigh in a round;
    `hidden_neighbors`, whether neighbours are those of a hidden layer.
    """

    def from_counts(self, X: np.ndarray, bags: Bags, *, seed: int) -> Fitted:
        """Fit to the counts of bags."""

    def from_labels(self, X: np.ndarray, labels: np.ndarray, bags: Bags, *, count_weight: float, seed: int) -> Fitted:
        """Fit to probabilities of labels, (n,) or (n, K), and to the counts as strongly as the weight says."""


@dataclass(frozen=True)
class Ridge:
    """Bag ridge; its score is taken for log odds by the slope of the logistic function at the base rate.

    >>> X, bags = np.array([[-1.0], [-2.0], [1.0], [2.0]]), Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> bool(Ridge().from_counts(X, bags, seed=0).logits(X)[2] > 0)
    True
    """

    def from_counts(self, X: np.ndarray, bags: Bags, *, seed: int) -> Fitted:
        """Fit to sums over bags."""
        fitted = BagRidge().fit(X, bags, seed=seed)
        rows = np.flatnonzero(bags.memberships)
        rate = float(inner_shares(bags))
        centre = float(fitted.decision_function(X[rows]).mean())
        logits = partial(_linear, score=fitted.decision_function, rate=rate, centre=centre)
        return replace(fitted, logits=logits)

    def from_labels(self, X: np.ndarray, labels: np.ndarray, bags: Bags, *, count_weight: float, seed: int) -> Fitted:
        """Fit to the probabilities themselves; counts are in them already, and are not looked at again."""
        return self.from_counts(X, soft_singletons(labels, bags), seed=seed)


@dataclass(frozen=True)
class Process:
    """A Gaussian process: of log odds by the exact likelihood of the counts, or on sums of bags.

    Sums are taken of fewer than 50 bags, where the posterior is wide and its mode in log odds says less than a mean; of
    more than 200,000 rows, which they go over once and the likelihood some twenty times; and where bags overlap.
    `details["out_of_bag"]` scores rows without their own bag.

    >>> X, bags = np.array([[-1.0], [-2.0], [1.0], [2.0]]), Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> bool(Process(features=20).from_counts(X, bags, seed=0).logits(X)[2] > 0)
    True
    """

    features: int = 1000
    rounds: ClassVar[int] = 0  # the mode of the exact likelihood is where rounds of labelling and fitting come to rest

    def from_counts(self, X: np.ndarray, bags: Bags, *, seed: int) -> Fitted:
        """Fit to the counts."""
        process = BagProcess(features=self.features)
        sizes = bags.sizes[bags.known & (bags.sizes > 0)]
        exact = len(sizes) >= ENOUGH and sizes.sum() <= MANY and not bags.overlapping
        return (CountProcess(process) if exact else process).fit(X, bags, seed=seed % 2**16)

    def from_labels(self, X: np.ndarray, labels: np.ndarray, bags: Bags, *, count_weight: float, seed: int) -> Fitted:
        """Fit to labels where they are certain, else to the probabilities; the counts are not looked at again."""
        alone = soft_singletons(labels, bags)
        if np.all((labels == 0) | (labels == 1)):
            fitted = self.from_counts(X, Bags.from_labels(labels, alone.ids), seed=seed)
        else:
            fitted = BagProcess(features=self.features).fit(X, alone, seed=seed % 2**16)
        kept = {name: told for name, told in fitted.details.items() if name != "out_of_bag"}
        return replace(fitted, details=kept)  # without the row alone a score has still seen its neighbours' labels


@dataclass(frozen=True)
class Net:
    """A net, by soft labels and the likelihood of the counts.

    Attributes:
        recipe: of the net.
        first: the learner that is fitted to counts, or None for the net itself, by their exact likelihood.
        count_weight: of the likelihood of the counts beside the cross-entropy to the labels of a round.
        hidden_neighbors: whether rows are near each other in the last hidden layer, from the second round on, in place
            of in the covariates.

    >>> X, bags = np.array([[-1.0], [-2.0], [1.0], [2.0]]), Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> bool(Net(Recipe(epochs=2), first=Ridge()).from_counts(X, bags, seed=0).logits(X)[2] > 0)
    True
    """

    recipe: Recipe = field(default_factory=Recipe)
    first: Any = None
    count_weight: float = 1.0
    hidden_neighbors: bool = False

    def __post_init__(self) -> None:
        """Check the weight."""
        if not self.count_weight >= 0:
            raise LawfulError(f"Net: count_weight={self.count_weight!r}. Fix: give a number from 0.")

    def from_counts(self, X: np.ndarray, bags: Bags, *, seed: int) -> Fitted:
        """Fit by the first learner, or by maximum likelihood of the counts."""
        if self.first is not None:
            return self.first.from_counts(X, bags, seed=seed)
        return self._fit(X, bags, told(None, bags.n_rows, 1.0), seed)

    def from_labels(self, X: np.ndarray, labels: np.ndarray, bags: Bags, *, count_weight: float, seed: int) -> Fitted:
        """Fit by cross-entropy to the labels, and the likelihood of the counts times the weight."""
        weight = count_weight * float(bags.sizes[bags.known].mean())  # a mean over bags, where labels are one over rows
        return self._fit(X, bags, told(labels, bags.n_rows, weight), seed)

    def _fit(self, X: np.ndarray, bags: Bags, numbers: np.ndarray, seed: int) -> Fitted:
        places = replace(bags, known=bags.sizes > 0)  # so that one compiled program serves any choice of bags
        recipe = recipe_for(self.recipe, places)
        network = fit_network(X, places, labels_and_counts, recipe=recipe, seed=seed, told=numbers, used=bags.known)
        logits = partial(_forward, parameters=network.parameters)
        told = {"network": network, "losses": network.losses, "iterations": len(network.losses)}
        return Fitted(logits, logits, told)


@dataclass(frozen=True)
class FromClassifier:
    """A classifier of scikit-learn's kind that takes `sample_weight`, on the labels that another learner starts.

    Attributes:
        make: from a seed to a new classifier, not fitted.
        first: the learner whose posterior labels are the first to be fitted.

    >>> from sklearn.naive_bayes import GaussianNB
    >>> X, bags = np.array([[-1.0], [-2.0], [1.0], [2.0]]), Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> learner, labels = FromClassifier(lambda seed: GaussianNB(), Ridge()), np.array([0.1, 0.2, 0.8, 0.9])
    >>> bool(learner.from_labels(X, labels, bags, count_weight=0.0, seed=0).logits(X)[2] > 0)
    True
    """

    make: Callable[[int], Any]
    first: Any = field(default_factory=Process)

    def from_counts(self, X: np.ndarray, bags: Bags, *, seed: int) -> Fitted:
        """Fit the first learner: labels come from it before this one has any."""
        return self.first.from_counts(X, bags, seed=seed)

    def from_labels(self, X: np.ndarray, labels: np.ndarray, bags: Bags, *, count_weight: float, seed: int) -> Fitted:
        """Fit to two rows for each, weighed by the probabilities of the two labels."""
        rows = np.flatnonzero(fitted_rows(bags))
        weights = np.concatenate([1 - labels[rows], labels[rows]])
        classes = np.repeat([0, 1], len(rows))
        used = weights > 0
        model = self.make(seed)
        _refuse_without_weights(model)
        model.fit(np.concatenate([X[rows], X[rows]])[used], classes[used], sample_weight=weights[used])
        logits = partial(_log_odds, model=model)
        iterations = int(np.max(getattr(model, "n_iter_", 1), initial=1))
        return Fitted(logits, logits, {"model": model, "iterations": iterations})


def learner_of(estimator: Any) -> Learner:
    """Give the learner of a name, of a classifier of scikit-learn, or the learner itself.

    Raises: LawfulError for anything else.

    >>> learner_of("ridge")
    Ridge()
    """
    name = estimator if isinstance(estimator, str) else None  # others need not be comparable
    if name == "ridge":
        return Ridge()
    if name == "mlp":
        return Net(first=Process())
    if name == "logistic":
        return FromClassifier(_logistic)
    if hasattr(estimator, "predict_proba") and hasattr(estimator, "get_params") and not isinstance(estimator, type):
        _refuse_without_weights(estimator)
        return FromClassifier(partial(_cloned, base=estimator))
    if isinstance(estimator, Learner) and not isinstance(estimator, type):
        return estimator
    raise LawfulError(
        f"estimator={estimator!r}. Fix: give 'mlp', 'ridge', 'logistic', a classifier of scikit-learn with "
        "predict_proba (an object, not its class), or an object with from_counts and from_labels."
    )


def _refuse_without_weights(model: Any) -> None:
    """Refuse a classifier whose fit has no place for weights: by name, or handed on, which a pipeline does not do."""
    taken = signature(model.fit).parameters
    handed_on = any(each.kind is each.VAR_KEYWORD for each in taken.values()) and not hasattr(model, "steps")
    if "sample_weight" not in taken and not handed_on:
        raise LawfulError(
            f"estimator={type(model).__name__} does not take sample_weight, which soft labels are given by. Fix: "
            "choose a classifier whose fit does; of a pipeline give its last step, as rows are standardised already."
        )


def embedded(fitted: Fitted | None, X: np.ndarray) -> np.ndarray | None:
    """Give the last hidden layer of each row (n, width), where a net was fitted; None elsewhere.

    >>> embedded(None, np.zeros((2, 1))) is None
    True
    """
    network = None if fitted is None else fitted.details.get("network")
    return None if network is None else network.hidden(X)


def recipe_for(recipe: Recipe, bags: Bags) -> Recipe:
    """Give enough epochs for `STEPS` steps where bags are few, and batches of no more than an eighth of the rows.

    >>> recipe_for(Recipe(), Bags.from_ids(np.arange(800) // 8, np.ones(100))).epochs
    50
    """
    usable = bags.known & (bags.sizes > 0)
    rows, size = int(bags.sizes[usable].sum()), float(bags.sizes[usable].mean())
    batch = int(min(recipe.rows, max(32, rows // 8)))
    steps = max(1, -(-rows // max(batch, int(size))))
    epochs = recipe.epochs if recipe.epochs is not None else max(recipe.epochs_for(size), -(-STEPS // steps))
    return replace(recipe, rows=batch, epochs=epochs)


def soft_singletons(labels: np.ndarray, bags: Bags) -> Bags:
    """Make a bag of one of each row in a bag with a known count, whose "count" is the probability of its label.

    >>> soft_singletons(np.array([0.2, 0.4, 0.6]), Bags.from_ids([0, -1, 0], [1])).counts.tolist()
    [0.2, 0.6]
    """
    rows = fitted_rows(bags)
    return Bags.from_ids(np.where(rows, np.cumsum(rows) - 1, -1), labels[rows], noise=Soft(1.0))


def fitted_rows(bags: Bags) -> np.ndarray:
    """Mark the rows that are in some bag with a known count (n,).

    >>> fitted_rows(Bags.from_ids([0, -1], [1])).tolist()
    [True, False]
    """
    marked = np.zeros(bags.n_rows, bool)
    marked[bags.members[bags.known[bags.owners]]] = True
    return marked


def _forward(X: np.ndarray, parameters: Any) -> np.ndarray:
    """Apply a net in double precision, so that the log odds of a row do not depend on the rows beside it."""
    if len(X) > CHUNK:
        return np.concatenate([_forward(X[at : at + CHUNK], parameters) for at in range(0, len(X), CHUNK)])
    layer = np.asarray(X, float)
    for weights, bias in parameters[:-1]:
        layer = np.maximum(layer @ np.asarray(weights, float) + np.asarray(bias, float), 0)
    weights, bias = parameters[-1]
    return layer @ np.asarray(weights, float)[:, 0] + float(bias[0])


def _linear(X: np.ndarray, score: Callable[[np.ndarray], np.ndarray], rate: float, centre: float) -> np.ndarray:
    return np.log(rate / (1 - rate)) + (score(X) - centre) / (rate * (1 - rate))


def _log_odds(X: np.ndarray, model: Any) -> np.ndarray:
    """Read log odds off probabilities, within what a count may need to overrule."""
    probability = model.predict_proba(X)
    if probability.shape[1] == 1:
        return np.full(len(X), np.log((1 - LEAST) / LEAST) * (1 if model.classes_[0] == 1 else -1))
    chance = np.clip(probability[:, 1], LEAST, 1 - LEAST)
    return np.log(chance) - np.log1p(-chance)


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.1, max_iter=1000, random_state=seed)


def _cloned(seed: int, base: Any) -> Any:
    from sklearn.base import clone

    model = clone(base)
    open_ones = [name for name, value in model.get_params(deep=True).items() if value is None and _is_seed(name)]
    return model.set_params(**dict.fromkeys(open_ones, seed))


def _is_seed(name: str) -> bool:
    return name.split("__")[-1] == "random_state"
