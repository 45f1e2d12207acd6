"""The correlation of neighbours is told from counts without bias, and is not told where counts cannot tell it."""

import numpy as np
import pytest

from lawful.models.llp import Bags, edge_correlation

N, RATE, TRUE, REPLICATES = 39_552, 0.24, 0.4, 20
GROUP = 16  # rows of a group have labels of one probability, so that their correlation is that of its law


def simulated(seed, size):
    """Neighbours within groups, four for a row on average, and bags of random rows."""
    rng = np.random.default_rng(seed)
    total = (1 - TRUE) / TRUE  # of the Beta law: its variance is 1 / (1 + total) of that of a label
    chance = np.repeat(rng.beta(RATE * total, (1 - RATE) * total, N // GROUP), GROUP)
    labels = (rng.random(N) < chance).astype(int)
    rows = np.repeat(np.arange(N), 2)
    mates = rows // GROUP * GROUP + (rows % GROUP + rng.integers(1, GROUP, len(rows))) % GROUP
    edges = np.unique(np.sort(np.stack([rows, mates], axis=1), axis=1), axis=0)
    ids = rng.permutation(N) // size
    return edges, Bags.from_labels(labels, np.where(ids < N // size, ids, -1))


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", [8, 32, 128, 512])
def test_l6_the_correlation_is_told_within_its_error_and_not_identifiable_in_large_bags(size):
    cases = [simulated(seed, size) for seed in range(REPLICATES)]
    found = [edge_correlation(edges, bags) for edges, bags in cases]
    estimates, errors = np.array([(f.correlation, f.error) for f in found]).T
    across = [np.sum(np.diff(bags.ids[edges], axis=1) != 0) for edges, bags in cases]
    np.testing.assert_allclose(errors, size / np.sqrt(across), rtol=0.1)
    assert np.all(np.abs(estimates - TRUE) < 3 * errors)
    # A line through the origin would be off by ten of these errors of the mean in bags of 128.
    assert abs(estimates.mean() - TRUE) < 3 * errors.mean() / np.sqrt(REPLICATES)
    verdicts = {f.verdict for f in found}
    if size == 8:
        assert verdicts == {"neighbours agree"}
    if size >= 128:
        assert verdicts == {"not identifiable"}
