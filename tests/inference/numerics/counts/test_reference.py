"""Reference bags: log probabilities of counts, marginals, pairs and best sets, from 60 decimal digits."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lawful.inference.graphs import counts

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
    log_z, marginals, best = counts.log_evidence(*given), counts.marginals(*given), counts.best_assignment(*given)
    for row, (bag, expected) in enumerate(pairs):
        some = slice(0, len(bag["p"]))
        assert_allclose(log_z[row], expected["log_prob_count"], rtol=bound, atol=bound)
        assert_allclose(marginals[row, some], expected["marginals"], atol=bound)
        assert np.flatnonzero(best.assignment[row]).tolist() == expected["map_positive_set"]
    assert_allclose(np.sum(log_z, dtype=float), total, rtol=bound)
    assert total == -40.58454378379185
    pair = joint_of_first_two(*given, marginals)
    assert_allclose(pair, [expected["joint_first_two_both_one"] for _, expected in pairs], atol=bound)


def joint_of_first_two(h, g, marginals):
    given_one = counts.marginals(h.at[:, 0].set(jnp.inf), g)
    return jnp.where(marginals[:, 0] > 0, marginals[:, 0] * given_one[:, 1], 0)


@pytest.mark.slow
def test_pairs_of_the_small_reference_bags(bags):
    for bag, expected in bags[0][:2]:
        p = np.array(bag["p"])
        pair = counts.pair_marginals(
            jnp.asarray(np.log(p) - np.log1p(-p)), counts.potentials.hard_count(bag["count"], len(p))
        )
        assert_allclose(pair[0, 1], expected["joint_first_two_both_one"], atol=1e-10)
