"""The twelve posteriors as programs, each an ordinary function of its data.

Law: the density of each, its labels summed out, is that of its `model.md` up to a constant, at every point of the same
support. Names of sites and of named values are those under which the reference reports them.

Flat priors are `ImproperUniform`: chains sample them as they stand, what starts from the prior refuses them. An ordered
pair is drawn from below: the smaller value by its law, the larger one by its law cut off at the smaller. The cut law
divides by the mass above the cut, and a factor puts it back; so the prior can be drawn from, and its density is the
product of the two laws on the ordered region.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.stats import norm

import lawful
from lawful.models import populations
from lawful.models.hierarchical import eight_schools_noncentered as eight_schools_noncentered

POSITIVE = dist.ImproperUniform(dist.constraints.positive, (), ())


def line(size: int) -> dist.Distribution:
    """Give the flat prior of a vector of real numbers."""
    return dist.ImproperUniform(dist.constraints.real_vector, (), (size,))


def ordered(low_law: dist.Distribution, mean: float, scale: float) -> jax.Array:
    """Draw the pair (mu_1, mu_2), mu_1 by a law, mu_2 by N(mean, scale) above it; record it as `mu`."""
    low = lawful.sample("low", low_law)
    lawful.factor("mass above", norm.logsf(low, mean, scale), role="prior")
    high = lawful.sample("high", dist.TruncatedNormal(mean, scale, low=low))
    mu: jax.Array = lawful.deterministic("mu", jnp.stack([low, high]))
    return mu


# ---- Time series


def autoregression(y: Any, order: int) -> None:
    """Autoregression given its first values (arK-arK).

    Args:
        y: (T,), the series.
        order: the number of lags, K.
    """
    alpha = lawful.sample("alpha", dist.Normal(0.0, 10.0))
    beta = lawful.sample("beta", dist.Normal(0.0, 10.0).expand([order]).to_event(1))
    sigma = lawful.sample("sigma", dist.HalfCauchy(2.5))
    past = jnp.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1)
    lawful.sample("y", dist.Normal(alpha + past @ beta, sigma).to_event(1), obs=y[order:])


def garch11(y: Any, sigma1: Any) -> None:
    """GARCH(1, 1): a variance that remembers the last square and the last variance (garch-garch11).

    The pair (alpha1, beta1) is flat on its triangle: a uniform law on (0, 1 - alpha1) has the density 1 / (1 - alpha1),
    which a factor takes back.
    """
    mu = lawful.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    alpha0 = lawful.sample("alpha0", POSITIVE)
    alpha1 = lawful.sample("alpha1", dist.Uniform(0.0, 1.0))
    beta1 = lawful.sample("beta1", dist.Uniform(0.0, 1.0 - alpha1))
    lawful.factor("flat on the triangle", jnp.log1p(-alpha1), role="prior")

    def step(variance: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        variance = alpha0 + alpha1 * (last - mu) ** 2 + beta1 * variance
        return variance, variance

    first = jnp.square(jnp.asarray(sigma1, jnp.result_type(float)))
    _, later = jax.lax.scan(step, first, y[:-1])
    scale = jnp.sqrt(jnp.concatenate([first[None], later]))
    lawful.sample("y", dist.Normal(mu, scale).to_event(1), obs=y)


def hmm_example(y: Any) -> None:
    """Two hidden states (hmm_example-hmm_example); either may come first, with weight one."""
    move = jnp.stack([lawful.sample(name, dist.Dirichlet(jnp.ones(2))) for name in ("theta1", "theta2")])
    mu = ordered(dist.TruncatedNormal(3.0, 1.0, low=0.0), 10.0, 1.0)

    def step(z: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
        lawful.sample("y", dist.Normal(mu[z], 1.0), obs=now)
        return lawful.sample("z", dist.Categorical(probs=move[z])), None

    first = lawful.sample("first", dist.Bernoulli(0.5))
    lawful.factor("weight one", jnp.log(2.0), role="prior")
    lawful.scan(step, first, y)


def lotka_volterra(ts: Any, y_init: Any, y: Any) -> None:
    """Hares and lynxes (hudson_lynx_hare-lotka_volterra), by 16 steps a year: log numbers are right to 1e-4."""
    populations.lotka_volterra(ts, y_init, y, steps=16)


# ---- Mixtures, processes


def gp_pois_regr(x: Any, k: Any) -> None:
    """Counts whose log rate is a Gaussian process (gp_pois_regr-gp_pois_regr); needs 64 bits for its jitter."""
    rho = lawful.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = lawful.sample("alpha", dist.HalfNormal(2.0))
    square = jnp.square((x[:, None] - x[None, :]) / rho)
    covariance = alpha**2 * jnp.exp(-0.5 * square) + 1e-10 * jnp.eye(len(x))
    z = lawful.sample("z", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1))
    f = lawful.deterministic("f", jnp.linalg.cholesky(covariance) @ z)
    lawful.sample("k", dist.Poisson(jnp.exp(f)).to_event(1), obs=k)


def low_dim_gauss_mix(y: Any) -> None:
    """Two normal components in order of their means (low_dim_gauss_mix-low_dim_gauss_mix)."""
    mu = ordered(dist.Normal(0.0, 2.0), 0.0, 2.0)
    sigma = lawful.sample("sigma", dist.HalfNormal(2.0).expand([2]).to_event(1))
    theta = lawful.sample("theta", dist.Beta(5.0, 5.0))
    with lawful.plate("points", len(y)):
        z = lawful.sample("z", dist.Bernoulli(1.0 - theta))
        lawful.sample("y", dist.Normal(mu[z], sigma[z]), obs=y)


# ---- Linear regressions


def regression(x: jax.Array, y: Any, sigma: jax.Array, beta: jax.Array) -> None:
    """Observe y ~ N(x beta, sigma) row by row."""
    lawful.sample("y", dist.Normal(x @ beta, sigma).to_event(1), obs=y)


def blr(X: Any, y: Any) -> None:
    """Regression on strongly correlated columns (sblrc-blr)."""
    beta = lawful.sample("beta", dist.Normal(0.0, 10.0).expand([X.shape[1]]).to_event(1))
    regression(X, y, lawful.sample("sigma", dist.HalfNormal(10.0)), beta)


def logearn_interaction(earn: Any, height: Any, male: Any) -> None:
    """Log earnings by height and sex (earnings-logearn_interaction): nearly collinear."""
    x = jnp.stack([jnp.ones(len(earn)), height, male, height * male], axis=1)
    beta = lawful.sample("beta", line(4))
    regression(x, jnp.log(earn), lawful.sample("sigma", POSITIVE), beta)


def kidscore_interaction(kid_score: Any, mom_hs: Any, mom_iq: Any) -> None:
    """Scores of children by school and intelligence of their mothers (kidiq-kidscore_interaction)."""
    x = jnp.stack([jnp.ones(len(kid_score)), mom_hs, mom_iq, mom_hs * mom_iq], axis=1)
    beta = lawful.sample("beta", line(4))
    regression(x, kid_score, lawful.sample("sigma", dist.HalfCauchy(2.5)), beta)


def logmesquite_logvash(weight: Any, diam1: Any, diam2: Any, canopy_height: Any, total_height: Any, group: Any) -> None:
    """Log weight of bushes by volume, area and shape of the canopy, and height (mesquite-logmesquite_logvash)."""
    area, shape = jnp.log(diam1 * diam2), jnp.log(diam1 / diam2)
    volume = area + jnp.log(canopy_height)
    x = jnp.stack([jnp.ones(len(weight)), volume, area, shape, jnp.log(total_height), group], axis=1)
    beta = lawful.sample("beta", line(6))
    regression(x, jnp.log(weight), lawful.sample("sigma", POSITIVE), beta)


def nes(partyid7: Any, real_ideo: Any, race_adj: Any, age_discrete: Any, educ1: Any, gender: Any, income: Any) -> None:
    """Party identification of voters (nes1980-nes); the first of four classes of age is the baseline."""
    ages = [jnp.asarray(age_discrete == a, jnp.result_type(float)) for a in (2, 3, 4)]
    x = jnp.stack([jnp.ones(len(partyid7)), real_ideo, race_adj, *ages, educ1, gender, income], axis=1)
    beta = lawful.sample("beta", line(9))
    regression(x, partyid7, lawful.sample("sigma", POSITIVE), beta)
