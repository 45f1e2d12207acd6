"""Neighbourhood: which rows are near each other, and whether their labels are coupled.

Law: with a number neighbours are coupled as strongly as it says. With "auto" they are coupled unless the counts tell
that they do not agree, or not beyond the learner; where the counts cannot tell, they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from .bags.bags import Bags
from .inputs import inner_shares, most_even_class
from .learners import embedded
from .neighbours.coupling import Coupling, coupled
from .neighbours.edge_correlation import EdgeCorrelation, edge_correlation
from .neighbours.neighbours import Neighbours, knn_graph
from .training.fitted import Fitted

__all__ = ["Near", "Neighbourhood"]

KAPPA = 0.95  # spectral radius of the gains between neighbours
DISAGREE = "no sign that neighbours agree"


@dataclass(frozen=True)
class Near:
    """Neighbours, as far as they were looked for.

    Attributes:
        graph: pairs of rows.
        told: what counts say of the labels of neighbours.
        beyond: the same of what the learner leaves of counts that it has not seen.
        coupling: how strongly they agree; None where they are not coupled.
    """

    graph: Neighbours | None = None
    told: EdgeCorrelation | None = None
    beyond: EdgeCorrelation | None = None
    coupling: Coupling | None = None


@dataclass(frozen=True)
class Neighbourhood:
    """Settings, as those of the classifier.

    Attributes:
        coupling: "auto", "off" or a spectral radius.
        n_neighbors: neighbours of each row.
        metric: "cosine" or "euclidean".
        hidden: whether rows are near each other in the last hidden layer of a net that was fitted, and not in the
            covariates.
    """

    coupling: Any = "auto"
    n_neighbors: int = 5
    metric: str = "cosine"
    hidden: bool = False

    @property
    def kappa(self) -> float:
        """The spectral radius of the gains, where there are any."""
        return KAPPA if self.coupling == "auto" else float(self.coupling)

    def first(self, Z: np.ndarray, bags: Bags) -> Near:
        """Find neighbours, ask the counts whether they agree, and couple them.

        >>> Z, bags = np.array([[0.0], [0.1], [5.0], [5.1]]), Bags.from_ids([0, 1, 0, 1], [1, 1])
        >>> near = Neighbourhood(n_neighbors=1, metric="euclidean").first(Z, bags)
        >>> near.coupling.edges.tolist(), near.told.verdict
        ([[0, 1], [2, 3]], 'not identifiable')
        """
        if self.coupling == "off" or self.coupling == 0:
            return Near()
        graph = knn_graph(Z, self.n_neighbors, self.metric)
        told = None if bags.overlapping else edge_correlation(graph.edges, most_even_class(bags))
        if self.coupling == "auto" and told is not None and told.verdict == DISAGREE:
            return Near(graph, told)
        return Near(graph, told, None, coupled(graph.edges, len(Z), inner_shares(bags), kappa=self.kappa))

    def after(self, near: Near, Z: np.ndarray, z: np.ndarray, bags: Bags, fitted: Fitted) -> Near:
        """Look again once a learner was fitted: by its hidden layer, and at what it leaves of the counts.

        Args:
            near: what was found before.
            Z: rows (n, d).
            z: log odds that labels come from (n,), or log scores (n, K).
            bags: the bags whose counts may be read.
            fitted: the learner.
        """
        if near.coupling is None:
            return near
        if self.hidden and embedded(fitted, Z) is not None:
            graph = self._graph(Z, fitted)
            again = coupled(graph.edges, len(Z), near.coupling.base_rate, kappa=self.kappa)
            near = replace(near, graph=graph, coupling=again)
        if self.coupling == "auto":
            near = replace(near, beyond=self._beyond(near, z, bags, fitted))
            if near.beyond is not None and near.beyond.verdict == DISAGREE:
                return replace(near, coupling=None)
        return near

    def of_rows(self, Z: np.ndarray, fitted: Fitted, shares: Any) -> Coupling:
        """Couple neighbours among other rows as those of the fit were."""
        return coupled(self._graph(Z, fitted).edges, len(Z), shares, kappa=self.kappa)

    def _graph(self, Z: np.ndarray, fitted: Fitted) -> Neighbours:
        hidden = embedded(fitted, Z) if self.hidden else None
        return knn_graph(Z if hidden is None else hidden, self.n_neighbors, self.metric)

    def _beyond(self, near: Near, z: np.ndarray, bags: Bags, fitted: Fitted) -> EdgeCorrelation | None:
        """Ask what log odds that have not seen the counts leave of them; None where they have, or cannot be asked."""
        if "out_of_bag" not in fitted.details or z.ndim > 1 or bags.overlapping or near.graph is None:
            return near.beyond
        left = bags.estimates - bags.membership.astype(float) @ expit(z)
        return edge_correlation(near.graph.edges, bags, left)
