"""Buckets: how tables are laid out says nothing of the sum, and takes no memory before it is known to fit."""

from itertools import combinations
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import WidthError
from lawful.inference.graphs import FactorGraph
from lawful.inference.graphs.exact import buckets
from lawful.inference.graphs.exact.elimination import drawn, forward, largest, marginals
from lawful.inference.graphs.exact.orders import best_order, greedy, orders_of
from lawful.inference.graphs.planning import exactly
from tests.inference.factor_graphs.networks import network
from tests.inference.factor_graphs.truth import Truth, cases, random_graph


@pytest.mark.parametrize("array", [0, 16, 1 << 20], ids=["alone", "some", "together"])
@settings(max_examples=40)
@given(case=cases())
def test_no_answer_depends_on_which_tables_share_an_array(array, case):
    """Each kind of table in an array of its own, some in one, or all of a round, however much of it is padded."""
    graph = random_graph(*case)
    truth, rounds = Truth(graph), len(best_order(graph.structure).rounds)
    orders_of.cache_clear()
    with mock.patch.object(buckets, "ARRAY", array):
        places = best_order(graph.structure).places
    assert array < 1000 or len(places.batches) == rounds
    found = marginals(places, graph.scores)
    assert float(found.log_total) == pytest.approx(truth.log_z, abs=1e-12)
    wanted = [p.reshape(-1) for p in (*truth.variables.values(), *truth.factors.values())]
    np.testing.assert_allclose(found.beliefs, np.concatenate([np.zeros(0), *wanted]), rtol=0, atol=1e-12)
    states, score = largest(places, graph.scores)
    assert float(score) == pytest.approx(truth.largest, abs=1e-12)
    if truth.largest > -np.inf:
        assert float(graph.log_score(graph.structure.by_name(states))) == pytest.approx(truth.largest, abs=1e-12)
        draw = drawn(places, graph.scores, np.random.default_rng(case[0]).random(graph.structure.size))
        assert float(graph.log_score(graph.structure.by_name(draw))) > -np.inf


@settings(max_examples=20)
@given(case=cases())
def test_what_is_padded_is_impossible_and_nothing_else(case):
    graph = random_graph(*case, zeros=0.0)
    orders_of.cache_clear()
    plan = best_order(graph.structure)
    with mock.patch.object(buckets, "ARRAY", 1 << 20):
        joints = forward(plan.places, graph.scores).joints
    assert sum(np.isfinite(joint.scores).sum() for joint in joints) == plan.entries


def test_many_tables_of_one_scope_are_looked_up_at_once():
    rng, graph = np.random.default_rng(0), FactorGraph()
    x, y = graph.variables("x", cardinality=3), graph.variables("y")
    tables = rng.normal(size=(40, 3, 2))
    for k, table in enumerate(tables):
        graph.factors(f"f{k}", [x, y], table)
    found = marginals(greedy(graph.structure, "min-degree").places, graph.scores)
    joint = np.exp(tables.sum(axis=0))
    assert float(found.log_total) == pytest.approx(np.log(joint.sum()), abs=1e-12)
    np.testing.assert_allclose(found.beliefs[-6:].reshape((3, 2)), joint / joint.sum(), atol=1e-12)


def test_small_tables_of_a_network_share_arrays(data):
    """The tables of the alarm network have 35 shapes in 11 rounds; few of their arrays' entries are padded."""
    structure = network(data, "alarm").structure
    plan = best_order(structure)
    places, rounds = plan.places, len(plan.rounds)
    entries = sum(b.sources.near[0].size * b.sources.far.shape[-1] for b in places.batches)
    assert rounds <= len(places.batches) <= 2 * rounds
    assert plan.entries <= entries <= 1.5 * plan.entries


def test_a_clique_that_is_too_large_is_refused_before_it_is_laid_out():
    graph = FactorGraph()
    x = graph.variables("x", (40,))
    first, second = np.array(list(combinations(range(40), 2))).T
    graph.factors("pair", [x[first], x[second]], np.eye(2))
    with pytest.raises(WidthError, match=r"a table of at least 1099511627776 entries \(induced width 39\)"):
        exactly(graph.structure)
