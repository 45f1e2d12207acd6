"""Row 2, of every policy with every resampling: "flag" where all weights are NaN, "dead" where one of four is."""

import jax.numpy as jnp
import numpy as np
import pytest

from lawful import inference
from lawful.errors import DeadPopulationError
from lawful.inference import Status
from tests.faults.test_f02_nan_weights import ALL, KEY, SOME, STEPS, program
from tests.schemes import SCHEMES
from tests.tiers import rest_slow

RUNS = 12


def plan_of(scheme, nonfinite):
    """A plan that runs at (bad, when, weight): compiled once for all of them."""
    plan = inference.smc(program, resampling=scheme, particles=4, runs=RUNS, nonfinite=nonfinite)
    return lambda bad, when, weight=jnp.nan: plan(KEY, jnp.array(bad), jnp.array(when), jnp.array(weight))


@pytest.mark.parametrize("scheme", rest_slow(SCHEMES, 1))
def test_f02_a_flagged_run_whose_weights_all_are_nan_has_no_number_that_looks_plausible(scheme):
    run = plan_of(scheme, "flag")
    for when in range(STEPS):
        result = run(ALL, when)
        assert np.isnan(result.log_evidence).all() and np.isnan(result.log_evidence_pooled)
        assert not result.ok and result.status & Status.NONFINITE_WEIGHT
        assert result.stats["dead_at"].tolist() == [when + 1] * RUNS
        with pytest.raises(DeadPopulationError):
            _ = result.posterior
        (finding,) = [each for each in result.reasons if each.status == Status.NONFINITE_WEIGHT]
        assert finding.value == "NaN" and finding.sites == ("weight",)
        assert (
            f"step {when} of the loop in run 0" in finding.message and f"{RUNS - 1} more of {RUNS}" in finding.message
        )
        assert np.isnan(result.stats["log_evidence_increment"][:, when + 1]).all()


@pytest.mark.fault(2)
@pytest.mark.parametrize("scheme", rest_slow(SCHEMES, 1))
def test_f02_dead_reads_one_nan_of_four_as_zero_to_the_last_bit(scheme):
    """Every run is that of the program whose weight is zero there, and no path leads through the value."""
    run = plan_of(scheme, "dead")
    for when in range(STEPS):
        found, zero = run(2, when), run(2, when, -jnp.inf)
        one_of_four = found.stats["n_nonfinite"][:, when + 1] == 1
        assert 0 < one_of_four.sum() < RUNS and found.stats["n_nonfinite"][one_of_four].sum() == one_of_four.sum()
        assert np.isfinite(found.log_evidence[one_of_four]).all()
        assert found.status & Status.NONFINITE_WEIGHT and not zero.status & Status.NONFINITE_WEIGHT
        np.testing.assert_array_equal(found.log_evidence, zero.log_evidence)
        assert zero.stats["n_nonfinite"].sum() == 0
        for name in ("ess", "log_evidence_increment", "resampled", "dead_at"):
            np.testing.assert_array_equal(found.stats[name], zero.stats[name])
        np.testing.assert_array_equal(found.weighted.log_weight, zero.weighted.log_weight)
        kept = found.surviving().posterior["x"]
        np.testing.assert_array_equal(kept, zero.surviving().posterior["x"])
        assert (kept[:, :, when] < 2).all()


@pytest.mark.parametrize("nonfinite", rest_slow(["flag", "dead"]))
def test_f02_importance_sampling_reads_all_weights_as_the_policy_says(nonfinite):
    plan = inference.importance(program, particles=4, runs=2, nonfinite=nonfinite)
    clean = plan(KEY, jnp.array(SOME), jnp.array(STEPS), jnp.array(jnp.nan))
    assert np.isfinite(clean.log_evidence).all() and not clean.status & Status.NONFINITE_WEIGHT
    result = plan(KEY, jnp.array(ALL), jnp.array(1), jnp.array(jnp.nan))
    assert not result.ok and result.status & Status.NONFINITE_WEIGHT
    if nonfinite == "dead":
        assert result.stats["n_nonfinite"].tolist() == [[4], [4]]
    assert np.isnan(result.log_evidence).all() if nonfinite == "flag" else np.isneginf(result.log_evidence).all()
    with pytest.raises(DeadPopulationError):
        _ = result.posterior
