"""The policy on_fault: what only the run can show is an error, or a result that is not ok and refuses its samples."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.errors import DeadPopulationError, NoFiniteStartError, NonFiniteError
from lawful.inference import Status, kernels

KEY = jax.random.key(1)
WALK = kernels.random_walk(0.5)
PLANS = {
    "importance": inference.importance,
    "smc": inference.smc,
    "tempered_smc": lambda model, **how: inference.tempered_smc(model, kernel=WALK, steps=1, ladder=[1.0], **how),
    "annealed_importance": lambda model, **how: inference.annealed_importance(model, kernel=WALK, ladder=2, **how),
    "smc2": lambda model, **how: inference.smc2(model, WALK, ["x"], inner=3, **how),
}


def broken(weight):
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("f", jnp.where(x > 0, weight, -1.0))


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PLANS)
def test_a_weight_without_meaning_raises_or_flags(name):
    raising, flagging = (PLANS[name](broken, particles=8, runs=2, on_fault=policy) for policy in ("raise", "flag"))
    for weight in (jnp.nan, jnp.inf):
        with pytest.raises(NonFiniteError, match="'f'"):
            raising(KEY, weight)
        is_flagged(flagging(KEY, weight))


def is_flagged(result):
    assert not result.ok and Status.NONFINITE_WEIGHT in result.status
    (finding,) = [f for f in result.reasons if f.code == "NONFINITE_WEIGHT"]
    assert finding.sites == ("f",) and "site 'f'" in finding.message
    assert np.isnan(result.log_evidence).all()  # an infinite evidence is never a number of a result
    with pytest.raises(DeadPopulationError):
        _ = result.posterior


def test_runs_with_a_weight_without_meaning_are_counted_beside_the_first_of_each_kind():
    """Of 12 runs of one particle x = 0 gives 0, x = 1 NaN and x = 2 +inf."""

    def three():
        x = sample("x", dist.Categorical(jnp.ones(3) / 3))
        factor("f", jnp.array([0.0, jnp.nan, jnp.inf])[x])

    result = inference.importance(three, particles=1, runs=12, on_fault="flag")(KEY)
    bad, told = set(np.flatnonzero(np.isnan(result.log_evidence)).tolist()), []
    for word in ("+inf", "NaN"):
        (finding,) = [f for f in result.reasons if f.code == "NONFINITE_WEIGHT" and f.value == word]
        found = re.search(r"in run (\d+) \(site 'f'\), and others in (\d+) more of 12 runs", finding.message)
        told.append((int(found[1]), 1 + int(found[2])))
    (one, one_count), (other, other_count) = told
    assert one != other and min(bad) in (one, other) and {one, other} < bad and one_count + other_count == len(bad)


@pytest.mark.slow
def test_a_weight_of_a_filter_inside_is_told_by_the_sites_and_the_step_of_the_users_program():
    def walk(y):
        def step(x, y):
            x = sample("x", dist.Normal(x, 1.0))
            factor("seen", jnp.where((y > 0) & (x > -9.0), jnp.nan, -0.1))
            return x, None

        sample("s", dist.Normal(0.0, 1.0))
        scan(step, 0.0, y)

    with pytest.raises(NonFiniteError, match=r"at step 1 of the loop in run 0 \(site 'seen' or 'x'\)") as caught:
        inference.smc2(walk, WALK, ["s"], particles=4, inner=3)(KEY, jnp.array([0.0, 1.0, 0.0]))
    assert caught.value.sites == ("seen", "x") and caught.value.step == 1


def test_a_run_beside_the_broken_one_keeps_its_samples():
    def sometimes():
        x = sample("x", dist.Bernoulli(0.5))
        factor("f", jnp.where(x == 1, jnp.nan, -1.0))

    result = inference.importance(sometimes, particles=1, runs=8, on_fault="flag")(KEY)
    broken_runs = np.isnan(result.log_evidence)
    assert broken_runs.any() and not broken_runs.all()
    assert result.surviving().posterior["x"].shape == (8 - broken_runs.sum(), 1)
    np.testing.assert_allclose(result.log_evidence[~broken_runs], -1.0)


def test_chains_that_cannot_start_raise_or_give_no_draw():
    def impossible():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("never", jnp.where(x > 100, 0.0, -jnp.inf))

    with pytest.raises(NoFiniteStartError, match="'never'"):
        inference.mcmc(impossible, chains=2, warmup=1, draws=3)(KEY)
    result = inference.mcmc(impossible, chains=2, warmup=1, draws=3, on_fault="flag")(KEY)
    assert not result.ok and Status.NONFINITE_DENSITY in result.status
    assert result.posterior["x"].shape == (2, 0)
    (finding,) = [f for f in result.reasons if f.code == "NO_FINITE_START"]
    assert "never" in finding.sites and finding.message in repr(result.warnings)


def test_a_sound_run_is_the_same_under_both_policies():
    def model():
        factor("f", sample("x", dist.Normal(0.0, 1.0)))

    one, two = (inference.importance(model, particles=5, on_fault=p)(KEY) for p in ("raise", "flag"))
    np.testing.assert_array_equal(one.posterior["x"], two.posterior["x"])


@pytest.mark.parametrize("build", [*PLANS.values(), lambda m, particles, **o: inference.mcmc(m, **o)])
def test_another_policy_is_refused(build):
    with pytest.raises(Exception, match="on_fault.*'ignore'"):  # the types of the test suite see it first
        build(broken, particles=2, on_fault="ignore")
