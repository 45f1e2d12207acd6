"""Derivatives are those of the density, and the search for a maximum keeps its law."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.gaussian_moe import Gate, Mixture
from lawful.models.gaussian_moe.ascent import ascend
from lawful.models.gaussian_moe.curvature import Local, coordinates, derivatives, parameters_at
from lawful.models.gaussian_moe.parameters import pinned
from lawful.models.gaussian_moe.rows import rows_of, total
from tests.models.gaussian_moe.cases import GATES, random_case

FLOOR = 0.01


@pytest.mark.parametrize("name", ["softmax", "temperature", "logistic"])
def test_coordinates_go_there_and_back(name):
    gate, (p, *_) = GATES[name], random_case(0)
    p = pinned(p) if name != "logistic" else p._replace(beta0=p.beta0 - p.beta0[-1])
    p = p if name != "softmax" else p._replace(tau=jnp.ones(()))
    for one, other in zip(parameters_at(gate, coordinates(gate, p, FLOOR), FLOOR, 3, 2), p):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-14)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["softmax", "temperature", "logistic"])
def test_value_gradient_and_hessian_are_those_of_the_weighted_density(name):
    gate, (p, X, y, rng) = GATES[name], random_case(1, n=11)
    weight = jnp.asarray(rng.uniform(0.5, 2.0, 11))
    X, y = jnp.asarray(X), jnp.asarray(y)
    rows = rows_of(X, y, weight, block=4)
    theta = coordinates(gate, p, FLOOR)

    def mean(theta):
        density = Mixture(gate, parameters_at(gate, theta, FLOOR, 3, 2)).log_density(X, y)
        return jnp.sum(weight * density) / jnp.sum(weight)

    found = jax.jit(derivatives(gate, rows, FLOOR, 3))(theta)
    value, slope = jax.jit(jax.value_and_grad(mean))(theta)
    assert found.value == pytest.approx(float(value), rel=1e-13)
    np.testing.assert_allclose(found.slope, slope, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.curvature, jax.jit(jax.hessian(mean))(theta), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block", [1, 3, 5, 100])
def test_the_size_of_blocks_is_no_part_of_a_sum(block):
    _, X, y, rng = random_case(2, n=5)
    rows = rows_of(jnp.asarray(X), jnp.asarray(y), block=block)
    found = total(rows, lambda b: jnp.sum(b.weight * b.y * b.x[0]))
    assert found == pytest.approx(float(np.sum(y * X[:, 0])), rel=1e-13)


def valley(x):
    """A maximum at (1, 1) along a bent valley, with a saddle at (0, .)."""
    value = lambda x: -10 * (x[1] - x[0] ** 2) ** 2 - (x[0] ** 2 - 1) ** 2
    return Local(value(x), jax.grad(value)(x), jax.hessian(value)(x))


def test_the_search_leaves_a_saddle_and_reports_convergence():
    found = jax.jit(partial(ascend, valley))(jnp.array([1e-5, 0.0]))
    assert found.converged and found.iterations < 100
    np.testing.assert_allclose(found.theta, [1.0, 1.0], atol=1e-5)
    assert np.sum(found.local.slope**2) < 1e-12


def test_the_value_never_falls():
    run = jax.jit(lambda most: ascend(valley, jnp.array([-1.5, 2.0]), most=most).local.value)
    values = [float(run(most)) for most in range(12)]
    assert values == sorted(values) and values[-1] > values[0]


def test_a_search_that_is_cut_short_says_so():
    assert not jax.jit(partial(ascend, valley, most=2))(jnp.array([-1.5, 2.0])).converged


def test_points_stay_where_they_are_allowed():
    found = jax.jit(partial(ascend, valley, allowed=lambda x: jnp.minimum(x, 0.5), most=60))(jnp.array([0.1, 0.0]))
    assert found.theta.max() <= 0.5 and not found.converged


def test_gradient_in_the_gate_of_a_flat_softmax_is_that_of_the_responsibilities():
    """A check by hand: with a gate of zeros, d/d beta0_i is the mean of r_i - 1/k."""
    p, X, y, _ = random_case(3)
    p = p._replace(beta1=jnp.zeros_like(p.beta1), beta0=jnp.zeros_like(p.beta0))
    rows = rows_of(jnp.asarray(X), jnp.asarray(y))
    found = jax.jit(derivatives(Gate(), rows, FLOOR, 3))(coordinates(Gate(), p, FLOOR))
    r = Mixture(Gate(), p).responsibilities(X, y)
    np.testing.assert_allclose(np.asarray(found.slope)[[2, 5]], (np.asarray(r).mean(0) - 1 / 3)[:2], rtol=1e-10)
