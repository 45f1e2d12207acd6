"""A root lies in its bracket, its residual is the function's own value there, and a wrong sign is told."""

import jax.numpy as jnp
import pytest

from lawful.inference.transformers.root import RootStatus, falling_root

SHAPES = {
    "linear": lambda x: 0.3 - x,
    "steep": lambda x: jnp.exp(-1e4 * x) - 0.5,
    "flat, then steep": lambda x: 0.1 - x**9,
    "kinked": lambda x: jnp.where(x < 0.9, 1e-3, 1e-3 - 100 * (x - 0.9)),
    "step like": lambda x: -jnp.tanh(1e6 * (x - 0.123)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_residual_is_the_functions_own_value(name):
    function = SHAPES[name]
    root = falling_root(function, 0.0, 1.0, 1e-9)
    assert int(root.status) == RootStatus.FOUND
    assert 0 <= float(root.x) <= 1
    assert float(root.residual) == pytest.approx(float(function(root.x)), rel=1e-12)
    assert abs(float(root.residual)) <= 1e-9

    assert int(root.evaluations) <= 60


@pytest.mark.parametrize("function", [lambda x: x - 0.3, lambda x: 1.0 + x, lambda x: -1.0 - x, lambda x: x * jnp.nan])
def test_a_function_that_does_not_fall_through_zero_has_no_root(function):
    root = falling_root(function, 0.0, 1.0, 1e-9)
    assert int(root.status) == RootStatus.NO_SIGN_CHANGE
    assert float(root.x) in (0.0, 1.0)


def test_a_search_that_is_cut_short_says_so():
    root = falling_root(SHAPES["steep"], 0.0, 1.0, 1e-9, steps=3)
    assert int(root.status) == RootStatus.NOT_CONVERGED
    assert abs(float(root.residual)) > 1e-9
