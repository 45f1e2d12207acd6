"""Masses of tails and intervals: of density, of sums over counts, and far out where nothing but logarithms is left."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats
from scipy.special import gammaln, logsumexp

from lawful.distributions.interval_probability import has_masses, log_mass

CONTINUOUS = {  # a family, and two numbers inside its support
    "Normal": (lambda: dist.Normal(0.5, 2.0), (-1.0, 1.5)),
    "HalfNormal": (lambda: dist.HalfNormal(2.0), (0.5, 3.0)),
    "Logistic": (lambda: dist.Logistic(0.5, 2.0), (-1.0, 1.5)),
    "Laplace": (lambda: dist.Laplace(0.5, 2.0), (-1.0, 1.5)),
    "Gumbel": (lambda: dist.Gumbel(0.5, 2.0), (-1.0, 1.5)),
    "Cauchy": (lambda: dist.Cauchy(0.5, 2.0), (-1.0, 1.5)),
    "HalfCauchy": (lambda: dist.HalfCauchy(2.0), (0.5, 3.0)),
    "StudentT": (lambda: dist.StudentT(3.0, 0.5, 2.0), (-1.0, 1.5)),
    "Exponential": (lambda: dist.Exponential(2.0), (0.5, 1.5)),
    "Weibull": (lambda: dist.Weibull(2.0, 1.5), (0.5, 1.5)),
    "Gamma": (lambda: dist.Gamma(2.5, 2.0), (0.5, 1.5)),
    "Chi2": (lambda: dist.Chi2(3.0), (0.5, 4.0)),
    "Uniform": (lambda: dist.Uniform(-1.0, 3.0), (-0.5, 1.5)),
    "Beta": (lambda: dist.Beta(2.0, 3.0), (0.2, 0.7)),
    "LogNormal": (lambda: dist.LogNormal(0.5, 0.75), (0.5, 3.0)),
    "InverseGamma": (lambda: dist.InverseGamma(2.5, 2.0), (0.5, 3.0)),
    "Pareto": (lambda: dist.Pareto(1.5, 2.0), (2.0, 5.0)),
    "minus LogNormal": (
        lambda: dist.TransformedDistribution(dist.LogNormal(0.0, 1.0), dist.transforms.AffineTransform(1.0, -2.0)),
        (-3.0, 0.5),
    ),
    "mixture": (
        lambda: dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.25, 0.75])),
                                       dist.Normal(jnp.array([-1.0, 1.0]), jnp.array([0.5, 1.0]))),
        (-1.0, 1.5),
    ),
}  # fmt: skip
COUNTS = {
    "Poisson": lambda: dist.Poisson(2.5),
    "NegativeBinomial2": lambda: dist.NegativeBinomial2(2.5, 1.5),
    "Geometric": lambda: dist.Geometric(0.3),
    "Geometric by logits": lambda: dist.Geometric(logits=0.3),
    "Binomial": lambda: dist.Binomial(6, 0.3),
    "Binomial by logits": lambda: dist.Binomial(6, logits=0.3),
    "BetaBinomial": lambda: dist.BetaBinomial(2.0, 3.0, 6),
    "DiscreteUniform": lambda: dist.DiscreteUniform(1, 6),
    "Categorical": lambda: dist.Categorical(probs=jnp.array([0.1, 0.2, 0.3, 0.4])),
    "mixture": lambda: dist.MixtureSameFamily(
        dist.Categorical(probs=jnp.array([0.25, 0.75])), dist.Poisson(jnp.array([1.0, 4.0]))
    ),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_masses_are_integrals_of_the_density(name):
    law, (a, b) = CONTINUOUS[name][0](), CONTINUOUS[name][1]
    density = jax.jit(lambda x: jnp.exp(law.log_prob(x)))
    truth = integrate.quad(lambda x: float(density(x)), a, b, epsabs=1e-12, epsrel=1e-12)[0]
    mass = np.exp(log_mass(law, np.array([-np.inf, a, b, -np.inf, a, b]), np.array([a, b, np.inf, np.inf, np.inf, a])))
    assert mass[1] == pytest.approx(truth, rel=1e-10)
    assert mass[0] + mass[1] + mass[2] == pytest.approx(1.0, rel=1e-12)
    assert mass[3] == 1.0 and mass[4] == pytest.approx(mass[1] + mass[2], rel=1e-12) and mass[5] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_masses_of_counts_are_sums(name):
    law, values = COUNTS[name](), np.arange(200)
    values = values[np.asarray(law.support(values))]
    masses = np.exp(law.log_prob(values))

    def between(a, b):
        return masses[(values >= a) & (values <= b)].sum()

    whole = between(0, np.inf) if name == "BetaBinomial" else 1.0  # a sum of NumPyro's densities, right to seven digits
    for a in range(4):
        for b in range(a, 4):
            assert float(np.exp(log_mass(law, a, b))) == pytest.approx(between(a, b), rel=1e-12)
        assert float(np.exp(log_mass(law, a, np.inf))) == pytest.approx(whole - between(0, a - 1), rel=1e-12)
    assert float(np.exp(log_mass(law, -np.inf, 2.5))) == pytest.approx(between(0, 2), rel=1e-12)
    assert log_mass(law, -3.0, -1.0) == -np.inf and log_mass(law, 1.25, 1.75) == -np.inf


def test_far_tails_keep_their_logarithms():
    assert float(log_mass(dist.Normal(0.0, 1.0), 50.0, np.inf)) == pytest.approx(stats.norm.logsf(50.0), rel=1e-14)
    assert float(log_mass(dist.LogNormal(0.0, 1.0), 0.0, np.exp(-50.0))) == pytest.approx(
        stats.norm.logcdf(-50.0), rel=1e-12
    )
    # Far out a normal tail of unit width is all of the tail.
    assert float(log_mass(dist.Normal(0.0, 1.0), 50.0, 51.0)) == pytest.approx(stats.norm.logsf(50.0), rel=1e-14)
    assert float(log_mass(dist.Weibull(1.0, 2.0), 100.0, np.inf)) == pytest.approx(-1e4, rel=1e-14)
    assert float(log_mass(dist.Logistic(0.0, 1.0), 5000.0, np.inf)) == pytest.approx(-5000.0, rel=1e-14)
    n, x = np.arange(3000), 2000.0  # Q(50, x) = exp(-x) sum_{k < 50} x^k / k!
    terms = n * np.log(x) - x - gammaln(n + 1.0)
    assert float(log_mass(dist.Gamma(50.0, 1.0), x, np.inf)) == pytest.approx(logsumexp(terms[:50]), rel=1e-12)
    assert float(log_mass(dist.Poisson(x), 0, 49)) == pytest.approx(logsumexp(terms[:50]), rel=1e-12)
    few = n * np.log(0.5) - 0.5 - gammaln(n + 1.0)
    assert float(log_mass(dist.Poisson(0.5), 400, np.inf)) == pytest.approx(logsumexp(few[400:]), rel=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("x", [1e-3, 0.5, 50.0, 1e4])
@pytest.mark.parametrize("family", [dist.Normal, dist.Logistic, dist.Laplace, dist.Gumbel, dist.Weibull, dist.Gamma,
                                    dist.LogNormal, dist.Cauchy])  # fmt: skip
def test_gradients_are_finite(family, x):
    def terms(first, second):
        law = family(first, second)
        bounds = jnp.array([-jnp.inf, x, x, -jnp.inf]), jnp.array([x, jnp.inf, 2 * x, jnp.inf])
        return jnp.sum(jnp.where(jnp.isfinite(log_mass(law, *bounds)), log_mass(law, *bounds), 0.0))

    gradient = jax.jit(jax.grad(terms, (0, 1)))(1.5, 2.0)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@pytest.mark.slow
def test_gradients_are_those_of_the_mass():
    for make in (lambda t: dist.Normal(t, 1.0 + t), lambda t: dist.Weibull(1.0 + t, 2.0), lambda t: dist.Poisson(t),
                 lambda t: dist.Gamma(1.0 + t, 2.0), lambda t: dist.LogNormal(t, 2.0)):  # fmt: skip
        for bounds in ((-np.inf, 2.0), (2.0, np.inf), (1.0, 2.0)):

            def mass(t, make=make, bounds=bounds):
                return log_mass(make(t), *bounds)

            step = 1e-5
            slope = (mass(0.75 + step) - mass(0.75 - step)) / (2 * step)
            assert float(jax.grad(mass)(0.75)) == pytest.approx(float(slope), rel=1e-7, abs=1e-9)


def test_what_has_no_masses_says_so():
    assert not has_masses(dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))
    assert not has_masses(dist.VonMises(0.0, 1.0))
