"""PMMH, particle marginal Metropolis-Hastings: chains that move parameters by their estimated likelihood.

Law: it keeps the posterior for any number of particles. A filter's evidence is a factor of a program whose choices are
the parameters and all that the filter draws; a move proposes parameters, and runs the filter anew.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods.
"""

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

from lawful.errors import LawfulError

from ..kernels.combine.refresh import Kept, Refresh, refresh
from ..laws.resampling_schemes import EssBelow
from ..laws.resampling_schemes import scheme as scheme_named
from ..plans.setting_types import Count, Names, Scheme
from ..transformers.evidence_estimate import Filter
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
        particles: number of particles of each filter; a variance of the log estimate near 1 to 3 is a good choice
            (Doucet et al. 2015).
        resampling: a scheme, as for `smc`.
        resample_below: resample when the effective sample size is below this fraction; None: at every step.
        correlation: of the random numbers of two estimates that follow each other, below 1; more than 0 is the
            correlated pseudo-marginal method (Deligiannidis, Doucet and Pitt 2018). Every move then resamples at
            every step, in the order of the first site's values; the numbers are part of a chain's state, of length
            particles x numbers drawn in a run.
        keep: "paths": a draw is parameters and a path; "parameters": parameters alone, without what a model names by
            `deterministic`. The filters then store no history, so that a step takes less time and its memory does not
            grow with the length of the sequence.
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
    keep: Literal["paths", "parameters"] = "paths"

    def __post_init__(self) -> None:
        """Refuse a correlation where there is nothing to correlate, and to keep parameters where there are none."""
        super().__post_init__()
        if self.correlation and self.keep != "paths":
            raise LawfulError(
                f"pmmh: with a correlation a chain keeps all numbers that its filter draws, so keep={self.keep!r} "
                "saves nothing. Fix: leave keep out."
            )
        if self.correlation and not self.move.sites:
            raise LawfulError("pmmh: a correlation needs parameters. Fix: name a proposal and its sites.")

    @functools.cached_property
    def move(self) -> Refresh:
        """The kernel that proposes parameters, with a fresh filter or with one near to the last."""
        keep: Kept = "parameters" if self.keep == "parameters" else "all" if self.correlation else "named"
        return refresh(self.proposal, self.sites, correlation=self.correlation, keep=keep)

    def program(self, model: Any) -> Any:
        """Draw parameters from their prior, and run a filter given them."""
        when = None if self.resample_below is None or self.correlation else EssBelow(self.resample_below)
        estimate = Filter(self.particles, scheme_named(self.resampling), when)
        return Nest(model, self.move.sites, estimate, "pmmh", normals=self.correlation > 0)

    def compose(self) -> Refresh:
        """Move the parameters."""
        return self.move


pmmh = call(Pmmh)
