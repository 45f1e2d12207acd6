"""The twelve posteriors as NumPyro models, as its users write them.

Law: each has the density of its `model.md`; names are those of the reference. Labels and states are summed out by hand,
and the equation of prey and predators is solved by the Runge-Kutta method with 16 equal steps a year, as in the program
that it stands beside: an order of magnitude faster than the adaptive solver of NumPyro's own example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.distributions import constraints

STEPS = 16  # a year
type Data = Mapping[str, Any]


def _flat(name: str, constraint: Any, shape: tuple[int, ...] = ()) -> jax.Array:
    return numpyro.sample(name, dist.ImproperUniform(constraint, (), shape))


def autoregression(data: Data) -> None:
    """Autoregression given its first values."""
    y, order = data["y"], data["K"]
    alpha = numpyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([order]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    past = jnp.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1)
    numpyro.sample("y", dist.Normal(alpha + past @ beta, sigma), obs=y[order:])


def garch11(data: Data) -> None:
    """GARCH(1, 1); the triangle is a uniform law on what alpha1 leaves, times its length."""
    y, first = data["y"], jnp.asarray(data["sigma1"] ** 2)
    mu, alpha0 = _flat("mu", constraints.real), _flat("alpha0", constraints.positive)
    alpha1 = numpyro.sample("alpha1", dist.Uniform(0.0, 1.0))
    beta1 = numpyro.sample("beta1", dist.Uniform(0.0, 1.0 - alpha1))
    numpyro.factor("triangle", jnp.log1p(-alpha1))

    def step(variance: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        variance = alpha0 + alpha1 * (last - mu) ** 2 + beta1 * variance
        return variance, variance

    later = jax.lax.scan(step, first, y[:-1])[1]
    numpyro.sample("y", dist.Normal(mu, jnp.sqrt(jnp.concatenate([first[None], later]))), obs=y)


def hmm_example(data: Data) -> None:
    """Two hidden states, summed out by the forward algorithm."""
    move = jnp.log(jnp.stack([numpyro.sample(name, dist.Dirichlet(jnp.ones(2))) for name in ("theta1", "theta2")]))
    mu = _flat("mu", constraints.positive_ordered_vector, (2,))
    numpyro.factor("prior", dist.Normal(jnp.array([3.0, 10.0]), 1.0).log_prob(mu).sum())
    emitted = dist.Normal(mu, 1.0).log_prob(data["y"][:, None])

    def step(last: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
        return logsumexp(last[:, None] + move, axis=0) + now, None

    numpyro.factor("y", logsumexp(jax.lax.scan(step, emitted[0], emitted[1:])[0]))


def lotka_volterra(data: Data) -> None:
    """Hares and lynxes."""
    centre, spread = jnp.array([1.0, 0.05, 1.0, 0.05]), jnp.array([0.5, 0.05, 0.5, 0.05])
    theta = numpyro.sample("theta", dist.TruncatedNormal(centre, spread, low=0.0))
    sigma = numpyro.sample("sigma", dist.LogNormal(-1.0, 1.0).expand([2]))
    start = numpyro.sample("z_init", dist.LogNormal(jnp.log(10.0), 1.0).expand([2]))
    numpyro.sample("y_init", dist.LogNormal(jnp.log(start), sigma), obs=data["y_init"])

    def slope(logs: jax.Array) -> jax.Array:
        return jnp.stack([theta[0] - theta[1] * jnp.exp(logs[1]), -theta[2] + theta[3] * jnp.exp(logs[0])])

    def step(logs: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        k1 = slope(logs)
        k2 = slope(logs + h / 2 * k1)
        k3 = slope(logs + h / 2 * k2)
        k4 = slope(logs + h * k3)
        logs = logs + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return logs, logs

    years = jnp.diff(data["ts"], prepend=0.0)
    path = jax.lax.scan(step, jnp.log(start), jnp.repeat(years / STEPS, STEPS))[1]
    numpyro.sample("y", dist.LogNormal(path[STEPS - 1 :: STEPS], sigma), obs=data["y"])


def eight_schools(data: Data) -> None:
    """Eight schools, non-centred."""
    mu, tau = numpyro.sample("mu", dist.Normal(0.0, 5.0)), numpyro.sample("tau", dist.HalfCauchy(5.0))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([8]))
    theta = numpyro.deterministic("theta", mu + tau * z)
    numpyro.sample("y", dist.Normal(theta, data["sigma"]), obs=data["y"])


def gp_pois_regr(data: Data) -> None:
    """Counts whose log rate is a Gaussian process."""
    x = data["x"]
    rho, alpha = numpyro.sample("rho", dist.Gamma(25.0, 4.0)), numpyro.sample("alpha", dist.HalfNormal(2.0))
    square = (x[:, None] - x[None, :]) ** 2
    covariance = alpha**2 * jnp.exp(-0.5 * square / rho**2) + 1e-10 * jnp.eye(len(x))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([len(x)]))
    f = numpyro.deterministic("f", jnp.linalg.cholesky(covariance) @ z)
    numpyro.sample("k", dist.Poisson(jnp.exp(f)), obs=data["k"])


def low_dim_gauss_mix(data: Data) -> None:
    """Two normal components in order of their means."""
    mu = _flat("mu", constraints.ordered_vector, (2,))
    numpyro.factor("prior", dist.Normal(0.0, 2.0).log_prob(mu).sum())
    sigma = numpyro.sample("sigma", dist.HalfNormal(2.0).expand([2]))
    theta = numpyro.sample("theta", dist.Beta(5.0, 5.0))
    weights = dist.Categorical(probs=jnp.stack([theta, 1.0 - theta]))
    numpyro.sample("y", dist.MixtureSameFamily(weights, dist.Normal(mu, sigma)), obs=data["y"])


def blr(data: Data) -> None:
    """Regression on strongly correlated columns."""
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([data["X"].shape[1]]))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10.0))
    numpyro.sample("y", dist.Normal(data["X"] @ beta, sigma), obs=data["y"])


def _regression(x: list[Any], y: jax.Array, sigma: jax.Array | None = None) -> None:
    beta = _flat("beta", constraints.real_vector, (len(x) + 1,))
    sigma = _flat("sigma", constraints.positive) if sigma is None else sigma
    columns = jnp.stack([jnp.ones(len(y)), *x], axis=1)
    numpyro.sample("observed", dist.Normal(columns @ beta, sigma), obs=y)


def logearn_interaction(data: Data) -> None:
    """Log earnings by height and sex."""
    height, male = data["height"], data["male"]
    _regression([height, male, height * male], jnp.log(data["earn"]))


def kidscore_interaction(data: Data) -> None:
    """Scores of children by school and intelligence of their mothers."""
    hs, iq = data["mom_hs"], data["mom_iq"]
    _regression([hs, iq, hs * iq], data["kid_score"], numpyro.sample("sigma", dist.HalfCauchy(2.5)))


def logmesquite_logvash(data: Data) -> None:
    """Log weight of bushes by volume, area and shape of the canopy, and height."""
    area, shape = jnp.log(data["diam1"] * data["diam2"]), jnp.log(data["diam1"] / data["diam2"])
    volume, height = area + jnp.log(data["canopy_height"]), jnp.log(data["total_height"])
    _regression([volume, area, shape, height, data["group"]], jnp.log(data["weight"]))


def nes(data: Data) -> None:
    """Party identification of voters."""
    ages = [jnp.asarray(data["age_discrete"] == a, float) for a in (2, 3, 4)]
    named = [data[name] for name in ("educ1", "gender", "income")]
    _regression([data["real_ideo"], data["race_adj"], *ages, *named], data["partyid7"])


MODELS: Mapping[str, Callable[[Data], None]] = {
    "arK-arK": autoregression,
    "earnings-logearn_interaction": logearn_interaction,
    "eight_schools-eight_schools_noncentered": eight_schools,
    "garch-garch11": garch11,
    "gp_pois_regr-gp_pois_regr": gp_pois_regr,
    "hmm_example-hmm_example": hmm_example,
    "hudson_lynx_hare-lotka_volterra": lotka_volterra,
    "kidiq-kidscore_interaction": kidscore_interaction,
    "low_dim_gauss_mix-low_dim_gauss_mix": low_dim_gauss_mix,
    "mesquite-logmesquite_logvash": logmesquite_logvash,
    "nes1980-nes": nes,
    "sblrc-blr": blr,
}
