"""The published method: hard labels by belief propagation, a net on them, again on its embedding.

Law: there is no term of the learner in the joint, so a round sees the last one through its neighbours alone. At the
published strengths messages oscillate, and the labels are read off them all the same; each round says so.

Graph, joint, messages, labels, optimiser and the rule of stopping are as published. What differs by default: the net is
a small one, as the published one has seven million weights; without labels of a validation set, which the paper reads,
the last epoch is taken; a net starts as the other nets do, near the base rate; and of many rows neighbours are found by
an index that may miss some.

Reference: Havaldar, Sharma, Sareen, Shanmugam, Raghuveer (2024), Learning from label proportions: bootstrapping
supervised learners via belief propagation, ICLR.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.inference.graphs import propagated
from lawful.models.llp import Bags, calibrated
from lawful.models.llp.estimator import CountClassifier
from lawful.models.llp.fitting import Learned, from_one_label
from lawful.models.llp.labels.held_out import held_out, without_counts
from lawful.models.llp.labels.likelihood import count_score
from lawful.models.llp.learners import soft_singletons
from lawful.models.llp.training.fitted import Fitted
from lawful.models.llp.training.losses import cross_entropy, labels_and_counts, summed, told
from lawful.models.llp.training.network import Network, Recipe, fit_network
from lawful.models.llp.training.network_program import Batch, Terms

from .published_graph import published_graph, similar
from .published_settings import Published, coded

__all__ = [
    "Published",
    "PublishedClassifier",
    "PublishedFit",
    "PublishedRound",
    "fit_published",
    "labels_and_aggregates",
    "stopped",
]

BAG_HEAD = 64  # units between the mean of a bag and its share of ones


@dataclass(frozen=True)
class PublishedRound:
    """What happened in a round.

    Attributes:
        number: of the round, from 1.
        verdict: of the run of messages.
        residual: the largest change that one more sweep would make.
        form: of the bags' factors.
        edges: number of pairs of neighbours.
        ones: share of the rows that were labelled one.
        epoch: of the net that was taken, from 0, and by what: "instance" reads labels.
        seconds: time.
    """

    number: int
    verdict: str
    residual: float
    form: str
    edges: int
    ones: float
    epoch: tuple[int, str]
    seconds: float


@dataclass(frozen=True)
class PublishedFit:
    """The last net, the last beliefs of the rows (n,), and the rounds."""

    fitted: Fitted
    posterior: np.ndarray
    rounds: tuple[PublishedRound, ...]


class PublishedClassifier(CountClassifier):
    """The published method behind the conventions of `LabelProportionClassifier`.

    Args:
        settings: of the method, see `Published`.
        random_state: seed of all randomness.
        verbose: 1 prints a line for each round.

    Attributes: those of `LabelProportionClassifier`, of which `labelling_`, `graph_` and `coupling_` are None.

    >>> X, bags = np.array([[-1.0], [-2.0], [1.0], [2.0]]), [0, 0, 1, 1]
    >>> model = PublishedClassifier(Published(rounds=1, epochs=1, hidden=(4,), iterations=3), random_state=0)
    >>> model.fit_bags(X, bags, [1, 1]).rounds_[0].form
    'pairwise'
    """

    count_noise = None  # counts are exact

    def __init__(self, settings: Any = None, *, random_state: Any = None, verbose: Any = 0) -> None:
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def _learned(
        self, Z: np.ndarray, bags: Bags, made: bool, *, seed: int, tell: Callable[[Any], None] | None
    ) -> Learned:
        settings = Published() if self.settings is None else self.settings
        if not isinstance(settings, Published):
            raise LawfulError(f"settings={settings!r}. Fix: give Published(...), or None for what was published.")
        if settings.validation is not None:
            rows, labels = settings.validation
            settings = replace(settings, validation=(self._on_scale(rows), coded(labels, self.classes_)))
        alone = from_one_label(Z, bags)
        if alone is not None:
            return alone
        told = fit_published(Z, bags, settings, seed=seed, tell=tell)
        return Learned(told.fitted, told.posterior, rounds=told.rounds, best=len(told.rounds))


def fit_published(
    X: np.ndarray,
    bags: Bags,
    settings: Published = Published(),
    *,
    seed: int = 0,
    tell: Callable[[PublishedRound], None] | None = None,
) -> PublishedFit:
    """Fit as published.

    Args:
        X: rows (n, d).
        bags: bags with exact counts of ones.
        settings: see `Published`.
        seed: of nets and held-out bags.
        tell: is called with each round.

    Raises: LawfulError as `published_graph`.
    """
    held = held_out(bags, seed) if settings.selection == "bag" else np.zeros(bags.n_bags, bool)
    shown = without_counts(bags, held)
    points, rounds = X, list[PublishedRound]()
    for number in range(1, settings.rounds + 1):
        began = time.perf_counter()
        edges, kernel = similar(points, shown, settings.n_neighbors, settings.edge_rule, seed)
        graph = published_graph(
            shown, edges, kernel, bag=settings.bag, similarity=settings.similarity, form=settings.bag_form
        )
        found = propagated(graph, damping=settings.damping, max_iters=settings.iterations, certify=False)
        posterior = np.asarray(found.beliefs["y"])[:, 1]
        labels = (posterior >= settings.threshold).astype(float)
        network = _fitted(X, labels, shown, settings, seed)
        epoch, by = _selected(network, X, bags, held, settings)
        points = network.hidden(X, epoch, settings.layer)
        rounds.append(
            PublishedRound(
                number,
                found.verdict,
                float(found.info["residual"]),
                settings.bag_form,
                len(edges),
                float(labels.mean()),
                (epoch, by),
                time.perf_counter() - began,
            )  # fmt: skip
        )
        if tell is not None:
            tell(rounds[-1])
    logits = partial(_logits, network=network, epoch=epoch)
    return PublishedFit(Fitted(logits, logits, {"network": network}), posterior, tuple(rounds))


def _fitted(X: np.ndarray, labels: np.ndarray, bags: Bags, settings: Published, seed: int) -> Network:
    """Fit a net to the labels, in batches of rows, or where bags weigh anything of whole bags."""
    recipe = Recipe(hidden=settings.hidden, epochs=settings.epochs, weight_decay=0.0, last_rate=1.0)
    numbers = told(labels, bags.n_rows, settings.aggregate)
    if not settings.aggregate:
        return fit_network(X, soft_singletons(labels, bags), labels_and_counts, recipe=recipe, seed=seed, told=numbers)
    places = replace(bags, known=bags.sizes > 0)  # so that one compiled program serves any choice of bags
    recipe = replace(recipe, bag_head=BAG_HEAD)
    return fit_network(X, places, labels_and_aggregates, recipe=recipe, seed=seed, told=numbers, used=bags.known)


def labels_and_aggregates(batch: Batch) -> Terms:
    """Return the sum over the members of the cross-entropy to labels, and of that of the bag to its share of ones."""
    assert batch.told is not None and batch.bag is not None
    label, weight, bag_weight = batch.told[..., 0], batch.told[..., 1], batch.told[..., 2]
    fit = summed(weight * cross_entropy(batch.z, label), batch)
    share = batch.counts / jnp.maximum(batch.sizes, 1)
    return Terms(fit.total + bag_weight[:, 0] * batch.sizes * cross_entropy(batch.bag, share), fit.weight)


def _selected(network: Network, X: np.ndarray, bags: Bags, held: np.ndarray, settings: Published) -> tuple[int, str]:
    """Choose the epoch and say by what: without held-out bags it is the last one.

    The rate does not fall, so an epoch is the same whether or not others follow, and to choose is to stop.
    """
    epochs = range(len(network.losses))
    if settings.selection == "instance":
        from sklearn.metrics import roc_auc_score

        rows, labels = settings.validation
        scores = (float(roc_auc_score(labels, network.logits(rows, e))) for e in epochs)
    elif settings.selection == "bag" and held.any():
        scores = (_told(network.logits(X, e), bags, held) for e in epochs)
    else:
        return len(epochs) - 1, "last"
    return stopped(scores, settings.patience, settings.gain), settings.selection


def stopped(scores: Iterable[float], patience: int, gain: float) -> int:
    """Give the place of the best score before so many in a row are no gain.

    >>> stopped([0.5, 0.6, 0.60005, 0.6, 0.9], patience=2, gain=1e-4), stopped([0.5, 0.6, 0.6, 0.9], 2, 1e-4)
    (1, 3)
    """
    best, top = 0, -np.inf
    for place, score in enumerate(scores):
        if score > top + gain:
            best, top = place, score
        elif place - best >= patience:
            break
    return best


def _told(z: np.ndarray, bags: Bags, held: np.ndarray) -> float:
    """Give the mean log likelihood of the counts that were held out, by calibrated log odds."""
    return float(count_score(calibrated(z, bags, held, slope="free")(z), bags, held).log_likelihood[held].mean())


def _logits(X: np.ndarray, network: Network, epoch: int) -> np.ndarray:
    return network.logits(X, epoch)
