"""Pooled evidence: the log of the mean of runs, an error that holds as often as is stated, and the sizes of samples."""

import math

import numpy as np
import pytest
import scipy.stats

from lawful.inference.findings.evidence import kish_ess, pooled_evidence


def test_pooled_evidence_is_the_log_of_the_mean_and_its_error_that_of_student_where_runs_agree():
    z = 1.0 + 1e-4 * np.array([0.5, 2.0, 1.25, 0.25])
    pooled, error = pooled_evidence(np.log(z))
    assert abs(pooled - math.log(z.mean())) < 1e-12
    one_sigma = scipy.stats.t.isf(scipy.stats.norm.sf(1), 3)
    assert error == pytest.approx(one_sigma * z.std(ddof=1) / math.sqrt(4) / z.mean(), rel=1e-3)


def lognormal(rng, sd, runs):
    """Log evidences of mean exp(0) with this standard deviation."""
    return rng.normal(size=runs) * sd - sd**2 / 2


def skewed(rng, sd, runs):
    """Runs that miss a part of the mass: exponentially far below the best."""
    return math.log1p(sd) - sd * rng.exponential(size=runs)


def contaminated(rng, sd, runs):
    """One run in ten has three times the spread of the others."""
    own = sd / math.sqrt(1.8)
    scale = own * np.where(rng.random(runs) < 0.1, 3.0, 1.0)
    return scale * rng.normal(size=runs) - np.logaddexp(math.log(0.9) + own**2 / 2, math.log(0.1) + 4.5 * own**2)


WITHIN = {2: 0.83, 4: 0.90, 8: 0.93, 16: 0.95}  # stated of two errors, by the number of runs


@pytest.mark.rest_slow
@pytest.mark.parametrize("runs", WITHIN)
@pytest.mark.parametrize("sd", [0.1, 1.0, 5.0, 50.0])
def test_the_evidence_lies_within_its_error_as_often_as_is_stated(sd, runs):
    """600 sets of runs; four standard errors of a share below what is stated fail: 3e-5 each, at worst."""
    rng = np.random.default_rng(runs)
    for made, one, two in (
        (lognormal, 0.68, WITHIN[runs]),
        (skewed, 0.64, WITHIN[runs] - 0.07),
        (contaminated, 0.68, WITHIN[runs]) if sd < 1 else (contaminated, 0.36, 0.68) if sd == 1 else (lognormal, 0, 0),
    ):
        found = np.array([pooled_evidence(made(rng, sd, runs)) for _ in range(600)])
        for errors, stated in ((1, one), (2, two)):
            share = np.mean(np.abs(found[:, 0]) <= errors * found[:, 1])
            assert share >= stated - 4 * math.sqrt(stated * (1 - stated) / 600), (made.__name__, errors)


def test_runs_that_disagree_have_an_error_of_the_size_of_what_their_mean_misses():
    log_z = np.array([-1260.0, -1274.0, -1343.0, -1529.0])
    pooled, error = pooled_evidence(log_z)
    assert abs(pooled - (-1260 - math.log(4))) < 1e-5
    assert error > log_z.var(ddof=1) / 2


@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_a_common_offset_shifts_the_pooled_evidence_and_keeps_its_error(offset):
    log_z = np.log([0.5, 2.0, 1.25])
    pooled, error = pooled_evidence(log_z)
    shifted, same = pooled_evidence(log_z + offset)
    assert abs(shifted - offset - pooled) < 1e-11
    assert abs(same - error) < 1e-11


def test_pooled_evidence_is_never_below_the_mean_of_the_logarithms():
    log_z = np.random.default_rng(1).normal(size=20)
    assert pooled_evidence(log_z)[0] > log_z.mean()


def test_equal_runs_have_error_zero_and_one_run_has_none():
    assert pooled_evidence([-5.0, -5.0]) == (-5.0, 0.0)
    pooled, error = pooled_evidence([-5.0])
    assert pooled == -5.0
    assert math.isnan(error)


def test_a_dead_run_counts_as_evidence_zero():
    pooled, error = pooled_evidence([math.log(3.0), -math.inf, math.log(3.0)])
    assert abs(pooled - math.log(2.0)) < 1e-12
    one_sigma = scipy.stats.t.isf(scipy.stats.norm.sf(1), 2)
    assert abs(error - one_sigma * math.sqrt(1 / 6)) < 1e-12  # of the log of a share 2/3 of three runs
    assert math.isnan(pooled_evidence([-1.0, -math.inf, -math.inf])[1])
    pooled, error = pooled_evidence([-math.inf, -math.inf])
    assert pooled == -math.inf
    assert math.isnan(error)


def test_kish_ess_is_scale_free_and_between_one_and_n():
    log_w = np.random.default_rng(2).normal(size=(5, 30)) * 3
    ess = kish_ess(log_w)
    w = np.exp(log_w)
    np.testing.assert_allclose(ess, w.sum(1) ** 2 / (w**2).sum(1), rtol=1e-12)
    np.testing.assert_allclose(kish_ess(log_w - 2000.0), ess, rtol=1e-10)
    assert np.all((ess >= 1) & (ess <= 30))
