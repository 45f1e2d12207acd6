"""SMC and importance sampling: finish . (resample . advance)^T . spawn, and spawn alone.

Law: both are properly weighted: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the integral of f, for every f.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError

from ..contract import Transformer
from ..devices.island_resampling import Islands, of_draws, on_islands, scheme_on
from ..devices.mesh import checked_mesh, devices_of
from ..kernels.combine.mh import mh
from ..kernels.particles.move import move as move_with
from ..laws.ess import EssBelow
from ..laws.schemes import scheme as scheme_named
from ..plans.enumerated_plan import EnumeratedPlan
from ..plans.populations.population_plan import PROPERLY_WEIGHTED as PROPERLY_WEIGHTED
from ..plans.populations.population_plan import PopulationPlan as PopulationPlan
from ..representations.sequential import Cuts
from ..representations.suspended import Advance
from ..running.default_bar import with_bar
from ..running.faults import OnFault, checked_policy
from ..running.index_width import countable
from ..running.options import RunOptions, checked_options, not_in_chunks
from ..summing.enumerate_sites import Sites
from ..transformers.pauses import Finish, repeat_to_end
from ..transformers.propose.propose import propose
from ..transformers.push_evidence import push_evidence_with
from ..transformers.resample import resample
from ..transformers.spawn import spawn
from ..uncalled import refuse_uncalled
from .eager.courses import without_files
from .eager.plans import EagerPopulationPlan, Mode, checked_mode, refuse

type Keep = Literal["paths", "last"]
type NonFinite = Literal["error", "dead", "flag"]


def particle_filter(
    particles: int, scheme: Any, when: Any, nonfinite: NonFinite = "error", kernel: Any = None
) -> Transformer:
    """The composition: spawn, then at every pause resample, move if there is a kernel, and advance; then finish.

    >>> particle_filter(10, scheme_named("systematic"), EssBelow(0.5)).contract.kind
    'preserves_measure'
    """
    push = push_evidence_with(nonfinite)
    renew = on_islands(scheme, when) if isinstance(scheme, Islands) else resample(scheme, when)
    rejuvenate = renew if kernel is None else renew >> move_with(kernel)
    step = rejuvenate >> Advance >> push
    return spawn(particles) >> push >> repeat_to_end(step) >> Finish >> push_evidence_with(nonfinite, again=False)


def check_settings(particles: int, runs: int, keep: str, nonfinite: str, on_fault: str, **numbers: int) -> None:
    """Refuse settings of a population method that make no sense; further `numbers` have to be 1 or more, too."""
    checked_policy(on_fault)
    for name, value in {"particles": particles, "runs": runs, **numbers}.items():
        if not isinstance(value, int | np.integer) or value < 1:
            raise LawfulError(f"{name}: expected an integer of 1 or more, got {value!r}.")
        countable(name, int(value))
    if keep not in ("paths", "last"):
        raise LawfulError(f"keep: expected 'paths' or 'last', got {keep!r}.")
    if nonfinite not in ("error", "dead", "flag"):
        raise LawfulError(f"nonfinite: expected 'error', 'dead' or 'flag', got {nonfinite!r}.")


def _asked(**settings: Any) -> dict[str, Any]:
    """Keep the settings that were given, in the form that the plan reads."""
    given = {name: value for name, value in settings.items() if value is not None}
    if "proposal" in given:
        given["proposal"] = propose(given["proposal"])
    if "move" in given and not hasattr(given["move"], "build"):
        refuse_uncalled(given["move"], "move")
        if not hasattr(given["move"], "propose"):
            raise LawfulError(f"move: expected a kernel of inference.kernels, got {given['move']!r}.")
        given["move"] = mh(given["move"])  # a proposal stands for its Metropolis-Hastings kernel
    if not isinstance(given.get("cuts", ""), str):
        given["cuts"] = tuple(given["cuts"])
    return given


def enumerated_population(
    method: str, build: Callable[..., Any], model: Any, sites: Sites, keep: Keep, mode: Mode, given: dict[str, Any]
) -> EnumeratedPlan:
    """Build a population method on the marginal of the sites that are not summed."""
    refuse(method, {"enumerate": (sites if checked_mode(mode) == "eager" else None, (None,))})
    if keep != "paths":
        raise LawfulError(f"{method}: enumerate= draws the summed sites back from the paths. Fix: keep='paths'.")
    return EnumeratedPlan(model, sites, lambda summed: build(summed.marginal, **given), given["run"])


def smc(
    model: Any,
    *,
    particles: int,
    runs: int = 1,
    resampling: str | Any = "systematic",
    resample_below: float | None = 0.5,
    keep: Keep = "paths",
    nonfinite: NonFinite = "error",
    on_fault: OnFault = "raise",
    mode: Mode = "staged",
    proposal: Any = None,
    cuts: Cuts = None,
    move: Any = None,
    enumerate: Sites = None,
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> PopulationPlan | EagerPopulationPlan | EnumeratedPlan:
    """Build a particle filter that pauses at every step of the model's loops (Gordon, Salmond and Smith 1993).

    Args:
        model: a program, whose sequences are `lawful.scan` (or `jax.lax.scan`); where it is not weighed in a loop it
            pauses between a factor or observation and the next draw.
        particles: number of particles.
        runs: number of independent runs; they are ArviZ's chains and give the error of the evidence.
        resampling: "multinomial", "systematic", "stratified", "residual", or a scheme object. On many devices also
            "exact", systematic resampling across all of them; "islands", each device its own particles; or
            `Islands(...)`.
        resample_below: resample when the effective sample size is below this fraction of the particles; None: at every
            step.
        keep: "paths" gives every choice with its history; "last" gives only what the program returns, in memory
            O(particles).
        nonfinite: what a NaN weight means: "error"; "dead", weight zero and counted; "flag", a result that is not ok.
        on_fault: "raise" an error where a weight has no meaning, or "flag": a result that is not ok, in which the runs
            concerned have no samples.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure, and pauses at
            every observation and factor. Then `result.traces` holds the runs, and a choice that a run did not make is
            NaN.
        proposal: what to draw from in place of the prior, a program or several (see `propose`): guided SMC.
        cuts: further pauses: "factors" after every factor and observation outside loops, "draws" before every draw that
            follows one, or a sequence of their names; "loops" pauses in weighed loops alone.
        move: a kernel of `inference.kernels`, applied to every particle at every pause between resampling and the next
            step, with the program up to the pause as its target: resample-move (Gilks and Berzuini 2001). Each move
            scores the whole past again. In a loop, the sites of later steps do not run yet: a kernel that refuses such
            sites is given the names of others.
        enumerate: names of finite sites to sum out exactly, or "all": the particles carry the others, weighed by the
            marginal, and the result holds draws of the summed sites given each particle (see `enumerate_sites`). Or a
            transformer that sums sites, as `marginalise()`.
        run: how the run is divided, watched and kept, as for `mcmc`; None: one compiled call. A chunk is some stages of
            one of the runs, which follow each other; where the program has no loop it is one of the runs.
        progress: a bar, as for `mcmc`.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the particles evenly; None: one device. With
            "exact" resampling the result does not depend on the number of devices. With `run` they are of one process.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def walk(y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     return lawful.scan(step, 0.0, y)[0]
    >>> result = smc(walk, particles=100, runs=2)(jax.random.key(0), jnp.array([0.5, 1.0]))
    >>> result.posterior["x"].shape, result.log_evidence.shape
    ((2, 100, 2), (2,))
    """
    check_settings(particles, runs, keep, nonfinite, on_fault)
    checked_options(run)
    checked_mesh(mesh, particles=particles)
    not_in_chunks("smc", run, mesh)
    run = with_bar(run, progress, mesh)
    if enumerate is not None:
        given = {
            "particles": particles, "runs": runs, "resampling": resampling, "resample_below": resample_below,
            "nonfinite": nonfinite, "on_fault": on_fault, "proposal": proposal, "cuts": cuts, "move": move,
            "run": run, "progress": progress, "mesh": mesh,
        }  # fmt: skip
        return enumerated_population("smc", smc, model, enumerate, keep, mode, given)
    if checked_mode(mode) == "eager":
        refuse("smc", {"nonfinite": (nonfinite, ("error", "dead")), "on_fault": (on_fault, ("raise",))})
        refuse("smc", {"mesh": (mesh, (None,))})
    scheme = scheme_on(resampling, devices_of(mesh), particles)
    if mode == "eager" and isinstance(scheme, Islands):
        raise LawfulError(f"smc: resampling={str(scheme)!r} needs mode='staged'. Fix: resampling='systematic'.")
    when = None if resample_below is None else EssBelow(resample_below)
    settings = {
        "particles": particles, "runs": runs, **of_draws(scheme), "resample_below": resample_below, "keep": keep,
        "nonfinite": nonfinite, "on_fault": on_fault, **_asked(proposal=proposal, cuts=cuts, move=move),
    }  # fmt: skip
    if mode == "eager":
        refuse("smc", {"cuts": (cuts, (None,)), "move": (move, (None,))})
        without_files("smc", run)
        program = model if proposal is None else settings["proposal"](model)
        return EagerPopulationPlan("smc", program, settings, pauses=True, run=run)
    transformer = particle_filter(particles, scheme, when, nonfinite, settings.get("move"))
    plan = PopulationPlan("smc", model, transformer, settings, cut=True, run=run, mesh=mesh)
    plan.recipe = "smc", {
        "particles": particles, "runs": runs, "resampling": resampling, "resample_below": resample_below, "keep": keep,
        "nonfinite": nonfinite, "on_fault": on_fault, "proposal": proposal, "cuts": cuts, "move": move,
    }  # fmt: skip
    return plan


def importance(
    model: Any,
    *,
    particles: int,
    runs: int = 1,
    keep: Keep = "paths",
    nonfinite: NonFinite = "error",
    on_fault: OnFault = "raise",
    mode: Mode = "staged",
    proposal: Any = None,
    enumerate: Sites = None,
    run: RunOptions | None = None,
    progress: bool | None = None,
    mesh: Mesh | None = None,
) -> PopulationPlan | EagerPopulationPlan | EnumeratedPlan:
    """Build importance sampling, from the prior or from a proposal program: spawn alone.

    Args: as for `smc`.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def coin():
    ...     p = lawful.sample("p", dist.Beta(1.0, 1.0))
    ...     lawful.sample("heads", dist.Bernoulli(p), obs=1)
    >>> result = importance(coin, particles=1000, runs=2)(jax.random.key(0))
    >>> bool(abs(result.log_evidence_pooled - jnp.log(0.5)) < 0.1)
    True
    """
    check_settings(particles, runs, keep, nonfinite, on_fault)
    checked_options(run)
    checked_mesh(mesh, particles=particles)
    not_in_chunks("importance", run, mesh)
    run = with_bar(run, progress, mesh)
    if enumerate is not None:
        given = {
            "particles": particles, "runs": runs, "nonfinite": nonfinite, "on_fault": on_fault, "proposal": proposal,
            "run": run, "progress": progress, "mesh": mesh,
        }  # fmt: skip
        return enumerated_population("importance", importance, model, enumerate, keep, mode, given)
    if checked_mode(mode) == "eager":
        refuse("importance", {"nonfinite": (nonfinite, ("error", "dead")), "on_fault": (on_fault, ("raise",))})
        refuse("importance", {"mesh": (mesh, (None,))})
    settings = {
        "particles": particles, "runs": runs, "scheme": scheme_named("systematic"), "keep": keep,
        "nonfinite": nonfinite, "on_fault": on_fault, **_asked(proposal=proposal),
    }  # fmt: skip
    if mode == "eager":
        without_files("importance", run)
        program = model if proposal is None else settings["proposal"](model)
        return EagerPopulationPlan("importance", program, settings, pauses=False, run=run)
    transformer = spawn(particles) >> push_evidence_with(nonfinite)
    plan = PopulationPlan("importance", model, transformer, settings, cut=False, run=run, mesh=mesh)
    plan.recipe = "importance", {
        "particles": particles, "runs": runs, "keep": keep, "nonfinite": nonfinite, "on_fault": on_fault,
        "proposal": proposal,
    }  # fmt: skip
    return plan
