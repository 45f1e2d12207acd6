"""Row 2: a NaN weight is an error; "dead" reads it as zero and counts it; "flag" gives a result that is not ok."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.errors import DeadPopulationError, NonFiniteError
from lawful.inference import Status
from tests.inference.tier0 import law_error
from tests.schemes import SCHEMES
from tests.tiers import rest_slow

STEPS = 3
KEY = jax.random.key(3)
SOME, ALL = 1, 0  # the smallest value without a weight


def program(bad, when, weight=jnp.nan):
    """Values 0, 1, 2; at step `when`, values of at least `bad` have the given weight (as a logarithm)."""

    def step(x, t):
        x = sample("x", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
        usual = jnp.log(0.2 + 0.3 * x)
        factor("weight", jnp.where((t == when) & (x >= bad), weight, usual))
        return x, None

    return scan(step, 0, jnp.arange(STEPS))[0]


def filter_of(scheme="systematic", **settings):
    """A plan that runs at (bad, when): compiled once for all of them."""
    plan = inference.smc(program, resampling=scheme, **{"particles": 4, **settings})
    return lambda bad, when, key=KEY: plan(key, jnp.array(bad), jnp.array(when), jnp.array(jnp.nan))


@pytest.mark.fault(2)
@pytest.mark.regression("15.5")
@pytest.mark.parametrize("scheme", rest_slow(SCHEMES))
def test_f02_an_error_names_the_step_and_the_site(scheme):
    run = filter_of(scheme, particles=16)
    for bad, when in itertools.product([ALL, SOME], range(STEPS)):
        with pytest.raises(NonFiniteError, match=f"NaN at step {when} of the loop in run 0 .site 'weight'.") as caught:
            run(bad, when)
        error = caught.value
        assert (error.sites, error.stage, error.step, error.run) == (("weight",), when + 1, when, 0)
        assert "nonfinite='dead'" in str(error)


def test_f02_one_nan_of_four_is_found():
    """The runs are known by their weights under the policy that counts them."""
    strict, counting = filter_of(), filter_of(nonfinite="dead")
    for when in range(STEPS):
        counts = []
        for key in jax.random.split(jax.random.key(when), 25):
            counts.append(int(counting(2, when, key).stats["n_nonfinite"].sum()))
            if counts[-1]:
                with pytest.raises(NonFiniteError):
                    strict(2, when, key)
            else:
                assert strict(2, when, key).found == ()
        assert counts.count(1) > 3 and counts.count(0) > 3


def test_f02_the_count_is_that_of_the_values_which_have_no_weight():
    """Without resampling every path is kept, so that the values with a NaN weight can be counted."""
    run = filter_of(particles=50, runs=3, nonfinite="dead", resample_below=0.0)
    for when in range(STEPS):
        result = run(2, when)
        injected = (result.weighted.values["x"][:, :, when] >= 2).sum(axis=1)
        assert injected.min() > 0
        np.testing.assert_array_equal(result.stats["n_nonfinite"][:, when + 1], injected)
        assert result.stats["n_nonfinite"].sum() == injected.sum()
        assert result.status & Status.NONFINITE_WEIGHT
        (finding,) = result.found
        assert finding.value == injected.sum() and finding.sites == ("weight",)


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(
    ("scheme", "when"), [*((scheme, 1) for scheme in SCHEMES), ("systematic", 0), ("systematic", 2)]
)
def test_f02_dead_targets_the_measure_restricted_to_the_rest(scheme, when):
    plan = inference.smc(
        lambda bad: program(bad, when), particles=1 + (when == 1), resampling=scheme, nonfinite="dead", keep="last"
    )
    assert law_error(plan, lambda bad: program(bad, when, -jnp.inf), jnp.array(2)).error < 1e-12


def test_f02_dead_weights_that_all_are_nan_end_the_run():
    run = filter_of(nonfinite="dead")
    for when in range(STEPS):
        result = run(ALL, when)
        assert result.log_evidence[0] == -np.inf
        assert result.stats["dead_at"].tolist() == [when + 1]
        assert result.stats["n_nonfinite"].tolist() == [[4 * (stage == when + 1) for stage in range(STEPS + 1)]]
        assert result.status & Status.DEAD


@pytest.mark.parametrize("scheme", rest_slow(SCHEMES))
def test_f02_a_flagged_run_has_no_evidence_and_no_samples_and_changes_no_other_run(scheme):
    """Of the runs of two particles some meet the NaN; the others are those of a program without it, bit by bit."""
    run = filter_of(scheme, particles=2, runs=12, nonfinite="flag")
    clean = run(2, STEPS + 1)
    assert np.isfinite(clean.log_evidence).all()
    for when in range(STEPS):
        flagged = run(2, when)
        hit = np.isnan(flagged.log_evidence)
        alive = np.flatnonzero(~hit)
        assert 0 < len(alive) < 12
        assert not flagged.ok and flagged.status & Status.NONFINITE_WEIGHT and not flagged.status & Status.DEAD
        np.testing.assert_array_equal(flagged.stats["dead_at"], np.where(hit, when + 1, -1))
        with pytest.raises(DeadPopulationError):
            _ = flagged.posterior
        assert flagged.surviving().runs == tuple(alive)
        np.testing.assert_array_equal(flagged.log_evidence[alive], clean.log_evidence[alive])
        for name, array in flagged.surviving().posterior.items():
            np.testing.assert_array_equal(array, clean.posterior[name][alive])
        for name in ("ess", "log_evidence_increment", "resampled"):
            np.testing.assert_array_equal(flagged.stats[name][alive], clean.stats[name][alive])


def test_f02_a_weight_that_no_particle_moves_is_seen_too():
    def shared(y):
        sample("x", dist.Bernoulli(0.5))
        factor("constant", jnp.log(y))

    for build in (inference.smc, inference.importance):
        with pytest.raises(NonFiniteError, match="NaN in all particles at once.*'constant'"):
            build(shared, particles=4)(KEY, -1.0)
    result = inference.smc(shared, particles=4)(KEY, 0.0)
    assert result.log_evidence.tolist() == [-np.inf] and result.stats["dead_at"].tolist() == [0]


def test_f02_importance_sampling_has_the_same_policies():
    def once(bad):
        x = sample("x", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
        factor("weight", jnp.where(x >= bad, jnp.nan, -0.5))

    with pytest.raises(NonFiniteError, match="a weight is NaN in run 0 .site 'weight'."):
        inference.importance(once, particles=20)(KEY, jnp.array(2))
    dead = inference.importance(once, particles=20, nonfinite="dead")(KEY, jnp.array(2))
    bad = (dead.weighted.values["x"] == 2).sum()
    assert dead.stats["n_nonfinite"].tolist() == [[bad]] and bad > 0
    np.testing.assert_allclose(dead.log_evidence, -0.5 + np.log((20 - bad) / 20), rtol=1e-12)
    flagged = inference.importance(once, particles=20, nonfinite="flag")(KEY, jnp.array(2))
    assert np.isnan(flagged.log_evidence).all() and not flagged.ok
