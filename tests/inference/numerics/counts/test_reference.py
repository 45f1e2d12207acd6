"""Reference bags: log probabilities of counts, marginals, pairs and best sets, from 60 decimal digits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lawful.inference.graphs import counts
from tests.inference.numerics.counts.cases import marginals

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def bags(data):
    file = json.loads((data / "exact" / "llp_bags.json").read_text())
    return list(zip(file["data"]["bags"], file["exact"]["bags"], strict=True)), file["exact"]["total_log_evidence"]


@pytest.mark.rest_slow
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_reference_bags(bags, dtype, bound):
    """All in one call, padded to the largest."""
    pairs, total = bags
    size = max(len(bag["p"]) for bag, _ in pairs)
    h, g = np.full((len(pairs), size), -np.inf), np.full((len(pairs), size + 1), -np.inf)
    for row, (bag, _) in enumerate(pairs):
        p = np.array(bag["p"])
        h[row, : len(p)] = np.log(p) - np.log1p(-p)
        g[row, bag["count"]] = 0
    given = jnp.asarray(h, dtype), jnp.asarray(g, dtype)
    log_z, single = jax.jit(counts.log_evidence)(*given), marginals(*given)
    best = jax.jit(counts.best_assignment)(*given)
    for row, (bag, expected) in enumerate(pairs):
        some = slice(0, len(bag["p"]))
        assert_allclose(log_z[row], expected["log_prob_count"], rtol=bound, atol=bound)
        assert_allclose(single[row, some], expected["marginals"], atol=bound)
        assert np.flatnonzero(best.assignment[row]).tolist() == expected["map_positive_set"]
    assert_allclose(np.sum(log_z, dtype=float), total, rtol=bound)
    assert total == -40.58454378379185
    pair = joint_of_first_two(*given, single)
    assert_allclose(pair, [expected["joint_first_two_both_one"] for _, expected in pairs], atol=bound)


def joint_of_first_two(h, g, single):
    given_one = marginals(np.concatenate([np.full_like(h[:, :1], np.inf), h[:, 1:]], axis=1), g)
    return np.where(np.asarray(single[:, 0]) > 0, single[:, 0] * given_one[:, 1], 0)
