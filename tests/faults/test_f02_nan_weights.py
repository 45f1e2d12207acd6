"""Row 2: a NaN weight is an error by default; "dead" reads it as zero and counts it; "flag" gives a result that is not ok."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.errors import DeadPopulationError, NonFiniteError
from lawful.inference import Status
from tests.inference.tier0 import law_error

SCHEMES = ["multinomial", "residual", "stratified", "systematic"]
STEPS = 3
KEY = jax.random.key(3)


def program(bad, when, weight=jnp.nan):
    """Values 0, 1, 2; at step `when`, values of at least `bad` have the given weight (as a logarithm)."""

    def step(x, t):
        x = sample("x", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
        usual = jnp.log(0.2 + 0.3 * x)
        factor("weight", jnp.where((t == when) & (x >= bad), weight, usual))
        return x, None

    return scan(step, 0, jnp.arange(STEPS))[0]


def filtered(bad, when, weight=jnp.nan, **settings):
    plan = inference.smc(program, **{"particles": 4, **settings})
    return plan(KEY, jnp.array(bad), jnp.array(when), jnp.array(weight))


# In no run of these four particles is the value 2 absent at any step, and in none is it everywhere.
SOME, ALL = 1, 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bad", [SOME, ALL])
@pytest.mark.parametrize("when", range(STEPS))
def test_f02_an_error_names_the_step_and_the_site(when, bad, scheme):
    with pytest.raises(
        NonFiniteError, match=f"a weight is NaN at step {when} of the loop in run 0 .site 'weight'."
    ) as e:
        filtered(bad, when, resampling=scheme)
    assert (e.value.sites, e.value.stage, e.value.step, e.value.run) == (("weight",), when + 1, when, 0)
    assert "nonfinite='dead'" in str(e.value)


@pytest.mark.parametrize("when", range(STEPS))
def test_f02_one_nan_of_four_is_found(when):
    """The run is known by its weights under the policy that counts them."""
    keys = jax.random.split(jax.random.key(0), 40)
    plan = inference.smc(program, particles=4, nonfinite="dead")
    strict = inference.smc(program, particles=4)
    args = (jnp.array(2), jnp.array(when), jnp.array(jnp.nan))
    counts = [int(plan(key, *args).stats["n_nonfinite"].sum()) for key in keys]
    assert counts.count(1) > 5
    for key, count in zip(keys, counts, strict=True):
        if count:
            with pytest.raises(NonFiniteError):
                strict(key, *args)
        else:
            assert strict(key, *args).found == ()


@pytest.mark.parametrize("when", range(STEPS))
def test_f02_the_count_is_that_of_the_values_which_have_no_weight(when):
    """Without resampling every path is kept, so that the values with a NaN weight can be counted."""
    settings = {"particles": 50, "runs": 3, "nonfinite": "dead", "resample_below": 0.0}
    result = filtered(2, when, **settings)
    injected = (result.weighted.values["x"][:, :, when] >= 2).sum(axis=1)
    assert injected.min() > 0
    np.testing.assert_array_equal(result.stats["n_nonfinite"][:, when + 1], injected)
    assert result.stats["n_nonfinite"].sum() == injected.sum()
    assert result.status & Status.NONFINITE_WEIGHT
    (finding,) = result.found
    assert finding.value == injected.sum() and finding.sites == ("weight",)


@pytest.mark.tier0
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("when", range(STEPS))
def test_f02_dead_targets_the_measure_restricted_to_the_rest(when, scheme):
    plan = inference.smc(
        lambda bad: program(bad, when), particles=1 + (when == 1), resampling=scheme, nonfinite="dead", keep="last"
    )
    assert law_error(plan, lambda bad: program(bad, when, -jnp.inf), jnp.array(2)).error < 1e-12


def test_f02_dead_weights_that_all_are_nan_end_the_run():
    result = filtered(ALL, 1, nonfinite="dead")
    assert result.log_evidence[0] == -np.inf
    assert result.stats["dead_at"].tolist() == [2]
    assert result.stats["n_nonfinite"].tolist() == [[0, 0, 4, 0]]
    assert result.status & Status.DEAD


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("when", range(STEPS))
def test_f02_a_flagged_run_has_no_evidence_and_no_samples_and_changes_no_other_run(when, scheme):
    """Of eight runs of two particles some meet the NaN; the others are those of the program without it, bit by bit."""
    flagged, clean = (
        filtered(2, at, particles=2, runs=8, resampling=scheme, nonfinite="flag") for at in (when, STEPS + 1)
    )
    hit = np.isnan(flagged.log_evidence)
    assert 0 < hit.sum() < 8 and not np.isnan(clean.log_evidence).any()
    assert not flagged.ok and flagged.status & Status.NONFINITE_WEIGHT and not flagged.status & Status.DEAD
    np.testing.assert_array_equal(flagged.stats["dead_at"], np.where(hit, when + 1, -1))
    with pytest.raises(DeadPopulationError):
        _ = flagged.posterior
    assert flagged.surviving().runs == tuple(np.flatnonzero(~hit))
    alive = np.flatnonzero(~hit)
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
