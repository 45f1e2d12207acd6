"""Density ratios as rewards: exact ranks without errors, the steered law in two ways, Bayes factors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.models.papers.density_ratio import line, log_ratio, text

SCORES = np.array([[1.0, 0.0, -1.0], [-1.0, 1.0, 0.0], [0.0, -1.0, 1.0]])  # the same in each row, in another order
TEXTS = np.array(list(itertools.product(range(3), repeat=4)))
REWARD = SCORES[TEXTS[:, :-1], TEXTS[:, 1:]].sum(1)


def model(share, errors=0.0):
    return jnp.zeros(3), jnp.asarray(share * SCORES + errors)


def test_the_ratio_of_two_models_without_errors_is_the_reward():
    with jax.enable_x64(True):
        ratio = np.asarray(log_ratio(model(0.9), model(0.2), TEXTS))
    assert ratio - ratio.mean() == pytest.approx(0.7 * (REWARD - REWARD.mean()), abs=1e-12)


def steered(beta):
    return inference.tilt(lambda: text(*model(0.2), 4), toward=lambda: text(*model(0.9), 4), beta=beta)


def truth(beta):
    """The law of the steered texts, and its evidence, by a table of all texts."""
    logs = []
    for share in (0.2, 0.9):
        rows = share * SCORES - np.log(np.exp(share * SCORES).sum(1, keepdims=True))
        logs.append(-np.log(3) + rows[TEXTS[:, :-1], TEXTS[:, 1:]].sum(1))
    mass = np.exp((1 - beta) * logs[0] + beta * logs[1])
    return mass / mass.sum(), np.log(mass.sum())


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_the_steered_law_is_the_geometric_mean(beta):
    mass, log_evidence = truth(beta)
    with jax.enable_x64(True):
        exact = inference.enumerate(steered(beta))()
    assert exact.log_evidence == pytest.approx(log_evidence, abs=1e-12)
    found = exact.marginal("return")
    assert [found[tuple(x)] for x in TEXTS.tolist()] == pytest.approx(mass, abs=1e-14)


def test_particles_agree_with_the_enumeration():
    """False alarm 1e-6 (4.9 standard errors of 4,000 weighed draws); a bias of 9 is missed with probability 1e-4."""
    mass, log_evidence = truth(2.0)
    with jax.enable_x64(True):
        result = inference.importance(steered(2.0), particles=1000, runs=4)(jax.random.key(1))
    assert abs(float(result.log_evidence_pooled) - log_evidence) < 4.9 * float(result.log_evidence_error)


def log_evidence(x, y, spread=10.0):
    """In closed form: y is a multivariate t of 2 degrees of freedom."""
    design = np.stack([np.ones(len(x)), x], 1)
    shape = np.eye(len(x)) + spread**2 * design @ design.T
    return stats.multivariate_t(np.zeros(len(x)), shape, df=2).logpdf(y)


@pytest.mark.slow
def test_the_path_between_two_posteriors_has_the_bayes_factor_as_its_height():
    """The mean log ratio on the path, integrated by eight Gauss points, beside both evidences in closed form.

    False alarm 1e-6, by the t law of 16 chains; a bias of 13 standard errors is missed with probability 1e-3. The rule
    is off by less than 1e-4 here.
    """
    rng = np.random.default_rng(0)
    x = np.linspace(-1.5, 1.5, 12)
    y = 0.5 + x + 0.5 * x**2 + 0.5 * rng.normal(size=12)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    with jax.enable_x64(True):
        forms = [lawful.trace(line, covariate, y) for covariate in (x, x**2)]
        plan = inference.mcmc(
            lambda beta: inference.tilt(lambda: line(x, y), toward=lambda: line(x**2, y), beta=beta)(),
            kernels.nuts(), chains=16, warmup=300, draws=500,
        )  # fmt: skip
        height = np.zeros(16)
        for node, weight in zip(nodes, weights, strict=True):
            draws = plan(jax.random.key(2), 0.5 * (1 + node)).posterior
            values = {name: jnp.asarray(draws[name]) for name in ("variance", "coefficients")}
            first, second = (
                jax.vmap(jax.vmap(lambda v, f=form, c=covariate: f.log_density(v, c, y)))(values)
                for form, covariate in zip(forms, (x, x**2), strict=True)
            )
            height += 0.5 * weight * np.asarray(second - first).mean(1)
    bayes_factor = log_evidence(x**2, y) - log_evidence(x, y)
    error = height.std(ddof=1) / 4
    assert abs(height.mean() - bayes_factor) < stats.t.isf(5e-7, 15) * error
