"""Scores of any size: nothing finite is lost, nothing becomes NaN, and fast passes run where they are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.chains import best_path, chain, filtered, log_z, marginals, push_path
from lawful.inference.graphs.chains.linear import evidence_of, passes, products
from tests.inference.numerics.chains.exact import by_enumeration, by_logs, random_chain
from tests.tiers import rest_slow

METHODS = ["sequential", "associative"]
INF = np.inf


both_passes = jax.jit(lambda given: passes(given, products(given), evidence_of(given)))


def certified(given):
    return bool(both_passes(given).certified)


def narrow(given):
    return jax.tree.map(lambda x: x if x.dtype == bool else x.astype("float32"), given)


def forced(gap, steps=12):
    """Two states that never meet: the second is hopeless by `gap` at the start, and forced at the end."""
    node = np.zeros((steps, 2))
    node[0, 1] = -gap
    node[-1, 0] = -INF
    return chain(node, np.where(np.eye(2), [[-0.5, 0], [0, -1.0]], -INF))


def fought_over(gap, steps=12):
    """Hopeless by `gap` at both ends, and better by more than twice as much on the way, a little at each step.

    Neither pass alone sees it: forward weights lose the state at the start, backward weights at the end.
    """
    node = np.zeros((steps, 2))
    node[[0, -1], 1] = -gap
    node[1:-1, 0] = -3 * gap / (steps - 2)
    return chain(node, np.where(np.eye(2), 0, -INF))


HARD = {
    "forced by hard evidence": forced(300.0),
    "forced by hard evidence, huge": forced(1e4),
    "won on the way": fought_over(300.0),
    "won on the way, by far": fought_over(700.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_that_is_hopeless_now_and_wins_later_is_not_lost(name, method, dtype):
    given = HARD[name] if dtype == "float64" else narrow(HARD[name])
    exact, node = by_logs(given)
    found = marginals(given, "sum", method)
    assert float(found.log_z) == pytest.approx(exact, rel=1e-12 if dtype == "float64" else 1e-6)
    np.testing.assert_allclose(found.node, node, atol=1e-12 if dtype == "float64" else 1e-5)
    np.testing.assert_allclose(found.pairs.sum(), given.steps - 1, rtol=1e-5)
    forward = filtered(given, method)
    assert float(forward.log_z) == pytest.approx(exact, rel=1e-12 if dtype == "float64" else 1e-6)
    path = push_path(jnp.full(given.steps, 0.5, dtype), given, method)
    assert path.tolist() == best_path(given, method).path.tolist() == [1] * given.steps


@pytest.mark.slow
def test_a_state_that_wins_slowly_is_not_lost_by_the_filter():
    """Each step changes little, and none is hard evidence: what the first floor added has to be followed on its way."""
    given = narrow(fought_over(100.0, 40))
    given = given._replace(node=given.node.at[-1].set(0))
    exact, node = by_logs(given)
    assert not certified(given)
    forward, slow = filtered(given), filtered(given, "logs")
    np.testing.assert_allclose(np.exp(forward.log_law), np.exp(slow.log_law), atol=1e-5)
    assert float(np.exp(forward.log_law[:, 1]).max()) > 0.99 > 1e-6 > float(np.exp(forward.log_law[3, 1]))
    for value in (forward.log_z, slow.log_z, marginals(given).log_z):
        assert float(value) == pytest.approx(exact, rel=1e-6)
    np.testing.assert_allclose(marginals(given).node, node, atol=1e-5)


def test_the_fast_passes_know_where_they_are_right():
    assert not any(certified(narrow(given)) for given in HARD.values())
    assert not certified(forced(1e4)) and certified(forced(300.0))  # float64 holds exp(-300)
    for seed in range(8):
        given = narrow(random_chain(seed, steps=200, zeros=seed % 2 == 0, masked=seed % 3 == 0, each=seed % 5 == 0))
        assert certified(given)


@pytest.mark.parametrize("seed", rest_slow(range(4), 2))
def test_what_is_certified_is_right(seed):
    """Scores that spread more and more: wherever the fast passes claim to be right they are, within float32."""
    claims = []
    for scale in (1.0, 5.0, 20.0, 40.0, 80.0):
        given = narrow(random_chain(seed, steps=30, states=4, zeros=True, scale=scale))
        found = both_passes(given)
        claims.append(bool(found.certified))
        if claims[-1]:
            node = found.forward * found.backward / found.dots[:, None]
            np.testing.assert_allclose(node, by_logs(given)[1], atol=2e-5 * scale)
    assert claims[0] and not all(claims)


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("each", [False, True])
def test_scores_of_ten_thousand_in_float32(method, each):
    given = narrow(random_chain(7, steps=12, each=each, zeros=True, scale=1e4))
    exact, node = by_logs(given)
    found = marginals(given, "sum", method)
    assert float(found.log_z) == pytest.approx(exact, rel=1e-6)
    np.testing.assert_allclose(found.node, node, atol=1e-5)
    for leaf in jax.tree.leaves((found, filtered(given, method).increments, best_path(given, method))):
        assert np.isfinite(leaf).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_feasible_state_has_belief_zero_while_the_type_can_hold_it(dtype):
    gap = 60.0 if dtype == "float32" else 500.0
    node = np.zeros((5, 3))
    node[2, 1], node[2, 2] = -gap, -INF
    given = chain(node.astype(dtype), np.zeros((3, 3), dtype))
    for method in (*METHODS, "logs"):
        law = np.asarray(marginals(given, "none", method).node[2])
        assert law[2] == 0 and law[1] > 0
        assert method == "associative" or law[1] == pytest.approx(np.exp(-gap), rel=1e-4, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", rest_slow(["middle", "move", "start", "end"], 2))
@pytest.mark.parametrize("each", [False, True])
def test_a_chain_without_a_path_has_log_z_minus_infinity_and_no_nan(method, at, each):
    node, transition = np.zeros((5, 3)), np.zeros((4, 3, 3) if each else (3, 3))
    if at == "move":
        transition[...] = -INF
    else:
        node[{"start": 0, "middle": 2, "end": -1}[at]] = -INF
    given = chain(node, transition)
    found, forward, best = marginals(given, "each", method), filtered(given, method), best_path(given, method)
    assert float(found.log_z) == float(forward.log_z) == float(best.value) == float(log_z(given, method)) == -INF
    assert not np.asarray(found.node).any() and not np.asarray(found.pairs).any() and float(found.remainder) == 0
    assert not np.isnan(forward.increments).any() and not np.isnan(forward.log_law).any()
    assert best.path.tolist() == push_path(jnp.full(5, 0.5), given, method).tolist() == [-1] * 5
    slope = jax.grad(lambda node, moves: log_z(given._replace(node=node, transition=moves), method), (0, 1))(*given[:2])
    assert not np.asarray(slope[0]).any() and not np.asarray(slope[1]).any()


@pytest.mark.slow
def test_nan_is_passed_on():
    given = random_chain(0)._replace(node=jnp.full((5, 3), jnp.nan))
    assert np.isnan(float(log_z(given))) and np.isnan(float(log_z(given, "associative")))


def long(steps, states):
    rng = np.random.default_rng(steps)
    return chain(rng.normal(size=(steps, states)) - 3, np.log(rng.dirichlet([0.5] * states, states)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "method"),
    [
        (100_000, "sequential"),
        (600, "associative"),
        pytest.param(100_000, "associative", marks=pytest.mark.slow),
    ],
)
def test_long_chains_in_float32_are_right_to_a_millionth(steps, method):
    given = long(steps, 3)
    exact, found = marginals(given, "none", "sequential"), marginals(narrow(given), "none", method)
    assert certified(narrow(given))
    assert float(found.log_z) == pytest.approx(float(exact.log_z), rel=1e-6)
    np.testing.assert_allclose(found.node, exact.node, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [60, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_long_chain_has_one_log_z_by_both_methods(steps):
    given = long(steps, 2)
    step, tree = float(log_z(given, "sequential")), float(log_z(given, "associative"))
    assert step == pytest.approx(tree, rel=1e-12)
    if steps < 10_000:
        assert step == pytest.approx(by_logs(given)[0], rel=1e-13)


def test_log_z_is_rounded_once():
    """Ten thousand terms in float32: the total is the float nearest to the sum, and the remainder what it lacks."""
    node = jnp.full((10_000, 1), jnp.float32(3.1))
    found = marginals(chain(node, jnp.zeros((1, 1), "float32")))
    exact = 10_000 * float(np.float32(3.1))
    assert float(found.log_z) == float(np.float32(exact))
    assert float(found.log_z) + float(found.remainder) == pytest.approx(exact, rel=1e-12)


def test_enumeration_and_recursion_are_the_same_truth():
    given = random_chain(5, zeros=True, masked=True)
    (log_z_1, node_1, _), (log_z_2, node_2) = by_enumeration(given), by_logs(given)
    assert log_z_1 == pytest.approx(log_z_2, rel=1e-13)
    np.testing.assert_allclose(node_1, node_2, atol=1e-13)
