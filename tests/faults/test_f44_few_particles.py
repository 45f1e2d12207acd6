"""Row 44: one particle works and is exact in expectation; none, or less, is an error."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

from lawful import inference, sample, scan
from lawful.errors import LawfulError
from lawful.inference import kernels
from tests.inference.programs import PROGRAMS, Y, impossible_values, no_loop, plain
from tests.inference.tier0 import law_error
from tests.schemes import SCHEMES, schemes_and_thresholds


@pytest.mark.fault(44)
@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_f44_one_particle_is_exact_in_expectation(program):
    plan = inference.smc(program, particles=1, keep="last")
    assert law_error(plan, program, Y).error < 1e-12


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(("scheme", "resample_below"), schemes_and_thresholds(0.5))
def test_f44_one_particle_is_exact_under_every_scheme(scheme, resample_below):
    plan = inference.smc(impossible_values, particles=1, resampling=scheme, resample_below=resample_below)
    assert law_error(plan, impossible_values, Y).error < 1e-12


@pytest.mark.tier0
def test_f44_importance_sampling_with_one_particle_is_exact_in_expectation():
    plan = inference.importance(no_loop, particles=1)
    assert law_error(plan, no_loop, Y).error < 1e-12


def steered(y):
    a = sample("a", dist.Bernoulli(0.3))
    sample("first", dist.Bernoulli(0.2 + 0.5 * a), obs=y[0])
    b = sample("b", dist.Bernoulli(0.3 + 0.4 * a))
    sample("second", dist.Bernoulli(0.2 + 0.5 * b), obs=y[1])
    return a + 2 * b


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(
    "settings",
    [{"proposal": lambda y: sample("b", dist.Bernoulli(0.6))}, {"move": kernels.mh()}, {"cuts": "factors"}],
    ids=lambda settings: next(iter(settings)),
)
def test_f44_one_particle_is_exact_however_it_is_steered(settings):
    plan = inference.smc(steered, particles=1, keep="last", **settings)
    assert law_error(plan, steered, Y).error < 1e-12


@pytest.mark.rest_slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_f44_one_particle_runs_and_is_its_own_ancestor(scheme):
    result = inference.smc(plain, particles=1, runs=3, resampling=scheme)(jax.random.key(0), Y)
    assert result.posterior["z"].shape == (3, 1, 2)
    np.testing.assert_array_equal(result.posterior["z"], result.weighted.values["z"])
    np.testing.assert_allclose(result.stats["ess"], 1.0, rtol=1e-14)


@pytest.mark.parametrize("particles", [0, -1, 1.0, None, "10", jnp.array(3)], ids=repr)
@pytest.mark.parametrize("build", [inference.smc, inference.importance], ids=lambda b: b.__name__)
def test_f44_no_particle_is_an_error_that_tells_what_was_given(build, particles):
    with pytest.raises((LawfulError, TypeCheckError), match="particles"):  # types are checked first while tests run
        build(plain, particles=particles)


WALK = kernels.random_walk(0.5)
BUILDS = {
    "tempered_smc": lambda n: inference.tempered_smc(plain, particles=n),
    "annealed_importance": lambda n: inference.annealed_importance(plain, particles=n),
    "smc2": lambda n: inference.smc2(plain, WALK, ["z"], particles=n, inner=3),
    "pmmh": lambda n: inference.pmmh(plain, particles=n),
    "pmmh of parameters": lambda n: inference.pmmh(plain, WALK, ["z"], particles=n),
    "particle_gibbs": lambda n: inference.particle_gibbs(plain, "z", particles=n),
    "kernels.particle_gibbs": kernels.particle_gibbs,
}


@pytest.mark.parametrize("particles", [0, -1])
@pytest.mark.parametrize("method", BUILDS)
def test_f44_every_method_refuses_to_be_built_of_no_particle(method, particles):
    with pytest.raises(LawfulError, match=rf"particles: expected an integer of 1 or more, got {particles}\."):
        BUILDS[method](particles)


def walk_with_scale(y):
    sigma = sample("sigma", dist.LogNormal(0.0, 1.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, sigma))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, 0.0, y)


@pytest.mark.parametrize("inner", [0, -1])
def test_f44_inner_filters_of_no_particle_are_an_error(inner):
    with pytest.raises(LawfulError, match=f"inner: expected an integer of 1 or more, got {inner}"):
        inference.smc2(walk_with_scale, WALK, ["sigma"], particles=3, inner=inner)


def test_f44_a_composition_of_no_particle_is_an_error_too():
    with pytest.raises(LawfulError, match="spawn: expected a whole number of particles, at least one, got 0"):
        inference.spawn(0)
