"""Log tails: log P(Y <= x) and log P(Y > x) of families of one number, each right where the other rounds to one.

Law: exp of the two sums to one. Either keeps its relative accuracy down to where its logarithm is in the thousands,
and has finite gradients in the parameters, at every x inside the support.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import betainc, erf, gammainc, gammaincc, gammaln, log_ndtr

TERMS = 64  # of the series and of the continued fraction, used where a mass is below the numbers of its type

type Tails = tuple[jax.Array, jax.Array]


def log1mexp(x: jax.Array) -> jax.Array:
    """Compute log(1 - exp(-x)) of x > 0.

    >>> round(float(log1mexp(jnp.array(1e-3))), 4)
    -6.9083
    """
    small = x < np.log(2.0)
    near, far = jnp.where(small, x, 1.0), jnp.where(small, 1.0, x)
    return jnp.where(small, jnp.log(-jnp.expm1(-near)), jnp.log1p(-jnp.exp(-far)))


def _log(mass: jax.Array) -> jax.Array:
    """Take the logarithm of a mass, which may be too small for its type: then there is no gradient."""
    return jnp.where(mass > 0, jnp.log(jnp.where(mass > 0, mass, 1.0)), -jnp.inf)


def _of_distance(tails: Callable[[jax.Array], Tails]) -> Callable[[Any, jax.Array], Tails]:
    """Give the tails of a family by the distance from its location, if it has one, in units of its scale."""
    return lambda law, x: tails((x - law.loc if hasattr(law, "loc") else x) / law.scale)


def _of_hazard(hazard: Callable[[Any, jax.Array], jax.Array]) -> Callable[[Any, jax.Array], Tails]:
    """Give the tails of a family by -log P(Y > x)."""

    def tails(law: Any, x: jax.Array) -> Tails:
        summed = hazard(law, x)
        return log1mexp(summed), -summed

    return tails


def _two_sided(z: jax.Array, far: jax.Array) -> Tails:
    """Give the tails of a family that is symmetric by the log of the smaller one."""
    near = jnp.log1p(-jnp.exp(far))
    return jnp.where(z < 0, far, near), jnp.where(z < 0, near, far)


def _gumbel(z: jax.Array) -> Tails:
    hazard, far = jnp.exp(-z), z > 40.0
    return -hazard, jnp.where(far, -z, log1mexp(jnp.where(far, 1.0, hazard)))  # log h - h/2 of a small hazard h


def _geometric(law: Any, x: jax.Array) -> jax.Array:
    fail = jnp.log1p(-law.probs) if isinstance(law, dist.GeometricProbs) else -jax.nn.softplus(law.logits)
    return -(x + 1.0) * fail


normal = _of_distance(lambda z: (log_ndtr(z), log_ndtr(-z)))
half_normal = _of_distance(lambda z: (jnp.log(erf(z / np.sqrt(2.0))), np.log(2.0) + log_ndtr(-z)))
logistic = _of_distance(lambda z: (-jax.nn.softplus(-z), -jax.nn.softplus(z)))
laplace = _of_distance(lambda z: _two_sided(z, -jnp.abs(z) - np.log(2.0)))
gumbel = _of_distance(_gumbel)
cauchy = _of_distance(lambda z: (jnp.log(jnp.arctan2(1.0, -z) / np.pi), jnp.log(jnp.arctan2(1.0, z) / np.pi)))
half_cauchy = _of_distance(lambda z: (jnp.log(2.0 * jnp.arctan(z) / np.pi), jnp.log(2.0 * jnp.arctan2(1.0, z) / np.pi)))
exponential = _of_hazard(lambda law, x: law.rate * x)
weibull = _of_hazard(lambda law, x: (x / law.scale) ** law.concentration)
geometric = _of_hazard(_geometric)


def student(law: Any, x: jax.Array) -> Tails:
    """Student's t."""
    z = (x - law.loc) / law.scale
    return _two_sided(z, _log(0.5 * betainc(0.5 * law.df, 0.5, law.df / (law.df + z * z))))


def gamma(law: Any, x: jax.Array) -> Tails:
    """Gamma, and the chi-squared law."""
    return _incomplete_gamma(law.concentration, law.rate * x)


def uniform(law: Any, x: jax.Array) -> Tails:
    """Uniform."""
    width = law.high - law.low
    return jnp.log((x - law.low) / width), jnp.log((law.high - x) / width)


def beta(law: Any, x: jax.Array) -> Tails:
    """Beta."""
    a, b = law.concentration1, law.concentration0
    return _log(betainc(a, b, x)), _log(betainc(b, a, 1.0 - x))


def poisson(law: Any, x: jax.Array) -> Tails:
    """Poisson."""
    lower, upper = _incomplete_gamma(x + 1.0, jnp.asarray(law.rate))
    return upper, lower


def gamma_poisson(law: Any, x: jax.Array) -> Tails:
    """Gamma mixture of Poisson laws, also by its mean."""
    more = law.rate / (law.rate + 1.0)
    less = 1.0 / (law.rate + 1.0)
    return _log(betainc(law.concentration, x + 1.0, more)), _log(betainc(x + 1.0, law.concentration, less))


def binomial(law: Any, x: jax.Array) -> Tails:
    """Binomial, by probabilities or log odds."""
    left, logits = law.total_count - x, law.logits if isinstance(law, dist.BinomialLogits) else None
    yes = law.probs if logits is None else jax.nn.sigmoid(logits)
    no = 1.0 - yes if logits is None else jax.nn.sigmoid(-logits)
    return _log(betainc(left, x + 1.0, no)), _log(betainc(x + 1.0, left, yes))


def _incomplete_gamma(a: Any, x: jax.Array) -> Tails:
    """Log of the regularised incomplete gamma functions, lower and upper."""
    a, x = jnp.broadcast_arrays(jnp.asarray(a, jnp.result_type(float)), x)
    least = 1e10 * jnp.finfo(x.dtype).tiny
    found = []
    for direct, tail, away in ((gammainc, _log_lower, a / 2), (gammaincc, _log_upper, a + 2.0)):
        whole = direct(a, x)
        lost = whole < least
        rest = tail(a, jnp.where(lost, x, away))
        found.append(jnp.where(lost, rest, jnp.log(jnp.where(lost, 1.0, whole))))
    return found[0], found[1]


def _log_lower(a: jax.Array, x: jax.Array) -> jax.Array:
    """By the series of powers of x, for x far below a."""
    term = total = jnp.ones_like(x)
    for n in range(1, TERMS):
        term = term * x / (a + n)
        total = total + term
    return a * jnp.log(x) - x - gammaln(a + 1.0) + jnp.log(total)


def _log_upper(a: jax.Array, x: jax.Array) -> jax.Array:
    """By Legendre's continued fraction, for x far above a."""
    fraction = x + (2 * TERMS + 1) - a
    for n in range(TERMS, 0, -1):
        fraction = x + (2 * n - 1) - a - n * (n - a) / fraction
    return a * jnp.log(x) - x - gammaln(a) - jnp.log(fraction)
