"""Row 4: a dead population has log evidence -inf and a flag, refuses its samples, and disturbs no other run."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.errors import DeadPopulationError
from lawful.inference import Status
from tests.schemes import SCHEMES
from tests.tiers import rest_slow

STEPS = 4
NEVER = STEPS + 1


def program(when):
    """Tails at step `when` is impossible: a population all of tails dies there."""
    theta = sample("theta", dist.Normal(0.0, 1.0))

    def step(total, t):
        heads = sample("heads", dist.Bernoulli(0.5))
        factor("weight", jnp.where((t == when) & (heads == 0), -jnp.inf, -0.3 * heads))
        return total + heads, None

    total, _ = scan(step, 0, jnp.arange(STEPS))
    factor("after", -0.1 * total)
    return {"theta": theta, "total": total}


def impossible(when):
    """Every particle dies at step `when`."""
    theta = sample("theta", dist.Normal(0.0, 1.0))

    def step(x, t):
        x = sample("x", dist.Normal(x, 1.0))
        factor("weight", jnp.where(t == when, -jnp.inf, -(x**2)))
        return x, None

    scan(step, theta, jnp.arange(STEPS))
    return theta


def assert_equal(first, second, rows):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(np.asarray(first[name])[rows], np.asarray(second[name])[rows], err_msg=name)


@pytest.mark.parametrize(
    ("scheme", "keep"), rest_slow([("systematic", "last"), *((scheme, "paths") for scheme in SCHEMES)])
)
def test_f04_runs_that_die_change_no_other_run(scheme, keep):
    """Two particles, twelve runs, one compiled program for all steps: survivors are equal to the bit."""
    plan = inference.smc(program, particles=2, runs=12, resampling=scheme, keep=keep)
    clean = plan(5, jnp.array(NEVER))
    assert np.isfinite(clean.log_evidence).all() and not clean.status & Status.DEAD
    for when in range(STEPS):
        result = plan(5, jnp.array(when))
        dead = np.isneginf(result.log_evidence)
        alive = np.flatnonzero(~dead)
        assert 0 < len(alive) < 12
        np.testing.assert_array_equal(result.stats["dead_at"], np.where(dead, when + 1, -1))
        survivors = result.surviving()
        assert survivors.runs == tuple(alive)
        # A survivor may have lost one particle; those that did not are the runs of the other program.
        increments = [r.stats["log_evidence_increment"][:, when + 1] for r in (result, clean)]
        same = np.flatnonzero(increments[0] == increments[1])
        assert 0 < len(same) < len(alive)
        rows = [list(alive).index(run) for run in same]
        for name, array in survivors.posterior.items():
            np.testing.assert_array_equal(array[rows], clean.posterior[name][same], err_msg=name)
        assert_equal(result.stats, clean.stats, same)
        np.testing.assert_array_equal(result.log_evidence[same], clean.log_evidence[same])


def test_f04_exactly_one_run_dies_and_the_others_are_equal_to_the_bit():
    """One particle a run: every run but those that die is untouched."""
    plan = inference.smc(program, particles=1, runs=6)
    for when in range(STEPS):
        key = next(k for k in range(200) if np.isneginf(plan(k, jnp.array(when)).log_evidence).sum() == 1)
        result, clean = plan(key, jnp.array(when)), plan(key, jnp.array(NEVER))
        alive = np.flatnonzero(np.isfinite(result.log_evidence))
        assert len(alive) == 5
        np.testing.assert_array_equal(result.log_evidence[alive], clean.log_evidence[alive])
        assert_equal(result.stats, clean.stats, alive)
        assert_equal(
            dict(result.surviving().weighted.values),
            {k: v[alive] for k, v in clean.weighted.values.items()},
            slice(None),
        )


@pytest.mark.fault(4)
@pytest.mark.parametrize("scheme", rest_slow(SCHEMES))
def test_f04_nothing_of_a_dead_run_looks_plausible(scheme):
    plan = inference.smc(impossible, particles=5, runs=2, resampling=scheme)
    for when in range(STEPS):
        result = plan(jax.random.key(0), jnp.array(when))
        assert result.log_evidence.tolist() == [-np.inf] * 2
        assert result.log_evidence_pooled == -np.inf
        assert result.stats["dead_at"].tolist() == [when + 1] * 2
        increments, ess = result.stats["log_evidence_increment"], result.stats["ess"]
        assert np.isfinite(increments[:, : when + 1]).all() and (increments[:, when + 1 :] == -np.inf).all()
        assert (ess[:, : when + 1] >= 1).all() and (ess[:, when + 1 :] == 0).all()
        assert not result.ok and result.status & Status.DEAD
        finding = next(f for f in result.reasons if f.code == "DEAD")
        assert f"run 0: every particle has weight zero at stage {when + 1}" in finding.message
        named = f"run 0 at stage {when + 1}, run 1 at stage {when + 1} of 2 runs"
        for read in (lambda: result.posterior, lambda: result.weighted, result.surviving, result.to_datatree):
            with pytest.raises(DeadPopulationError, match=named) as caught:
                read()
            assert caught.value.dead_at == {0: when + 1, 1: when + 1}
        assert "NOT OK: DEAD" in repr(result)


def dead_from_the_start():
    theta = sample("theta", dist.Normal(0.0, 1.0))
    factor("impossible", jnp.where(theta < 1e9, -jnp.inf, 0.0))

    def step(x, _):
        x = sample("x", dist.Normal(x, 1.0))
        factor("weight", -(x**2))
        return x, None

    scan(step, theta, None, length=3)
    return theta


@pytest.mark.regression("15.5")
@pytest.mark.parametrize(
    ("scheme", "resample_below"), rest_slow([("systematic", 0.5), *((scheme, None) for scheme in SCHEMES)])
)
def test_f04_a_dead_population_is_resampled_by_the_identity(scheme, resample_below):
    """Every particle keeps its own parameter, also where every step resamples, and no weight comes back."""
    plan = inference.smc(
        dead_from_the_start, particles=6, resampling=scheme, resample_below=resample_below, keep="last"
    )
    out, log_evidence = plan.prepare(()).built.run(jax.random.key(2), [])
    theta, log_weight, draws = (np.asarray(x)[0] for x in out[:3])
    assert log_evidence.tolist() == [-np.inf]
    assert len(np.unique(theta)) == 6
    assert (log_weight == -np.inf).all()
    np.testing.assert_array_equal(draws, np.arange(6))


def test_f04_a_dead_population_before_and_after_the_loop():
    def outside(early, late):
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("early", jnp.where(early, -jnp.inf, 0.1 * x))

        def step(x, _):
            return sample("walk", dist.Normal(x, 1.0)), factor("in", -(x**2))

        x, _ = scan(step, x, None, length=2)
        factor("late", jnp.where(late, -jnp.inf, 0.1 * x))

    plan = inference.smc(outside, particles=3)
    for early, late, stage in ((True, False, 0), (False, True, 3), (True, True, 0), (False, False, -1)):
        assert plan(0, jnp.array(early), jnp.array(late)).stats["dead_at"].tolist() == [stage]


def test_f04_an_impossible_observation_kills_without_nan():
    """The datum lies outside the support that the choice allows."""

    def bounded(y):
        top = sample("top", dist.Uniform(0.0, 1.0))
        sample("y", dist.Uniform(0.0, top), obs=y)

    for build in (inference.smc, inference.importance):
        result = build(bounded, particles=10)(jax.random.key(0), 2.0)
        assert result.log_evidence.tolist() == [-np.inf]
        assert not np.isnan(result.stats["log_evidence_increment"]).any()
        assert result.status & Status.DEAD
        assert np.isfinite(build(bounded, particles=10)(jax.random.key(0), 0.5).log_evidence).all()
