"""Sums over waves: their derivatives, given by sums, are those of automatic differentiation, of both orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import CURVES, panel
from lawful.models.trajectories.likelihood.sums import summed, wave_sums


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", [*CURVES])
def test_derivatives_over_classes_and_persons_are_those_of_the_plain_sums(name):
    form, rng = CURVES[name], np.random.default_rng(0)
    y, t = rng.normal(size=(3, 4)), np.sort(rng.uniform(size=(3, 4)), axis=1)
    y[1, 2] = np.nan
    seen = panel(y, t)
    at = (
        jnp.asarray(rng.uniform(0.2, 0.8, size=(2, 3)) * (-1 if name == "JB" else 1)),
        jnp.asarray(rng.normal(size=(2, form.q, 3))),
    )

    def plain(shape, mean):
        columns = [jnp.broadcast_to(c, seen.t.shape) * seen.mask for c in form.basis(seen.t, shape[None], 0.01)]
        fitted = sum(column * a for column, a in zip(columns, mean, strict=True))
        return summed(columns, seen.y - fitted)

    def ours(shape, mean):
        return wave_sums(form, shape, [*mean], seen, 0.01)

    def slopes(sums):
        """Value, gradient, and the derivative of the gradient in a direction, of a function of all sums."""

        def total(at):
            mapped = jax.jit(jax.vmap(sums))(*at)
            return sum(jnp.sum(jnp.sin(each)) for each in jax.tree.leaves(mapped))

        value, gradient = jax.value_and_grad(total)(at)
        return value, gradient, jax.jvp(jax.grad(total), (at,), (jax.tree.map(jnp.cos, at),))[1]

    for a, b in zip(jax.tree.leaves(slopes(ours)), jax.tree.leaves(slopes(plain)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
