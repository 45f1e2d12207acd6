"""The search for the highest likelihood: many starts, empty classes begun anew, polish, kinks, and an account of all.

Law: what is reported as best is at least as high as every start's end, degenerate ones apart: a class of hardly
anyone can make a likelihood as high as one likes, and means nothing. Seed and data decide the search.

Half of the starts see kinks smoothed, less from stage to stage; the other half see them as they are. Good optima are
shaken at their knots and climbed again; at last each knot is tried on the observed times beside it, since optima
often sit on one. Of many persons, a part is searched so, and its best optima are followed, shaken and tried at kinks
on all, a few times: what is reported is an optimum of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lawful.errors import NoFiniteStartError

from ..model.panels import taken
from ..model.parameters import Model, Parameters, free_shape, pack, unpack
from .batches import Ends, Walk, joined, smallest_class
from .objective import Problem
from .starts import random_starts, reseeded

__all__ = ["Search", "searched"]

SAME = 0.005  # log-likelihoods nearer than this are one optimum
SHAKEN = 4  # optima that are polished at once
ROUNDS = 3  # of polish, while it helps
MANY = 10_000  # persons from which a part is searched first
PART = 2_500  # persons of that part


@dataclass(frozen=True)
class Search(Ends):
    """All ends of a search.

    Attributes:
        lost: number of starts that ended at no finite value.
        left: number of starts that were not followed from a part of the persons to all.
    """

    lost: int = 0
    left: int = 0


def searched(
    problem: Problem,
    model: Model,
    n_starts: int,
    seed: int,
    smoothing: str = "mixed",
    penalised: bool = False,
    own: Parameters | None = None,
    map: Any = None,
) -> Search:
    """Search.

    Args:
        problem: what is climbed.
        model: which mixture.
        n_starts: number of random starts; 0 climbs from `own` alone.
        seed: of starts and of polish.
        smoothing: "mixed", "on" or "off": how many starts see kinks smoothed.
        penalised: whether the penalty of the problem is added.
        own: a start of the user's, in standard units.
        map: an executor that climbs batches of starts; see `inference.jobs`.

    Returns: all ends.

    Raises:
        NoFiniteStartError: no start ended at a finite value.
    """
    rng = np.random.default_rng(seed)
    walk, left = Walk(problem, model, penalised, map), 0
    if problem.panel.n > MANY:
        part = _part_of(problem, np.sort(rng.choice(problem.panel.n, PART, replace=False)))
        some = searched(part, model, n_starts, seed, smoothing, penalised, own, map)
        ends, left = _followed(some, walk)
        lost = some.lost
    else:
        ends = _climbed_from_starts(walk, n_starts, smoothing, own, rng)
        lost = int(np.sum(~np.isfinite(ends.value)))
    if lost == n_starts + (own is not None):
        raise NoFiniteStartError(
            f"TrajectoryMixture: none of {lost} starts ended at a finite likelihood. Fix: look at the outcome and "
            "the times for values that are not measurements, or take fewer classes."
        )
    for _ in range(ROUNDS):
        before = ends.value[ends.best]
        ends = joined(ends, walk.climbed(_shaken(ends, walk, n_starts, rng), walk.direct))
        if ends.value[ends.best] < before + SAME:
            break
    if model.curve == "BLS" and not model.intrinsic and not model.fixed:
        held = _at_kinks(ends, walk)  # an end that was held is an optimum only where it is the highest
        if held.value[held.best] > ends.value[ends.best] and not held.degenerate[held.best]:
            ends = joined(ends, held.at([held.best]))
    return Search(**vars(ends), lost=lost, left=left)


def _part_of(problem: Problem, persons: np.ndarray) -> Problem:
    """Give the problem of some persons; classes borrow as many fewer."""
    pooling, share = problem.pooling, len(persons) / problem.panel.n
    fewer = None if pooling is None else pooling._replace(persons=pooling.persons * share)
    return problem._replace(panel=taken(problem.panel, persons), pooling=fewer)


def _climbed_from_starts(
    walk: Walk, n_starts: int, smoothing: str, own: Parameters | None, rng: np.random.Generator
) -> Ends:
    problem, model = walk.problem, walk.model
    starts = random_starts(problem.panel, model, problem.bounds, n_starts, rng) + ([] if own is None else [own])
    free = np.array([pack(at, model, problem.bounds) for at in starts])
    kinked = model.curve == "BLS" and smoothing != "off"
    stage = np.full(len(free), walk.direct)
    stage[:: 1 if smoothing == "on" else 2] = 0 if kinked else walk.direct
    stage[n_starts:] = walk.direct  # a start of the user's is climbed from where it is
    ends = walk.climbed(free, stage, start=np.arange(len(free)))
    return _kept(ends, _refilled(ends, walk, rng))


def _followed(some: Search, walk: Walk) -> tuple[Ends, int]:
    """Follow the best optima of a part of the persons to all of them; starts count for where their optimum leads.

    Returns: an end for each start, or polish, whose optimum was followed, and the number of starts left behind.
    """
    best = distinct(some)[:SHAKEN]
    ends = walk.climbed(some.free[best], walk.direct)
    rows, start = [], []
    for row, i in enumerate(best):
        own = np.flatnonzero((np.abs(some.value - some.value[i]) <= SAME) & (some.degenerate == some.degenerate[i]))
        rows += [row] * len(own)
        start += some.start[own].tolist()
    followed = replace(ends.at(rows), start=np.array(start))
    return followed, int(np.sum(some.start >= 0) - np.sum(followed.start >= 0))


def _refilled(ends: Ends, walk: Walk, rng: np.random.Generator) -> Ends:
    """Begin the small classes of degenerate ends anew, and climb again; others stay where they are."""
    problem, model = walk.problem, walk.model
    free = ends.free.copy()
    few = smallest_class(model, problem.panel.n) / problem.panel.n
    for i in np.flatnonzero(ends.degenerate & np.isfinite(ends.value)):
        at = unpack(free[i], model, problem.bounds)
        worst = np.argsort(ends.by_person[i])[: max(15, problem.panel.n // (2 * model.n_classes))]
        again = reseeded(at, ends.shares[i] < few, worst, problem.panel, model, problem.bounds, rng)
        free[i] = np.asarray(pack(again, model, problem.bounds))
    return walk.climbed(free, np.where(ends.degenerate, walk.direct, walk.still), start=ends.start)


def _kept(ends: Ends, again: Ends) -> Ends:
    """Take what a second climb found, where the first was degenerate and the second is finite."""
    better = ends.degenerate & np.isfinite(again.value)
    pairs = zip(ends.arrays, again.arrays, strict=True)
    return Ends(*(np.where(better.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in pairs))


def distinct(ends: Ends) -> list[int]:
    """Give the best end of each optimum, the highest first, degenerate ones after the others."""
    order = np.argsort(-np.where(ends.degenerate, ends.value - 1e6, ends.value), kind="stable")
    kept: list[int] = []
    for i in order[np.isfinite(ends.value[order])]:
        if not kept or ends.value[kept[-1]] - ends.value[i] > SAME:
            kept.append(int(i))
    return kept


def _shaken(ends: Ends, walk: Walk, n_starts: int, rng: np.random.Generator) -> np.ndarray:
    """Shake the best optima: shapes by 1 to 6 % of the range of times, entries of C near 0 lifted off it.

    Where half of the starts agree on the best, few shakes are enough.
    """
    model = walk.model
    own = ends.value[ends.start >= 0]
    agree = np.mean(own > ends.value[ends.best] - SAME) if len(own) else 0.0
    count = 2 * SHAKEN if agree >= 0.5 else max(n_starts, 2 * SHAKEN)
    count = SHAKEN if walk.problem.panel.n > MANY else count
    free = ends.free[np.resize(distinct(ends)[:SHAKEN], count)].copy()
    shapes, chol = (np.unique(model.places(block)) for block in ("shape", "chol"))
    strength = rng.uniform(0.04, 0.3, size=(count, 1))
    free[:, shapes] += strength * rng.normal(size=(count, len(shapes)))
    near = np.abs(free[:, chol]) < 0.02
    free[:, chol] += np.where(near, 0.1 * rng.normal(size=near.shape), 0.0)
    return free


def _at_kinks(ends: Ends, walk: Walk) -> Ends:
    """Hold one knot of the best end at an observed time beside it, and climb with all else."""
    problem, model = walk.problem, walk.model
    best = ends.free[ends.best]
    low, high = float(problem.bounds.low), float(problem.bounds.high)
    times = np.unique(np.asarray(problem.panel.t)[np.asarray(problem.panel.mask) > 0])
    times = times[(times > low) & (times < high)]
    shapes, own = np.unique(model.places("shape")[:, 0], return_index=True)
    knots = np.asarray(unpack(best, model, problem.bounds).shape)[own, 0]
    count = 1 if problem.panel.n > MANY else 3
    near = [times[np.argsort(np.abs(times - knot))[:count]] for knot in knots]
    free = np.tile(best, (sum(map(len, near)), 1))
    moving = np.ones_like(free)
    rows, places = np.arange(len(free)), np.repeat(shapes, [len(each) for each in near])
    free[rows, places] = np.asarray(free_shape(np.concatenate(near), model, problem.bounds))
    moving[rows, places] = 0.0
    return walk.climbed(free, walk.direct, moving) if len(free) else ends.at([ends.best])
