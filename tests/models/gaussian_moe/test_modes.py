"""Fits by a program: a mode in closed form, and with the stock program the fit by EM and Newton's method."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError
from lawful.models.gaussian_moe import Gate, GaussianMoE, Mixture, Parameters, Settings, free_mixture
from tests.models.gaussian_moe.cases import TRUTH

TO_THE_END = Settings(slope=1e-11)
SD = 0.1  # of the slope a priori, in standard units


def small(X, y, k, gate):
    """The stock program, with a prior of the slopes."""
    found = free_mixture(X, y, k, gate)
    lawful.factor("small", dist.Normal(0.0, SD).log_prob(found.a).sum())


def test_the_fit_is_the_mode_of_its_program():
    """One expert, a ridge: the slope a is z'v / (n + nu / SD^2), and nu the mean square that it leaves."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(30, 1))
    y = 1 + 2 * x[:, 0] + 0.5 * rng.normal(size=30)
    z, v = (x[:, 0] - x.mean()) / x.std(), (y - y.mean()) / y.std()
    a = nu = 1.0
    for _ in range(100):
        a = z @ v / (30 + nu / SD**2)
        nu = np.mean((v - a * z) ** 2)
    model = GaussianMoE(1).fit(x, y, init=Parameters.of([0.0], [0.0], [1.0], [0.0], [1.0]), program=small)
    p = model.mixture_.parameters
    slope = a * y.std() / x.std()
    np.testing.assert_allclose([p.a[0, 0], p.b[0]], [slope, y.mean() - slope * x.mean()], rtol=1e-12)
    assert p.nu[0] == pytest.approx(nu * y.var(), rel=1e-12)
    assert a < 0.4 * (z @ v / 30)  # the slope of least squares
    normal = -15 * (np.log(2 * np.pi * nu) + 1) - 30 * np.log(y.std())
    prior = -0.5 * (a / SD) ** 2 - np.log(SD * np.sqrt(2 * np.pi))
    assert model.log_likelihood_ == pytest.approx(normal + prior, rel=1e-12)
    assert model.fit_.converged and not model.reasons_ and model.reached_ == 1
    with pytest.raises(LawfulError, match="the mode of another program. Fix"):
        model.errors(x, y)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (GaussianMoE(2, "topk", top_k=1), {}, "top-K gate, which jumps.*Fix"),
        (GaussianMoE(2), {"map": "processes"}, "map= and settings= are of EM.*Fix"),
        (GaussianMoE(2), {"settings": Settings(floor=1e-3)}, "map= and settings= are of EM.*Fix"),
    ],
)
def test_what_cannot_be_had_with_a_program_is_refused(model, options, message):
    with pytest.raises(LawfulError, match=message):
        model.fit(np.arange(6.0)[:, None], np.arange(6.0) ** 2, program=free_mixture, **options)


def equal(one, other, order):
    """Two fits are one, up to rounding and the order of the experts, the last of which has no gate."""
    assert other.log_likelihood_ == pytest.approx(one.log_likelihood_, abs=1e-9)
    assert one.fit_.converged and other.fit_.converged
    p, q = one.mixture_.parameters, other.mixture_.parameters
    for name in ("a", "b", "nu"):
        np.testing.assert_allclose(getattr(q, name)[order], getattr(p, name), rtol=1e-6)
    np.testing.assert_allclose((q.beta1 / q.tau)[order] - (q.beta1 / q.tau)[order[-1]], p.beta1 / p.tau, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["softmax", "temperature"])
def test_the_stock_program_has_the_fit_of_em_and_newton(gate):
    """From the same starts, in years, which are far from 0; a temperature that is pinned is 1."""
    x = jax.random.uniform(jax.random.key(0), (200, 1))
    y = Mixture(Gate(), TRUTH).sample(jax.random.key(1), x)
    years = 2000 + 30 * np.asarray(x)
    climbed = GaussianMoE(2, gate).fit(years, y, starts=4, key=3, settings=TO_THE_END)
    found = GaussianMoE(2, gate).fit(years, y, starts=4, key=3, program=free_mixture)
    order = np.argsort(found.mixture_.parameters.a[:, 0])[np.argsort(np.argsort(climbed.mixture_.parameters.a[:, 0]))]
    equal(climbed, found, order)
    assert len(found.optima_) == 4 and found.reached_ >= 2 and found.mixture_.parameters.tau == 1


@pytest.mark.slow
def test_the_stock_program_has_the_fit_of_newton_with_an_activated_gate():
    """Three experts of two covariates, from the truth: all 21 parameters that the data tell apart."""
    rng = np.random.default_rng(0)
    truth = Parameters.of(
        [[4.0, 0.0], [-4.0, 2.0], [0.0, -4.0]], [0.3, 0.0, 0.0], [[3.0, 0.0], [-3.0, 1.0], [0.0, -2.0]],
        [0.0, 2.0, -2.0], [0.05, 0.1, 0.2], 0.3,
    )  # fmt: skip
    x = jnp.asarray(rng.normal(size=(800, 2)))
    y = Mixture(Gate("activated"), truth).sample(jax.random.key(0), x)
    fit = partial(GaussianMoE(3, "activated").fit, x, y, init=truth)
    climbed = fit(settings=TO_THE_END)
    one = climbed.log_likelihood_, climbed.mixture_.parameters, climbed.fit_.converged
    found = fit(program=free_mixture)
    assert found.log_likelihood_ == pytest.approx(one[0], abs=1e-9) and one[2] and found.fit_.converged
    p, q = one[1], found.mixture_.parameters
    for name in ("beta1", "a", "b", "nu", "tau"):
        np.testing.assert_allclose(getattr(q, name), getattr(p, name), rtol=1e-5)
    np.testing.assert_allclose(q.beta0 - q.beta0[-1], p.beta0 - p.beta0[-1], rtol=1e-5, atol=1e-7)
