"""Laws of permutations: the elements in an order, in all of JAX's transformations; no derivative writes by places."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.form.operations.permutation import Permutation


@pytest.mark.rest_slow
@pytest.mark.parametrize("order", [(0,), (1, 0), (2, 0, 1), (4, 2, 3, 0, 1)])
def test_every_transformation_is_that_of_reading_at_the_places(order: tuple[int, ...]) -> None:
    draws = np.random.default_rng(len(order))
    array, tangent = (jnp.asarray(draws.normal(size=(len(order), 2))) for _ in range(2))
    ours = lambda x: Permutation(order)(x)[0]  # noqa: E731
    theirs = lambda x: x[jnp.asarray(order)]  # noqa: E731
    score = lambda f: lambda x: jnp.sum(jnp.sin(f(x)) * jnp.arange(1.0, len(order) + 1)[:, None])  # noqa: E731
    np.testing.assert_array_equal(ours(array), theirs(array))
    for mine, other in zip(jax.jvp(ours, (array,), (tangent,)), jax.jvp(theirs, (array,), (tangent,)), strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(jax.jit(jax.grad(score(ours)))(array), jax.jit(jax.grad(score(theirs)))(array))
    mine, other = (jax.jit(jax.hessian(score(f)))(array) for f in (ours, theirs))
    np.testing.assert_array_equal(mine, other)
    stacks = jnp.stack([array, tangent, array])
    for axis in range(3):
        lanes = jnp.moveaxis(stacks, 0, axis)
        mine, other = (jax.jit(jax.vmap(f, in_axes=axis, out_axes=axis))(lanes) for f in (ours, theirs))
        np.testing.assert_array_equal(mine, other)


@pytest.mark.rest_slow
@pytest.mark.parametrize("steps", [9, 25])
def test_the_gradient_of_a_vector_of_written_out_sites_writes_nowhere(steps: int) -> None:
    def walk() -> None:
        x = 0.0
        for i in range(steps):
            x = lawful.sample(f"x_{i}", dist.Normal(0.5 * x, 1.0))

    density = lawful.density(walk)
    vector = jnp.arange(1.0, steps + 1) / steps
    names = sorted(f"x_{i}" for i in range(steps))
    by_name = {name: vector[k] for k, name in enumerate(names)}
    of_names = jax.grad(density.logp)(by_name)
    of_vector = jax.grad(density.logp_vector)(vector)
    np.testing.assert_allclose(of_vector, np.array([of_names[name] for name in names]), rtol=1e-12, atol=1e-12)
    assert "scatter" not in jax.jit(jax.grad(density.logp_vector)).lower(vector).as_text()
