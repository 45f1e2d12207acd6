"""Particle filters of programs without a loop, with several loops, and with pauses by name keep the measure exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, inference, plate, sample, scan
from lawful.errors import LawfulError
from lawful.inference.plans.populations.stages import place_of
from lawful.inference.representations.sequential import sequential
from tests.inference.programs import Y, chain, observe, plain
from tests.inference.tier0 import law_error
from tests.schemes import SCHEMES
from tests.tiers import rest_slow

TOLERANCE = 1e-12


def straight(y):
    """Two pauses: each draw that follows an observation."""
    a = sample("a", dist.Bernoulli(0.3))
    observe(a, y[0], "first")
    b = sample("b", dist.Bernoulli(0.2 + 0.5 * a))
    observe(b, y[1], "second")
    c = sample("c", dist.Bernoulli(0.2 + 0.3 * b + 0.3 * a))
    factor("third", -0.7 * c)
    return a + 2 * c


def two_weighed_loops(y):
    """One loop after the other; what is between them reads a value of the first step, and so does the end."""

    def forth(z, y):
        z = chain(z)
        observe(z, y)
        return z, z

    z, path = scan(forth, 0, y)
    factor("between", -0.4 * path[0])

    def back(w, _):
        w = chain(w, "w")
        factor("again", -0.3 * w)
        return w, None

    w, _ = scan(back, z, None, length=1)
    return w + 2 * path[0]


def a_branch_and_a_plain_loop(y):
    a = sample("a", dist.Bernoulli(0.3))
    cond(a == 1, lambda: (observe(1, y[0], "first"), 0)[1], lambda: 0)
    total, _ = scan(lambda t, _: (t + sample("coin", dist.Bernoulli(0.4)), None), 0, None, length=2)
    factor("second", -0.3 * total * (1 + a))
    return total + 3 * a


def nested_plates(y):
    with plate("outer", 2):
        a = sample("a", dist.Bernoulli(jnp.array([0.3, 0.6])))
        sample("seen", dist.Bernoulli(0.2 + 0.5 * a), obs=y)
        with plate("inner", 1):
            b = sample("b", dist.Bernoulli(0.3 + 0.4 * a))
            sample("seen too", dist.Bernoulli(0.2 + 0.5 * b), obs=y[None])
    return jnp.sum(b) + jnp.sum(a)


PROGRAMS = [(straight, "paths"), (two_weighed_loops, "paths"), (a_branch_and_a_plain_loop, "last"),
            (nested_plates, "last")]  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(("program", "keep"), PROGRAMS, ids=lambda value: getattr(value, "__name__", value))
def test_the_expected_population_has_the_measure_of_the_program(program, keep):
    plan = inference.smc(program, particles=2, keep=keep, resample_below=0.9)
    assert law_error(plan, program, Y).error < TOLERANCE


@pytest.mark.slow
@pytest.mark.tier0
@pytest.mark.parametrize("scheme", rest_slow(SCHEMES))
def test_every_scheme_keeps_the_measure_of_a_program_without_a_loop(scheme):
    plan = inference.smc(straight, particles=2, keep="last", resampling=scheme, resample_below=None)
    assert law_error(plan, straight, Y).error < TOLERANCE


@pytest.mark.slow
@pytest.mark.tier0
def test_three_particles_keep_the_measure():
    plan = inference.smc(straight, particles=3, keep="last", resample_below=0.8)
    assert law_error(plan, straight, Y).error < TOLERANCE


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("cuts", ["factors", ["second"]], ids=str)
def test_pauses_do_not_change_the_measure(cuts):
    plan = inference.smc(straight, particles=2, keep="last", resample_below=None, cuts=cuts)
    assert law_error(plan, straight, Y).error < TOLERANCE


# ---- where a program pauses


def pauses(program, cuts=None):
    """The weighing sites before, between and after the pauses."""
    cut = sequential(lawful.trace(program, Y), cuts)
    return [[site for site in place_sites(segment.form)] for segment in cut.segments]


def place_sites(form):
    nodes = lawful.form.walk(form)
    return [node.address[0] for node in nodes if hasattr(node, "role") or getattr(node, "observed", None) is not None]


def test_a_program_without_a_loop_pauses_before_the_draws_that_follow_a_weight():
    assert pauses(straight) == [["first"], ["second"], ["third"], []]
    assert pauses(straight, "draws") == pauses(straight)
    assert pauses(straight, "loops") == [["first", "second", "third"], []]
    assert pauses(straight, ["second"]) == [["first", "second"], ["third"], []]


def test_every_factor_is_a_pause_where_that_is_asked_for():
    def several(y):
        a = sample("a", dist.Bernoulli(0.3))
        observe(a, y[0], "first")
        observe(a, y[1], "second")
        factor("data", 0.1 * y[0])

    assert pauses(several) == [["first", "second", "data"], []]
    assert pauses(several, "factors") == [["first"], ["second"], ["data"]]


def test_loops_are_pauses_and_so_is_what_is_weighed_between_them():
    assert pauses(two_weighed_loops) == [[], ["y"], ["between"], ["again"], []]
    form = lawful.trace(two_weighed_loops, Y)
    words = [place_of(sequential(form), stage).words for stage in range(6)]
    assert words == ["before the loop", "at step 0 of loop 1", "at step 1 of loop 1", "", "at step 0 of loop 2",
                     "after the loop"]  # fmt: skip
    assert [place_of(sequential(form), stage).sites for stage in (1, 3, 4)] == [("y",), ("between",), ("again",)]
    assert sequential(form).weighings == 4


def test_the_numbers_of_all_stages_are_joined_in_order():
    result = inference.smc(two_weighed_loops, particles=20, runs=3)(jax.random.key(0), Y)
    increments = result.stats["log_evidence_increment"]
    assert increments.shape == result.stats["ess"].shape == (3, 5)
    np.testing.assert_allclose(increments.sum(axis=1), result.log_evidence, rtol=1e-12)
    assert np.isnan(result.stats["resampled"]).tolist() == [[True, False, False, False, False]] * 3


@pytest.mark.parametrize("cuts", ["steps", ["sec ond"], ["a"]], ids=str)
def test_a_pause_at_no_factor_is_an_error_that_lists_the_factors(cuts):
    with pytest.raises(LawfulError, match="cuts: .*(first, second, third|'loops', 'draws', 'factors')"):
        inference.smc(straight, particles=2, cuts=cuts)(jax.random.key(0), Y)


# ---- lineages


@pytest.mark.slow
def test_the_roots_tell_how_many_starts_are_left():
    result = inference.smc(plain, particles=50, runs=4, resample_below=None)(jax.random.key(0), Y)
    roots, share = result.stats["n_roots"], result.stats["root_share"]
    assert roots.shape == share.shape == (4,)
    assert (roots > 1).all() and (roots < 50).all()
    assert (share >= 1 / roots - 1e-12).all() and (share < 1).all()


def test_without_resampling_every_particle_is_its_own_root():
    result = inference.smc(plain, particles=50, resample_below=0.0)(jax.random.key(0), Y)
    assert result.stats["n_roots"].tolist() == [50] and result.stats["root_share"].tolist() == [0.02]


@pytest.mark.slow
def test_one_root_in_the_end_is_found():
    def selects(y):
        """One particle in a thousand survives the first step."""

        def step(x, y):
            x = sample("x", dist.Normal(x, 1.0))
            factor("weight", -1e4 * (x - y) ** 2)
            return x, None

        scan(step, 0.0, y)

    result = inference.smc(selects, particles=100, runs=2)(jax.random.key(0), jnp.array([0.5, 0.5, 0.5]))
    assert (result.stats["root_share"] > 0.5).all() and not result.ok
    (old,) = [finding for finding in result.reasons if finding.code == "OLD_PATHS"]
    assert old.sites == ("x",) and old.value < 10
