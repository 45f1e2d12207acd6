"""The derivative of log Z is the marginals, without a tape; further derivatives are those of the marginals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.chains import best_path, log_z, marginals
from tests.inference.numerics.chains.exact import by_enumeration, random_chain
from tests.inference.numerics.chains.test_extremes import fought_over, narrow

METHODS = ["sequential", "associative"]


def of_scores(given, function):
    """A function of the scores alone."""
    return lambda node, transition: function(given._replace(node=node, transition=transition))


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("each", "masked"), [(False, False), (False, True), (True, True)])
def test_the_gradient_of_log_z_is_the_marginals(method, each, masked):
    given = random_chain(3, each=each, masked=masked, zeros=True)
    _, node, pairs = by_enumeration(given)
    if masked:
        there = np.asarray(given.live)
        node[1:][~there[1:]], pairs[~there[1:]] = 0, 0
    value, slope = jax.value_and_grad(of_scores(given, lambda g: log_z(g, method)), (0, 1))(
        given.node, given.transition
    )
    assert float(value) == pytest.approx(by_enumeration(given)[0], rel=1e-13)
    np.testing.assert_allclose(slope[0], node, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(slope[1], pairs if each else pairs.sum(0), rtol=1e-12, atol=1e-300)
    again = jax.grad(of_scores(given, lambda g: marginals(g, "none", method).log_z), (0, 1))(*given[:2])
    for one, other in zip(again, slope, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=1e-300)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "masked"), [("sequential", True), ("associative", False)])
def test_second_derivatives_are_covariances_forward_and_backward(method, masked):
    given = random_chain(6, steps=3, masked=masked)
    size = given.node.size

    def function(x):
        node, moves = x[:size].reshape(given.node.shape), x[size:].reshape(given.transition.shape)
        return log_z(given._replace(node=node, transition=moves), method)

    x = jnp.concatenate([given.node.reshape(-1), given.transition.reshape(-1)])
    hessian = jax.jit(jax.hessian(function))(x)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.jacrev(jax.grad(function)))(x), hessian, atol=1e-12)
    if method == "sequential":
        np.testing.assert_allclose(jax.jit(jax.jacfwd(jax.jacfwd(function)))(x), hessian, atol=1e-12)
    gradient, step = jax.jit(jax.grad(function)), 1e-5
    for i in range(0, x.size, 4):
        e = jnp.zeros_like(x).at[i].set(step)
        np.testing.assert_allclose((gradient(x + e) - gradient(x - e)) / (2 * step), hessian[i], atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_marginals_have_derivatives_where_scores_are_hard_zeros_or_huge(method):
    """The covariance of two indicators; a hard zero has none, and the exact passes have those of the fast ones."""
    for given in (random_chain(3, zeros=True), narrow(fought_over(700.0))):
        rest = jax.jacrev(of_scores(given, lambda g: marginals(g, "none", method).node[1]))(
            given.node, given.transition
        )
        assert np.isfinite(rest).all()
        hard = np.asarray(given.node) == -np.inf
        assert hard.any() == (given.states == 3) and not np.asarray(rest)[:, hard].any()
        if given.states == 3:
            pair = by_enumeration(given)
            covariance = pair[2][0] - pair[1][0][:, None] * pair[1][1]
            np.testing.assert_allclose(rest[:, 0], covariance.T, atol=1e-13)


def test_the_gradient_of_a_long_chain_keeps_no_tape():
    """No intermediate of the gradient has an axis of steps beside two of states, and it runs the passes once."""
    given = random_chain(0, steps=100, states=7)
    program = jax.jit(jax.grad(of_scores(given, lambda g: log_z(g, "sequential")), (0, 1)))
    jaxpr = str(program.trace(given.node, given.transition).jaxpr)
    assert "99,7,7]" not in jaxpr and "100,7,7]" not in jaxpr
    assert jaxpr.count("scan[") == 2 + 3  # the two passes; in logs the two passes and the counts


def test_the_derivative_of_the_best_value_marks_its_path():
    given = random_chain(8)
    slope = jax.grad(of_scores(given, lambda g: best_path(g).value), (0, 1))(given.node, given.transition)
    path = np.asarray(best_path(given).path)
    np.testing.assert_array_equal(slope[0], np.eye(3)[path])
    counts = np.zeros((3, 3))
    np.add.at(counts, (path[:-1], path[1:]), 1)
    np.testing.assert_array_equal(slope[1], counts)
