"""Exact elimination: it is the sum over all assignments, on every graph, in every order, by NumPy and compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import LawfulError, WidthError
from lawful.inference.graphs import FactorGraph, Potentials, eliminated, most_probable, planning
from lawful.inference.graphs.exact.elimination import marginals
from lawful.inference.graphs.exact.orders import RULES, best_order
from lawful.inference.graphs.inference import log_mass, pushed
from lawful.inference.graphs.planning import exactly, planned
from tests.inference.factor_graphs.networks import NETWORKS, exact, largest_error, network
from tests.inference.factor_graphs.truth import Truth, assignments, cases, grid, holed, log_scores, random_graph

ORDERS = [*RULES, "rounds", None]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@settings(max_examples=60)
@given(case=cases())
def test_elimination_is_the_sum_over_all_assignments(order, case):
    graph = random_graph(*case)
    truth = Truth(graph)
    found = eliminated(graph, order=order)
    assert float(found.log_z) == pytest.approx(truth.log_z, abs=1e-12)
    assert found.verdict == ("exact" if truth.log_z > -np.inf else "infeasible")
    for name, p in truth.variables.items():
        np.testing.assert_allclose(found.beliefs[name], p, rtol=0, atol=1e-12)
    for name, p in truth.factors.items():
        np.testing.assert_allclose(found.factor_beliefs(name), p, rtol=0, atol=1e-12)


@settings(max_examples=8)
@given(case=cases())
def test_what_is_compiled_is_what_numpy_computes(case):
    graph = random_graph(*case)
    plain, compiled = (eliminated(graph, compiled=how) for how in (False, True))
    assert float(compiled.log_z) == pytest.approx(float(plain.log_z), abs=1e-12)
    for ours, theirs in zip((*compiled.variables, *compiled.factors), (*plain.variables, *plain.factors), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@settings(max_examples=60)
@given(case=cases())
def test_the_largest_score_is_that_of_the_assignment_that_is_returned(case):
    graph = random_graph(*case)
    best = most_probable(graph)
    states, value = best.states, best.log_score
    largest = Truth(graph).largest
    assert float(value) == pytest.approx(largest, abs=1e-12)
    if largest > -np.inf:
        assert float(graph.log_score(states)) == pytest.approx(largest, abs=1e-12)


def test_of_equal_scores_the_first_state_is_taken():
    graph = FactorGraph()
    graph.variables("z", (3,), 4, np.array([0.0, 1.0, 1.0, 0.0]))
    states = most_probable(graph).states
    np.testing.assert_array_equal(states["z"], [1, 1, 1])


@pytest.mark.slow
@settings(max_examples=3)
@given(case=cases(variables=3, factors=3, least=1))
def test_the_draws_have_the_law_of_the_graph(case):
    """Points of a grid of uniforms are counted: a draw is one choice after the other, each by its conditional."""
    graph = random_graph(*case, zeros=0.3)
    truth = Truth(graph)
    if truth.log_z == -np.inf:
        return
    n, points = graph.structure.size, 40
    axis = (np.arange(points) + 0.5) / points
    uniforms = np.stack(np.meshgrid(*[axis] * n, indexing="ij"), axis=-1).reshape((-1, n))
    draw = jax.jit(jax.vmap(lambda u: list(pushed(graph, u).values())))
    drawn = np.concatenate([np.asarray(s).reshape((len(uniforms), -1)) for s in draw(uniforms)], axis=1)
    x = assignments(graph)
    shares = np.array([(drawn == row).all(axis=1).mean() for row in x])
    assert shares[np.isneginf(log_scores(graph))].sum() == 0
    # The region of an assignment is a box in some coordinates: its share of grid points is off by 1/points an axis.
    np.testing.assert_allclose(shares, truth.probabilities, atol=n * 2 / points)


@pytest.mark.kills("39d")
def test_evidence_is_what_is_left_of_the_graph():
    """Listed: the mass of the assignments that agree with it, on two components and an array."""
    graph = random_graph(5, 5, 4, zeros=0.0)
    names = [f.name for f in graph.structure.families]
    evidence = {name: np.zeros(f.shape, int) for name, f in zip(names, graph.structure.families, strict=True)}
    for count in range(len(names) + 1):
        seen = dict(list(evidence.items())[:count])
        x, scores = assignments(graph), log_scores(graph)
        agrees = np.ones(len(x), bool)
        for family in graph.structure.families[:count]:
            agrees &= (x[:, family.offset : family.offset + family.size] == 0).all(axis=1)
        wanted = np.log(np.exp(scores[agrees]).sum())
        assert float(eliminated(graph.observe(seen)).log_z) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)], ids=["float64", "float32"])
def test_bp_1_networks_are_exact_with_all_their_evidence(data, name, dtype, tolerance):
    graph = network(data, name, dtype)
    for query in exact(data, name)["queries"]:
        found = eliminated(graph.observe(query["evidence"]))
        assert float(found.log_z) == pytest.approx(query["log_evidence"], abs=tolerance)
        assert largest_error(found.beliefs, query["marginals"]) <= tolerance
        assert found.verdict == found.certificate == "exact"


@pytest.mark.parametrize("name, log_z, largest", [
    ("ising_grid_6x8", 38.09146071172546, 21.3235), ("tree_chain_potts", 113.10420875487114, 74.1302),
])  # fmt: skip
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)], ids=["float64", "float32"])
def test_bp_1_and_2_pairwise_graphs_are_exact(data, name, log_z, largest, dtype, tolerance):
    graph, truth = network(data, name, dtype), exact(data, name)
    found = eliminated(graph)
    assert float(found.log_z) == pytest.approx(log_z, abs=tolerance * (1 if dtype == np.float64 else log_z))
    assert largest_error(found.beliefs, truth["marginals"]) <= tolerance
    best = most_probable(graph)
    states, value = best.states, best.log_score
    assert float(value) == pytest.approx(largest, abs=tolerance * 10)
    assert float(graph.log_score(states)) == pytest.approx(float(value), abs=tolerance * 10)


def test_the_gradient_of_log_z_is_the_marginals_and_is_zero_at_hard_zeros():
    graph = grid(np.random.default_rng(3), 3, 3)
    observed = graph.observe({"z": (0, np.array([1, 0, 1]))})
    slope = jax.jit(jax.grad(lambda potentials: eliminated(observed.replace(potentials)).log_z))(graph.potentials)
    found = eliminated(observed)
    np.testing.assert_allclose(slope.unary[0].reshape((3, 3, 2)), found.beliefs["z"], atol=1e-12)
    np.testing.assert_allclose(slope.tables[0][0], found.factor_beliefs("down").sum(axis=0), atol=1e-12)


@pytest.mark.slow
def test_gradients_of_any_order_equal_finite_differences():
    graph = grid(np.random.default_rng(0), 2, 3, card=3)

    def belief(strength):
        tables = tuple(t * strength for t in graph.potentials.tables)
        return eliminated(graph.replace(Potentials(graph.potentials.unary, tables))).beliefs["z"][0, 0, 0]

    step = 1e-5
    difference = (belief(1.3 + step) - belief(1.3 - step)) / (2 * step)
    assert float(jax.grad(belief)(1.3)) == pytest.approx(float(difference), rel=1e-6)


def test_a_map_over_evidence_is_the_loop():
    graph = grid(np.random.default_rng(1), 3, 4)
    states = np.random.default_rng(2).integers(0, 2, size=(50, 4))

    def log_z(row):
        found = eliminated(graph.observe({"z": (0, row)}))
        return found.log_z, found.beliefs["z"]

    totals, beliefs = jax.jit(jax.vmap(log_z))(states)
    for k in (0, 17, 49):
        alone = eliminated(graph.observe({"z": (0, states[k])}), compiled=True)
        assert float(totals[k]) == pytest.approx(float(alone.log_z), abs=1e-12)
        np.testing.assert_allclose(beliefs[k], alone.beliefs["z"], atol=1e-14)


@pytest.mark.slow
def test_a_map_over_potentials_is_the_loop_also_in_a_map():
    """Marginals, mass, gradient, draws and the best assignment, where some of the graphs are impossible."""
    graph = random_graph(1, 5, 5, zeros=0.0)
    structure, rng = graph.structure, np.random.default_rng(4)
    uniforms = rng.random((2, 3, structure.size))
    numbers = jax.tree.map(lambda x: holed(rng, (2, 3, *x.shape), 0.2), graph.potentials)

    def answers(potentials, uniforms):
        own = graph.replace(potentials)
        found, slope = eliminated(own, compiled=True), jax.grad(lambda p: log_mass(exactly(structure), p))(potentials)
        best = most_probable(own, compiled=True)
        states, score = best.states, best.log_score
        return found.log_z, found.variables, found.factors, slope, states, score, pushed(own, uniforms, compiled=True)

    mapped = jax.jit(jax.vmap(jax.vmap(answers)))(numbers, uniforms)
    alone = jax.jit(answers)
    looped = [[alone(jax.tree.map(lambda x: x[i, j], numbers), uniforms[i, j]) for j in range(3)] for i in range(2)]
    for i, j in np.ndindex(2, 3):
        for ours, theirs in zip(jax.tree.leaves(mapped), jax.tree.leaves(looped[i][j]), strict=True):
            np.testing.assert_allclose(ours[i, j], theirs, rtol=0, atol=1e-13)
    assert 0 < np.isneginf(mapped[0]).sum() < 6


@pytest.mark.slow
def test_places_may_be_arguments_of_the_program(monkeypatch):
    """As those of a large graph are; here they are first asked for in a program that is mapped and differentiated."""
    monkeypatch.setattr(planning, "CONSTANTS_UP_TO", 0)
    graph = random_graph(2, 5, 5, zeros=0.0)
    numbers = jax.tree.map(lambda x: jnp.stack([x, x + 1.0]), graph.potentials)

    def asked(potentials):
        return eliminated(graph.replace(potentials), order="min-fill", compiled=True)

    planning.runner_of.cache_clear()
    slope = jax.jit(jax.vmap(jax.grad(lambda p: asked(p).log_z)))(numbers)
    found = asked(graph.potentials)
    planning.runner_of.cache_clear()
    plain = eliminated(graph, compiled=False)
    assert float(found.log_z) == pytest.approx(float(plain.log_z), abs=1e-12)
    for own, ours, theirs in zip(slope.unary, found.variables, plain.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        np.testing.assert_allclose(own[1].reshape(theirs.shape), theirs, atol=1e-12)


def test_many_draws_of_one_graph_are_those_of_each():
    graph = random_graph(1, 5, 5, zeros=0.1)
    uniforms = np.random.default_rng(5).random((7, graph.structure.size))
    mapped = jax.jit(jax.vmap(lambda u: pushed(graph, u)))(uniforms)
    for k, u in enumerate(uniforms):
        for name, states in pushed(graph, u, compiled=False).items():
            np.testing.assert_array_equal(mapped[name][k], states)


@pytest.mark.parametrize("compiled", [False, True], ids=["NumPy", "compiled"])
def test_no_range_of_scores_is_lost_in_single_precision(compiled):
    """What one table makes e^500 times less likely another makes up for; e^-500 is nothing in a float.

    The digits that are left are those of a float of 500: one that is off by one changes a share by 3e-5.
    """
    rng = np.random.default_rng(6)
    far = 500.0 * rng.integers(-1, 2, size=(6, 3))
    far[[0, -1]] = 0.0
    tables = -far[:-1, :, None] / 2 - far[1:, None, :] / 2 + rng.integers(-4, 5, size=(5, 3, 3)) / 4
    found = []
    for dtype in (np.float32, np.float64):
        graph = FactorGraph()
        x = graph.variables("x", (6,), 3, far.astype(dtype))
        graph.factors("step", [x[:-1], x[1:]], tables.astype(dtype))
        found.append(eliminated(graph, order="min-degree", compiled=compiled))
    single, double = found
    assert single.log_z.dtype == np.float32
    np.testing.assert_allclose(single.beliefs["x"], double.beliefs["x"], atol=1e-4)
    assert double.beliefs["x"].min() > 0.05
    assert float(single.log_z) == pytest.approx(float(double.log_z), abs=1e-3)


def test_the_hessian_of_log_z_is_the_derivative_of_its_gradient():
    graph = grid(np.random.default_rng(0), 2, 2, card=3)

    def log_z(scores):
        return log_mass(exactly(graph.structure), Potentials((scores,), graph.potentials.tables))

    scores, step = graph.potentials.unary[0], 1e-5
    slope = jax.jit(jax.grad(log_z))
    curve = jax.jit(jax.hessian(log_z))(scores)
    for at in np.ndindex(2, 3):
        change = jnp.zeros_like(scores).at[at].set(step)
        np.testing.assert_allclose(curve[at], (slope(scores + change) - slope(scores - change)) / (2 * step), atol=1e-9)


def test_other_potentials_and_evidence_are_neither_planned_nor_compiled_again(data, monkeypatch):
    traced = []
    monkeypatch.setattr(planning, "marginals", lambda *given: traced.append(1) or marginals(*given))
    graph = network(data, "asia")
    first = eliminated(graph, order="min-degree", compiled=True)
    second = eliminated(graph.observe({"xray": "yes"}), order="min-degree", compiled=True)
    assert float(second.log_z) < float(first.log_z) and len(traced) == 1
    assert planned(graph.structure) is planned(network(data, "asia").structure)


@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", ["star", "binary", "path", "caterpillar"])
def test_a_forest_takes_rounds_in_the_logarithm_of_its_size(kind):
    """BP-9 in small: the depth of the tree is of no account, and the answer is that of a smaller plan."""
    n, card = 3000, 3
    rng = np.random.default_rng(7)
    graph = FactorGraph()
    x = graph.variables("x", (n,), card, rng.normal(size=(n, card)))
    below = np.arange(1, n)
    above = {
        "star": np.zeros(n - 1, int), "binary": (below - 1) // 2, "path": below - 1,
        "caterpillar": np.where(below < n // 2, below - 1, below - n // 2),
    }[kind]  # fmt: skip
    graph.factors("edge", [x[above], x[below]], rng.normal(size=(n - 1, card, card)))
    plan = best_order(graph.structure, "rounds")
    assert len(plan.rounds) <= 4 * np.log2(n) and plan.largest <= card**3
    fast, slow = eliminated(graph, order="rounds"), eliminated(graph, order="min-degree")
    assert float(fast.log_z) == pytest.approx(float(slow.log_z), rel=1e-12)
    np.testing.assert_allclose(fast.beliefs["x"], slow.beliefs["x"], atol=1e-10)


@pytest.mark.slow
def test_long_products_neither_underflow_nor_drift():
    """A path of 10^5 steps with scores of 1e4: float32 keeps the marginals."""
    n = 100_000
    rng = np.random.default_rng(0)
    scores, table = 1e4 + rng.normal(size=(n, 2)), rng.normal(size=(2, 2))
    found = []
    for dtype in (np.float32, np.float64):
        graph = FactorGraph()
        x = graph.variables("x", (n,), 2, scores.astype(np.float32).astype(dtype))
        graph.factors("step", [x[:-1], x[1:]], table.astype(np.float32).astype(dtype))
        found.append(eliminated(graph, order="rounds"))
    single, double = found
    np.testing.assert_allclose(single.beliefs["x"], double.beliefs["x"], atol=1e-5)
    assert float(single.log_z) == pytest.approx(float(double.log_z), rel=1e-6)


def test_a_graph_over_budget_is_refused_before_anything_is_allocated():
    graph = grid(np.random.default_rng(0), 12, 12)
    with pytest.raises(WidthError, match=r"a table of \d+ entries \(induced width \d+\), more than the budget of 64"):
        eliminated(graph, budget=64)


def test_an_unknown_order_is_refused():
    with pytest.raises(LawfulError, match="order: expected one of min-fill, min-degree, min-weight, rounds, or None"):
        eliminated(grid(np.random.default_rng(0), 2, 2), order="best")


def test_a_contradiction_is_infeasible_and_never_nan():
    graph = FactorGraph()
    x = graph.variables("x", (2,), 2)
    graph.factors("equal", [x[0], x[1]], np.array([[0.0, -np.inf], [-np.inf, 0.0]]))
    for compiled in (False, True):
        found = eliminated(graph.observe({"x": np.array([0, 1])}), compiled=compiled)
        assert float(found.log_z) == -np.inf and found.verdict == "infeasible" and not found.converged
        assert not np.asarray(found.beliefs["x"]).any()


def test_a_graph_without_variables_has_mass_one():
    assert float(eliminated(FactorGraph()).log_z) == 0.0
    assert float(jnp.asarray(eliminated(FactorGraph(), compiled=True).log_z)) == 0.0
