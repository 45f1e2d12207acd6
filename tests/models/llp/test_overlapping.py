"""Where bags overlap the most probable labels are those of all labellings."""

import numpy as np
import pytest

from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import Bags, Coupling, Normal
from lawful.models.llp.transduction import drawn_labels, most_probable_labels
from tests.models.llp.truth import labellings, log_weights_of_counts

MEMBERSHIP = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1, 0]])
CASES = {
    "counts": lambda: (Bags.from_membership(MEMBERSHIP, [1, 2, 2]), 0.35),
    "missing": lambda: (Bags.from_membership(MEMBERSHIP, [1, np.nan, 2]), 0.35),
    "noisy": lambda: (Bags.from_membership(MEMBERSHIP, [1.2, 1.6, -0.3], noise=Normal(0.5)), 0.35),
    "classes": lambda: (Bags.from_membership(MEMBERSHIP, [[1, 1, 1], [0, 2, 1], [1, 1, 1]]), np.full(3, 1 / 3)),
}
EDGES = np.array([[0, 3], [1, 2], [2, 6], [4, 5]])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("coupled", [False, True])
def test_the_most_probable_labels_are_those_of_all_labellings(name, coupled):
    bags, shares = CASES[name]()
    coupling = Coupling(EDGES, np.array([0.6, 0.3, -0.2, 0.5]), shares, 2.0) if coupled else None
    y = labellings(7, bags.n_classes)
    for seed in range(3):
        z = np.random.default_rng(seed).normal(size=(7, 3) if name == "classes" else 7)
        scores = z if z.ndim == 2 else np.stack([np.zeros(7), z], axis=1)
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        total = scores[np.arange(7), y].sum(axis=1) + log_weights_of_counts(bags, y)
        if coupling is not None:
            total += sum(table[y[:, i], y[:, j]] for (i, j), table in zip(EDGES, coupling.log_table, strict=True))
        found = most_probable_labels(z, bags, coupling)
        assert found.labels.tolist() == y[np.argmax(total)].tolist() and found.started == "integer program"
        np.testing.assert_allclose(found.log_score, total.max(), rtol=1e-9)
        assert found.bound >= total.max() - 1e-9 and found.proved


def test_counts_that_no_labels_meet_are_refused_and_nothing_is_drawn():
    bags = Bags.from_membership([[1, 1, 0], [1, 1, 1]], [2, 1])
    with pytest.raises(ObservationError, match="no labels of the rows meet all counts.*Fix"):
        most_probable_labels(np.zeros(3), bags)
    with pytest.raises(LawfulError, match="overlap.*Fix: kind='marginal' or 'map'"):
        drawn_labels(np.zeros(3), bags, np.random.default_rng(0))


def test_a_row_that_is_certain_stays_so():
    bags = Bags.from_membership([[1, 1, 0], [0, 1, 1]], [1, 2])
    assert most_probable_labels(np.array([-np.inf, -3.0, np.inf]), bags).labels.tolist() == [0, 1, 1]
    with pytest.raises(ObservationError, match="no labels of the rows meet all counts"):
        most_probable_labels(np.array([0.0, -np.inf, 0.0]), bags)
