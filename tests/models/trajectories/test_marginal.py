"""The log-likelihood as one number: value and gradient are those of the sum over persons, batch by batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Model, log_likelihood_by_person, unpack
from lawful.models.trajectories.likelihood import marginal

from . import truth

MODEL = Model("LIN", 2, p_gate=1, joint=False)


def test_value_and_gradient_are_those_of_the_sum_over_persons_in_batches_too(monkeypatch):
    monkeypatch.setattr(marginal, "CELLS", 90)  # three parameters at a time, of seven
    marginal._rule.cache_clear()
    _, seen, free = truth.case(MODEL, missing=0.2)
    points = jnp.asarray(free[:, 0] + np.random.default_rng(0).normal(size=(7, MODEL.size)) * 0.1)

    def plain(free):
        return jnp.sum(log_likelihood_by_person(unpack(free[:, None], MODEL, truth.BOUNDS), seen, MODEL, 0.01))

    def short(free):
        return marginal.log_likelihood(unpack(free, MODEL, truth.BOUNDS), seen, MODEL, 0.01)

    want, slope = jax.jit(jax.vmap(jax.value_and_grad(plain)))(points)
    found, by = jax.jit(jax.vmap(jax.value_and_grad(short)))(points)
    np.testing.assert_allclose(found, want, rtol=1e-12)
    np.testing.assert_allclose(by, slope, rtol=1e-9, atol=1e-9)
    one = jax.jit(jax.value_and_grad(short))(points[4])
    assert one[0] == pytest.approx(float(want[4]), rel=1e-12)
    np.testing.assert_allclose(one[1], slope[4], rtol=1e-9, atol=1e-9)
    marginal._rule.cache_clear()
