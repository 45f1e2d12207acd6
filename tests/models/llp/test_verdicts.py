"""Whatever the graph, the strength and the number of sweeps: what has not settled is not called so, and counts hold."""

import numpy as np
import pytest

from lawful.models.llp import Bags, Coupling, labelled
from lawful.models.llp.neighbours.coupling import gain
from lawful.models.llp.neighbours.radius import spectral_radius

N, EDGES, SIZE = 40, 90, 8


def random_graph(seed):
    """Bags of eight rows at random, and pairs of rows."""
    rng = np.random.default_rng(seed)
    pairs = np.stack(np.triu_indices(N, 1), axis=1)
    edges = np.sort(rng.choice(pairs, EDGES, replace=False), axis=1)
    bags = Bags.from_labels((rng.random(N) < 0.3).astype(int), rng.permutation(N) // SIZE)
    return rng, bags, edges


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_l8_no_call_with_a_large_residual_is_called_converged_and_sums_are_counts(seed):
    rng, bags, edges = random_graph(seed)
    seen = []
    for strength in (0.05, 0.3, 0.9):  # far beyond what messages bear
        coupling = Coupling(edges, strength, 0.3, spectral_radius(edges, N) * float(gain(strength, 0.3)))
        for sweeps in (2, 15, 200):
            for scale in (0.5, 3.0):
                z = scale * rng.normal(size=N)
                found = labelled(z, bags, coupling, max_iters=sweeps)
                settled = found.verdict in ("converged", "exact")
                assert not (settled and found.residual > 1e-3)
                assert found.count_error <= 1e-4 * SIZE
                seen.append((found.verdict, sweeps, strength))
                if found.verdict == "converged":  # and it is true: to go on, as strongly as it ended, changes nothing
                    ended = Coupling(edges, found.strength, 0.3, found.kappa)
                    more = labelled(z, bags, ended, max_iters=15, init=found.beliefs)
                    np.testing.assert_allclose(more.posterior, found.posterior, atol=1e-6)
    assert {verdict for verdict, _, _ in seen} >= {"converged", "slow"}
