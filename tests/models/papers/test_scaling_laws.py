"""Losses above their floor are log-normal about a power law of the size, with an intercept and a slope a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size as ess
from scipy.integrate import quad
from scipy.stats import halfnorm, lognorm, multivariate_normal, norm

import lawful
from lawful import handlers, inference
from lawful.models.papers.scaling_laws import scaling_laws

RNG = np.random.default_rng(13)
SIZE, MIXTURE = np.tile([0.1, 1.0, 10.0], 3), np.repeat(np.arange(3), 3)
LOSS = 1.5 + np.exp(0.4 + np.array([0.3, 0.0, -0.2])[MIXTURE] - 0.25 * np.log(SIZE) + 0.03 * RNG.normal(size=9))
FORECAST_ERROR = np.where(np.arange(9) < 3, 0.05, 0.0)
HELD = {"floor": 1.4, "spread": 0.5, "bend": 0.04, "noise": 0.05}
NORMALS = ["level", "exponent", "own_level", "own_exponent"]


def design():
    """What each log loss above the floor has of level, exponent, own levels and own exponents."""
    own = np.eye(3)[MIXTURE]
    steps = np.log(SIZE)[:, None]
    return np.hstack([np.ones((9, 1)), -steps, own, -steps * own])


def closed_form(error):
    """Log density of the losses and the posterior of level and exponent, where floor and scales are known."""
    above = LOSS - HELD["floor"]
    prior_mean = np.concatenate([[0.0, 0.2], np.zeros(6)])  # own ones as deviations
    prior = np.diag([9.0, 0.04] + [HELD["spread"] ** 2] * 3 + [HELD["bend"] ** 2] * 3)
    x = design()
    seen = x @ prior @ x.T + np.diag(HELD["noise"] ** 2 + (error / above) ** 2)
    log_density = multivariate_normal.logpdf(np.log(above), x @ prior_mean, seen) - np.log(above).sum()
    gain = prior @ x.T @ np.linalg.inv(seen)
    mean = prior_mean + gain @ (np.log(above) - x @ prior_mean)
    return log_density, mean, prior - gain @ x @ prior


def test_the_density_is_that_of_log_normal_losses():
    values = {**HELD, "level": 0.6, "exponent": 0.3, "own_level": np.array([0.7, 0.5, 0.1])}
    values["own_exponent"] = np.array([0.25, 0.28, 0.3])
    with jax.enable_x64(True):
        found = float(lawful.trace(scaling_laws, SIZE, MIXTURE, LOSS, 3).log_density(values, SIZE, MIXTURE, LOSS, 3))
    expected = norm.logpdf(0.6, 0, 3) + norm.logpdf(0.3, 0.2, 0.2) - np.log(LOSS.min())
    expected += halfnorm.logpdf(0.5) + halfnorm.logpdf(0.04, scale=0.05) + halfnorm.logpdf(0.05, scale=0.1)
    expected += norm.logpdf(values["own_level"], 0.6, 0.5).sum() + norm.logpdf(values["own_exponent"], 0.3, 0.04).sum()
    middle = values["own_level"][MIXTURE] - values["own_exponent"][MIXTURE] * np.log(SIZE)
    expected += lognorm.logpdf(LOSS, 0.05, loc=1.4, scale=np.exp(middle)).sum()
    assert abs(found - expected) < 1e-10 * abs(expected)


@pytest.mark.parametrize("error", [0.0, FORECAST_ERROR])
def test_with_a_known_floor_the_evidence_is_that_of_a_linear_regression(error):
    args = (SIZE, MIXTURE, LOSS, 3, error)
    with jax.enable_x64(True):
        form = inference.integrate_normals(NORMALS)(lawful.trace(scaling_laws, *args))
        found = float(form.log_density(HELD, *args))
    priors = halfnorm.logpdf(0.5) + halfnorm.logpdf(0.04, scale=0.05) + halfnorm.logpdf(0.05, scale=0.1)
    assert abs(found - closed_form(error)[0] - priors + np.log(LOSS.min())) < 1e-10


def test_a_loss_ahead_is_a_power_law_above_the_floor():
    fixed = {**HELD, "noise": 1e-12, "level": 0.6, "exponent": 0.3, "own_level": np.array([0.7, 0.5, 0.1])}
    fixed["own_exponent"] = np.array([0.25, 0.28, 0.3])
    with jax.enable_x64(True):
        program = handlers.do(scaling_laws, {name: jnp.asarray(value) for name, value in fixed.items()})
        drawn = inference.predictive(None, program, SIZE, MIXTURE, LOSS, 3, 0.0, 100.0, draws=1)["ahead"][0, 0]
    assert np.abs(drawn - (1.4 + np.exp(fixed["own_level"]) * 100.0 ** -fixed["own_exponent"])).max() < 1e-10


@pytest.mark.slow
def test_chains_agree_with_the_closed_form_where_floor_and_scales_are_known():
    """NUTS on all that is left, nothing integrated, against the regression.

    Effective sizes of 800 or more are asked: a standard error below 0.036 posterior standard deviations, so that a
    bound of 0.18 is five of them (of two means a false alarm in 800,000 runs), and an error of 0.3 standard deviations
    is found with probability 0.999. Standard deviations are right within 15 %, six of their standard errors.
    """
    with jax.enable_x64(True):
        held = handlers.condition(scaling_laws, HELD)
        program = inference.noncentred(["own_level", "own_exponent"])(held)
        plan = inference.mcmc(program, inference.kernels.nuts(), chains=4, warmup=500, draws=1000, enumerate=[])
        posterior = plan(jax.random.key(0), SIZE, MIXTURE, LOSS, 3).posterior
    _, mean, covariance = closed_form(0.0)
    for k, name in enumerate(("level", "exponent")):
        drawn, sd = np.asarray(posterior[name]), covariance[k, k] ** 0.5
        assert float(ess(drawn)) > 800
        assert abs(drawn.mean() - mean[k]) < 0.18 * sd, (name, drawn.mean(), mean[k], sd)
        assert abs(drawn.std() / sd - 1) < 0.15


@pytest.mark.slow
def test_chains_with_the_normals_integrated_agree_with_quadrature_over_the_floor():
    """The same bounds and powers for the mean of the floor, the scales held: one number that no regression gives."""
    held = handlers.condition(scaling_laws, {name: value for name, value in HELD.items() if name != "floor"})
    args = (SIZE, MIXTURE, LOSS, 3)
    with jax.enable_x64(True):
        form = inference.integrate_normals(NORMALS)(lawful.trace(held, *args))
        density = jax.jit(lambda floor: jnp.exp(form.log_density({"floor": floor}, *args)))
        scale = float(density(1.4))
        moments = [
            quad(lambda x, k=k: x**k * float(density(x)) / scale, 0, LOSS.min(), points=[1.0, 1.4], limit=100)[0]
            for k in range(3)
        ]
        away = inference.integrate_normals(NORMALS)
        plan = inference.mcmc(held, inference.kernels.nuts(), chains=4, warmup=500, draws=2000, enumerate=away)
        drawn = np.asarray(plan(jax.random.key(0), *args).posterior["floor"])
    mean = moments[1] / moments[0]
    sd = (moments[2] / moments[0] - mean**2) ** 0.5
    assert float(ess(drawn)) > 800
    assert abs(drawn.mean() - mean) < 0.18 * sd, (drawn.mean(), mean, sd)
