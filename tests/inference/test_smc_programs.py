"""Particle filters on programs of every shape keep the unnormalised measure exactly."""

import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, sample, scan
from tests.inference.programs import (
    PROGRAMS,
    Y,
    branch_in_the_body,
    chain,
    constant_per_particle,
    from_the_end,
    no_loop,
    observe,
    plain,
    plate_in_the_body,
    returns_a_dict,
    weighed_before_and_after,
)
from tests.inference.tier0 import law_error
from tests.schemes import schemes_and_thresholds

TOLERANCE = 1e-12


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_expected_paths_have_the_measure_of_the_program(program):
    chosen = [s for s in lawful.trace(program, Y).sites() if s.observed is None]
    plan = inference.smc(program, particles=2, keep="paths" if chosen else "last", resample_below=0.9)
    assert law_error(plan, program, Y).error < TOLERANCE


RETURNING = [weighed_before_and_after, constant_per_particle, branch_in_the_body, plate_in_the_body, returns_a_dict]


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", RETURNING, ids=lambda program: program.__name__)
def test_the_expected_returned_values_have_the_measure_of_the_program(program):
    plan = inference.smc(program, particles=2, keep="last", resample_below=0.9)
    assert law_error(plan, program, Y).error < TOLERANCE


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(("scheme", "resample_below"), schemes_and_thresholds(0.9))
def test_every_scheme_keeps_the_measure_of_a_program(scheme, resample_below):
    plan = inference.smc(constant_per_particle, particles=2, resampling=scheme, resample_below=resample_below)
    assert law_error(plan, constant_per_particle, Y).error < TOLERANCE


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", [plain, weighed_before_and_after, no_loop], ids=lambda program: program.__name__)
def test_importance_sampling_keeps_the_measure(program):
    plan = inference.importance(program, particles=2)
    assert law_error(plan, program, Y).error < TOLERANCE


@pytest.mark.tier0
def test_a_loop_from_the_end_is_filtered_from_the_end():
    plan = inference.smc(from_the_end, particles=2, keep="last", resample_below=0.9)
    assert law_error(plan, lambda y: plain(y[::-1]), Y).error < TOLERANCE


def random_data(y):
    """The loop observes what was drawn before it."""
    data = sample("data", dist.Bernoulli(0.5).expand([2]))

    def step(z, y):
        z = chain(z)
        observe(z, y)
        return z, None

    return scan(step, 0, data)[0]


@pytest.mark.tier0
def test_a_loop_over_drawn_values_is_filtered_too():
    plan = inference.smc(random_data, particles=2, keep="last", resample_below=0.9)
    assert law_error(plan, random_data, Y).error < TOLERANCE
