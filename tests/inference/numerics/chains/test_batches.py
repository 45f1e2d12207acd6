"""Chains side by side are the chains one by one, bit by bit; a shape is compiled once; wrong input is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError, NonFiniteError
from lawful.inference.graphs.chains import (
    Chain,
    best_path,
    chain,
    filtered,
    log_z,
    marginals,
    predict,
    push_path,
)
from lawful.inference.graphs.chains.smoothing import where_certified
from tests.inference.numerics.chains.exact import by_logs, random_chain
from tests.inference.numerics.chains.test_extremes import forced, fought_over, narrow

METHODS = ["sequential", "associative"]


def stacked(chains):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *chains)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_chains_side_by_side_are_the_chains_one_by_one(method):
    """Some by fast passes and some by exact ones: neither changes the other."""
    chains = [narrow(g) for g in (forced(0.5), fought_over(700.0), forced(1e4), forced(3.0))]
    functions = (
        lambda g: marginals(g, "sum", method),
        lambda g: filtered(g, method),
        lambda g: best_path(g, method),
        lambda g: push_path(jnp.full(12, 0.3, "float32"), g, method),
    )
    for function in functions:
        together = jax.vmap(function)(stacked(chains))
        for i, given in enumerate(chains):
            for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(function(given)), strict=True):
                np.testing.assert_allclose(one[i], other, rtol=3e-7, atol=1e-6)


def test_a_chain_keeps_its_own_result_beside_one_that_needs_the_exact_passes():
    easy, hard = narrow(forced(0.5)), narrow(fought_over(700.0))
    alone = jax.vmap(lambda g: marginals(g, "sum"))(stacked([easy, easy]))
    beside = jax.vmap(lambda g: marginals(g, "sum"))(stacked([easy, hard]))
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(beside), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(beside.node[1], by_logs(hard)[1], atol=1e-5)


def test_parameters_can_be_mapped_over_one_chain():
    given = random_chain(0, steps=6)
    moves = jnp.stack([given.transition, given.transition + 1, 0.5 * given.transition])
    slope = jax.grad(lambda m: log_z(given._replace(transition=m)))
    together, alone = jax.jit(jax.vmap(slope))(moves), jax.jit(slope)
    for i in range(3):
        np.testing.assert_allclose(together[i], alone(moves[i]), rtol=1e-13)


def test_a_batch_branches_as_a_whole_so_exact_passes_run_only_if_needed():
    """In a batch the branch stays a branch: a select would run the exact passes always."""

    def function(flag):
        return where_certified(flag, jnp.float32(1), lambda: jnp.float32(2))

    program = str(jax.make_jaxpr(jax.vmap(jax.vmap(function)))(jnp.ones((2, 3), bool)))
    assert "cond[" in program and "reduce_or" in program
    assert jax.vmap(function)(jnp.array([True, False])).tolist() == [1.0, 2.0]
    batch = jax.make_jaxpr(jax.vmap(lambda g: marginals(g)))(stacked([random_chain(s) for s in (0, 1)]))
    assert "cond[" in str(batch)


def test_one_shape_is_compiled_once():
    traces = []

    @jax.jit
    def function(given):
        traces.append(1)
        return marginals(given, "sum"), filtered(given), best_path(given)

    for seed in range(3):
        function(random_chain(seed))
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
def test_the_shortest_chains(method):
    none = chain(np.zeros((0, 2)), np.zeros((2, 2)), np.ones(2))
    assert (
        float(log_z(none, method)) == float(filtered(none, method).log_z) == float(best_path(none, method).value) == 0
    )
    assert marginals(none, "each", method).pairs.shape == (0, 2, 2)
    assert not np.asarray(marginals(none, "sum", method).pairs).any()
    assert push_path(jnp.zeros(0), none, method).shape == best_path(none, method).path.shape == (0,)
    assert jax.grad(lambda n: log_z(none._replace(node=n), method))(none.node).shape == (0, 2)

    one = chain(np.log([[1.0, 3.0]]), np.zeros((2, 2)), np.log([1.0, 2.0]))
    found = marginals(one, "each", method)
    assert float(found.log_z) == pytest.approx(np.log(7.0), rel=1e-14)
    np.testing.assert_allclose(found.node, [[1 / 7, 6 / 7]], rtol=1e-14)
    assert found.pairs.shape == (0, 2, 2) and best_path(one, method).path.tolist() == [1]
    assert not np.asarray(marginals(one, "sum", method).pairs).any()
    assert push_path(jnp.array([0.1]), one, method).tolist() == [0]

    single = chain(np.array([[1.0], [2.0], [4.0]]), np.array([[0.5]]))
    found = marginals(single, "each", method)
    assert float(found.log_z) == pytest.approx(8.0, rel=1e-14) == float(best_path(single, method).value)
    assert (
        np.asarray(found.node).tolist() == [[1.0]] * 3 and push_path(jnp.zeros(3), single, method).tolist() == [0] * 3
    )


def test_the_method_is_chosen_by_device_and_states(monkeypatch):
    few, many = (chain(np.zeros((2, k)), np.zeros((k, k))) for k in (32, 33))
    assert few.method("auto") == "sequential"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert few.method("auto") == "associative" and many.method("auto") == "sequential"
    assert many.method("associative") == "associative"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.zeros(3), np.zeros((3, 3))), LawfulError, "node: expected shape"),
        ((np.zeros((3, 0)), np.zeros((0, 0))), LawfulError, "node: expected shape"),
        ((np.zeros((3, 2)), np.zeros((3, 2, 2))), LawfulError, "one less than there are steps"),
        ((np.zeros((3, 2)), np.zeros((3, 3))), LawfulError, "transition: expected shape"),
        ((np.zeros((3, 2)), np.zeros((2, 2)), np.zeros(3)), LawfulError, "initial: expected shape"),
        ((np.zeros((3, 2)), np.zeros((2, 2)), None, np.ones(2, bool)), LawfulError, "mask: expected 3 booleans"),
        ((np.zeros((3, 2)), np.zeros((2, 2)), None, np.ones(3)), LawfulError, "mask: expected 3 booleans"),
        ((np.full((3, 2), np.inf), np.zeros((2, 2))), NonFiniteError, r"node: .* got inf at \(0, 0\)"),
        ((np.zeros((3, 2)), np.full((2, 2), np.nan)), NonFiniteError, r"transition: .* got nan at \(0, 0\)"),
    ],
)
def test_scores_that_do_not_fit_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        chain(*arguments)


def test_a_chain_can_be_made_inside_a_trace_of_scores_that_are_known_and_others():
    given = random_chain(0)
    inside = jax.jit(lambda node: log_z(chain(node, given.transition, np.zeros(3))))(given.node)
    assert float(inside) == pytest.approx(float(log_z(given)), rel=1e-14)
    with pytest.raises(NonFiniteError, match="transition: "):
        jax.jit(lambda node: chain(node, np.full((3, 3), np.nan)))(given.node)


def test_options_that_do_not_exist_are_refused():
    given = random_chain(0)
    with pytest.raises(LawfulError, match="method: expected one of"):
        log_z(given, "parallel")
    with pytest.raises(LawfulError, match="pairs: expected one of"):
        marginals(given, "all")
    with pytest.raises(LawfulError, match="steps: expected 0 or more"):
        predict(given.node[0], given.transition, -1)
    with pytest.raises(LawfulError, match="a uniform for each step"):
        push_path(jnp.zeros(4), given)


def test_scores_of_two_types_are_a_chain_of_the_wider():
    given = chain(np.zeros((2, 2), "float32"), np.zeros((2, 2)))
    assert isinstance(given, Chain) and given.node.dtype == given.transition.dtype == np.float64
    assert chain(np.zeros((2, 2), "float32"), np.zeros((2, 2), int)).node.dtype == np.float32
