"""The Bayesian fit: growth factors integrated out, classes summed out, a posterior over the parameters of the classes.

Law: the program below is the prior times the likelihood, in standard units; its evidence is that of the data. It is
`program.mixture_with_priors` with factors and classes out, by hand (`likelihood.density` says why). It is unchanged
when classes change their names, so its posterior has a mode for each naming: sequential Monte Carlo visits them all,
chains stay in one, and summaries do not depend on which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lawful
from lawful import inference
from lawful.errors import LawfulError, refuse_unknown
from lawful.inference import Result

from ...latent_classes.redrawing import one_class_redrawn
from ..fitting.objective import Problem
from ..fitting.search import Search, searched
from ..likelihood.marginal import log_likelihood
from ..model.panels import Panel
from ..model.parameters import Bounds, Model, unpack
from ..reading.read_frames import Measured
from .priors import Priors, draw_parameters, shared_sites, sites_of, usable_priors

__all__ = ["Posed", "climbed_for", "posed", "posterior_program", "sampled", "settings_of"]

OUTER = (0.05, 0.95)  # quantiles of the observed times that knots lie between
SMOOTH = 0.02  # width of kinks, in median gaps between waves
STEP, LEAPFROGS, JITTER = 0.35, 6, 0.5  # of moves, in standard deviations of the particles
LENGTH = 8  # states of a chain between two temperatures
LEFT = 0.7  # of the effective sample size, at the next temperature
STARTS = ("optima", "prior")  # of tempering
MOST_CLASSES = 6  # whose optima a search finds
USUAL: dict[str, dict[str, Any]] = {
    "smc": {
        "particles": 1024, "runs": 4, "ladder": LEFT, "length": LENGTH, "step_size": STEP, "leapfrogs": LEAPFROGS,
        "start": "optima",
    },
    "nuts": {"chains": 4, "warmup": 500, "draws": 500},
}  # fmt: skip


class Posed(NamedTuple):
    """What a posterior is conditioned on, in standard units: arguments of the program.

    Attributes:
        priors: scales.
        panel: the persons.
        knots: what knots lie between.
        width: of the smoothing of kinks.
    """

    priors: Priors
    panel: Panel
    knots: Bounds
    width: Any


def posed(
    problem: Problem, data: Measured, t_scale: Any, model: Model, priors: Priors | None = None, bounded: bool = False
) -> Posed:
    """Pose the Bayesian problem that belongs to a problem of maximum likelihood.

    Args:
        problem: the persons in standard units.
        data: the same in the user's units.
        t_scale: the unit of time.
        model: which mixture.
        priors: scales; None for the default ones.
        bounded: whether knots keep the bounds of the problem; else they lie between the outer times.

    Raises: LawfulError for scales that cannot be, and where times leave a knot no room.
    """
    outer = np.quantile(data.t[np.isfinite(data.t)], OUTER) / t_scale
    low, high = problem.bounds if bounded or model.fixed else outer
    if model.curve == "BLS" and not model.fixed and not low < high:
        raise LawfulError(
            f"bayes: nine tenths of the times in {data.t_name!r} are {outer[0] * t_scale:g}, which leaves a knot no "
            "room. Fix: give knot_bounds=(low, high) to TrajectoryMixture."
        )
    moving = model.curve == "BLS" and not model.fixed
    width = SMOOTH * _median_gap(data.t) / t_scale if moving else 0.0
    scales = usable_priors(priors)

    def as_array(x: Any) -> jax.Array:
        return jnp.asarray(x, problem.panel.y.dtype)

    return Posed(
        jax.tree.map(as_array, scales), problem.panel, Bounds(as_array(low), as_array(high)),
        jnp.maximum(as_array(width), problem.width),
    )  # fmt: skip


@lru_cache(maxsize=64)
def posterior_program(model: Model, select: bool = False, far: bool = False) -> Callable[..., None]:
    """Give the program of a posterior: a function of `Posed`, the same one for the same arguments.

    Args:
        model: which mixture.
        select: whether a horseshoe selects covariates.
        far: whether parameters may lie so far out that numbers overflow, where there is no density.

    >>> posterior_program(Model("LIN", 2)) is posterior_program(Model("LIN", 2))
    True
    """

    def trajectories(at: Posed) -> None:
        parameters = draw_parameters(model, at.priors, at.knots, at.panel.n if select else 0)
        persons = log_likelihood(parameters, at.panel, model, at.width)
        lawful.factor("persons", jnp.where(jnp.isnan(persons), -jnp.inf, persons) if far else persons)

    return trajectories


@lru_cache(maxsize=64)
def started_program(model: Model, select: bool = False) -> Callable[..., None]:
    """Give the program of a posterior whose classes are drawn from a mixture: of `Posed` and `start`."""

    def trajectories(at: Posed, start: inference.SymmetricMixture) -> None:
        inference.start_from(start)(posterior_program(model, select, far=True))(at)

    return trajectories


def start_of(search: Search, at: Posed, model: Model, select: bool = False) -> inference.SymmetricMixture:
    """Make the mixture where the classes of a data set start, around the ends of a search.

    A horseshoe scales effects by what the search does not know, so these are drawn from the prior then.
    """
    ends = jax.vmap(lambda free: unpack(free, model, at.knots))(jnp.asarray(search.free))
    optima = sites_of(ends, model, at.knots)
    apart = {"gate", *shared_sites(model), *(["effect"] if select else [])}
    names = [name for name in optima if name not in apart]
    make = inference.laplace_mixture(posterior_program(model), "class", names)
    return make(optima, at, heights=search.heights)


def sampled(
    key: jax.Array,
    at: Posed,
    model: Model,
    method: str,
    settings: Mapping[str, Any],
    climbed: Callable[[], Search],
    select: bool = False,
) -> Result:
    """Draw from the posterior.

    Args:
        key: a key of `jax.random`.
        at: what it is conditioned on.
        model: which mixture.
        method: "smc", tempered sequential Monte Carlo from a law around the optima, or from the prior; or "nuts",
            chains from the optima.
        settings: particles and runs of the first; chains, warmup and draws of the second.
        climbed: gives the optima.
        select: whether a horseshoe selects covariates.

    Raises: LawfulError for a method or a setting that does not exist.
    """
    chosen = settings_of(method, settings, select)
    if method == "smc":
        from_optima = chosen.pop("start") == "optima" and model.n_classes <= MOST_CLASSES
        program = (started_program if from_optima else posterior_program)(model, select)
        many = model.n_classes > 1
        plan = _tempered(program, "class" if many else None, many and from_optima, **chosen)
        return plan(key, at, start_of(climbed(), at, model, select)) if from_optima else plan(key, at)
    plan = _chains(model, **chosen).starting(_starts(climbed(), at, model, chosen["chains"]))
    return plan(key, at)


def settings_of(method: str, settings: Mapping[str, Any], select: bool = False) -> dict[str, Any]:
    """Give all settings of a method, the usual ones where none is given.

    Raises: LawfulError for a method or a setting that does not exist, or a value that cannot be.

    >>> settings_of("nuts", {"draws": 100})
    {'chains': 4, 'warmup': 500, 'draws': 100}
    """
    if method not in USUAL:
        raise LawfulError(f"bayes: method={method!r}, expected one of {[*USUAL]}. Fix: give one of these.")
    if select and method != "smc":
        raise LawfulError("bayes: select='horseshoe' goes with method='smc'. Fix: leave method out.")
    refuse_unknown(f"bayes, method {method!r}", settings, USUAL[method])
    for name, value in settings.items():
        usual = USUAL[method][name]
        if isinstance(usual, str):
            right, wanted = bool(value in STARTS), f"one of {[*STARTS]}"
        elif isinstance(usual, int):
            least = 0 if name == "warmup" else 1
            right, wanted = bool(isinstance(value, int | np.integer) and value >= least), f"a whole number from {least}"
        else:
            most = 1.0 if name == "ladder" else math.inf
            right = bool(isinstance(value, int | float | np.number) and 0 < value < most)
            wanted = "a share between 0 and 1" if name == "ladder" else "a positive number"
        if not right or isinstance(value, bool):
            raise LawfulError(f"bayes: {name}={value!r}, expected {wanted}. Fix: give one; {usual} is usual.")
    chosen = {name: type(usual)(settings.get(name, usual)) for name, usual in USUAL[method].items()}
    if method == "smc" and chosen["particles"] % chosen["length"]:
        raise LawfulError(
            f"bayes: {chosen['particles']} particles are no whole number of chains of {chosen['length']} states. Fix: "
            "give a multiple."
        )
    return chosen


@lru_cache(maxsize=64)
def _tempered(
    program: Any, alike: str | None, redraws: bool, particles: int, runs: int, ladder: float, length: int,
    step_size: float, leapfrogs: int,
) -> Any:  # fmt: skip
    """Build the sampler once for each structure, so that a second data set of the same shape finds it compiled."""
    kernel: Any = inference.population_hmc(step_size, leapfrogs, jitter=JITTER, exchangeable=alike, adapt=True)
    if redraws:  # a class that nothing needs is as broad as its prior, where steps for the others take it nowhere
        kernel = inference.kernels.cycle(kernel, inference.kernels.redraw("class", one_class_redrawn))
    return inference.tempered_smc(
        program, particles=particles, runs=runs, kernel=kernel, ladder=inference.by_ess(ladder),
        chains=particles // length,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _chains(model: Model, chains: int, warmup: int, draws: int) -> Any:
    """Build the chains once for each structure; where they begin is known at the call."""
    return inference.mcmc(
        posterior_program(model), inference.kernels.nuts(), chains=chains, warmup=warmup, draws=draws, init={}
    )


def _starts(search: Search, at: Posed, model: Model, chains: int) -> dict[str, Any]:
    """Give each chain one of the regular ends of a search, the highest first, all of them in turn."""
    value = search.heights
    order = np.argsort(-value, kind="stable")
    near = order[value[order] > value[order[0]] - 1.0]
    chosen = np.resize(near if len(near) else order[:1], chains)
    ends = [unpack(jnp.asarray(search.free[i]), model, at.knots) for i in chosen]
    return sites_of(jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends), model, at.knots)


def climbed_for(at: Posed, model: Model, n_starts: int, seed: int) -> Search:
    """Climb the penalised likelihood, whose optima lie off the boundary, with knots between those of the prior."""
    return searched(Problem(at.panel, at.knots, at.width), model, n_starts, seed, penalised=True)


def _median_gap(t: np.ndarray) -> float:
    """Give the median time between two waves of a person."""
    gaps = np.diff(np.sort(np.where(np.isfinite(t), t, np.nan), axis=1), axis=1)
    gaps = gaps[np.isfinite(gaps) & (gaps > 0)]
    return float(np.median(gaps)) if len(gaps) else 0.0
