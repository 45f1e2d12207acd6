"""Row 30: a gradient that is not finite beside a finite value rejects, is counted, and is never learnt from."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample
from lawful.errors import NoFiniteStartError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.findings.findings import Status


@jax.custom_jvp
def cliff(x):
    """Zero, with a derivative that is not a number beyond 1."""
    return jnp.zeros_like(x)


@cliff.defjvp
def _(primals, tangents):
    return cliff(*primals), jnp.where(primals[0] > 1.0, jnp.nan, 0.0) * tangents[0]


def beyond():
    """Standard normal; the gradient is lost beyond 1."""
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("cliff", cliff(x))


def nowhere():
    """A value everywhere, a gradient nowhere: the square root of a distance that is zero."""
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("flat", jnp.sqrt(x - x))


def untaken():
    """A guarded arm whose gradient is not a number: the usual trap of `where`; it is met below zero."""
    x = sample("x", dist.Normal(0.5, 1.0))
    factor("guard", 0.0 * jnp.where(x > 0, jnp.sqrt(jnp.maximum(x, 0.0)), 0.0))


def norm_at_zero(y):
    """The norm of a vector that is zero wherever the choice is negative."""
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jnp.linalg.norm(jnp.maximum(x, 0.0) * jnp.ones(2)), 1.0), obs=y)


KERNELS = [kernels.mala(0.8), kernels.hmc(0.4, 3), kernels.nuts(0.5)]


@pytest.mark.rest_slow
@pytest.mark.fault(30)
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_f30_proposals_without_a_gradient_are_rejected_and_counted(kernel):
    """Chains that start below 1 stay there; each time a move meets the cliff is counted, in each chain by itself."""
    start = {"x": np.linspace(-1.0, 0.9, 8)}
    result = inference.mcmc(beyond, kernel, chains=8, warmup=0, draws=200, init=start)(0)
    assert (result.posterior["x"] <= 1.0).all()
    assert np.isfinite(result.posterior["x"]).all()
    assert int(np.sum(result.stats["n_nonfinite_grad"])) > 0
    assert int(np.sum(result.stats["n_nonfinite"])) == 0
    (finding,) = [each for each in result.reasons if each.code == "NONFINITE_GRADIENT"]
    assert finding.value == np.sum(result.stats["n_nonfinite_grad"]) and finding.status == Status.NONFINITE_DENSITY
    assert not result.ok and f"{finding.value} proposals" in finding.message


def test_f30_the_count_is_exact_for_one_leapfrog():
    """A Langevin step meets the cliff exactly where its proposal lies beyond 1: the share of a normal step."""
    start = {"x": np.full(4000, 0.5)}
    result = inference.mcmc(beyond, kernels.mala(0.8), chains=4000, warmup=0, draws=1, init=start)(1)
    share = np.mean(np.asarray(result.stats["n_nonfinite_grad"]))
    exact = 1 - float(dist.Normal(0.5 - 0.32 * 0.5, 0.8).cdf(1.0))
    assert abs(share - exact) < 5.7 * np.sqrt(exact * (1 - exact) / 4000)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [kernels.hmc(n_steps=3), kernels.nuts(), kernels.mala()], ids=repr)
def test_f30_no_start_without_a_gradient_is_taken(kernel):
    result = inference.mcmc(beyond, kernel, chains=16, warmup=30, draws=5)(0)
    assert (result.warmup.posterior["x"][:, 0] <= 1.0).all()
    with pytest.raises(NoFiniteStartError, match=r"'flat' \(.*test_f30.*:\d+\): log density finite, its grad") as told:
        inference.mcmc(nowhere, kernel, chains=2, warmup=5, draws=5)(0)
    assert told.value.sites == (("flat",),)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [kernels.hmc(n_steps=3), kernels.nuts()], ids=repr)
def test_f30_a_warm_up_learns_nothing_from_it(kernel):
    result = inference.mcmc(beyond, kernel, chains=4, warmup=200, draws=20)(0)
    assert np.isfinite(result.run["step_size"]) and np.isfinite(result.run["inverse_mass"]).all()
    assert 0.05 < float(result.run["inverse_mass"][0]) < 2.0


def test_f30_lanes_with_a_gradient_do_not_notice():
    """Two chains, one of which meets the cliff: the other is bit-identical to a run where none does.

    Steps are so short that twenty of them never lead from -3 or -5 to 1, and nearly always from 0.99.
    """
    runs = []
    for first in (-5.0, 0.99):
        start = {"x": np.array([first, -3.0])}
        plan = inference.mcmc(beyond, kernels.nuts(0.05, max_depth=2), chains=2, warmup=0, draws=20, init=start)
        runs.append(plan(4))
    met = [run.stats["n_nonfinite_grad"].sum(axis=1) for run in runs]
    assert met[0].tolist() == [0, 0] and met[1][0] > 0 and met[1][1] == 0
    np.testing.assert_array_equal(runs[0].posterior["x"][1], runs[1].posterior["x"][1])
    for name, array in runs[0].stats.items():
        np.testing.assert_array_equal(array[1], runs[1].stats[name][1], err_msg=name)


@pytest.mark.tier1
def test_f30_an_arm_that_is_not_taken_costs_no_law():
    def guarded(y):
        x = sample("x", dist.Normal(0.5, 1.0))
        sample("y", dist.Normal(jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0), 1.0), obs=y)

    report = invariant(kernels.hmc(0.3, 3), guarded, jnp.array(0.4), n=2_000, steps=(1, 5))
    assert report.passed, report


@pytest.mark.slow
def test_f30_the_trap_of_where_has_a_finite_value():
    """Chains that start above zero meet the arm that is not taken, or a norm at zero, and say how often."""
    for model, args in ((untaken, ()), (norm_at_zero, (0.3,))):
        run = inference.mcmc(model, kernels.nuts(0.5), chains=4, warmup=0, draws=50, init={"x": np.full(4, 0.5)})
        result = run(0, *args)
        assert np.isfinite(result.stats["lp"]).all() and (result.posterior["x"] > 0).all()
        assert "NONFINITE_GRADIENT" in [finding.code for finding in result.reasons]
