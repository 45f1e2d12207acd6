"""Population of eager runs: importance sampling, and sequential Monte Carlo by replay.

Law: both are properly weighted, for programs of any structure. A particle is a run that stands at a pause; to go on,
the program is run again from its start with the choices so far. Particles are aligned by the number of observations and
factors that they have met, whichever these are. A run of weight zero is not continued: nothing can give it weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from lawful.distributions.protocol import BoundLaw

from ..contract import Contract
from ..laws.picks import PickLaw
from ..laws.resampling_schemes import ResampleLaw
from .decisions import decision
from .run import START, Run
from .running import placed_in, run
from .sites import own_factor, own_site

SCOPE = "~filter"
CONTRACT = Contract("properly_weighted", target="the program's measure", parametric=True)


@dataclass(frozen=True)
class Settings:
    """What an algorithm of this family does.

    Attributes:
        particles: number of particles.
        scheme: the resampling scheme.
        resample_below: resample when the effective sample size is below this fraction of the particles; None: always.
        pauses: whether particles stop at each observation or factor; importance sampling does not.
        nonfinite: what a NaN weight means, "error" or "dead".
    """

    particles: int
    scheme: Any
    resample_below: float | None = 0.5
    pauses: bool = True
    nonfinite: str = "error"


@dataclass(frozen=True)
class Population:
    """Weighted runs, and the evidence that was put forward.

    Attributes:
        runs: the particles.
        log_weight: natural log of their weights, of mean one unless all are zero.
        log_evidence: natural log of an unbiased estimate of the evidence.
        roots: which particle of the start each descends from.
        stats: numbers of each stage.
    """

    runs: tuple[Run, ...]
    log_weight: np.ndarray
    log_evidence: float
    roots: np.ndarray
    stats: dict[str, list[float]] = field(default_factory=dict)

    @property
    def weight(self) -> np.ndarray:
        """Weights, the largest being one; all zero for a dead population."""
        return _scaled(self.log_weight)[0]

    @property
    def dead(self) -> bool:
        """Whether every particle has weight zero."""
        return self.log_evidence == -math.inf


def filtered(model: Callable[..., Any], args: tuple[Any, ...], settings: Settings) -> Population:
    """Run a population to the end of the program; a program itself, whose ancestors and choices are sites.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful.inference.eager.drawing import Draws
    >>> from lawful.inference.laws.resampling_schemes import scheme
    >>> from lawful.messages import only
    >>> def flips():
    ...     if lawful.sample("again", dist.Bernoulli(0.5)) == 1:
    ...         lawful.factor("cost", -0.1)
    ...         with lawful.scope("next"):
    ...             flips()
    >>> with only(Draws(jax.random.key(0))):
    ...     population = filtered(flips, (), Settings(4, scheme("systematic")))
    >>> len(population.runs), all(run.finished for run in population.runs)
    (4, True)
    """
    size = settings.particles
    population = Population((START,) * size, np.zeros(size), 0.0, np.arange(size))
    stage, ess = 0, float(size)
    while not population.dead and not all(r.finished or r.dead for r in population.runs):
        resampling = stage > 0 and _wanted(ess, settings)
        unique = math.nan if not stage else float(size)
        if resampling:
            population, unique = _resampled(population, settings, stage)
        population, ess = _weighed(population, _advanced(model, args, population.runs, settings, stage))
        population.stats.setdefault("resampled", []).append(float(resampling))
        population.stats.setdefault("n_unique", []).append(unique)
        stage += 1
    return population


def _wanted(ess: float, settings: Settings) -> bool:
    if settings.resample_below is None:
        return True
    return bool(decision("resample?", ess < settings.resample_below * settings.particles))


def _resampled(population: Population, settings: Settings, stage: int) -> tuple[Population, float]:
    """Draw ancestors, and count the distinct ones."""
    ancestors = indices_by_weight("ancestors", population.weight, settings, stage)
    after = replace(
        population,
        runs=tuple(population.runs[a] for a in ancestors),
        log_weight=np.zeros(len(ancestors)),
        roots=population.roots[ancestors],
    )
    return after, float(len(np.unique(ancestors)))


def indices_by_weight(name: str, weight: np.ndarray, settings: Settings, *indices: int) -> np.ndarray:
    """Draw as many indices as there are particles, by the resampling scheme: one site of the algorithm."""
    law = ResampleLaw(settings.scheme, len(weight), len(weight))
    return np.asarray(own_site(SCOPE, name, BoundLaw(law, (weight,)), *indices))


def _advanced(
    model: Callable[..., Any], args: tuple[Any, ...], runs: Sequence[Run], settings: Settings, stage: int
) -> list[Run]:
    """Take every particle to its next pause."""
    go_on = partial(run, model, args, pause=settings.pauses, nonfinite=settings.nonfinite)
    return [r if r.finished or r.dead else go_on(placed_in(stage, last=slot), after=r) for slot, r in enumerate(runs)]


def _weighed(population: Population, runs: Sequence[Run]) -> tuple[Population, float]:
    """Multiply the weights by what the runs met, and put their mean forward as evidence."""
    pairs = list(zip(population.runs, runs, strict=True))
    gained = np.array([0.0 if old.dead else new.log_weight - old.log_weight for old, new in pairs])
    cut = np.array([new.log_cut - old.log_weight if new is not old else -math.inf for old, new in pairs])
    log_weight = population.log_weight + gained
    scaled, top = _scaled(log_weight)
    total = float(scaled.sum())
    increment = top + math.log(total / len(scaled)) if total > 0 else -math.inf
    ess = total**2 / float((scaled**2).sum()) if total > 0 else 0.0
    lost, scale = _scaled(population.log_weight + cut)
    for name, number in (
        ("log_evidence_increment", increment),
        ("ess", ess),
        ("n_nonfinite", float(sum(new.n_nonfinite - old.n_nonfinite for old, new in pairs))),
        ("log_cut", population.log_evidence + scale + _log(float(lost.mean()))),
    ):
        population.stats.setdefault(name, []).append(number)
    after = replace(
        population,
        runs=tuple(runs),
        log_weight=log_weight - (increment if total > 0 else 0.0),
        log_evidence=population.log_evidence + increment,
    )
    return after, ess


def _scaled(log_weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights whose largest is one, and the log of what they were divided by."""
    top = float(log_weight.max())
    shift = top if math.isfinite(top) else 0.0
    return np.exp(log_weight - shift), shift


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


def collapsed(population: Population) -> Run:
    """Pick one run by its weight, and put the evidence forward as a factor: then the algorithm denotes the program."""
    law = PickLaw(len(population.runs))
    pick = int(own_site(SCOPE, "pick", BoundLaw(law, (population.weight,))))
    own_factor(SCOPE, "evidence", population.log_evidence)
    return population.runs[pick]
