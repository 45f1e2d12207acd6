"""SMC2: sequential Monte Carlo on parameters, each with a particle filter of its own, and IBIS where none is needed.

Law: the filters' evidence is a factor of a program whose choices are the parameters and all that the filters draw; a
particle filter with moves on that program is properly weighted. A move proposes parameters and runs their filter anew
up to the data seen so far.

References: Chopin, Jacob and Papaspiliopoulos (2013), SMC2; Chopin (2002), A sequential particle filter method for
static models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from ..devices.mesh import checked_mesh
from ..kernels.combine.mh import as_kernel
from ..kernels.combine.refresh import refresh
from ..laws.ess import EssBelow
from ..laws.schemes import scheme as scheme_named
from ..plans.populations.population_plan import PopulationPlan
from ..representations.annealing_paths import data_by_data
from ..running.default_bar import with_bar
from ..running.faults import OnFault
from ..running.options import RunOptions, checked_options, not_in_chunks
from ..transformers.evidence_estimate import Filter
from ..transformers.nested import Nest
from ..transformers.rejuvenation import is_fitted
from .smc import NonFinite, check_settings, particle_filter
from .tempered_smc import tempered_smc


def smc2(
    model: Any,
    proposal: Any,
    sites: Sequence[Any] | None = None,
    *,
    particles: int,
    inner: int,
    runs: int = 1,
    resampling: str | Any = "systematic",
    resample_below: float | None = 0.5,
    nonfinite: NonFinite = "error",
    on_fault: OnFault = "raise",
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> PopulationPlan:
    """Build SMC2: parameters and their evidence as data come in, where the likelihood itself needs a filter.

    Args:
        model: a program with a sequence, as for `smc`.
        proposal: how a move proposes parameters, as `kernels.random_walk(0.1)`.
        sites: names of the parameters; all other sites are drawn by the inner filters.
        particles: number of parameter particles.
        inner: number of particles of each inner filter; it resamples at every step.
        runs: number of independent runs.
        resampling: the scheme of both levels.
        resample_below: resample the parameters, and move them, when their effective sample size is below this
            fraction; None: at every step.
        nonfinite: as for `smc`, of the estimates that weigh the parameters.
        on_fault: as for `smc`.
        run: how the run is divided, watched and kept, as for `smc`; None: one compiled call.
        progress: a bar, as for `mcmc`.
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
    check_settings(particles, runs, "paths", nonfinite, on_fault, inner=inner)
    checked_options(run)
    checked_mesh(mesh, particles=particles)
    not_in_chunks("smc2", run, mesh)
    run = with_bar(run, progress, mesh)
    scheme = scheme_named(resampling)
    kernel = refresh(proposal, sites)
    when = None if resample_below is None else EssBelow(resample_below)
    program = Nest(model, kernel.sites, Filter(inner, scheme, None), "smc2")
    settings = {
        "particles": particles, "inner": inner, "runs": runs, "scheme": scheme, "resample_below": resample_below,
        "keep": "paths", "nonfinite": nonfinite, "on_fault": on_fault, "move": kernel,
    }  # fmt: skip
    transformer = particle_filter(particles, scheme, when, nonfinite, kernel)
    plan = PopulationPlan("smc2", program, transformer, settings, cut=True, run=run, mesh=mesh)
    plan.recipe = "smc2", {
        "proposal": proposal, "sites": None if sites is None else list(sites), "particles": particles, "inner": inner,
        "runs": runs, "resampling": resampling, "resample_below": resample_below, "nonfinite": nonfinite,
        "on_fault": on_fault,
    }  # fmt: skip
    return plan


def ibis(model: Any, kernel: Any = None, *, particles: int, block: int = 1, **settings: Any) -> Any:
    """Build IBIS: parameters as data come in, one block after the other, moved by a kernel that keeps the posterior.

    It is `tempered_smc` on the path `data_by_data(block)`.

    Args:
        model: a program without a hidden sequence.
        kernel: moves the parameters; default: that of `tempered_smc`.
        particles: number of particles.
        block: number of observations that enter at once.
        settings: as for `tempered_smc`.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def level(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("i", 4):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> result = ibis(level, particles=200)(jax.random.key(0), jnp.array([0.5, 1.0, 0.2, 0.4]))
    >>> abs(float(result.posterior["mu"].mean()) - 0.42) < 0.2
    True
    """
    kernel = kernel if kernel is None or is_fitted(kernel) else as_kernel(kernel)
    return tempered_smc(model, particles=particles, kernel=kernel, path=data_by_data(block=block), **settings)
