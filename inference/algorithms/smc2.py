"""SMC2: sequential Monte Carlo on parameters, each with a particle filter of its own.

Law: the filters' evidence is a factor of a program whose choices are the parameters and all that the filters draw; a
particle filter with moves on that program is properly weighted. A move proposes parameters and runs their filter anew
up to the data seen so far.

Reference: Chopin, Jacob and Papaspiliopoulos (2013), SMC2.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

from lawful.errors import LawfulError

from ..contract import Transformer
from ..kernels.combine.refresh import refresh
from ..plans.setting_types import Count, Names
from ..transformers.evidence_estimate import Filter
from ..transformers.nested import Nest
from .method import Filters, call, method
from .smc import particle_filter


@method("smc2")
@dataclass(frozen=True, kw_only=True)
class Smc2(Filters):
    """Build SMC2: parameters and their evidence as data come in, where the likelihood itself needs a filter.

    Args:
        model: a program with a sequence, as for `smc`.
        proposal: how a move proposes parameters, as `kernels.random_walk(0.1)`.
        sites: names of the parameters; all other sites are drawn by the inner filters.
        particles: number of parameter particles.
        inner: number of particles of each inner filter; it resamples at every step.
        resampling: the scheme of both levels, as for `smc`; the inner filters of islands are systematic.
        resample_below: resample the parameters, and move them, when their effective sample size is below this
            fraction; None: at every step.
        nonfinite: as for `smc`, of the estimates that weigh the parameters.
        mesh: the devices that share the parameter particles, each with its inner filter, as for `smc`; None: one
            device.

    Returns: a plan; `plan(key, *args)` gives a `Result` with parameters and paths.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def walk(y):
    ...     sigma = lawful.sample("sigma", dist.LogNormal(0.0, 1.0))
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, sigma))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     lawful.scan(step, 0.0, y)
    >>> plan = smc2(walk, kernels.random_walk(0.5), ["sigma"], particles=20, inner=10)
    >>> plan(jax.random.key(0), jnp.array([0.5, 1.0, 0.2])).posterior["x"].shape
    (1, 20, 3)
    """

    proposal: Any = field(kw_only=False)
    sites: Names | None = field(default=None, kw_only=False)
    inner: Count

    def __post_init__(self) -> None:
        """Refuse what a model returns: it is no part of the program of parameters and filters."""
        super().__post_init__()
        if self.keep == "last":
            raise LawfulError(
                "smc2: keep='last' gives what the program returns, and the filters give paths. Fix: keep='paths'."
            )

    @functools.cached_property
    def move(self) -> Any:
        """The kernel that proposes parameters, with a fresh filter."""
        return refresh(self.proposal, self.sites)

    def program(self, model: Any) -> Any:
        """Draw parameters from their prior, and run a filter given them."""
        return Nest(model, self.move.sites, Filter(self.inner, self.drawing, None), "smc2")

    def compose(self) -> Transformer:
        """Filter the parameters, and move them where they are resampled."""
        return particle_filter(self.particles, self.scheme, self.when, self.nonfinite, self.move)


smc2 = call(Smc2)
