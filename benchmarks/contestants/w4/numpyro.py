"""NumPyro on W4: `MCMC` around `NUTS` as its documentation writes it; each run compiles anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from benchmarks.contestants.chains import ChainRun
from benchmarks.workloads import PREDICTORS, ROWS, regression, schools

PACKAGES = ("numpyro", "jax", "jaxlib", "arviz-stats")
DTYPE = "float32"


def logistic(covariates: jax.Array, labels: jax.Array) -> None:
    """Logistic regression of W2."""
    coefficients = numpyro.sample("coefficients", dist.Normal(jnp.zeros(PREDICTORS), 1.0).to_event(1))
    with numpyro.plate("row", ROWS):
        numpyro.sample("label", dist.Bernoulli(logits=covariates @ coefficients), obs=labels)


def eight_schools(observed: jax.Array, scales: jax.Array) -> None:
    """Eight schools, non-centred."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", 8):
        t = numpyro.sample("t", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * t, scales), obs=observed)


def sampler(settings: dict[str, Any]) -> MCMC:
    """The sampler for one variant."""
    model = logistic if settings["model"] == "logistic" else eight_schools
    return MCMC(
        NUTS(model),
        num_warmup=settings["warmup"],
        num_samples=settings["draws"],
        num_chains=settings["chains"],
        chain_method="vectorized",
        progress_bar=False,
    )


def columns(draws: dict[str, jax.Array], settings: dict[str, Any]) -> jax.Array:
    """Draws (chain, draw, coordinate)."""
    if settings["model"] == "logistic":
        return draws["coefficients"]
    return jnp.concatenate([draws["mu"][..., None], jnp.log(draws["tau"])[..., None], draws["t"]], axis=-1)


def chain_run(function: Callable[..., Any], settings: dict[str, Any]) -> ChainRun:
    """A run of the data of a variant."""
    if settings["model"] == "logistic":
        covariates, labels = regression()
        return ChainRun(function, (jnp.asarray(covariates, DTYPE), jnp.asarray(labels)))
    return ChainRun(function, tuple(jnp.asarray(x, DTYPE) for x in schools()))


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    mcmc = sampler(settings)

    def run(key: jax.Array, *data: jax.Array) -> jax.Array:
        mcmc.run(key, *data)
        return jax.block_until_ready(columns(mcmc.get_samples(group_by_chain=True), settings))

    return chain_run(run, settings)
