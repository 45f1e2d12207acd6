"""Settings of the published method, and what its validation rows are.

Law: settings that mean nothing are refused when they are made, by their name.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.models.llp.bags.checks import is_whole

__all__ = ["Published", "coded"]

NUMBERS: dict[str, tuple[float, float]] = {
    "bag": (0.0, 1e6), "similarity": (0.0, 1e6), "damping": (0.0, 0.999), "threshold": (0.0, 1.0),
    "aggregate": (0.0, 1e6), "gain": (0.0, 1.0),
}  # fmt: skip


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
            layer over their members, which then is the embedding too. The paper has 0.1 in its second algorithm; its
            code never calls it.
        rounds: of labels and nets.
        edge_rule: "all" neighbours, or those that the "published" code keeps: found from a bag with a count of 0 or 1.
        bag_form: "pairwise" or "count"; the same joint, whose loopy beliefs differ.
        hidden: widths of the net; the published ones are (5040, 1280, 320, 128, 64). The parameters after every epoch
            are kept, which are 30 MB for each there.
        embedding: which of these layers the next graph is made of, by its place; None for the last but one, the 128
            units of the published net, or the only one.
        epochs: at most.
        selection: of the epoch: "last", "bag" by the likelihood of held-out counts, or "instance" by the area under the
            curve of labelled rows, as published, which is then no learning from counts alone.
        patience: epochs without a gain after which a selected fit is over.
        gain: the smallest increase of the score that is one.
        validation: rows and their labels, for "instance"; rows as they are given to `fit`, whose scale is then theirs.

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
    embedding: int | None = None
    epochs: int = 100
    selection: str = "last"
    patience: int = 4
    gain: float = 1e-4
    validation: Any = None

    def __post_init__(self) -> None:
        """Check the settings."""
        switches = {
            "edge_rule": ("all", "published"), "bag_form": ("pairwise", "count"),
            "selection": ("last", "bag", "instance"),
        }  # fmt: skip
        for name, allowed in switches.items():
            if getattr(self, name) not in allowed:
                raise LawfulError(f"Published: {name}={getattr(self, name)!r}. Fix: give one of {', '.join(allowed)}.")
        for name, (least, most) in NUMBERS.items():
            if not _within(getattr(self, name), least, most):
                raise LawfulError(
                    f"Published: {name}={getattr(self, name)!r}. Fix: give a number from {least} to {most}."
                )
        for name in ("n_neighbors", "iterations", "rounds", "epochs", "patience"):
            if not is_whole(getattr(self, name), 1):
                raise LawfulError(f"Published: {name}={getattr(self, name)!r}. Fix: give a whole number from 1.")
        if (
            not isinstance(self.hidden, tuple)
            or not self.hidden
            or not all(is_whole(width, 1) for width in self.hidden)
        ):
            raise LawfulError(f"Published: hidden={self.hidden!r}. Fix: give widths, as (64, 32).")
        layers = len(self.hidden)
        if self.embedding is not None and not (is_whole(self.embedding, -layers) and self.embedding < layers):
            raise LawfulError(
                f"Published: embedding={self.embedding!r}. Fix: give the place of one of {layers} hidden layers, 0 to "
                f"{layers - 1}, or None."
            )
        if self.selection == "instance":
            if self.validation is None:
                raise LawfulError("Published: selection='instance' reads labels. Fix: give validation=(X, y).")
            if not isinstance(self.validation, (tuple, list)) or len(self.validation) != 2:
                raise LawfulError("Published: validation is no pair. Fix: give validation=(X, y), rows and labels.")

    @property
    def layer(self) -> int:
        """Which hidden layer is the embedding."""
        if self.embedding is not None:
            return self.embedding
        return -1 if self.aggregate or len(self.hidden) == 1 else -2


def coded(labels: Any, classes: np.ndarray) -> np.ndarray:
    """Give labels of validation rows as zeros and ones.

    Raises: LawfulError where they are no labels of two classes, or all of one.

    >>> coded(["no", "yes"], np.array(["no", "yes"])).tolist()
    [0, 1]
    """
    labels = np.asarray(labels)
    found = np.unique(labels)
    if len(classes) != 2 or len(found) != 2 or not np.isin(found, classes).all():
        raise LawfulError(
            f"Published: validation has labels {found.tolist()[:5]} for classes {classes.tolist()}. Fix: give rows of "
            "both classes, and their labels as they are named."
        )
    return (labels == classes[1]).astype(int)


def _within(value: Any, least: float, most: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and least <= float(value) <= most
