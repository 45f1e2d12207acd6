"""Wrong programs, one or more for each code of the linter; a line that ends in `# here` is the one it must name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from lawful import factor, handlers, plate, sample, scan

NORMAL = dist.Normal(0.0, 1.0)


def twice(y):
    sample("x", NORMAL)
    sample("x", NORMAL)  # here


def again(y):
    def effect():
        return sample("effect", NORMAL)  # here

    sample("y", dist.Normal(effect() + effect(), 1.0), obs=y)


def column(y):
    with plate("row", 3):
        sample("y", NORMAL, obs=y[:, None])  # here


def too_few(y):
    with plate("row", 3):
        sample("y", NORMAL, obs=y)  # here


def negative(y):
    sample("y", dist.Gamma(2.0, 1.0), obs=y)  # here


def halves(y):
    with plate("day", len(y)):
        sample("count", dist.Poisson(sample("rate", dist.Gamma(2.0, 1.0))), obs=y)  # here


def no_shares(y):
    sample("share", dist.Dirichlet(jnp.ones(3)), obs=y)  # here


def absent(y):
    scan(lambda x, y: (sample("x", dist.Normal(x, 1.0)), sample("y", NORMAL, obs=y)), 0.0, y)  # here


def gap_in_covariate(x):
    slope = sample("slope", NORMAL)
    with plate("row", 3):
        sample("y", dist.Normal(slope * x, 1.0), obs=np.zeros(3))  # here


def gap_in_weights(x):
    factor("pull", sample("x", NORMAL) * x)  # here


def scale_beside_gaps(y):
    sd = sample("sd", NORMAL)
    with plate("row", 3):
        sample("y", dist.Normal(0.0, sd), obs=y, obs_mask=~jnp.isnan(y))  # here


def flat(y):
    sample("y", dist.Normal(sample("x", NORMAL), y), obs=1.0)  # here


def signed(y):
    sample("y", dist.Normal(0.0, sample("sd", NORMAL)), obs=y)  # here


def probability(y):
    scan(lambda c, y: (c, sample("y", dist.Bernoulli(2 * sample("p", dist.Beta(1.0, 1.0))), obs=y)), 0.0, y)  # here


def matrix(y):
    rho = sample("rho", dist.Uniform(1.0, 2.0))
    sample("y", dist.MultivariateNormal(jnp.zeros(2), jnp.array([[1.0, 0.0], [0.0, -1.0]]) * rho), obs=y)  # here


def logarithm(y):
    factor("f", jnp.log(sample("x", NORMAL)))  # here


def infinite(y):
    factor("f", jnp.exp(800.0 + sample("x", dist.HalfNormal(1.0))))  # here


def impossible(y):
    x = sample("x", NORMAL)
    factor("f", jnp.where(x > 50, 0.0, -jnp.inf))  # here


def untaken(y):
    x = sample("x", NORMAL)
    mean = jnp.where(x > 0, jnp.sqrt(x), 0.0)
    sample("y", dist.Normal(mean, 1.0), obs=y)  # here


def idle(y):
    sample("idle", NORMAL)  # here
    sample("y", dist.Normal(sample("x", NORMAL), 1.0), obs=y)


def forgotten(y):
    sample("y", dist.Normal(sample("x", NORMAL), 1.0).expand([3]).to_event(1))  # here


def bare(y):
    x = sample("x", dist.Normal(jnp.zeros(3), 1.0))  # here
    sample("y", dist.Normal(x.sum(), 1.0), obs=y)


def lanes(y):
    x = jax.vmap(lambda scale: sample("x", dist.Normal(0.0, scale)))(jnp.array([1.0, 2.0]))  # here
    sample("y", dist.Normal(x.sum(), 1.0), obs=y)


def tangled(y):
    values = [jnp.zeros(())]
    for i in range(51):
        values.append(sample(f"x{i}", dist.Normal(0.1 * sum(values), 1.0)))  # here
    sample("y", dist.Normal(values[-1], 1.0), obs=y)


def stamps(y):
    with plate("row", 2):
        sample("y", dist.Normal(sample("x", dist.HalfNormal(10.0)), 1.0), obs=y)  # here


def certain(y):
    x = sample("x", NORMAL)
    sample("y", dist.Bernoulli(probs=jax.nn.sigmoid(17 + x)), obs=y)  # here


def rounded(y):
    sample("died", dist.Bernoulli(probs=y), obs=1)  # here


def counts(y):
    k = sample("k", dist.Poisson(3.0))  # here
    sample("y", dist.Normal(k, 1.0), obs=y)


def flipped(y):
    b = sample("b", dist.Bernoulli(0.5))  # here
    sample("y", dist.Normal(b, 1.0), obs=y)


def anywhere(y):
    mu = sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))  # here
    sample("y", dist.Normal(mu, 1.0), obs=y)


def smooth(y):
    mu = sample("mu", NORMAL)  # here
    sample("y", dist.Normal(mu, 1.0), obs=y)


def blocked(y):
    def noise():
        return sample("noise", NORMAL)  # here

    shift = handlers.block(handlers.seed(noise, jax.random.key(1)))()
    sample("y", dist.Normal(sample("x", NORMAL) + shift, 1.0), obs=y)


def seeded(y):
    def slope():
        return sample("slope", NORMAL)  # here

    sample("y", dist.Normal(handlers.seed(slope, jax.random.key(1))() + sample("x", NORMAL), 1.0), obs=y)


def by_hand(y):
    noise = jax.random.normal(jax.random.key(0))  # here
    sample("y", dist.Normal(sample("x", NORMAL) + noise, 1.0), obs=y)


def by_a_gamma(y):
    rate = jax.random.gamma(jax.random.key(0), 2.0)  # here
    sample("y", dist.Normal(sample("x", NORMAL), rate), obs=y)


def foreign(y):
    def noise():
        return numpyro.sample("noise", NORMAL)  # here

    shift = numpyro.handlers.seed(noise, 0)()
    sample("y", dist.Normal(sample("x", NORMAL) + shift, 1.0), obs=y)


@dataclass(frozen=True)
class Wrong:
    """A wrong program: its data, and the code and the site that the linter must report."""

    program: Callable[..., Any]
    y: Any
    code: str
    site: str
    algorithm: str | None = None
    x64: bool = True


THREE = np.zeros(3)
GALLERY = (
    Wrong(twice, 0.0, "name-clash", "x"),
    Wrong(again, 0.0, "name-clash", "effect"),
    Wrong(column, THREE, "observed-shape", "y"),
    Wrong(too_few, np.zeros(2), "observed-shape", "y"),
    Wrong(too_few, 0.0, "observed-shape", "y"),
    Wrong(negative, -1.0, "outside-support", "y"),
    Wrong(halves, np.array([1.0, 2.5]), "outside-support", "count"),
    Wrong(no_shares, np.array([0.5, 0.6, 0.1]), "outside-support", "share"),
    Wrong(negative, np.nan, "nan-data", "y"),
    Wrong(absent, np.array([0.1, np.nan]), "nan-data", "y"),
    Wrong(gap_in_covariate, np.array([1.0, np.nan, 2.0]), "nan-data", "y"),
    Wrong(gap_in_weights, np.nan, "nan-data", "pull"),
    Wrong(scale_beside_gaps, np.array([1.0, np.nan, 2.0]), "invalid-parameter", "y"),
    Wrong(flat, 0.0, "invalid-parameter", "y"),
    Wrong(signed, 0.5, "invalid-parameter", "y"),
    Wrong(probability, np.array([0, 1]), "invalid-parameter", "y"),
    Wrong(matrix, np.zeros(2), "invalid-parameter", "y"),
    Wrong(logarithm, 0.0, "nonfinite-start", "f"),
    Wrong(infinite, 0.0, "nonfinite-start", "f"),
    Wrong(impossible, 0.0, "nonfinite-start", "f"),
    Wrong(untaken, 0.0, "nonfinite-start", "y"),
    Wrong(idle, 0.0, "unused-latent", "idle"),
    Wrong(forgotten, THREE, "unread-argument", "y"),
    Wrong(bare, 0.0, "missing-plate", "x"),
    Wrong(lanes, 0.0, "missing-plate", "x"),
    Wrong(tangled, 0.0, "unrolled-loop", "x0"),
    Wrong(stamps, np.array([1.7e9, 1.7e9 + 1]), "float32-hazard", "y", x64=False),
    Wrong(certain, 1, "float32-hazard", "y", x64=False),
    Wrong(rounded, 1 - 1e-9, "float32-hazard", "died", x64=False),
    Wrong(counts, 1.0, "discrete-no-plan", "k", algorithm="enumerate"),
    Wrong(flipped, 1.0, "discrete-no-plan", "b", algorithm="nuts"),
    Wrong(anywhere, 1.0, "unsupported-site", "mu", algorithm="smc"),
    Wrong(smooth, 1.0, "unsupported-site", "mu", algorithm="gibbs"),
    Wrong(blocked, 0.0, "blocked-site", "noise"),
    Wrong(seeded, 0.0, "blocked-site", "slope"),
    Wrong(by_hand, 0.0, "unseeded", ""),
    Wrong(by_a_gamma, 0.0, "unseeded", ""),
    Wrong(foreign, 0.0, "unseeded", ""),
)
