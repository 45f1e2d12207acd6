"""Fixed points have the derivative of their equation, whatever led to them and whatever the equation's solver meets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.loopy.fixed_points import differentiable_if, settled, stationary

COUPLING = 0.6 * np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
SHIFT = np.eye(5, k=-1)


def update(theta, x):
    return {"x": jnp.tanh(COUPLING @ x["x"] + theta * x["y"]), "y": jnp.cos(x["x"] * theta) / 2}


def iterated(theta):
    start = {"x": jnp.zeros(5), "y": jnp.zeros(5)}
    return jax.lax.scan(lambda x, _: (update(theta, x), None), start, None, 200)[0]


def by_the_equation(theta):
    return settled(update, theta, iterated(jax.lax.stop_gradient(theta)))


THETA = jnp.linspace(-1.0, 1.0, 5)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_the_derivative_is_that_of_the_steps_that_led_there(mode):
    wanted = jax.jit(jax.jacrev(iterated))(THETA)
    found = jax.jit(mode(by_the_equation))(THETA)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_so_is_the_second():
    def curved(f):
        return jax.jit(jax.hessian(lambda t: jnp.sum(jnp.exp(f(t)["x"]))))(THETA)

    np.testing.assert_allclose(curved(by_the_equation), curved(iterated), atol=1e-9)


def test_an_equation_that_only_passes_values_on_is_solved():
    """There BiCGSTAB breaks down at its first step: what is left over shares no entry with what was given."""
    theta = jnp.arange(5.0)
    point = np.linalg.solve(np.eye(5) - SHIFT, theta)
    found = jax.jacrev(lambda t: settled(lambda t, x: SHIFT @ x + t, t, point))(theta)
    np.testing.assert_allclose(found, np.tril(np.ones((5, 5))), atol=1e-12)


def test_each_instance_of_a_map_has_its_own_equation():
    thetas = jnp.stack([THETA, 2 * THETA, 0 * THETA])
    slope = jax.grad(lambda t: jnp.sum(by_the_equation(t)["x"] ** 2))
    np.testing.assert_allclose(jax.jit(jax.vmap(slope))(thetas), [slope(t) for t in thetas], atol=1e-10)


def test_an_equation_without_a_solution_has_no_derivative():
    found = jax.grad(lambda t: jnp.sum(settled(lambda t, x: x + t, t, jnp.ones(3))))(jnp.zeros(3))
    assert np.isnan(found).all()


def test_a_stationary_value_does_not_ask_how_the_point_moves():
    """The derivative of max_x t x - x^4 / 4 is x, whose own derivative comes with the second one."""

    def point(t):
        x = jax.lax.stop_gradient(jnp.cbrt(t))
        return settled(lambda t, x: x - (x**3 - t) / 4, t, x)

    def largest(t):
        return stationary(lambda t, x: (t * x - x**4 / 4, x), t, point(t))[0]

    assert float(jax.grad(largest)(2.0)) == pytest.approx(2 ** (1 / 3), rel=1e-12)
    assert float(jax.grad(jax.grad(largest))(2.0)) == pytest.approx(2 ** (-2 / 3) / 3, rel=1e-9)
    asked = ["linear_solve" in str(jax.make_jaxpr(jax.grad(f))(2.0)) for f in (point, largest)]
    assert asked == [True, False]


@pytest.mark.parametrize(("weight", "wanted"), [(1.0, 6.0), (0.0, 0.0), (np.nan, np.nan)])
def test_a_weight_stands_before_the_derivative_alone(weight, wanted):
    value, slope = jax.value_and_grad(lambda x: differentiable_if(weight, x) ** 2)(3.0)
    np.testing.assert_array_equal([float(value), float(slope)], [9.0, wanted])
