"""Chains have the moments of posteriors that are known exactly.

The chains of a run are independent, so the spread of their means gives the Monte Carlo error, autocorrelation included.
Each test has a false-alarm rate of 1e-6 / 512 over all its statistics, by Student's t on the means of the chains (fixed
keys).
"""

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from lawful import cond, inference, plate, sample
from lawful.inference import kernels
from lawful.inference.check import ALPHA, key_of
from tests.inference.cases import branching, local_level, read, regression
from tests.tiers import rest_slow

pytestmark = pytest.mark.optimised

CHAINS = 200


def assert_means(result, expected):
    """Compare the means of functions of the draws, given as (draws by name -> (chain, draw), exact mean) by name."""
    critical = stats.t.isf(ALPHA / 2 / len(expected), CHAINS - 1)
    for name, (function, exact) in expected.items():
        means = np.mean(function(result.posterior), axis=1) - exact
        error = means.std(ddof=1) / math.sqrt(len(means))
        assert abs(means.mean()) < critical * error, (name, means.mean() / error)
        assert error < 0.05, (name, error)  # long enough to say something


def moments(name, mean, variance, third):
    return {
        "mean": (lambda draws: draws[name], mean),
        "variance": (lambda draws: (draws[name] - mean) ** 2, variance),
        "third moment": (lambda draws: (draws[name] - mean) ** 3, third),
    }


def run(name, model, kernel, *args, **settings):
    plan = inference.mcmc(model, kernel, chains=CHAINS, **{"warmup": 100, "draws": 500, **settings})
    return plan(key_of(f"mcmc/{name}"), *args)


KERNELS = [kernels.random_walk(0.6), kernels.mh()]


@pytest.mark.reference
@pytest.mark.parametrize("kernel", rest_slow(KERNELS), ids=repr)
def test_a_coin_has_its_beta_posterior(kernel, data):
    case = read(data, "beta_bernoulli")

    def model(y):
        p = sample("p", dist.Beta(case["model"]["a"], case["model"]["b"]))
        sample("y", dist.Bernoulli(p).expand(y.shape), obs=y)

    result = run(f"beta/{kernel}", model, kernel, jnp.array(case["data"]["y"]))
    exact = case["exact"]
    assert_means(result, moments("p", exact["mean"], exact["variance"], exact["third_central_moment"]))


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_a_rate_has_its_gamma_posterior(kernel, data):
    case = read(data, "gamma_poisson")

    def model(y):
        rate = sample("rate", dist.Gamma(case["model"]["shape"], case["model"]["rate"]))
        with plate("count", len(y)):
            sample("y", dist.Poisson(rate), obs=y)

    result = run(f"gamma/{kernel}", model, kernel, jnp.array(case["data"]["y"]), draws=1000)
    exact = case["exact"]
    assert_means(result, moments("rate", exact["mean"], exact["variance"], exact["third_central_moment"]))


@pytest.mark.slow
@pytest.mark.reference
def test_a_regression_has_its_normal_inverse_gamma_posterior(data):
    case = read(data, "linreg_nig")
    given, exact = case["model"], case["exact"]

    kernel = kernels.random_walk({"beta": 0.12, "variance": 0.3})
    arguments = (jnp.array(case["data"][k]) for k in ("X", "y"))
    # The prior's tail has no variance: a chain that starts in it needs very long to come back.
    start = {"variance": 1.0, "beta": jnp.zeros(3)}
    result = run("regression", regression(given), kernel, *arguments, warmup=1000, draws=1500, init=start)
    mean, cov, sigma2 = np.array(exact["beta_mean"]), np.array(exact["beta_cov"]), exact["sigma2_mean"]
    expected = {f"beta[{i}]": (lambda draws, i=i: draws["beta"][..., i], mean[i]) for i in range(3)}
    for i in range(3):
        for j in range(i + 1):

            def product(draws, i=i, j=j):
                return (draws["beta"][..., i] - mean[i]) * (draws["beta"][..., j] - mean[j])

            expected[f"cov[{i}, {j}]"] = (product, cov[i, j])
    expected["variance"] = (lambda draws: draws["variance"], sigma2)
    expected["its variance"] = (lambda draws: (draws["variance"] - sigma2) ** 2, exact["sigma2_variance"])
    assert_means(result, expected)


@pytest.mark.reference
@pytest.mark.slow
def test_a_program_that_draws_as_often_as_it_likes_has_its_posterior(data):
    """Single-site moves where each step of a loop decides whether the next one draws at all."""
    case = read(data, "branching_program")

    result = run("branching", branching, kernels.mh(), jnp.array(case["data"]["sum_of_draws"]), warmup=300, draws=1500)
    exact = {int(n): p for n, p in case["exact"]["posterior_n"].items()}
    assert exact.keys() >= set(np.unique(result.posterior["n"]).tolist())
    likely = [n for n, p in exact.items() if p > 0.02]
    assert_means(result, {f"n = {n}": (lambda draws, n=n: draws["n"] == n, exact[n]) for n in likely})


@pytest.mark.slow
def test_a_branch_with_continuous_arms_has_its_posterior():
    """A fair b, v ~ N(0, 1) or N(3, 1), y ~ N(v, 1), y = 3: P(b) = 0.0953, and v is normal given b."""

    def model(y):
        b = sample("b", dist.Bernoulli(0.5))
        v = cond(b == 1, lambda: sample("v", dist.Normal(0.0, 1.0)), lambda: sample("v", dist.Normal(3.0, 1.0)))
        sample("y", dist.Normal(v, 1.0), obs=y)

    densities = stats.norm.pdf(3.0, [3.0, 0.0], math.sqrt(2))
    p = densities[1] / densities.sum()
    assert p == pytest.approx(0.0953, abs=5e-5)
    expected = {
        "b": (lambda draws: draws["b"], p),
        "v given b": (lambda draws: draws["b"] * (draws["v"] - 1.5), 0.0),
        "v": (lambda draws: draws["v"], p * 1.5 + (1 - p) * 3.0),
        "square given not b": (lambda draws: (1 - draws["b"]) * ((draws["v"] - 3.0) ** 2 - 0.5), 0.0),
    }
    assert_means(run("branch", model, kernels.mh(), 3.0, draws=1000), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [kernels.random_walk(0.55), kernels.mh()], ids=repr)
def test_a_hierarchy_in_a_plate_has_its_normal_posterior(kernel):
    y, sd = np.array([1.2, -0.3, 0.8]), np.array([0.5, 1.0, 0.8])

    def model(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("group", 3):
            theta = sample("theta", dist.Normal(mu, 0.7))
            sample("y", dist.Normal(theta, jnp.array(sd)), obs=y)

    # Precision of (mu, theta): the chain rule of normal densities.
    precision = np.diag([1 + 3 / 0.49, *(1 / 0.49 + 1 / sd**2)])
    precision[0, 1:] = precision[1:, 0] = -1 / 0.49
    cov = np.linalg.inv(precision)
    mean = cov @ np.concatenate([[0.0], y / sd**2])
    result = run(f"hierarchy/{kernel}", model, kernel, jnp.array(y), warmup=300, draws=1500)

    def joint(draws):
        return np.concatenate([draws["mu"][..., None], draws["theta"]], axis=-1)

    expected = {f"mean[{i}]": (lambda draws, i=i: joint(draws)[..., i], mean[i]) for i in range(4)}
    for i, j in [(0, 0), (0, 2), (1, 1), (2, 3)]:

        def product(draws, i=i, j=j):
            return np.prod(joint(draws)[..., [i, j]] - mean[[i, j]], axis=-1)

        expected[f"cov[{i}, {j}]"] = (product, cov[i, j])
    assert_means(result, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [kernels.random_walk(0.13), kernels.mh()], ids=repr)
def test_a_path_has_its_smoother(kernel, data):
    case = local_level(data).first(6)
    smoothed = inference.smoothed(case.program, *case.args)
    result = run(f"path/{kernel}", case.program, kernel, *case.args, warmup=1000, draws=2000)
    expected = {}
    for t in range(6):
        m, v = float(smoothed.mean["x"][t]), float(smoothed.covariance["x"][t])
        expected[f"mean[{t}]"] = (lambda draws, t=t: draws["x"][..., t], m)
        expected[f"variance[{t}]"] = (lambda draws, t=t, m=m: (draws["x"][..., t] - m) ** 2, v)
    assert_means(result, expected)


def test_a_wrong_moment_is_found():
    """The statistic has power: a mean that is off by a tenth of a standard deviation fails."""
    result = run("power", lambda: sample("x", dist.Normal(0.0, 1.0)), kernels.random_walk(2.0))
    assert_means(result, {"x": (lambda draws: draws["x"], 0.0)})
    with pytest.raises(AssertionError, match="x"):
        assert_means(result, {"x": (lambda draws: draws["x"], 0.1)})
