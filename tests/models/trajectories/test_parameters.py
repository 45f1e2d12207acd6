"""The number of parameters is that of the table of variants, and the free vector reaches every tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Bounds, Model, pack, unpack

from .truth import MODELS

COUNTS = [
    (Model("BLS", 2, 2, 2), 47),
    (Model("BLS", 2, 0, 2), 45),
    (Model("BLS", 2, 2, 0), 25),
    (Model("BLS", 2), 23),
    (Model("BLS", 1), 11),
    (Model("BLS", 3), 35),
    (Model("BLS", 2, 2, 2, intrinsic=True), 59),
    (Model("LIN", 2, p_varying=1, waves=3), 13 + 2 * (1 + 2 * 3)),
]


@pytest.mark.rest_slow
@pytest.mark.parametrize(("model", "count"), COUNTS, ids=str)
def test_the_tree_has_the_parameters_of_the_table(model, count):
    """Counted from the tree itself: the rank of its Jacobian, so that no parameter is counted twice or idles."""
    assert model.size == count
    bounds = Bounds(jnp.zeros(()), jnp.ones(()))
    free = jnp.asarray(np.random.default_rng(0).normal(size=count))
    flat = jax.jit(
        lambda free: jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(unpack(free, model, bounds))])
    )
    jacobian = [(flat(free.at[i].add(1e-6)) - flat(free)) / 1e-6 for i in range(count)]
    assert np.linalg.matrix_rank(np.array(jacobian), tol=1e-3) == count


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_packing_undoes_unpacking(model):
    bounds = Bounds(jnp.asarray(0.2), jnp.asarray(0.8))
    free = jnp.asarray(np.random.default_rng(1).normal(size=model.size))
    at = unpack(free, model, bounds)
    again = unpack(pack(at, model, bounds), model, bounds)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12), at, again)


def test_a_knot_stays_inside_its_bounds_and_a_rate_and_an_acceleration_keep_their_signs():
    bounds = Bounds(jnp.asarray(0.2), jnp.asarray(0.8))
    for curve, low, high in (("BLS", 0.2, 0.8), ("EXP", 0.0, np.inf), ("JB", -np.inf, 0.0)):
        model = Model(curve, 1)
        for extreme in (-5.0, 5.0):
            shape = float(unpack(jnp.full(model.size, extreme), model, bounds).shape[0, 0])
            assert low < shape < high
