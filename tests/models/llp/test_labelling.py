"""Labels from logits, counts and neighbours: exact where messages come to an end, never called settled where not."""

import numpy as np
import pytest

from lawful.errors import ObservationError
from lawful.models.llp import Bags, Coupling, Normal, coupled, labelled
from lawful.models.llp.labelling import label_graph
from tests.models.llp.truth import posterior

FORESTS = {  # neighbours that close no cycle, with bags as vertices
    "ragged": lambda: (Bags.from_ids([0, 0, 0, 1, 1, 1, -1, 2, 2], [1, 2, 1]), [[0, 3], [3, 6], [6, 7]]),
    "extreme": lambda: (Bags.from_ids([0, 0, 1, 1, -1, 2], [0, 2, 1]), [[0, 2], [3, 4], [4, 5]]),
    "missing": lambda: (Bags.from_ids([0, 0, 1, 1, 1], [1, np.nan]), [[0, 2], [2, 3], [3, 4]]),
    "noisy": lambda: (Bags.from_ids([0, 0, 0, 1, 1], [1.4, 0.2], noise=Normal(0.7)), [[2, 3]]),
    "overlapping": lambda: (Bags.from_membership([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]], [2, 1]), [[4, 0]][:0]),
}
SETTINGS = {"max_iters": 400, "tol": 1e-11}


def logits(bags, seed=0):
    shape = (bags.n_rows,) if bags.counts.ndim == 1 else (bags.n_rows, bags.n_classes)
    return np.random.default_rng(seed).normal(size=shape)


def near(edges, strength, base_rate):
    return Coupling(np.array(edges).reshape(-1, 2), strength, base_rate, np.nan)


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("name", FORESTS)
def test_l10_on_a_forest_labels_are_those_of_all_labellings(name):
    bags, edges = FORESTS[name]()
    coupling, z = near(edges, 0.4, 0.35), logits(bags)
    log_z, marginals = posterior(z, bags, coupling.edges, coupling.log_table)
    found = labelled(z, bags, coupling, **SETTINGS)
    assert found.verdict == "converged" and found.usable
    assert found.log_z == pytest.approx(log_z, rel=1e-9)
    np.testing.assert_allclose(found.posterior, marginals, atol=1e-9)


@pytest.mark.slow
def test_bags_of_classes_are_close_to_all_labellings_and_have_their_sums():
    bags = Bags.from_ids([0, 0, 0, 0, 1, 1, 1, 1], [[1, 2, 1], [0, 3, 1]])
    coupling, z = near([[0, 4], [3, 5]], 0.2, np.array([0.2, 0.5, 0.3])), logits(bags)
    log_z, marginals = posterior(z, bags, coupling.edges, coupling.log_table)
    found = labelled(z, bags, coupling, **SETTINGS)
    assert found.verdict == "converged" and found.count_error < 1e-9
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.posterior, marginals, atol=0.05)
    assert found.log_z == pytest.approx(log_z, abs=0.3)


def test_two_classes_are_ones_and_zeros():
    bags = Bags.from_ids([0, 0, 0, 1, 1, 1], [1, 2])
    z, edges = logits(bags), np.array([[0, 3], [1, 4], [2, 5]])
    binary = labelled(z, bags, near(edges, 0.3, 0.4), **SETTINGS)
    both = Bags.from_ids([0, 0, 0, 1, 1, 1], [[2, 1], [1, 2]])
    scores = np.stack([np.zeros(6), z], axis=1)
    classes = labelled(scores, both, near(edges, 0.3, np.array([0.6, 0.4])), **SETTINGS)
    np.testing.assert_allclose(classes.posterior[:, 1], binary.posterior, atol=1e-6)


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("sweeps", [1, 200])
def test_l8_sums_are_counts_at_all_times_and_only_what_settled_is_called_so(dtype, tol, sweeps):
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat(np.arange(5), 8))
    bags = Bags.from_labels(rng.random(40) < 0.3, ids)
    edges = np.unique(np.sort(rng.integers(0, 40, (70, 2)), axis=1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    coupling = coupled(edges, 40, bags.base_rate)
    found = labelled(rng.normal(size=40).astype(dtype), bags, coupling, max_iters=sweeps)
    assert found.count_error <= tol * 8 and found.posterior.dtype == dtype
    assert (found.verdict == "converged") == (sweeps == 200) and (found.residual <= 1e-3) == (sweeps == 200)
    assert found.kappa == pytest.approx(0.95, rel=1e-2) and found.log_z_kind == "bethe"


def test_one_compiled_program_serves_any_choice_of_known_bags():
    ids, edges = np.arange(12) // 3, np.array([[0, 3], [4, 8], [2, 11]])
    graphs = [
        label_graph(np.zeros(12), Bags.from_ids(ids, counts), near(edges, 0.3, 0.4))
        for counts in ([1, 2, 0, 1], [np.nan, 2, 0, np.nan])
    ]
    assert graphs[0].structure == graphs[1].structure


def test_without_neighbours_labels_are_exact():
    bags = Bags.from_ids([0, 0, 1, 1, 1], [1, 2])
    z = logits(bags)
    log_z, marginals = posterior(z, bags)
    for coupling in (None, coupled(np.array([[0, 2]]), 5, 0.6, kappa=0)):
        found = labelled(z, bags, coupling)
        assert found.verdict == "exact" and found.log_z == pytest.approx(log_z, rel=1e-12)
        np.testing.assert_allclose(found.posterior, marginals, atol=1e-12)


@pytest.mark.slow
def test_l5_a_neighbour_that_knows_no_more_than_the_base_rate_changes_nothing():
    bags, rate = Bags.from_ids([0, 0, 0, 1, 1, -1], [1, 1]), 0.4
    z = logits(bags)
    z[5] = np.log(rate / (1 - rate))
    alone = labelled(z, bags, near([[0, 3]], 0.5, rate), **SETTINGS)
    heard = labelled(z, bags, near([[0, 3], [1, 5]], 0.5, rate), **SETTINGS)
    # What row 5 hears of row 1 comes back to no one, so row 1 hears what it would hear of nobody.
    np.testing.assert_allclose(heard.posterior[:5], alone.posterior[:5], atol=1e-7)


@pytest.mark.slow
def test_messages_that_oscillate_have_their_coupling_halved(monkeypatch):
    rng = np.random.default_rng(1)
    bags = Bags.from_ids(np.repeat(np.arange(3), 4), [2, 2, 2])
    edges = np.array([[i, j] for i in range(4) for j in range(4, 8)] + [[i, j] for i in range(4, 8) for j in (8, 9)])
    coupling = near(edges, 0.9, 0.5)
    ends = iter(["oscillating", "nonfinite", "slow"])
    real = __import__("lawful.models.llp.labelling", fromlist=["propagated"])
    run, seen = real.propagated, []

    def watched(graph, **settings):
        found = run(graph, **settings)
        (at,) = (k for k, group in enumerate(graph.structure.groups) if group.name == "near")
        seen.append(float(np.exp(np.asarray(graph.potentials.tables[at])[0, 0, 0])))
        number = ("exact", "converged", "oscillating", "slow", "infeasible", "nonfinite").index(next(ends))
        return __import__("dataclasses").replace(found, verdict_number=np.array(number))

    monkeypatch.setattr(real, "propagated", watched)
    found = labelled(rng.normal(size=12), bags, coupling, max_iters=10)
    np.testing.assert_allclose(seen, [1.9, 1.45, 1.225], rtol=1e-12)  # 1 + r with r = 0.9, 0.45, 0.225
    assert found.strength == pytest.approx(0.225) and [v for _, v in found.tried] == [
        "oscillating",
        "nonfinite",
        "slow",
    ]
    ends = iter(["oscillating"] * 9)
    last = labelled(rng.normal(size=12), bags, coupling, max_iters=10)
    assert last.verdict == "exact" and last.strength == 0 and len(last.tried) == 5


def test_labels_of_other_rows_are_refused():
    bags = Bags.from_ids([0, 0], [1])
    with pytest.raises(ObservationError, match="rows 0 to 2 of 2"):
        labelled(np.zeros(2), bags, near([[0, 2]], 0.1, 0.5))
