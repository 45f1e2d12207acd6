"""The published method as it was written: hard labels by belief propagation, a net on them, again on its embedding.

Law: there is no term of the learner in the joint, so a round sees the last one through its neighbours alone. At the
published strengths messages oscillate, and the labels are read off them all the same; each round says so.

Reference: Havaldar, Sharma, Sareen, Shanmugam, Raghuveer (2024), Learning from label proportions: bootstrapping
supervised learners via belief propagation, ICLR.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.inference.factor_graphs import propagated

from .bags import Bags
from .baselines import Fitted
from .calibration import calibrated
from .held_out import held_out, without_counts
from .learners import recipe_for
from .likelihood import count_score
from .network import Network, Recipe, fit_network
from .published_graph import published_graph, similar
from .refitting import labels_and_aggregates, labels_and_counts, told

__all__ = ["Published", "PublishedFit", "PublishedRound", "fit_published"]

BAG_HEAD = 64  # units between the mean of a bag and its share of ones


@dataclass(frozen=True)
class Published:
    """Settings of the published method.

    Attributes:
        bag: strength of the counts, lambda_b.
        similarity: strength of the neighbours, lambda_s.
        n_neighbors: neighbours that each row looks for.
        iterations: sweeps of messages, all at once.
        damping: share of the old message.
        threshold: probability from which a label is one, tau.
        aggregate: weight of the loss of bags, Lambda: of their shares of ones, told from the mean of the last hidden
            layer over their members. The paper has 0.1 in its second algorithm; its code never calls it.
        rounds: of labels and nets.
        edge_rule: "all" neighbours, or those that the "published" code keeps: found from a bag with a count of 0 or 1.
        bag_form: "pairwise" or "count"; the same joint, whose loopy beliefs differ.
        hidden: widths of the net; the published ones are (5040, 1280, 320, 128, 64).
        epochs: at most.
        selection: of the epoch: "last", "bag" by the likelihood of held-out counts, or "instance" by the area under the
            curve of labelled rows, as published, which is then no learning from counts alone.
        validation: rows and their labels, for "instance".

    >>> Published(rounds=1, bag_form="count").similarity
    10.0
    """

    bag: float = 10.0
    similarity: float = 10.0
    n_neighbors: int = 5
    iterations: int = 100
    damping: float = 0.5
    threshold: float = 0.5
    aggregate: float = 0.0
    rounds: int = 2
    edge_rule: str = "all"
    bag_form: str = "pairwise"
    hidden: tuple[int, ...] = (64, 32)
    epochs: int = 10
    selection: str = "last"
    validation: Any = None

    def __post_init__(self) -> None:
        """Check the switches."""
        switches = {
            "edge_rule": ("all", "published"), "bag_form": ("pairwise", "count"),
            "selection": ("last", "bag", "instance"),
        }  # fmt: skip
        for name, allowed in switches.items():
            if getattr(self, name) not in allowed:
                raise LawfulError(f"Published: {name}={getattr(self, name)!r}. Fix: give one of {', '.join(allowed)}.")
        if not self.aggregate >= 0:
            raise LawfulError(f"Published: aggregate={self.aggregate!r}. Fix: give a weight of 0 or more.")
        if self.selection == "instance" and self.validation is None:
            raise LawfulError("Published: selection='instance' reads labels. Fix: give validation=(X, y).")


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
        epoch: of the net that was taken, and by what: "instance" reads labels.
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
        points = network.hidden(X)
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
    """Fit a net to the labels, and where bags weigh anything to the shares of ones in bags."""
    places = replace(bags, known=bags.sizes > 0)  # so that one compiled program serves any choice of bags
    head = BAG_HEAD if settings.aggregate else 0
    recipe = recipe_for(Recipe(hidden=settings.hidden, epochs=settings.epochs, bag_head=head), places)
    numbers = told(labels, bags.n_rows, settings.aggregate)
    loss = labels_and_aggregates if settings.aggregate else labels_and_counts
    return fit_network(X, places, loss, recipe=recipe, seed=seed, told=numbers, used=bags.known)


def _selected(network: Network, X: np.ndarray, bags: Bags, held: np.ndarray, settings: Published) -> tuple[int, str]:
    """Choose the epoch and say by what: without held-out bags it is the last one."""
    epochs = range(len(network.losses))
    if settings.selection == "instance":
        from sklearn.metrics import roc_auc_score

        rows, labels = settings.validation
        return int(np.argmax([roc_auc_score(labels, network.logits(rows, e)) for e in epochs])), "instance"
    if settings.selection == "bag" and held.any():
        scores = []
        for e in epochs:
            z = network.logits(X, e)
            scores.append(
                count_score(calibrated(z, bags, held, slope="free")(z), bags, held).log_likelihood[held].mean()
            )
        return int(np.argmax(scores)), "bag"
    return len(epochs) - 1, "last"


def _logits(X: np.ndarray, network: Network, epoch: int) -> np.ndarray:
    return network.logits(X, epoch)
