"""NumPyro on W3b: `DiscreteHMCGibbs` around NUTS, as its documentation writes it.

The chains run side by side by `chain_method=jax.vmap`, which these kernels need. The means start where those of the
others do; their labels are drawn from the prior, since the kernel takes no start for discrete sites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS, DiscreteHMCGibbs, init_to_value

from benchmarks.contestants.chains import ChainRun, told_in_order
from benchmarks.workloads import LABELLED, MIXTURE_PRIOR, MIXTURE_START, MIXTURE_WEIGHT, mixture

PACKAGES = ("numpyro", "jax", "jaxlib", "arviz-stats")
DTYPE = "float32"


def model(y: jax.Array) -> None:
    """The mixture of W3b."""
    mean = numpyro.sample("mean", dist.Normal(jnp.asarray(MIXTURE_PRIOR), 1.0).to_event(1))
    with numpyro.plate("item", LABELLED):
        z = numpyro.sample("label", dist.Categorical(jnp.asarray(MIXTURE_WEIGHT)))
        numpyro.sample("y", dist.Normal(mean[z], 1.0), obs=y)


def sampler(settings: dict[str, Any]) -> MCMC:
    """The sampler for one variant."""
    start = init_to_value(values={"mean": jnp.asarray(MIXTURE_START)})
    return MCMC(
        DiscreteHMCGibbs(NUTS(model, init_strategy=start), modified=True),
        num_warmup=settings["warmup_sweeps"],
        num_samples=settings["sweeps"],
        num_chains=settings["chains"],
        chain_method=jax.vmap,
        progress_bar=False,
    )


def chain_run(function: Callable[..., Any]) -> ChainRun:
    """A run of the data of W3b."""
    return ChainRun(function, (jnp.asarray(mixture(), DTYPE),), told_in_order)


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant."""
    mcmc = sampler(settings)

    def run(key: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        mcmc.run(key, y)
        found = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
        return found["mean"], found["label"]

    return chain_run(run)
