"""Row 45: a particle without weight is never chosen: one-hot weights, ties, zeros at the ends, u = 0 and u -> 1."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.inference.laws.picks import PickLaw
from lawful.inference.laws.resampling_schemes import SCHEMES, ResampleLaw
from tests.schemes import schemes_and_thresholds

WEIGHTS = {
    "first only": [1.0, 0.0, 0.0, 0.0],
    "last only": [0.0, 0.0, 0.0, 1.0],
    "middle only": [0.0, 0.0, 1.0, 0.0],
    "zero first": [0.0, 0.3, 0.2, 0.5],
    "zero last": [0.3, 0.2, 0.5, 0.0],
    "zeros around ties": [0.0, 0.5, 0.5, 0.0],
    "ties": [0.25, 0.25, 0.25, 0.25],
    "whole shares": [0.5, 0.25, 0.25, 0.0],
    "a tiny one beside zeros": [0.0, 1e-30, 0.0, 1.0],
    "tiny ones alone": [0.0, 1e-30, 1e-30, 0.0],
    "huge ones": [0.0, 1e30, 3e30, 0.0],
}
LAST = {jnp.float32: np.nextafter(np.float32(1), np.float32(0)), jnp.float64: np.nextafter(1.0, 0.0)}


def chosen(ancestors, weights):
    """Check that every ancestor is in range and has weight."""
    ancestors = np.asarray(ancestors)
    assert ancestors.min() >= 0 and ancestors.max() < len(weights)
    assert (np.asarray(weights)[ancestors] > 0).all(), (ancestors, weights)


@pytest.mark.rest_slow
@pytest.mark.fault(45)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_f45_the_ends_of_the_uniform_land_on_particles_with_weight(scheme, dtype):
    scheme = SCHEMES[scheme]
    push = jax.jit(scheme.push, static_argnums=2)
    words = jnp.uint64 if dtype == jnp.float64 and not scheme.paired else jnp.uint32
    floats = (jnp.zeros((), dtype), jnp.array(LAST[dtype]))
    integers = (jnp.zeros((), words), ~jnp.zeros((), words))
    for weights in WEIGHTS.values():
        weights = jnp.array(weights, dtype)
        for offspring, ends in ((4, floats), (6, integers)):
            for u in ends:
                uniforms = jnp.full(scheme.uniforms_shape(4, offspring), u)
                chosen(push(uniforms, weights, offspring), weights)


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_f45_no_draw_and_no_cell_chooses_a_particle_without_weight(scheme, dtype):
    law = ResampleLaw(SCHEMES[scheme], 4, 4)
    draw, listed = jax.jit(jax.vmap(law.draw, (0, None))), jax.jit(law.enumerate)
    keys = jax.random.split(jax.random.key(0), 200)
    for weights in WEIGHTS.values():
        weights = jnp.array(weights, dtype)
        chosen(draw(keys, weights), weights)
        ancestors, log_masses = listed(weights)
        possible = np.asarray(log_masses) > -np.inf
        chosen(np.asarray(ancestors)[possible], weights)
        assert np.exp(np.asarray(log_masses, np.float64)[possible]).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.rest_slow
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_f45_one_hot_weights_have_one_ancestor_and_equal_ones_all(scheme):
    draw = jax.jit(ResampleLaw(SCHEMES[scheme], 4, 4).draw)
    for place in range(4):
        assert draw(jax.random.key(place), 2.0 * np.eye(4)[place]).tolist() == [place] * 4
    if scheme != "multinomial":
        assert draw(jax.random.key(0), np.full(4, 0.7)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=lambda d: d.__name__)
def test_f45_a_pick_has_weight(dtype):
    law = PickLaw(4)
    draw = jax.jit(jax.vmap(law.draw, (0, None)))
    keys = jax.random.split(jax.random.key(1), 500)
    for weights in WEIGHTS.values():
        weights = jnp.array(weights, dtype)
        chosen(draw(keys, weights), weights)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("scheme", "resample_below"), schemes_and_thresholds(0.5))
def test_f45_no_path_of_weight_zero_is_in_the_posterior(scheme, resample_below):
    """Each step forbids one value: no draw and no lineage may hold it."""

    def program():
        def step(x, t):
            x = sample("x", dist.Categorical(jnp.array([0.3, 0.4, 0.3])))
            factor("allowed", jnp.where(x == t % 3, -jnp.inf, -0.1 * x))
            return x, None

        scan(step, 0, jnp.arange(6))

    plan = inference.smc(program, particles=40, runs=5, resampling=scheme, resample_below=resample_below)
    result = plan(jax.random.key(0))
    assert np.isfinite(result.log_evidence).all()
    assert (result.posterior["x"] != np.arange(6) % 3).all()
    dead = np.isneginf(result.weighted.log_weight)
    assert dead.any()
    np.testing.assert_array_equal(dead, (result.weighted.values["x"] == np.arange(6) % 3).any(axis=-1))


@pytest.mark.rest_slow
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_f45_no_lane_of_a_batch_chooses_a_particle_without_weight(scheme):
    """All the weights at once, each with its own uniform: a lane is what it is alone."""
    scheme = SCHEMES[scheme]
    weights = jnp.array(list(WEIGHTS.values()), jnp.float32)
    law = ResampleLaw(scheme, 4, 4)
    keys = jax.random.split(jax.random.key(2), len(weights))
    together = jax.jit(jax.vmap(law.draw))(keys, weights)
    for lane, key in enumerate(keys):
        chosen(together[lane], weights[lane])
        np.testing.assert_array_equal(together[lane], law.draw(key, weights[lane]))


@pytest.mark.rest_slow
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_f45_zeros_around_many_particles_stay_without_offspring(scheme):
    """Above 2**17 particles the counts are made of integer and fraction parts."""
    size = 2**17 + 3
    weights = np.zeros(size, np.float32)
    weights[5:-7] = 1.0
    weights[1000::1000] = 0.0
    law = ResampleLaw(SCHEMES[scheme], size, size)
    chosen(jax.jit(law.draw)(jax.random.key(3), jnp.array(weights)), weights)
