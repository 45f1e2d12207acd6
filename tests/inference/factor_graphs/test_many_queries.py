"""Many queries of one structure: nothing is compiled again, and a map over them is the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs import FactorGraph, Potentials, eliminated, planning, propagated
from lawful.inference.graphs.loopy import propagation
from lawful.inference.graphs.model import builder
from lawful.inference.graphs.model.potentials import scores_of
from tests.inference.factor_graphs.networks import network
from tests.inference.factor_graphs.truth import Truth, grid


@pytest.fixture
def traces(monkeypatch):
    """Count how often potentials were arranged for a program: once for each time that it is traced."""
    counted = []
    for module, name in ((propagation, "scores_of"), (planning, "marginals")):
        original = getattr(module, name)

        def wrapped(*args, original=original, **kwargs):
            counted.append(1)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapped)
    return counted


@pytest.mark.rest_slow
@pytest.mark.parametrize("schedule", ["flooding", "residual"])
def test_bp_18_no_number_compiles_messages_again(traces, schedule):
    graph, rng = grid(np.random.default_rng(11), 2, 4), np.random.default_rng(0)

    def run():
        seen = graph.observe({"z": ([1], rng.integers(0, 2, (1, 4)))})
        other = seen.replace(jax.tree.map(lambda x: x + rng.normal(size=x.shape), graph.potentials))
        numbers = [rng.uniform(0.6, 1.0, group.size) for group in graph.structure.groups]
        damping, tol = rng.uniform(0.1, 0.6), 10 ** -rng.uniform(4, 9)
        return propagated(other, counting=numbers, damping=damping, tol=tol, schedule=schedule)

    run()
    before = len(traces)
    assert before > 0
    assert len({float(run().log_z) for _ in range(4)}) == 4
    assert len(traces) == before


def test_bp_18_no_number_compiles_an_elimination_again(traces):
    graph, rng = grid(np.random.default_rng(12), 2, 4), np.random.default_rng(0)

    def run():
        seen = graph.observe({"z": ([1], rng.integers(0, 2, (1, 4)))})
        other = seen.replace(jax.tree.map(lambda x: x + rng.normal(size=x.shape), graph.potentials))
        return eliminated(other, compiled=True)

    run()
    before = len(traces)
    assert before > 0
    assert len({float(run().log_z) for _ in range(4)}) == 4
    assert len(traces) == before


def test_the_numbers_of_a_graph_are_put_in_a_row_once_for_all_evidence(monkeypatch):
    rows = []
    monkeypatch.setattr(builder, "scores_of", lambda *given: rows.append(1) or scores_of(*given))
    graph = grid(np.random.default_rng(13), 2, 4)
    found = [eliminated(graph.observe({"z": ([1], [row])}), compiled=False) for row in np.eye(4, dtype=int)]
    assert len({float(f.log_z) for f in found}) == 4 and len(rows) == 1


def test_a_graph_that_grew_has_the_answers_of_what_it_is_and_its_copies_those_of_what_it_was():
    def asked(graph):
        assert float(eliminated(graph, compiled=False).log_z) == pytest.approx(Truth(graph).log_z, abs=1e-12)

    graph = FactorGraph()
    x = graph.variables("x", (2,), 2, np.array([0.0, 1.0]))
    seen = graph.observe({"x": ([0], 1)})
    asked(graph)
    graph.factors("f", [x[0], x[1]], np.array([[0.0, 2.0], [1.0, -np.inf]]))
    asked(graph)
    asked(graph.observe({"x": ([0], 1)}))
    asked(seen)
    other = graph.replace(Potentials((np.zeros((2, 2)),), graph.potentials.tables))
    asked(other)
    graph.variables("y", cardinality=3, log_potential=[1.0, 2.0, 3.0])
    asked(graph)
    asked(other)
    graph.count("n", x, np.array([0.0, 1.0, -np.inf]))
    asked(graph)
    asked(graph.observe({"n": 1}))


INFERENCES = {"exact": eliminated, "loopy": lambda graph: propagated(graph, damping=0.0, max_iters=100)}


def test_bp_18_a_map_over_evidence_is_the_loop(data):
    """By elimination, on 40 sets of evidence; all thousand, and messages, in the slow tier."""
    _mapped_is_looped(data, "exact", 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", INFERENCES)
def test_bp_18_a_map_over_a_thousand_sets_of_evidence_is_the_loop(data, name):
    _mapped_is_looped(data, name, 1000)


def _mapped_is_looped(data, name, sets):
    """To the last digits: a vector's exponential is rounded in another way than that of a number."""
    graph, rng = network(data, "asia"), np.random.default_rng(0)
    seen = np.where(rng.random((sets, 8)) < 0.3, rng.integers(0, 2, (sets, 8)), -1)

    @jax.jit
    def found(states):
        allowed = [(s < 0) | (jnp.arange(2) == s)[None] for s in states]
        unary = tuple(jnp.where(a, x, -jnp.inf) for a, x in zip(allowed, graph.potentials.unary, strict=True))
        answer = INFERENCES[name](graph.replace(Potentials(unary, graph.potentials.tables)))
        return answer.variables, answer.log_z, answer.verdict_number, answer.info.get("iterations", 0)

    mapped = jax.jit(jax.vmap(found))(seen)
    looped = jax.tree.map(lambda *each: np.stack(each), *[found(row) for row in seen])
    for ours, theirs in zip(jax.tree.leaves(mapped[0]), jax.tree.leaves(looped[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-15)
    np.testing.assert_allclose(mapped[1], looped[1], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(mapped[2], looped[2])
    np.testing.assert_array_equal(mapped[3], looped[3])
    assert len(np.unique(looped[2])) == 2  # some evidence is impossible
