"""Islands keep the measure of a program, exactly: all values of all sites are listed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.devices.island_laws import WholeLaw, WithinLaw
from lawful.inference.devices.island_resampling import Apart, Islands, Levels
from lawful.inference.devices.reductions import OwnApart, OwnLevel
from lawful.inference.devices.routing import Whole, Within
from lawful.inference.laws.systematic_resampling import systematic
from tests.inference.programs import Y, plain
from tests.inference.sharding.test_exchange import across
from tests.inference.tier0 import law_error

pytestmark = pytest.mark.tier0
KEY = jax.random.key(5)
LEVELS = np.log([0.2, 3.0, 0.7, 1.1])


@pytest.mark.slow
@pytest.mark.parametrize("below", [0.8, None])
def test_a_filter_on_islands_keeps_the_measure_of_its_program(below):
    plan = inference.smc(plain, particles=4, resampling=Islands(2, 0.9), resample_below=below, keep="last")
    assert law_error(plan, plain, Y).error < 1e-12


def expected(law, parameter, weights, after):
    """E[sum_i w'_i f(x'_i)] for f that tells every particle apart: a vector."""
    ancestors, masses = map(np.asarray, jax.jit(law.enumerate)(parameter))
    return np.einsum("c,i,cif->f", np.exp(masses), after, np.eye(len(weights))[ancestors])


@pytest.mark.parametrize("weights", [[0.5, 2.0, 0.0, 1.0], [0.0, 0.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
def test_islands_pass_their_mean_weight_on(weights):
    weights = jnp.array(weights)
    after = np.exp(jax.jit(Levels(2))(weights, jnp.array(2.0))[1]) * np.mean(weights)
    found = expected(WithinLaw(2, 4, systematic), weights, weights, after)
    np.testing.assert_allclose(found, weights, rtol=0, atol=1e-12)


def test_whole_islands_pass_their_mean_weight_on():
    weights = np.exp(LEVELS)
    whole = expected(WholeLaw(4, 4, systematic), weights, weights, np.full(4, np.mean(weights)))
    np.testing.assert_allclose(whole, weights, rtol=0, atol=1e-12)


def resampled(route, key, weights, x):
    (kept,) = route.move(route.draw(key, weights), x)
    return kept


def test_devices_draw_what_the_laws_draw():
    """With one island on each device the same keys give the same ancestors; whole islands are drawn with other bits."""
    x = jnp.arange(16)
    weights = jnp.exp(jax.random.normal(KEY, (16,)))
    kept = across(4, lambda axis, w, x: resampled(Within(axis, systematic), KEY, w, x), weights, x)
    np.testing.assert_array_equal(kept, jax.jit(WithinLaw(4, 16, systematic).draw)(KEY, weights))
    size = jnp.asarray(2.0)
    wholes = jax.jit(Levels(4))(weights, size)
    owns = across(4, lambda axis, w: OwnLevel(axis, Levels(4))(w, size), weights)
    for own, whole in zip(owns, wholes, strict=True):
        np.testing.assert_allclose(own, whole, rtol=1e-12)


def test_devices_are_apart_where_the_islands_are():
    weights = jnp.repeat(jnp.exp(LEVELS), 4)
    for tau, mixes in ((1.0, 1), (0.1, 0)):
        told = across(4, lambda axis, w, tau=tau: OwnApart(axis, Apart(4, tau))(w)[0][None], weights)
        assert told.tolist() == [mixes] * 4 and Apart(4, tau)(weights) == mixes


def test_whole_devices_are_resampled_by_their_weights():
    """Each device's number of copies is that of systematic resampling: off by less than one, whatever the key."""
    x, weights = jnp.arange(8), jnp.repeat(jnp.exp(LEVELS), 2)

    def copies(key):
        kept = across(4, lambda axis, w, x: resampled(Whole(axis, 2), key, w, x), weights, x)
        return jnp.sum(kept[::2, None] == x[::2], axis=0), kept

    found, kept = jax.jit(jax.vmap(copies))(jax.random.split(KEY, 2000))
    np.testing.assert_array_equal(kept % 2, jnp.broadcast_to(x % 2, kept.shape))  # positions stay
    share = 4 * np.exp(LEVELS) / np.exp(LEVELS).sum()
    assert (np.abs(found - share) < 1).all()
    # Each mean has a spread of at most 0.5 / sqrt(2000); 5.5 of it are passed with probability 4e-8.
    assert np.abs(np.mean(found, axis=0) - share).max() < 5.5 * 0.5 / 2000**0.5


def test_islands_that_do_not_fit_are_refused():
    with pytest.raises(LawfulError, match="do not fill 3 islands evenly"):
        inference.smc(plain, particles=4, resampling=Islands(3))
    with pytest.raises(LawfulError, match="waste-free"):
        inference.tempered_smc(plain, particles=100, resampling="islands")
