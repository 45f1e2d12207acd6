"""The families of distributions that programs use here: a value inside the support of each, and values outside."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

HALVES = jnp.array([0.5, 0.25, 0.25])
EYE = jnp.eye(2)


@dataclass(frozen=True)
class Family:
    make: Any  # a function, since float64 must be on before the parameters are made
    inside: Any
    outside: tuple[Any, ...] = ()
    discrete: bool = False


FAMILIES = {
    "Bernoulli": Family(lambda: dist.Bernoulli(0.3), 1, (-1, 2), True),
    "Beta": Family(lambda: dist.Beta(2.0, 3.0), 0.4, (-0.1, 1.1)),
    "BetaBinomial": Family(lambda: dist.BetaBinomial(2.0, 3.0, 4), 3, (-1, 5), True),
    "Binomial": Family(lambda: dist.Binomial(4, 0.3), 3, (-1, 5), True),
    "Categorical": Family(lambda: dist.Categorical(probs=HALVES), 2, (-1, 3), True),
    "Cauchy": Family(lambda: dist.Cauchy(0.0, 2.0), -3.0),
    "Chi2": Family(lambda: dist.Chi2(3.0), 2.0, (-1.0,)),
    "Dirichlet": Family(lambda: dist.Dirichlet(jnp.array([2.0, 3.0, 1.5])), HALVES, (HALVES * 2, HALVES - 0.5)),
    "DirichletMultinomial": Family(
        lambda: dist.DirichletMultinomial(jnp.array([2.0, 3.0]), 4), jnp.array([1, 3]), (jnp.array([1, 2]),), True
    ),
    "DiscreteUniform": Family(lambda: dist.DiscreteUniform(2, 5), 3, (1, 6), True),
    "Exponential": Family(lambda: dist.Exponential(2.0), 0.5, (-0.5,)),
    "Gamma": Family(lambda: dist.Gamma(2.0, 3.0), 0.5, (-0.5,)),
    "GammaPoisson": Family(lambda: dist.GammaPoisson(2.0, 3.0), 2, (-1,), True),
    "Geometric": Family(lambda: dist.Geometric(0.3), 2, (-1,), True),
    "Gumbel": Family(lambda: dist.Gumbel(0.0, 2.0), -1.0),
    "HalfCauchy": Family(lambda: dist.HalfCauchy(2.0), 0.5, (-0.5,)),
    "HalfNormal": Family(lambda: dist.HalfNormal(2.0), 0.5, (-0.5,)),
    "InverseGamma": Family(lambda: dist.InverseGamma(2.0, 3.0), 0.5, (-0.5,)),
    "Kumaraswamy": Family(lambda: dist.Kumaraswamy(2.0, 3.0), 0.5, (-0.5, 1.5)),
    "LKJCholesky": Family(lambda: dist.LKJCholesky(2, 1.5), jnp.array([[1.0, 0.0], [0.6, 0.8]]), (2 * EYE,)),
    "Laplace": Family(lambda: dist.Laplace(0.0, 2.0), -1.0),
    "LogNormal": Family(lambda: dist.LogNormal(0.0, 2.0), 0.5, (-0.5,)),
    "LogUniform": Family(lambda: dist.LogUniform(1.0, 2.0), 1.5, (0.5, 2.5)),
    "Logistic": Family(lambda: dist.Logistic(0.0, 2.0), -1.0),
    "MixtureSameFamily": Family(
        lambda: dist.MixtureSameFamily(dist.Categorical(probs=HALVES), dist.Gamma(jnp.arange(1.0, 4.0), 2.0)),
        0.5,
        (-0.5,),
    ),
    "Multinomial": Family(lambda: dist.Multinomial(4, HALVES), jnp.array([1, 1, 2]), (jnp.array([1, 1, 1]),), True),
    "MultivariateNormal": Family(lambda: dist.MultivariateNormal(jnp.zeros(2), EYE + 0.5), jnp.array([0.1, 0.2])),
    "NegativeBinomial2": Family(lambda: dist.NegativeBinomial2(2.0, 3.0), 2, (-1,), True),
    "Normal": Family(lambda: dist.Normal(0.0, 2.0), 0.5),
    "OrderedLogistic": Family(lambda: dist.OrderedLogistic(0.3, jnp.array([0.0, 1.0])), 2, (-1, 3), True),
    "Pareto": Family(lambda: dist.Pareto(1.0, 2.0), 1.5, (0.5,)),
    "Poisson": Family(lambda: dist.Poisson(2.0), 3, (-1,), True),
    "StudentT": Family(lambda: dist.StudentT(3.0, 0.0, 2.0), 0.5),
    "TruncatedNormal": Family(lambda: dist.TruncatedNormal(0.0, 2.0, low=-1.0, high=1.0), 0.5, (-1.5, 1.5)),
    "TruncatedNormal from below": Family(lambda: dist.TruncatedNormal(0.0, 2.0, low=0.0), 0.5, (-0.5,)),
    "Uniform": Family(lambda: dist.Uniform(0.0, 2.0), 0.5, (-0.5, 2.5)),
    "VonMises": Family(lambda: dist.VonMises(0.0, 2.0), 0.5, (-4.0, 4.0)),
    "Weibull": Family(lambda: dist.Weibull(2.0, 3.0), 0.5, (-0.5,)),
    "Wishart": Family(lambda: dist.Wishart(3.0, EYE), EYE + 0.2, (-EYE,)),
    "ZeroInflatedPoisson": Family(lambda: dist.ZeroInflatedPoisson(0.3, 2.0), 2, (-1,), True),
}
