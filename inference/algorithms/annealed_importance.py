"""Annealed importance sampling: (move . advance)^T . spawn on a path from the prior to the posterior.

Law: properly weighted, E[Z-hat] = Z, for every ladder and every kernel that keeps the points of the path. Nothing is
resampled, so particles are independent of each other.

Reference: Neal (2001), Annealed importance sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from lawful.errors import LawfulError

from ..contract import Transformer
from ..devices.mesh import checked_mesh
from ..kernels.combine.mh import as_kernel
from ..kernels.particles.walk import population_walk
from ..laws.schemes import scheme as scheme_named
from ..representations.annealing_paths import Path, prior_to_posterior
from ..representations.suspended import Advance
from ..representations.traced import Trace
from ..running.default_bar import with_bar
from ..running.faults import OnFault
from ..running.options import RunOptions, checked_options, not_in_chunks
from ..transformers.pauses import Finish, repeat_to_end
from ..transformers.push_evidence import push_evidence_with
from ..transformers.rejuvenation import is_fitted, rejuvenate
from ..transformers.spawn import spawn
from ..transformers.temper import ADAPTIVE, temper
from ..transformers.temperatures import ladder_of
from .smc import PROPERLY_WEIGHTED, NonFinite, PopulationPlan, check_settings
from .tempered_smc import TemperedPlan


def annealed(
    particles: int, kernel: Any, ladder: Any, steps: int = 1, path: Path | None = None, nonfinite: NonFinite = "error"
) -> Transformer:
    """The composition: spawn from the prior, then at every point of the path weigh and move.

    >>> from lawful.inference import kernels
    >>> annealed(10, kernels.mh(), [0.5, 1.0]).contract.kind
    'preserves_measure'
    """
    stage = Advance >> push_evidence_with(nonfinite) >> rejuvenate(kernel, steps)
    return Trace >> temper(path, ladder) >> spawn(particles) >> repeat_to_end(stage) >> Finish


def annealed_importance(
    model: Any,
    *,
    particles: int,
    kernel: Any = None,
    ladder: int | Sequence[float] = 50,
    steps: int = 1,
    path: Path | None = None,
    runs: int = 1,
    nonfinite: NonFinite = "error",
    on_fault: OnFault = "raise",
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> TemperedPlan:
    """Build annealed importance sampling.

    Args:
        model: a program.
        particles: number of particles.
        kernel: a kernel that keeps the posterior, as `kernels.mh()`; default: `population_walk()`, whose scales are
            those of the particles.
        ladder: the powers of the likelihood, ascending, the last of them 1; or their number n, for (k / n)^4.
        steps: moves of every particle at each power.
        path: how the observations enter, as for `tempered_smc`.
        runs: number of independent runs.
        nonfinite: as for `smc`.
        on_fault: as for `smc`.
        run: how the run is divided, watched and kept, as for `smc`; None: one compiled call.
        progress: a bar, as for `mcmc`.
        mesh: the devices that share the particles, as for `smc`; None: one device.

    Raises: LawfulError for a ladder that does not end at 1, and for numbers below 1.

    Returns: a plan; `plan(key, *args)` gives a `Result`: draws by the last weights, and the evidence of every run.

    >>> import jax, numpy as np, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    ...     with lawful.plate("i", 20):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> result = annealed_importance(model, particles=500)(jax.random.key(0), np.linspace(2.0, 4.0, 20))
    >>> abs(float(result.posterior["mu"].mean()) - 3.0) < 0.1
    True
    """
    check_settings(particles, runs, "paths", nonfinite, on_fault)
    checked_options(run)
    checked_mesh(mesh, particles=particles)
    not_in_chunks("annealed_importance", run, mesh)
    run = with_bar(run, progress, mesh)
    for name, number in (("steps", steps), *([("ladder", ladder)] if isinstance(ladder, int) else [])):
        if number < 1:
            raise LawfulError(f"annealed_importance: {name}: expected an integer of 1 or more, got {number!r}.")
    kernel = population_walk() if kernel is None else kernel if is_fitted(kernel) else as_kernel(kernel)
    powers = ladder_of([(k / ladder) ** 4 for k in range(1, ladder + 1)] if isinstance(ladder, int) else ladder)
    path = prior_to_posterior() if path is None else path
    transformer = annealed(particles, kernel, powers, steps, path, nonfinite)
    settings = {
        "particles": particles, "runs": runs, "keep": "paths", "nonfinite": nonfinite, "on_fault": on_fault,
        "scheme": scheme_named("systematic"), "kernel": repr(kernel), "path": repr(path), "ladder": repr(powers),
        "steps": steps,
    }  # fmt: skip
    contract = PROPERLY_WEIGHTED if transformer.contract.exact else ADAPTIVE
    inner = PopulationPlan("annealed_importance", model, transformer, settings, cut=False, run=run, mesh=mesh)
    inner.mover = kernel
    inner.recipe = "annealed_importance", {
        "particles": particles, "kernel": kernel, "ladder": ladder if isinstance(ladder, int) else list(ladder),
        "steps": steps, "path": path, "runs": runs, "nonfinite": nonfinite, "on_fault": on_fault,
    }  # fmt: skip
    return TemperedPlan(inner, kernel, contract)
