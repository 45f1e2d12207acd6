"""Samplers by name, as functions from a posterior to draws: what the table of references is made with.

Law: each targets the posterior of the program as it stands. Chains start at maxima of the density, since a flat prior
has no draws; a particle method draws from the prior, so it is for proper ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

import lawful
from lawful import handlers, inference

from . import Posterior
from .starts import starts

type Draws = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is run: chains of warm-up and draws, or independent runs of particles."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 5000
    runs: int = 32
    particles: int = 16_000


@dataclass(frozen=True)
class Sampler:
    """A sampler: whether it starts at draws from the prior, and whether its chains are independent runs."""

    run: Callable[[Posterior, tuple[Any, ...], jax.Array, Size], Draws]
    from_prior: bool = False
    independent: bool = False


def nuts(posterior: Posterior, args: tuple[Any, ...], key: jax.Array, size: Size) -> Draws:
    """Run the library's no-U-turn sampler."""
    density = lawful.density(posterior.program, *args)
    first, second = jax.random.split(key)
    init = jax.vmap(density.constrain)(starts(density, first, size.chains))
    plan = inference.mcmc(
        posterior.program,
        inference.kernels.nuts(inverse_mass="dense", target_acceptance=0.95),
        chains=size.chains,
        warmup=size.warmup,
        draws=size.draws,
        init=init,
    )
    return dict(plan(second, *args).posterior)


def numpyro(posterior: Posterior, args: tuple[Any, ...], key: jax.Array, size: Size) -> Draws:
    """Run NumPyro's no-U-turn sampler on the exported density: a check of the program without our kernels."""
    from numpyro.infer import MCMC, NUTS

    density = lawful.density(posterior.program, *args)
    first, second = jax.random.split(key)
    kernel = NUTS(potential_fn=lambda position: -density.logp(position), dense_mass=True, target_accept_prob=0.95)
    chain = MCMC(
        kernel,
        num_warmup=size.warmup,
        num_samples=size.draws,
        num_chains=size.chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    chain.run(second, init_params=starts(density, first, size.chains))
    return _values(posterior, density, chain.get_samples(group_by_chain=True))


def tempered(posterior: Posterior, args: tuple[Any, ...], key: jax.Array, size: Size) -> Draws:
    """Run tempered SMC from the prior, many independent runs."""
    plan = inference.tempered_smc(posterior.program, particles=size.particles, runs=size.runs)
    return dict(plan(key, *args).posterior)


SAMPLERS: Mapping[str, Sampler] = {
    "nuts": Sampler(nuts),
    "numpyro": Sampler(numpyro),
    "tempered": Sampler(tempered, from_prior=True, independent=True),
}


def _values(posterior: Posterior, density: lawful.Density, positions: Draws) -> Draws:
    """Give the values of the sites at positions (chains, draws, ...), and what the program names besides."""

    def named(position: Draws) -> dict[str, Any]:
        choices = density.constrain(position)
        record = handlers.trace(handlers.substitute(posterior.program, choices))(*density.args)
        return choices | {str(address[-1]): value for address, value in record.deterministics.items()}

    return dict(jax.jit(jax.vmap(jax.vmap(named)))(positions))
