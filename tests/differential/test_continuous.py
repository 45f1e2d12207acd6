"""Random programs with continuous sites: every side draws the same values and scores them alike (D2 to D6, D10)."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers

from .continuous import KINDS, continuous_program
from .sides import Sides, same_density, same_runs

SEEDS = (0, 22, 57)  # together they hold every construct


@pytest.fixture(scope="module", params=SEEDS)
def sides(request):
    program, args, _ = continuous_program(request.param)
    return Sides(program, args)


def test_the_seeds_reach_every_construct():
    assert frozenset().union(*(continuous_program(seed)[2] for seed in SEEDS)) == frozenset(KINDS)


@pytest.mark.slow
def test_d4_one_key_gives_one_run_on_every_side(sides):
    assert same_runs(sides, jax.random.split(jax.random.key(4), 2))


@pytest.mark.rest_slow
def test_d2_log_densities_agree_at_draws_and_outside_the_support(sides):
    many = [sides.eager(key).choices for key in jax.random.split(jax.random.key(2), 4)]
    bounded = {a for a in many[0] if "positive" in a[0] or "unit" in a[0] or "coin" in a[0]}
    many += [{a: v - 9 if a in bounded else v for a, v in many[0].items()}] if bounded else []
    found = [sides.densities(choices) for choices in many]
    for one in found:
        assert all(same_density(one["eager"], other) for other in one.values()), one
    assert found[-1]["eager"] == -np.inf or not bounded
    rows = sides.mapped_density(many, size=2)
    assert all(same_density(one["eager"], row) for one, row in zip(found, rows, strict=True))


@pytest.mark.rest_slow
def test_d6_a_run_scored_again_has_the_density_it_was_drawn_with(sides):
    for key in jax.random.split(jax.random.key(6), 2):
        record = sides.eager(key)
        assert same_density(record.log_density, sides.form.log_density(record.choices, *sides.args))


@pytest.mark.rest_slow
def test_d10_gradients_by_the_arguments_agree(sides):
    """Both by reverse differentiation, of the compiled density and of the plain program."""
    y, slope = sides.args
    for key in jax.random.split(jax.random.key(10), 8):
        choices = sides.eager(key).choices
        if np.isfinite(float(sides.form.log_density(choices, y, slope))):
            break
    staged = jax.grad(lambda y: sides.form.log_density(choices, y, slope))(jnp.asarray(y))
    eager = jax.grad(lambda y: handlers.log_density(sides.program, choices)(y, slope))(jnp.asarray(y))
    assert np.allclose(staged, eager, rtol=1e-10, atol=1e-10)


@pytest.mark.regression("15.3b")
def test_d5_elements_of_a_plate_and_lanes_of_a_map_never_share_their_randomness():
    def program():
        with lawful.plate("element", 8):
            x = lawful.sample("x", dist.Uniform(0.0, 1.0).expand([8]))
        return x, jax.vmap(lambda _: lawful.sample("y", dist.Uniform(0.0, 1.0)))(jnp.arange(8))

    one = Sides(program, ())
    draws = one.mapped(jax.random.split(jax.random.key(5), 8))
    for values in (draws[0], draws[1]):
        assert len(np.unique(np.asarray(values))) == 64
