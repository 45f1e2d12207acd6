"""What a climb sees is the same in blocks of persons as at once, and a tether adds its square and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

from lawful.models.trajectories import Bounds, Model, log_likelihood_by_person, unpack
from lawful.models.trajectories.fitting.scores_at import looking, tethered
from lawful.models.trajectories.model.panels import in_blocks, taken

from .truth import case

MODEL = Model("LIN", 2, 1, 1)
WITHIN = Bounds(jnp.zeros(()), jnp.ones(()))


def look_at(blocks, live):
    def by_person(free, width, block):
        found = log_likelihood_by_person(unpack(free, MODEL, WITHIN), block[0], MODEL, width)
        return found if live is None else jnp.where(block[1], found, 0.0)

    return jax.jit(looking(by_person, (blocks, live), blocks.y.shape[2]), static_argnums=2)


def test_blocks_of_persons_add_up_to_all_at_once_though_the_last_is_filled_up():
    _, made, free = case(MODEL, n=7, waves=3)
    whole = look_at(*in_blocks(made))(free[:, 0], 0.0, True)
    parts = look_at(*in_blocks(made, 3))(free[:, 0], 0.0, True)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)
    assert np.abs(whole.squares).max() > 1
    np.testing.assert_array_equal(taken(made, np.array([3, 5])).y, made.y[:, [3, 5]])


def test_a_tether_adds_the_value_gradient_and_square_of_its_pull():
    plain = looking(lambda free, width, x: -0.5 * (free[0] - x) ** 2, jnp.arange(4.0)[None], 4)
    tied = tethered(plain, lambda free: free[0] * free[1], 5.0, 3.0)
    at = jnp.array([1.0, 2.0])
    one, other = plain(at, 0.0, True), tied(at, 0.0, True)
    total = lambda free: plain(free, 0.0, True).value + 1.5 * (free[0] * free[1] - 5.0) ** 2
    np.testing.assert_allclose(other.value, total(at))
    np.testing.assert_allclose(other.gradient, jax.grad(total)(at))
    np.testing.assert_allclose(other.squares - one.squares, 3.0 * np.outer([2.0, 1.0], [2.0, 1.0]))
