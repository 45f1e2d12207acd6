"""Starts: finite, made of their key alone, near where draws are expected, and as far apart as draws are."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.backends.initial_values import CANDIDATES, found_start, is_from_prior
from lawful.errors import NoFiniteStartError


def keys(count=64):
    return jax.random.split(jax.random.key(0), 64)[:count]


def starts(log_density, size, prior=None, count=64):
    target = jax.value_and_grad(log_density)
    return jax.jit(jax.vmap(lambda key: found_start(target, size, float, key, prior)))(keys(count))


def normal(mean, scale):
    return lambda x: -0.5 * jnp.sum(((x - mean) / scale) ** 2)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (1e3, 1e2), (-1e6, 1.0), (0.3, 1e-4)])
@pytest.mark.parametrize("size", [1, 20])
def test_starts_of_a_normal_are_at_the_height_of_its_draws_and_apart(mean, scale, size):
    """A draw is half a unit for every coordinate below the maximum; starts are at most one, and on both sides."""
    found = starts(normal(mean, scale), size)
    assert (found.log_density > -1.01 * size).all()
    scaled = (np.asarray(found.vector) - mean) / scale
    assert 0.1 < scaled.std(0).min() and scaled.std(0).max() < 1.5
    assert (np.abs(scaled.mean(0)) < 0.8).all() and len(np.unique(scaled[:, 0])) == 64


def test_what_is_a_start_already_climbs_one_short_step():
    """So an easy program pays for the candidates, one step, and no more."""
    found = starts(normal(0.0, 1.0), 10)
    assert (found.climbed == 1).all() and (np.abs(found.vector) < 2.2).all()


def test_a_start_depends_on_its_key_alone():
    few, many = starts(normal(5.0, 1.0), 3, count=2), starts(normal(5.0, 1.0), 3)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_allclose(one, other[:2], rtol=1e-12)


def test_candidates_of_the_prior_and_of_the_cube_are_tried_in_turn():
    """Where only one kind is finite, that kind is kept."""
    prior = lambda key: jnp.full(1, 7.0)
    there = starts(lambda x: jnp.where(x[0] > 5, -0.5 * (x[0] - 7) ** 2, -jnp.inf), 1, prior)
    assert is_from_prior(there.candidate).all() and (np.abs(there.vector - 7) < 2).all()
    here = starts(lambda x: jnp.where(x[0] < 5, -0.5 * x[0] ** 2, -jnp.inf), 1, prior)
    assert not is_from_prior(here.candidate).any()


def test_points_without_a_gradient_are_no_starts():
    def kinked(x):
        return -0.5 * jnp.sum(x**2) + jnp.where(x[0] > 0, 0.0, jnp.sqrt(-x[0]))

    found = starts(kinked, 2)
    assert (found.vector[:, 0] <= 0).all() and jnp.isfinite(found.gradient).all()


def test_without_a_finite_candidate_none_is_found_in_a_hundred():
    found = starts(lambda x: jnp.where(x[0] > 100, 0.0, -jnp.inf) + 0 * jnp.sum(x), 1)
    assert (found.candidate == -1).all() and (np.abs(found.vector) < 2).all()
    late = starts(lambda x: jnp.where(x[0] > 1.6, 0.0, -jnp.inf) + 0 * jnp.sum(x), 1)
    assert (late.candidate >= 0).all() and (late.candidate >= CANDIDATES).any() and (late.vector > 1.6).all()


def test_a_density_that_falls_by_hundreds_of_orders_is_climbed():
    """An autoregression whose prior draws explode: log densities of -exp(hundreds)."""
    y = np.random.default_rng(0).normal(size=200)

    def target(x):
        phi, log_scale = x

        def step(error, pair):
            error = pair[1] - x[0] * pair[0] - x[1] * error
            return error, error

        errors = jax.lax.scan(step, 0.0, (y[:-1], y[1:]))[1]
        return -0.5 * jnp.sum(errors**2) - (phi**2 + log_scale**2) / 8

    found = starts(target, 2, lambda key: 3.0 + jnp.abs(jax.random.normal(key, (2,))))
    best = -0.5 * np.sum(y**2)
    assert (np.asarray(found.log_density) > best - 20).mean() > 0.95


def model(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 100.0))
    scale = lawful.sample("scale", dist.HalfCauchy(10.0))
    lawful.sample("y", dist.Normal(mu, scale).expand([len(y)]).to_event(1), obs=y)


def test_the_starts_of_a_density_can_be_mapped_and_compiled():
    density = lawful.density(model, 50.0 + np.random.default_rng(0).normal(size=30))
    many = jax.vmap(density.initial)(keys(4))
    one = density.initial(keys()[1])
    for name in density.names:
        np.testing.assert_allclose(many[name][1], one[name], rtol=1e-8)
    assert (jax.vmap(density.logp)(many) > -200).all() and len(np.unique(many["mu"])) == 4


@pytest.mark.slow
def test_a_start_that_is_not_found_is_nan_where_nothing_can_be_raised():
    def impossible():
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.factor("wall", jnp.where(x > 100, 0.0, -jnp.inf))

    density = lawful.density(impossible)
    assert jnp.isnan(jax.vmap(density.initial)(keys(3))["x"]).all()
    with pytest.raises(NoFiniteStartError, match="'wall'"):
        density.initial(keys()[0])


def test_a_flat_prior_starts_in_the_cube():
    def flat():
        x = lawful.sample("x", dist.ImproperUniform(dist.constraints.positive, (), (3,)))
        lawful.factor("w", -jnp.sum((x - 1) ** 2))

    density = lawful.density(flat)
    assert density._prior is None and float(density.logp(density.initial(keys()[0]))) > -6


def test_prior_draws_of_an_unrolled_program_stand_where_the_vector_has_them():
    """Folded steps are rows; names sort x_0, x_1, x_10, x_11, x_2: each prior draw is near the mean of its own site."""

    def chain():
        for i in range(12):
            lawful.sample(f"x_{i}", dist.Normal(100.0 * i, 0.1))

    density = lawful.density(chain)
    drawn = density.ravel()[1](density._prior(keys()[0]))
    assert all(abs(float(drawn[f"x_{i}"]) - 100.0 * i) < 1 for i in range(12))
