"""PMMH, particle marginal Metropolis-Hastings: chains that move parameters by their estimated likelihood.

Law: it keeps the posterior for any number of particles.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any

from lawful.errors import LawfulError

from ..kernels.combine.refresh import refresh
from ..kernels.particles.pseudo_marginal import PseudoMarginal, pseudo_marginal
from ..plans.setting_types import Count, Names, Scheme
from ..transformers.nested import Nest
from .method import MarkovChains, call, method


@method("pmmh")
@dataclass(frozen=True, kw_only=True)
class Pmmh(MarkovChains):
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
        init: a start of the parameters by name; default: prior draws.

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

    proposal: Any = field(default=None, kw_only=False)
    sites: Names | None = field(default=None, kw_only=False)
    particles: Count
    resampling: Scheme = "systematic"
    resample_below: float | None = 0.5
    correlation: float = 0.0
    keep: str = "paths"

    def __post_init__(self) -> None:
        """Refuse a correlation where there is nothing to correlate."""
        super().__post_init__()
        if self.correlation and self.keep != "paths":
            raise LawfulError(
                f"pmmh: with a correlation a chain keeps all numbers that its filter draws, so keep={self.keep!r} "
                "saves nothing. Fix: leave keep out."
            )
        if self.correlation and not self.alone.sites:
            raise LawfulError("pmmh: a correlation needs parameters. Fix: name a proposal and its sites.")

    @functools.cached_property
    def alone(self) -> PseudoMarginal:
        """The kernel without a correlation."""
        return pseudo_marginal(
            self.proposal, self.sites, particles=self.particles, resampling=self.resampling,
            resample_below=self.resample_below, keep=self.keep,
        )  # fmt: skip

    def program(self, model: Any) -> Any:
        """With a correlation, the filter's random numbers are choices of the program that is run."""
        if not self.correlation:
            return model
        return Nest(model, self.alone.sites, replace(self.alone.estimate, when=None), "pmmh", normals=True)

    def compose(self) -> Any:
        """Move parameters by their estimate, or these and the numbers of the filter."""
        alone = self.alone
        return refresh(alone.proposal, alone.sites, correlation=self.correlation) if self.correlation else alone


pmmh = call(Pmmh)
