"""Tempered SMC: (move . resample . advance)^T . spawn on a path from the prior to the posterior.

Law: with a given ladder and a given kernel it is properly weighted, E[Z-hat] = Z. A ladder chosen by the effective
sample size, or scales taken from the particles, leave it consistent in their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of

from ..contract import Contract, Transformer
from ..devices.island_resampling import Islands, of_draws, on_islands, scheme_on
from ..devices.mesh import checked_mesh, devices_of
from ..findings.findings import Finding
from ..kernels.combine.mh import as_kernel
from ..kernels.particles.default_move import PopulationMoves
from ..plans.enumerated_plan import EnumeratedPlan
from ..representations.annealing_paths import Path, prior_to_posterior
from ..representations.suspended import Advance
from ..representations.traced import Trace
from ..results.result import Result
from ..running.default_bar import with_bar
from ..running.driver import Chunk
from ..running.faults import OnFault, checked_policy
from ..running.options import RunOptions, checked_options, not_in_chunks
from ..summing.enumerate_sites import Sites
from ..transformers.pauses import Finish, repeat_to_end
from ..transformers.push_evidence import push_evidence_with
from ..transformers.rejuvenation import is_fitted, rejuvenate, waste_free
from ..transformers.resample import resample
from ..transformers.spawn import spawn
from ..transformers.temper import ADAPTIVE, temper
from ..transformers.temperatures import ladder_of
from .smc import PROPERLY_WEIGHTED, Keep, NonFinite, PopulationPlan, enumerated_population


def tempered(
    particles: int,
    scheme: Any,
    kernel: Any,
    *,
    path: Path | None = None,
    ladder: Any = None,
    steps: int | None = None,
    chains: int | None = None,
    nonfinite: NonFinite = "error",
) -> Transformer:
    """The composition: spawn from the prior, then at every point of the path weigh, resample and move.

    >>> from lawful.inference import kernels
    >>> from lawful.inference.laws.schemes import scheme
    >>> tempered(10, scheme("systematic"), kernels.mh(), ladder=[0.5, 1.0], steps=1).contract.kind
    'preserves_measure'
    """
    if steps is not None:
        renew = (on_islands(scheme) if isinstance(scheme, Islands) else resample(scheme)) >> rejuvenate(kernel, steps)
    else:
        renew = waste_free(kernel, chains_of(particles) if chains is None else chains, scheme)
    stage = Advance >> push_evidence_with(nonfinite) >> renew
    return Trace >> temper(path, ladder) >> spawn(particles) >> repeat_to_end(stage) >> Finish


def chains_of(particles: int) -> int:
    """Choose a number of chains: 10 or more, with about 100 states each; a divisor of the particles.

    >>> chains_of(10_000), chains_of(1000), chains_of(250), chains_of(12)
    (100, 10, 10, 6)
    """
    divisors = [n for n in range(1, particles // 2 + 1) if particles % n == 0]
    if particles > 3 and divisors == [1]:
        raise LawfulError(
            f"tempered_smc: {particles} particles make no equal chains. Fix: give a round number of particles, or "
            "steps=10 for moves of every particle.",
            particles=particles,
        )
    wanted = max(particles / 100, 10)
    return next((n for n in divisors if n >= wanted), divisors[-1] if divisors else 1)


@dataclass(frozen=True)
class TemperedPlan:
    """Tempered SMC built from a model: call it with a key and the model's arguments."""

    inner: PopulationPlan
    kernel: Any
    contract: Contract

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run: the result holds draws of the posterior, and the evidence of every run.

        `result.stats` holds for each stage, (run, stage): `beta`, the temperature: the point of the path that was
        reached; `ess`, the effective sample size there; `acceptance_rate` of the moves; `ess_residual`, what was left
        of the equation that chose the temperature; and for each run `n_stages`. Stages after the end of a run are NaN.

        Raises:
            NonFiniteError: a weight is NaN (by default) or +inf.
            UnsupportedProgramError: the kernel cannot move a choice of the model.
        """
        try:
            return _told(self.inner(key, *args, **named))
        except LawfulError as error:
            if error.result is not None:
                error.result = _told(error.result)
            raise

    def told(self, result: Result) -> Result:
        """Finish the result of a run that was resumed."""
        return _told(result)

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run chunk by chunk and give the numbers of the stages of each chunk; see `PopulationPlan`."""
        return self.inner.iterate(key, *args, **named)

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others; see `PopulationPlan`."""
        return self.inner.sampler(*args, **named)

    @property
    def prepare(self) -> Any:
        """What traces the model and builds the algorithm for given arguments."""
        return self.inner.prepare

    def plan(self, *args: Any, **named: Any) -> str:
        """Say what will be done, for the given arguments."""
        prepared = self.inner.prepare(args, named=named)
        lines = [f"{self.inner.name}: {self.inner.transformer.name}"]
        lines += [f"  {c.name}: drawn from its prior at the start" for c in choices_of(prepared.form)]
        return "\n".join([*lines, *(f"  {line}" for line in self.kernel.plan(prepared.form))])

    def form(self, *args: Any, **named: Any) -> Form:
        """Return the algorithm itself as a Form."""
        return self.inner.form(*args, **named)

    def __repr__(self) -> str:
        """Show name and composition."""
        return f"{self.inner.name}({self.inner.transformer.name})"


def _told(result: Result) -> Result:
    """Cut the stages that no run needed, and say which temperatures were not solved for."""
    reached = np.asarray(result.stats["beta"])
    n_stages = np.sum(~np.isnan(reached), axis=1)
    longest = max(int(n_stages.max(initial=0)), 1)
    stats = {name: _first(array, longest, reached) for name, array in result.stats.items()}
    unsolved = stats.pop("unsolved")
    stats["n_stages"] = n_stages
    found = (*result.found, *_unsolved(unsolved, stats))
    return replace(result, stats=stats, found=found, finished=result.finished if result.interrupted else longest)


def _first(array: Any, longest: int, reached: np.ndarray) -> Any:
    """Keep the stages up to the longest run."""
    values = np.asarray(array)
    if values.shape != reached.shape:
        return array
    kept = values[:, :longest]
    return np.where(np.isnan(reached[:, :longest]), np.nan, kept) if kept.dtype.kind == "f" else kept


def _unsolved(unsolved: Any, stats: Mapping[str, Any]) -> tuple[Finding, ...]:
    count = int(np.sum(unsolved))
    if not count:
        return ()
    residual = float(np.nanmax(np.abs(np.asarray(stats["ess_residual"], float))))
    message = (
        f"{count} temperatures do not solve their equation: the effective sample size is off by up to {residual:.2g} "
        "N, or the stages ran out. The estimates hold, with more spread; allow more stages, as ladder=by_ess(0.5, "
        "max_stages=500), or give the ladder."
    )
    return (Finding("NOT_CONVERGED", message, (), residual, 1e-6),)


def tempered_smc(
    model: Any,
    *,
    particles: int,
    kernel: Any = None,
    path: Path | None = None,
    ladder: Any = None,
    chains: int | None = None,
    steps: int | None = None,
    runs: int = 1,
    resampling: str | Any = "systematic",
    keep: Keep = "paths",
    nonfinite: NonFinite = "error",
    on_fault: OnFault = "raise",
    enumerate: Sites = None,
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> TemperedPlan | EnumeratedPlan:
    """Build sequential Monte Carlo on a path from the prior to the posterior (Del Moral, Doucet and Jasra 2006).

    It needs no sequence in the model. At each point of the path the particles are weighed, resampled, and moved by a
    kernel that keeps the measure of that point. By default the moves are waste-free (Dau and Chopin 2022): few
    particles are resampled, each starts a chain, and all states of the chains are the next particles.

    Args:
        model: a program.
        particles: number of particles. In a waste-free run all states of the chains count: 10 000 particles cost what
            1000 particles with steps=10 cost, and tell much more.
        kernel: a kernel that keeps the posterior, as `kernels.mh()`; default: `population_hmc()`, trajectories along
            gradients in units of the particles, or with fewer than 10 coordinates `population_walk()`, a random walk
            with covariance 2.38^2/d x weighted covariance of the particles.
        path: how the observations enter: `prior_to_posterior()`, the default, raises all of them to a power;
            `data_by_data(...)` lets them enter in blocks.
        ladder: where to stop: `by_ess(0.5)`, the default, chooses the powers at which half of the effective sample
            size is left; or a sequence of powers, the last of them 1.
        chains: number of chains of a waste-free run, a divisor of `particles`; default: chains of about
            100 states.
        steps: instead of waste-free moves, move every particle so many times and keep its last state.
        runs: number of independent runs; they are ArviZ's chains and give the error of the evidence.
        resampling: "multinomial", "systematic", "stratified", "residual", or a scheme object; with `steps` also
            "islands" (see `smc`).
        keep: "paths" gives every choice; "last" gives only what the program returns.
        nonfinite: what a NaN weight means: "error"; "dead", weight zero and counted; "flag", a result that is not ok.
        on_fault: "raise" an error where a weight has no meaning, or "flag": a result that is not ok.
        enumerate: sites to sum out exactly, as for `smc`; the particles carry the others.
        run: how the run is divided, watched and kept, as for `mcmc`; None: one compiled call.
        progress: a bar, as for `mcmc`.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the particles evenly, and the chains of a
            waste-free run where their number allows it; None: one device. With `run` they are of one process.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    ...     with lawful.plate("row", 20):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> result = tempered_smc(model, particles=1000, runs=2)(jax.random.key(0), np.linspace(2.0, 4.0, 20))
    >>> abs(float(result.posterior["mu"].mean()) - 3.0) < 0.1, float(np.nanmax(result.stats["beta"]))
    (True, 1.0)
    """
    _check(particles, runs, keep, nonfinite, chains, steps)
    checked_policy(on_fault)
    checked_options(run)
    checked_mesh(mesh, particles=particles)
    not_in_chunks("tempered_smc", run, mesh)
    run = with_bar(run, progress, mesh)
    scheme = scheme_on(resampling, devices_of(mesh), particles)
    if steps is None and isinstance(scheme, Islands):
        raise LawfulError(
            "tempered_smc: the chains of a waste-free run start at particles of the whole population, not of an "
            "island. Fix: give steps=10, for moves of every particle where it is, or resampling='exact'."
        )
    kernel = PopulationMoves() if kernel is None else kernel if is_fitted(kernel) else as_kernel(kernel)
    if enumerate is not None:
        given = {
            "particles": particles, "kernel": kernel, "path": path, "ladder": ladder, "chains": chains, "steps": steps,
            "runs": runs, "resampling": resampling, "nonfinite": nonfinite, "on_fault": on_fault, "run": run,
            "mesh": mesh,
        }  # fmt: skip
        return enumerated_population("tempered_smc", tempered_smc, model, enumerate, keep, "staged", given)
    path = prior_to_posterior() if path is None else path
    ladder = ladder_of(ladder)
    transformer = tempered(
        particles, scheme, kernel, path=path, ladder=ladder, steps=steps, chains=chains, nonfinite=nonfinite
    )
    settings = {
        "particles": particles, "runs": runs, **of_draws(scheme), "keep": keep, "nonfinite": nonfinite,
        "on_fault": on_fault,
        "kernel": repr(kernel), "path": repr(path), "ladder": repr(ladder), "chains": chains, "steps": steps,
    }  # fmt: skip
    contract = PROPERLY_WEIGHTED if transformer.contract.exact else ADAPTIVE
    inner = PopulationPlan("tempered_smc", model, transformer, settings, cut=False, run=run, mesh=mesh)
    inner.mover = kernel
    inner.recipe = "tempered_smc", {
        "particles": particles, "kernel": kernel, "path": path, "ladder": ladder, "chains": chains, "steps": steps,
        "runs": runs, "resampling": resampling, "keep": keep, "nonfinite": nonfinite, "on_fault": on_fault,
    }  # fmt: skip
    return TemperedPlan(inner, kernel, contract)


def _check(particles: Any, runs: Any, keep: str, nonfinite: str, chains: Any, steps: Any) -> None:
    numbers = {"particles": particles, "runs": runs, "chains": chains, "steps": steps}
    for name, value in numbers.items():
        optional = name in ("chains", "steps") and value is None
        if not optional and (not isinstance(value, int | np.integer) or value < 1):
            raise LawfulError(f"{name}: expected an integer of 1 or more, got {value!r}.")
    if keep not in ("paths", "last"):
        raise LawfulError(f"keep: expected 'paths' or 'last', got {keep!r}.")
    if nonfinite not in ("error", "dead", "flag"):
        raise LawfulError(f"nonfinite: expected 'error', 'dead' or 'flag', got {nonfinite!r}.")
    if chains is not None and steps is not None:
        raise LawfulError(
            "tempered_smc: chains keep all their states, steps keep the last one only. Fix: give chains (waste-free) "
            "or steps (the standard moves), not both."
        )
