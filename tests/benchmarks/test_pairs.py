"""W5e: the data, and contestants that give the marginals; the graphs that are measured at scale are what they say."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import scale, workloads
from benchmarks.contestants.w5e import floor, ours, ours_counts
from benchmarks.harness.catalogue import WORKLOADS
from lawful.inference.graphs import folded, to_factor_graph
from tests.inference.factor_graphs.truth import Truth

SMALL = {"variables": 64, "bag": 8, "sweeps": 6}


def test_every_pair_of_a_bag_is_there_once_and_neighbours_are_of_two_bags():
    given = workloads.pairs(64, 8)
    assert len(given.cliques) == 8 * 28
    every = np.sort(np.concatenate([given.cliques, given.near]), axis=1)
    assert len(np.unique(every, axis=0)) == len(every) and (every[:, 0] < every[:, 1]).all()
    assert (np.bincount(given.cliques.ravel()) == 7).all()


def test_nearest_neighbours_are_those_of_all_distances():
    rng = np.random.default_rng(6)
    rng.normal(size=64), rng.permutation(64)
    places = rng.normal(size=(64, 8))
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(64)
    wanted = {tuple(sorted((i, int(j)))) for i in range(64) for j in np.argsort(apart[i])[:5]}
    given = workloads.pairs(64, 8)
    found = {tuple(sorted(edge)) for edge in given.near.tolist()}
    assert found == wanted - {tuple(sorted(edge)) for edge in given.cliques.tolist()}


@pytest.mark.rest_slow
@pytest.mark.parametrize("contestant", [ours, ours_counts, floor], ids=["ours", "counts", "floor"])
@pytest.mark.parametrize("building", [False, True])
def test_contestants_give_the_marginals_of_so_many_sweeps(contestant, building, single_precision):
    run = contestant.build(SMALL | {"building": building})
    assert run.told(run(0))["marginal_error"] < 1e-6
    assert np.abs(workloads.pair_marginals(64, 8, 6) - workloads.pair_marginals(64, 8, 5)).max() > 1e-4


def test_counts_are_another_form_of_the_same_joint():
    graph = ours.pairs_graph({"variables": 8, "bag": 4})()
    assert Truth(graph).log_z == pytest.approx(Truth(folded(graph)).log_z, abs=1e-5)
    by_pairs, by_counts = workloads.pair_marginals(64, 8, 60), workloads.count_marginals(64, 8, 60)
    assert 1e-6 < np.abs(by_pairs - by_counts).max() < 1e-3


@pytest.mark.slow
def test_the_work_of_w5e_is_that_of_its_pairs():
    (variant, *_) = WORKLOADS["W5e"].variants
    given = workloads.pairs(variant.settings["variables"], variant.settings["bag"])
    assert variant.work_units == 2 * variant.settings["sweeps"] * (len(given.cliques) + len(given.near))


def test_graphs_at_scale_are_grids_and_trees():
    assert scale.grid_graph(5).structure.groups[0].size == 20
    caterpillar = np.array([0, 0, 2, 2, 4])  # a spine 0, 2, 4 with a leg at each
    for parent in (np.zeros(5, int), caterpillar, np.array([0, 0, 1, 1, 2])):
        assert scale.tree_graph(parent).structure.is_forest


def test_programs_and_counts_at_scale_are_what_they_say():
    graph = to_factor_graph(scale.plates_program(6, 8, 6), jnp.zeros(6))
    assert [group.arity for group in graph.structure.groups if group.arity] == [1, 2, 1]
    pairs, counts = ours.pairs_graph({"variables": 64, "bag": 8})(), scale.counted_graph(64, 8)
    for ours_, theirs in zip(folded(pairs).potentials.unary, counts.potentials.unary, strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=1e-6)


def test_a_bar_of_scale_is_met_or_missed():
    assert scale.Measured("", 0.2, 0.25).met and scale.Measured("", 9.0).met
    assert not scale.Measured("", 0.3, 0.25).met
