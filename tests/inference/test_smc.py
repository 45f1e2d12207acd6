"""E[Z-hat f] = Z E[f] for particle filters on models with exact evidence and smoother moments.

Each check runs at a false-alarm rate of 1e-6 / 512 (normal approximation, five stages, fixed key) and finds the stated
bias with probability 0.99. Most run in single precision, as users do: fifty sums of numbers below 64 move a log
evidence by 1e-4 at most, a two-hundredth of BIAS. In double the exact tier holds the law.
"""

import math

import jax
import numpy as np
import pytest

from lawful import inference
from lawful.inference.check import key_of, one, unbiased
from lawful.inference.check.statistics.power import z_critical
from tests.inference.cases import CASES
from tests.schemes import schemes_and_thresholds
from tests.tiers import rest_slow

CHUNK = 200  # runs a call; calls have their own keys
BIAS = 0.02

pytestmark = pytest.mark.tier2


def calls(plan, args):
    """The results of `len(keys)` independent runs, `CHUNK` at a time."""

    def run(keys):
        assert len(keys) % CHUNK == 0
        return [plan(key, *args) for key in keys[::CHUNK]]

    return run


def evidence(case, **settings):
    run = calls(inference.smc(case.program, runs=CHUNK, keep="last", **settings), case.args)

    def estimator(keys):
        return np.concatenate([result.log_evidence for result in run(keys)])

    return estimator


def smoothed(case, names, functions, **settings):
    """Each run as one draw: its weighted means of the functions of the paths, and its log evidence."""
    run = calls(inference.smc(case.program, runs=CHUNK, keep="paths", **settings), case.args)

    def estimator(keys):
        values, log_evidence = [], []
        for result in run(keys):
            paths, log_weight = result.weighted
            weight = np.exp(log_weight)  # of mean one
            values.append([np.mean(weight * function(paths[case.site]), axis=1) for function in functions])
            log_evidence.append(result.log_evidence)
        return dict(zip(names, np.concatenate(values, axis=1), strict=True)), np.concatenate(log_evidence)

    return estimator


def reader(name):
    def read(draws):
        return draws[name]

    read.__name__ = name
    return read


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize(
    ("name", "particles", "runs"),
    [("local level", 1200, 2400), ("tracking", 1600, 2800), ("hidden Markov", 1000, 2400)],
)
def test_the_evidence_of_the_whole_series_is_unbiased(name, particles, runs, data):
    case = CASES[name](data)
    estimator = evidence(case, particles=particles)
    report = unbiased(estimator, case.log_evidence, n=runs, key=key_of(f"smc/evidence/{name}"))
    assert report.passed, report
    assert report.detects(BIAS), report


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.optimised
@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize(("scheme", "resample_below"), schemes_and_thresholds(0.5))
def test_every_scheme_gives_an_unbiased_evidence(scheme, resample_below, data):
    case = CASES["local level"](data).first(8)
    estimator = evidence(case, particles=1000, resampling=scheme, resample_below=resample_below)
    report = unbiased(estimator, case.log_evidence, n=1000, key=key_of(f"smc/scheme/{scheme}/{resample_below}"))
    assert report.passed, report
    assert report.detects(BIAS), report


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("name", rest_slow(["local level", "tracking"]))
def test_paths_have_the_moments_of_the_smoother(name, data):
    """Functions of mean 1, 1 + (x - m) / s and ((x - m) / s)^2: a relative bias is one in smoother sds."""
    case = CASES[name](data)
    mean, cov = (np.array(case.exact["exact"][f"smoother_{k}"]) for k in ("mean", "cov"))
    names, functions = [], []
    for time in (0, len(mean) // 2, len(mean) - 1):
        for axis in range(mean.shape[1]):
            names += [f"mean of x[{time}][{axis}]", f"variance of x[{time}][{axis}]"]

            def standard(x, time=time, axis=axis):
                x = x.reshape(*x.shape[:3], -1)
                return (x[:, :, time, axis] - mean[time, axis]) / math.sqrt(cov[time, axis, axis])

            functions += [lambda x, u=standard: 1 + u(x), lambda x, u=standard: u(x) ** 2]
    estimator = smoothed(case, names, functions, particles=1000)
    truth = {one: math.exp(case.log_evidence)} | {reader(n): math.exp(case.log_evidence) for n in names}
    report = unbiased(estimator, truth, n=1000, key=key_of(f"smc/smoother/{name}"))
    assert report.passed, report
    assert report.detects(0.1), report


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("single_precision")
def test_paths_have_the_probabilities_of_forward_backward(data):
    case = CASES["hidden Markov"](data)
    exact = np.array(case.exact["exact"]["smoother"])
    cells = [(time, state) for time in (0, 20, 39) for state in range(3)]
    names = [f"z[{time}] = {state}" for time, state in cells]
    functions = [lambda z, t=time, k=state: 0.2 + (z[:, :, t] == k) for time, state in cells]
    estimator = smoothed(case, names, functions, particles=1000)
    truth = {one: math.exp(case.log_evidence)}
    truth |= {
        reader(name): math.exp(case.log_evidence) * (0.2 + exact[cell]) for name, cell in zip(names, cells, strict=True)
    }
    report = unbiased(estimator, truth, n=1000, key=key_of("smc/forward-backward"))
    assert report.passed, report
    assert report.detects(0.1), report


def test_what_is_kept_does_not_change_the_run(data):
    case = CASES["hidden Markov"](data).first(10)
    key = jax.random.key(5)
    runs = [inference.smc(case.program, particles=50, runs=3, keep=keep)(key, *case.args) for keep in ("paths", "last")]
    np.testing.assert_array_equal(runs[0].log_evidence, runs[1].log_evidence)
    np.testing.assert_array_equal(runs[0].weighted.values["z"][:, :, -1], runs[1].weighted.values["returned"])


@pytest.mark.slow
def test_runs_differ_and_are_independent(data, false_alarm):
    """Each of four columns of runs is unbiased, and no two are correlated: ten z."""
    case = CASES["local level"](data).first(8)
    plan = inference.smc(case.program, particles=200, runs=4, keep="last")
    keys = jax.random.split(key_of("smc/four runs"), 400)
    ratios = np.exp(np.stack([plan(key, *case.args).log_evidence for key in keys]) - case.log_evidence)
    assert all(len(set(row)) == 4 for row in ratios)
    critical = z_critical(false_alarm, 10)
    z = (ratios.mean(axis=0) - 1) / ratios.std(axis=0, ddof=1) * math.sqrt(len(keys))
    assert np.abs(z).max() < critical
    standard = (ratios - ratios.mean(axis=0)) / ratios.std(axis=0)
    for i in range(4):
        for j in range(i):
            products = standard[:, i] * standard[:, j]
            assert abs(products.mean()) / products.std(ddof=1) * math.sqrt(len(keys)) < critical


@pytest.mark.slow
@pytest.mark.optimised
def test_an_estimate_that_is_two_percent_too_large_is_found(data):
    """The stated power is real: the same check fails on a biased estimator."""
    case = CASES["local level"](data).first(8)
    estimator = evidence(case, particles=1000)
    biased = unbiased(
        lambda keys: estimator(keys) + math.log1p(BIAS), case.log_evidence, n=1200, key=key_of("smc/planted bias")
    )
    assert biased.status == "failed"
