"""Particle MCMC: chains whose moves run a particle filter, as compositions of kernels.

Law: both keep the posterior for any number of particles. `pmmh` moves parameters by their estimated likelihood;
`particle_gibbs` moves a sequence by conditional SMC, then the parameters given the sequence.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jax.sharding import Mesh

from lawful.errors import LawfulError

from ..kernels.combine.compose import cycle
from ..kernels.combine.mh import as_kernel
from ..kernels.combine.on import on
from ..kernels.combine.refresh import refresh
from ..kernels.particles.particle_gibbs import particle_gibbs as conditional_smc
from ..kernels.particles.pseudo_marginal import pseudo_marginal
from ..running.faults import OnFault
from ..running.options import RunOptions, not_in_chunks
from ..transformers.nested import Nest
from .mcmc import mcmc


def pmmh(
    model: Any,
    proposal: Any = None,
    sites: Sequence[Any] | None = None,
    *,
    particles: int,
    resampling: str | Any = "systematic",
    resample_below: float | None = 0.5,
    correlation: float = 0.0,
    keep: str = "paths",
    chains: int = 4,
    warmup: int = 500,
    draws: int = 1000,
    thin: int = 1,
    init: Any = None,
    on_fault: OnFault = "raise",
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> Any:
    """Build particle marginal Metropolis-Hastings; without a proposal, particle independent Metropolis-Hastings.

    Args:
        model: a program with a sequence, as for `smc`.
        proposal: how the parameters are proposed, as `kernels.random_walk(0.1)`.
        sites: names of the parameters; all other sites are drawn by the filter.
        particles: number of particles of each filter.
        resampling: a scheme, as for `smc`.
        resample_below: resample when the effective sample size is below this fraction; None: at every step.
        correlation: of the random numbers of two estimates that follow each other, below 1; more than 0 is the
            correlated pseudo-marginal method (Deligiannidis, Doucet and Pitt 2018). Every move then resamples at
            every step, in the order of the first site's values; the numbers are part of a chain's state, of length
            particles x numbers drawn in a run.
        keep: "paths": a draw is parameters and a path; "parameters": parameters alone, in less time and with
            memory that does not grow with the length of the sequence (see `kernels.pseudo_marginal`).
        chains: number of chains, run side by side; other settings as for `mcmc`.
        warmup: steps before the first draw.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start of the parameters by name; default: prior draws.
        on_fault: as for `mcmc`.
        run: as for `mcmc`.
        progress: a bar, as for `mcmc`.
        mesh: the devices that share the chains, as for `mcmc`.

    Returns: a plan; `plan(key, *args)` gives a `Result`, whose `lp` is the log of the parameters' density x estimate.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def walk(y):
    ...     sigma = lawful.sample("sigma", dist.LogNormal(0.0, 1.0))
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, sigma))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     lawful.scan(step, 0.0, y)
    >>> plan = pmmh(walk, kernels.random_walk(0.5), ["sigma"], particles=20, chains=2, warmup=5, draws=10)
    >>> plan(jax.random.key(0), jnp.array([0.5, 1.0, 0.2])).posterior["x"].shape
    (2, 10, 3)
    """
    not_in_chunks("pmmh", run, mesh)
    kernel: Any = pseudo_marginal(
        proposal, sites, particles=particles, resampling=resampling, resample_below=resample_below, keep=keep
    )
    if correlation:
        if keep != "paths":
            raise LawfulError(
                f"pmmh: with a correlation a chain keeps all numbers that its filter draws, so keep={keep!r} saves "
                "nothing. Fix: leave keep out."
            )
        if not kernel.sites:
            raise LawfulError("pmmh: a correlation needs parameters. Fix: name a proposal and its sites.")
        model = Nest(model, kernel.sites, replace(kernel.estimate, when=None), "pmmh", normals=True)
        kernel = refresh(kernel.proposal, kernel.sites, correlation=correlation)
    plan: Any = mcmc(
        model, kernel, chains=chains, warmup=warmup, draws=draws, thin=thin, init=init, on_fault=on_fault, run=run,
        progress=progress, mesh=mesh,
    )  # fmt: skip
    plan.recipe = "pmmh", {
        "proposal": proposal, "sites": None if sites is None else list(sites), "particles": particles,
        "resampling": resampling, "resample_below": resample_below, "correlation": correlation, "keep": keep,
        "chains": chains, "warmup": warmup, "draws": draws, "thin": thin, "on_fault": on_fault,
    }  # fmt: skip
    return plan


def particle_gibbs(
    model: Any,
    states: Any,
    kernel: Any = None,
    *,
    particles: int,
    ancestors: Any = "sampled",
    chains: int = 4,
    warmup: int = 500,
    draws: int = 1000,
    thin: int = 1,
    init: Any = None,
    on_fault: OnFault = "raise",
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> Any:
    """Build particle Gibbs: a sequence by conditional SMC, then everything else by another kernel.

    Args:
        model: a program with a sequence.
        states: the name of the sequence's site, or several.
        kernel: moves the other sites given the sequence, as `kernels.on("sigma", kernels.random_walk(0.1))`; None where
            there are none.
        particles: number of particles, the retained path among them.
        ancestors: how the retained path gets new ancestors, see `kernels.particle_gibbs`.
        chains: number of chains, run side by side; other settings as for `mcmc`.
        warmup: steps before the first draw.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start by site name, as for `mcmc`.
        on_fault: as for `mcmc`.
        run: as for `mcmc`.
        progress: a bar, as for `mcmc`.
        mesh: the devices that share the chains, as for `mcmc`.

    Raises:
        LawfulError: no site is named.

    >>> from lawful.inference import kernels
    >>> particle_gibbs(lambda y: None, "x", kernels.on("sigma", kernels.random_walk(0.1)), particles=20)
    mcmc(cycle(on(['x'], particle_gibbs(20, multinomial, ancestors='sampled')), on(['sigma'], mh(random_walk(0.1)))))
    """
    if not states:
        raise LawfulError("particle_gibbs: expected the name of a site or more, got none.")
    not_in_chunks("particle_gibbs", run, mesh)
    path = on(states, conditional_smc(particles, ancestors=ancestors))
    both = path if kernel is None else cycle(path, as_kernel(kernel))
    return mcmc(
        model, both, chains=chains, warmup=warmup, draws=draws, thin=thin, init=init, on_fault=on_fault, run=run,
        progress=progress, mesh=mesh,
    )  # fmt: skip
