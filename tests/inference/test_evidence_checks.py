"""Evidence that is not known is not ok: runs that disagree, chains within a run that do, and chains that never move.

The truth of the hierarchy is a sum over a grid of its two parameters, whose effects are integrated out exactly.
"""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats

import lawful
from lawful import inference
from lawful.inference.findings.evidence_checks import evidence_findings, evidence_sd
from lawful.inference.findings.findings import Limits


def codes(log_evidence, **stats):
    found = evidence_findings(Limits(), log_evidence, 1000, {name: np.array(x) for name, x in stats.items()})
    return {finding.code: finding.message for finding in found if finding.status}


def test_chains_that_agree_as_independent_particles_would_are_ok_and_others_are_not():
    ess, good = [[500.0] * 20], [[1e-3] * 20]
    assert codes([-3.0], ess=ess, evidence_variance=good) == {}
    assert evidence_sd([-3.0], 1000, {"ess": np.array(ess), "evidence_variance": np.array(good)}) == pytest.approx(
        np.sqrt(0.02)
    )
    poor = codes([-3.0], ess=ess, evidence_variance=[[0.03] * 20], beta=[[1.0] * 20])
    assert "chains within a run disagree" in poor["EVIDENCE_SPREAD"]
    assert "particles=" in poor["EVIDENCE_SPREAD"] and "population_hmc" in poor["EVIDENCE_SPREAD"]


def test_of_four_runs_the_error_counts_and_of_fewer_their_chains_do():
    assert codes([-3.0, -3.1, -2.9, -3.2]) == {}
    assert "known to +- " in codes([-3.0, -3.9, -2.6, -2.2])["EVIDENCE_SPREAD"]
    assert "its log is -9.00 to -3.00" in codes([-3.0, -9.0, -5.0, -4.0])["EVIDENCE_SPREAD"]
    within = {"ess": [[500.0]] * 4, "evidence_variance": [[4.0]] * 4}
    assert codes([-3.0, -3.1, -2.9, -3.2], **within) == {}
    assert "EVIDENCE_SPREAD" in codes([-3.0, -3.1], ess=within["ess"][:2], evidence_variance=[[4.0]] * 2)


def test_chains_that_never_move_are_told():
    assert codes([-3.0], unmoved_chains=[[0.0, 0.2, np.nan]]) == {}
    assert "73% of the chains of a stage never moved" in codes([-3.0], unmoved_chains=[[0.1, 0.73]])["NEVER_MOVED"]

    def model(y):
        lawful.factor("weight", -((lawful.sample("x", dist.Normal(0.0, 1.0)) - y) ** 2))

    far = inference.population_walk(1e6)  # steps a million times too long
    result = inference.tempered_smc(model, particles=500, kernel=far, ladder=[1.0])(0, 1.0)
    assert "NEVER_MOVED" in {finding.code for finding in result.reasons} and not result.ok
    assert np.nanmax(result.stats["unmoved_chains"]) > 0.25


@pytest.mark.slow
def test_what_chains_say_of_a_run_is_what_runs_say_of_each_other():
    """Variances of 30 runs, whose ratio has a standard error of a third: within a factor of four, at 4 of them."""

    def model(y):
        mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
        with lawful.plate("row", 20):
            lawful.sample("y", dist.Normal(mu, 1.0), obs=y)

    result = inference.tempered_smc(model, particles=500, runs=30)(1, np.linspace(2.0, 4.0, 20))
    alone = [
        evidence_sd([0.0], 500, {name: np.asarray(result.stats[name])[run : run + 1] for name in NOTED})
        for run in range(30)
    ]
    ratio = np.mean(np.square(alone)) / np.var(result.log_evidence, ddof=1)
    assert 1 / 4 < ratio < 4


NOTED = ("ess", "evidence_variance")


def hierarchy(y):
    """Effects of 388 groups, their mean and their scale: 390 parameters."""
    mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    tau = lawful.sample("tau", dist.HalfNormal(2.0))
    with lawful.plate("group", 388):
        theta = lawful.sample("theta", dist.Normal(mu, tau))
        with lawful.plate("row", 5, dim=-2):
            lawful.sample("y", dist.Normal(theta, 1.0), obs=y)


def exact_evidence(y):
    rows, groups = y.shape
    mean, within = y.mean(axis=0), np.sum((y - y.mean(axis=0)) ** 2)
    mu, tau = np.linspace(mean.mean() - 1.5, mean.mean() + 1.5, 400), np.linspace(1e-3, 4.0, 400)
    variance = tau**2 + 1 / rows
    far = ((mean[:, None] - mu) ** 2).sum(axis=0)
    log_density = -0.5 * groups * np.log(2 * np.pi * variance) - 0.5 * far[:, None] / variance
    log_density += scipy.stats.norm(0, 5).logpdf(mu)[:, None] + scipy.stats.halfnorm(0, 2).logpdf(tau)
    rest = -0.5 * within - 0.5 * groups * ((rows - 1) * np.log(2 * np.pi) + np.log(rows))
    return scipy.special.logsumexp(log_density) + np.log((mu[1] - mu[0]) * (tau[1] - tau[0])) + rest


@pytest.mark.slow
def test_default_settings_on_390_parameters_are_right_to_a_half_or_not_ok():
    rng = np.random.default_rng(0)
    y = 1.0 + 0.7 * rng.normal(size=388) + rng.normal(size=(5, 388))
    truth = exact_evidence(y)
    result = inference.tempered_smc(hierarchy, particles=500, runs=4)(jax.random.key(0), y)
    assert not result.ok and "noncentred" in " ".join(result.warnings)
    assert abs(result.log_evidence_pooled - truth) < 2 * result.log_evidence_error
    for run in range(4):  # each of them would have said so alone
        stats = {name: np.asarray(result.stats[name])[run : run + 1] for name in NOTED}
        assert "EVIDENCE_SPREAD" in codes(result.log_evidence[run : run + 1], **stats)
    advised = inference.noncentred(["theta"])(lawful.trace(hierarchy, y))
    found = inference.tempered_smc(advised, particles=2000, runs=4)(0, y)
    assert found.ok and found.log_evidence_error < 0.5
    assert abs(found.log_evidence_pooled - truth) < 0.5
