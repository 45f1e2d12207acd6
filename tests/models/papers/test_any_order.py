"""Unmasking in any order: the law of a table for any times, conditionals and masses, and what a schedule costs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful import handlers, inference
from lawful.inference import graphs
from lawful.models.papers.any_order import Law, by_graph, by_table, calls_of, expected_calls, in_any_order, steps_of

TIMES = {"one step": [0.1, 0.2, 0.4], "two steps": [0.9, 0.1, 0.2], "three steps": [0.5, 0.9, 0.1]}


@pytest.fixture(autouse=True)
def in_64_bits():
    with jax.enable_x64(True):
        yield


def table(seed, sites=3, values=2):
    """Random masses, a fifth of them 0."""
    rng = np.random.default_rng(seed)
    masses = rng.uniform(size=(values,) * sites) * (rng.uniform(size=(values,) * sites) < 0.8)
    masses.flat[0] = 0.5
    return masses


def tree(seed, sites=5):
    """A random tree of spins, and its table of masses."""
    rng = np.random.default_rng(seed)
    graph = graphs.FactorGraph()
    unary, pair = rng.normal(size=(sites, 2)), rng.normal(size=(sites - 1, 2, 2))
    parent = np.array([rng.integers(0, child) for child in range(1, sites)])
    x = graph.variables("x", shape=(sites,), log_potential=unary)
    graph.factors("edge", [x[parent], x[np.arange(1, sites)]], pair)
    states = np.array(list(itertools.product(range(2), repeat=sites)))
    logs = unary[np.arange(sites), states].sum(1)
    logs += pair[np.arange(sites - 1), states[:, parent], states[:, 1:]].sum(1)
    return graph, np.exp(logs).reshape((2,) * sites)


def masses_of(law, times, steps, look_ahead, shape):
    """Unnormalised masses of the states that the program returns, for given times."""
    seen = handlers.condition(in_any_order, {"time": jnp.asarray(times)})
    found = inference.enumerate(seen)(law, len(times), steps, look_ahead=look_ahead)
    marginal = {tuple(np.ravel(x).tolist()): p for x, p in found.marginal("return").items()}
    total = np.exp(float(found.log_evidence))
    return np.array([total * marginal.get(x, 0.0) for x in np.ndindex(shape)]).reshape(shape)


@pytest.mark.parametrize("steps", [1, 2, 3, None])
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("look_ahead", [False, True])
def test_the_law_is_that_of_the_table_for_any_times(times, steps, look_ahead):
    masses = table(0)
    assert masses_of(by_table(masses), times, steps, look_ahead, masses.shape) == pytest.approx(masses, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_law_is_that_of_the_table_whatever_is_guessed_at(seed):
    masses, rng = table(seed), np.random.default_rng(seed)
    shares, guesses = jnp.asarray(rng.uniform(0.1, 1, (3, 3, 3, 3, 2))), jnp.asarray(rng.normal(size=(3, 3, 3)))
    wrong = Law(by_table(masses).log_density, lambda state: shares[tuple(state)], lambda state: guesses[tuple(state)])
    for steps in (2, None):
        found = masses_of(wrong, [0.7, 0.2, 0.6], steps, True, masses.shape)
        assert found == pytest.approx(masses, abs=1e-12)


@pytest.mark.parametrize("state", [(-1, -1, -1), (0, -1, -1), (-1, 2, 1), (0, 0, 0)])
def test_conditionals_and_masses_of_a_table_are_its_sums(state):
    masses = table(3, values=3)
    part = masses[tuple(slice(None) if x < 0 else slice(x, x + 1) for x in state)]
    law = by_table(masses)
    assert float(jnp.exp(law.log_marginal(jnp.array(state)))) == pytest.approx(part.sum(), abs=1e-12)
    shares = np.asarray(law.conditionals(jnp.array(state)))
    for site, value in enumerate(state):
        if value < 0:
            truth = part.sum(tuple({0, 1, 2} - {site})) / part.sum()
            assert shares[site] / shares[site].sum() == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("method", ["exact", "loopy"])
def test_messages_on_a_tree_give_the_exact_law(method):
    graph, masses = tree(4)
    law, exact = by_graph(graph, lambda g: graphs.infer(g, method)), by_table(masses)
    for state in ([-1] * 5, [0, -1, 1, -1, -1], [1, 1, -1, -1, 0]):
        state = jnp.array(state)
        masked = np.asarray(state) < 0
        found, truth = (np.asarray(x.conditionals(state))[masked] for x in (law, exact))
        assert found / found.sum(1, keepdims=True) == pytest.approx(truth / truth.sum(1, keepdims=True), abs=1e-9)
        assert float(law.log_marginal(state)) == pytest.approx(float(exact.log_marginal(state)), abs=1e-9)
    state = jnp.array([0, 1, 1, 0, 1])
    assert float(law.log_density(state)) == pytest.approx(float(exact.log_density(state)), abs=1e-12)


def test_exact_conditionals_one_by_one_leave_equal_weights():
    graph, masses = tree(5)
    result = inference.smc(in_any_order, particles=50)(jax.random.key(0), by_graph(graph), 5, look_ahead=True)
    assert float(result.log_evidence_pooled) == pytest.approx(np.log(masses.sum()), abs=1e-12)


def test_calls_are_the_steps_that_unmask_something():
    times = np.random.default_rng(0).uniform(size=(50, 6))
    for steps in (1, 4, 18):
        counted = [len(set(np.floor(row * steps))) for row in times]
        assert jax.vmap(lambda row, steps=steps: calls_of(row, steps))(times).tolist() == counted


@pytest.mark.parametrize(("sites", "steps"), [(1, 3), (3, 2), (4, 3)])
def test_expected_calls_are_their_mean_over_all_placements(sites, steps):
    every = [len(set(placed)) for placed in itertools.product(range(steps), repeat=sites)]
    assert expected_calls(sites, steps) == pytest.approx(np.mean(every), abs=1e-12)


def test_without_a_grid_each_site_has_a_step_of_its_own():
    assert sorted(steps_of(np.random.default_rng(1).uniform(size=9)).tolist()) == list(range(9))


def test_weighed_draws_of_one_step_have_the_marginals_of_the_table():
    """False alarm 1e-6 (4.9 standard errors of 50 runs of 200); without weights the share is 0.5, missed with 1e-9."""
    masses = jnp.array([[0.45, 0.05], [0.05, 0.45]])
    result = inference.smc(in_any_order, particles=200, runs=50)(jax.random.key(1), by_table(masses), 2, 1)
    value = np.asarray(result.posterior["value"]).reshape(50, 200, 2)
    equal = (value[..., 0] == value[..., 1]).mean(1)
    assert abs(equal.mean() - 0.9) < 4.9 * equal.std(ddof=1) / np.sqrt(50)
