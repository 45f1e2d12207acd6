"""Long narrow graphs: as a chain of joint levels they have the answers of elimination."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs import FactorGraph, eliminated, infer, most_probable, plan, runners
from lawful.inference.graphs.exact import plans, strips
from lawful.inference.graphs.exact_inference import pushed
from tests.inference.factor_graphs.truth import grid, holed

STEPS = 40


@pytest.fixture
def short(monkeypatch):
    """Take strips of a few levels for long."""
    original = strips.strips_of
    for module in (plans, runners):
        monkeypatch.setattr(module, "strips_of", lambda structure: original(structure, 20))


def ladder(seed, zeros=0.0):
    """Two states that go on side by side, tied in some steps by a factor of three, and a short path apart."""
    rng = np.random.default_rng(seed)
    scores = lambda *shape: holed(rng, shape, zeros)  # noqa: E731
    graph = FactorGraph()
    a = graph.variables("a", (STEPS,), 2, scores(STEPS, 2))
    b = graph.variables("b", (STEPS,), 3, scores(STEPS, 3))
    apart = graph.variables("apart", (3,), 2, scores(3, 2))
    graph.factors("a on", [a[:-1], a[1:]], scores(2, 2))
    graph.factors("b on", [b[1:], b[:-1]], scores(STEPS - 1, 3, 3))
    graph.factors("seen", [a, b], scores(STEPS, 2, 3))
    graph.factors("three", [b[:-1], a[:-1], b[1:]], scores(3, 2, 3))
    graph.factors("constant", [], 0.7)
    graph.factors("one", [a[[3, 4]]], scores(2))
    graph.factors("short", [apart[:-1], apart[1:]], scores(2, 2))
    return graph


@pytest.mark.parametrize("seed, zeros", [(0, 0.0), (1, 0.03)])
def test_levels_have_the_marginals_of_elimination(seed, zeros, short):
    graph = ladder(seed, zeros).observe({"b": ([5, 17], [1, 0])})
    found, truth = infer(graph), eliminated(graph, compiled=False, chains=False)
    assert (found.method, truth.method) == ("chains", "elimination")
    assert float(found.log_z) == pytest.approx(float(truth.log_z), rel=1e-13)
    for mine, other in zip(found.variables + found.factors, truth.variables + truth.factors, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-12)


def test_a_graph_of_many_kinds_of_factors_is_eliminated(short):
    """Each is compiled for itself: 100 steps of a loop in a loop took minutes as levels, and 3 s so."""
    graph = ladder(0)
    assert strips.strips_of(graph.structure, 20) is not None
    few = graph.variables("few", (2,), 2)
    for k in range(strips.GROUPS):
        graph.factors(f"kind {k}", [few[:1], few[1:]], np.zeros((2, 2)))
    assert strips.strips_of(graph.structure, 20) is None


def test_levels_have_the_best_assignment_and_draws_have_the_marginals(short):
    """Frequencies of pairs in 4,000 draws; six deviations, so below 1e-6 for all of them together."""
    graph, count = ladder(2), 4000
    states, score = most_probable(graph)
    assert float(score) == pytest.approx(float(most_probable(graph, compiled=False, chains=False)[1]), rel=1e-14)
    assert float(graph.log_score(states)) == pytest.approx(float(score), rel=1e-14)
    p = eliminated(graph, compiled=False, chains=False).factor_beliefs("seen")
    uniforms = jnp.asarray(np.random.default_rng(20261).random((count, graph.structure.size)))
    draws = jax.vmap(lambda u: pushed(graph, u))(uniforms)
    hits = np.zeros(p.shape)
    for k in range(STEPS):
        np.add.at(hits, (k, np.asarray(draws["a"][:, k]), np.asarray(draws["b"][:, k])), 1 / count)
    assert np.all(np.abs(hits - p) <= 6 * np.sqrt(p * (1 - p) / count) + 6 / count)


@pytest.mark.slow
def test_the_gradient_of_the_mass_is_the_beliefs(short):
    graph = ladder(3, 0.02)
    found, grads = infer(graph), jax.grad(lambda p: infer(graph.replace(p)).log_z)(graph.potentials)
    for own, belief, group in zip(grads.tables, found.factors, graph.structure.groups, strict=True):
        np.testing.assert_allclose(own, belief.sum(0, keepdims=True) if group.shared else belief, atol=1e-12)


def test_other_evidence_compiles_nothing(short, monkeypatch):
    traces = []
    original = strips.Strips.potentials
    monkeypatch.setattr(strips.Strips, "potentials", lambda self, *given: (traces.append(1), original(self, *given))[1])
    for state in range(3):
        infer(ladder(0).observe({"b": ([5], [state])}))
    assert len(traces) <= 1


def test_only_long_narrow_graphs_with_cycles_are_strips():
    rng = np.random.default_rng(0)
    assert strips.strips_of(grid(rng, 3, 300).structure).states == 8
    assert strips.strips_of(grid(rng, 3, 100).structure) is None, "few levels"
    assert strips.strips_of(grid(rng, 7, 300).structure) is None, "wide levels"
    line = grid(rng, 1, 600).structure
    assert line.is_forest and strips.strips_of(line) is None
    assert "1 chain of 302 variables in all, summed by loops" in str(plan(grid(rng, 3, 300)))
