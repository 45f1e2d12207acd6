"""What counts alone can tell of neighbours: whether they agree."""

import numpy as np
import pytest

from lawful.errors import ObservationError
from lawful.models.llp import Bags, edge_correlation


def simulated(size, rho, seed, n=20_000):
    """Groups of five rows whose labels have correlation rho, all pairs of a group neighbours, in random bags."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n // 5), 5)
    shared = rng.random(n // 5) < 0.3
    copies = rng.random(n) < np.sqrt(rho)
    labels = np.where(copies, shared[groups], rng.random(n) < 0.3)
    first, second = np.triu_indices(5, 1)
    starts = 5 * np.arange(n // 5)[:, None]
    edges = np.stack([(starts + first).ravel(), (starts + second).ravel()], axis=1)
    return edges, Bags.from_labels(labels, rng.permutation(n) // size)


@pytest.mark.parametrize("size", [8, 32])
def test_l6_the_correlation_of_neighbours_is_found_from_counts(size):
    for rho in (0.0, 0.4):
        found = [edge_correlation(*simulated(size, rho, seed)) for seed in range(6)]
        z = [(f.correlation - rho) / f.error for f in found]
        # The predicted error leaves out the correlation itself, which widens it: by 1.3 here.
        assert np.max(np.abs(z)) < 4 and abs(np.mean(z)) < 3 * 1.3 / np.sqrt(6)
        if size == 8:
            assert all(f.identified for f in found)
            assert all((f.verdict == "neighbours agree") == (rho > 0) for f in found)


@pytest.mark.parametrize("size", [128, 500])
def test_l6_large_bags_cannot_tell(size):
    found = edge_correlation(*simulated(size, 0.4, 0))
    edges = simulated(size, 0.4, 0)[0]
    assert found.verdict == "not identifiable" and found.error == pytest.approx(size / np.sqrt(len(edges)), rel=0.2)


def test_a_line_through_the_origin_would_be_too_low():
    """With few bags the residuals sum to zero, so that their products are negative on average."""
    edges, bags = simulated(500, 0.4, 1)
    off = bags.counts - bags.sizes * bags.base_rate
    assert abs(off.sum()) < 1e-8
    shifted = edge_correlation(edges, bags, off + 3.0)  # a constant moves the origin, and the slope hardly
    plain = edge_correlation(edges, bags)
    assert abs(shifted.correlation - plain.correlation) < plain.error


def test_bags_without_neighbours_between_them_say_nothing():
    bags = Bags.from_ids([0, 0, 1, 1], [1, 0])
    for edges in (np.zeros((0, 2), int), np.array([[0, 1], [2, 3]])):
        found = edge_correlation(edges, bags)
        assert np.isnan(found.correlation) and found.verdict == "not identifiable"
    with pytest.raises(ObservationError, match="overlap"):
        edge_correlation([[0, 1]], Bags.from_membership([[1, 1], [0, 1]], [1, 1]))
