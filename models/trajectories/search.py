"""The search for the highest likelihood: many starts, empty classes begun anew, polish, kinks, and an account of all.

Law: what is reported as best is at least as high as every start's end, degenerate ones apart: a class of hardly
anyone can make a likelihood as high as one likes, and means nothing. Seed and data decide the search.

Half of the starts see kinks smoothed, less from stage to stage; the other half see them as they are. Good optima are
shaken at their knots and climbed again; at last each knot is tried on the observed times beside it, since optima
often sit on one.

Source: specification sections 8.2 to 8.4.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import NoFiniteStartError

from .climbing import Schedule
from .engine import Problem, climb_all, describe_all
from .parameters import Model, Parameters, pack, unpack
from .starts import random_starts, reseeded

__all__ = ["Search", "searched", "smallest_class"]

WIDTHS = (0.18, 0.09, 0.05, 0.02, 0.008, 0.0)  # of kinks, in ranges of time
LOOSE, TIGHT = 0.1, 1e-8  # promised gains that end a stage
STEPS = 300  # evaluations in a stage
SAME = 0.005  # log-likelihoods nearer than this are one optimum
SHAKEN = 4  # optima that are polished at once
ROUNDS = 3  # of polish, while it helps


@dataclass(frozen=True)
class Ends:
    """Ends of climbs, in standard units.

    Attributes:
        free: the points (m, P), and
        value: their log-likelihoods, a penalty included (m,).
        shares: mean membership of each class (m, K).
        start: which start each came from (m,), -1 for polish.
        calm: whether the climb came to rest (m,).
        degenerate: whether a class has fewer persons than can be told from chance (m,).
        by_person: log-likelihood of each person (m, n).
    """

    free: np.ndarray
    value: np.ndarray
    shares: np.ndarray
    start: np.ndarray
    calm: np.ndarray
    degenerate: np.ndarray
    by_person: np.ndarray

    @property
    def best(self) -> int:
        """Which is the highest, degenerate ones apart."""
        regular = np.where(self.degenerate, -np.inf, self.value)
        return int(np.argmax(regular if np.isfinite(regular).any() else self.value))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of them, in order."""
        return tuple(getattr(self, field.name) for field in fields(Ends))


@dataclass(frozen=True)
class Search(Ends):
    """All ends of a search; `lost` is the number of starts that ended at no finite value."""

    lost: int = 0


def smallest_class(model: Model, persons: int) -> float:
    """Give the number of persons below which a class is degenerate: 5 % of all, or twice the growth factors and two."""
    return max(0.05 * persons, 2.0 * (model.form.q + 1)) if model.n_classes > 1 else 0.0


def searched(
    problem: Problem,
    model: Model,
    n_starts: int,
    seed: int,
    smoothing: str = "mixed",
    penalised: bool = False,
    own: Parameters | None = None,
) -> Search:
    """Search.

    Args:
        problem: what is climbed.
        model: which mixture.
        n_starts: number of random starts; 0 climbs from `own` alone.
        seed: of starts and of polish.
        smoothing: "mixed", "on" or "off": how many starts see kinks smoothed.
        penalised: whether the weak penalty is added.
        own: a start of the user's, in standard units.

    Returns: all ends.

    Raises:
        NoFiniteStartError: no start ended at a finite value.
    """
    rng = np.random.default_rng(seed)
    walk = _Walk(problem, model, max(n_starts + (own is not None), 8), penalised)
    free = _packed(random_starts(problem.panel, model, problem.bounds, n_starts, rng), problem, model, n_starts)
    if own is not None:
        free = np.concatenate([free, np.asarray(pack(own, model, problem.bounds))[None]])
    kinked = model.curve == "BLS" and smoothing != "off"
    stage = np.full(len(free), walk.direct)
    stage[:: 1 if smoothing == "on" else 2] = 0 if kinked else walk.direct
    ends = walk.climbed(free, stage, start=np.arange(len(free)))
    ends = _kept(ends, _refilled(ends, walk, rng))
    lost = int(np.sum(~np.isfinite(ends.value)))
    if lost == len(free):
        raise NoFiniteStartError(
            f"TrajectoryMixture: none of {lost} starts ended at a finite likelihood. Fix: look at the outcome and "
            "the times for values that are not measurements, or take fewer classes."
        )
    for _ in range(ROUNDS):
        before = ends.value[ends.best]
        ends = _with(ends, walk.climbed(_shaken(ends, walk, rng), walk.direct))
        if ends.value[ends.best] < before + SAME:
            break
    if model.curve == "BLS" and not model.intrinsic:
        held = _at_kinks(ends, walk)  # an end that was held is an optimum only where it is the highest
        if held.value[held.best] > ends.value[ends.best] and not held.degenerate[held.best]:
            ends = _with(ends, Ends(*(array[[held.best]] for array in held.arrays)))
    return Search(**vars(ends), lost=lost)


class _Walk:
    """Climbs in batches of one size, so that they share a compiled program."""

    def __init__(self, problem: Problem, model: Model, batch: int, penalised: bool) -> None:
        self.problem, self.model, self.batch, self.penalised = problem, model, batch, penalised
        gains = jnp.asarray([LOOSE] * (len(WIDTHS) - 1) + [TIGHT])
        self.schedule = Schedule(jnp.asarray(WIDTHS), gains, STEPS)
        self.direct = len(WIDTHS) - 1  # the stage without smoothing

    def climbed(self, free: np.ndarray, stage: Any, moving: Any = 1.0, start: Any = -1) -> Ends:
        """Climb from points (m, P) with m <= batch."""
        m = len(free)
        idle = self.batch - m
        points = np.concatenate([free, np.zeros((idle, self.model.size))])
        stages = np.concatenate([np.broadcast_to(stage, m), np.full(idle, len(WIDTHS))])
        moves = np.concatenate([np.broadcast_to(moving, free.shape), np.ones((idle, self.model.size))])
        found = climb_all(
            jnp.asarray(points), jnp.asarray(moves), jnp.asarray(stages), self.schedule, self.problem, self.model,
            self.penalised,
        )  # fmt: skip
        told = describe_all(found.free, self.problem, self.model)
        shares = np.asarray(told.shares)[:m]
        value = np.asarray(found.value)[:m]
        few = smallest_class(self.model, self.problem.panel.n)
        return Ends(
            np.asarray(found.free)[:m], np.where(np.isfinite(value), value, -np.inf), shares,
            np.broadcast_to(start, m), np.asarray(found.calm)[:m],
            ~(shares.min(axis=1) * self.problem.panel.n >= few), np.asarray(told.by_person)[:m],
        )  # fmt: skip


def _refilled(ends: Ends, walk: _Walk, rng: np.random.Generator) -> Ends:
    """Begin the small classes of degenerate ends anew, and climb again; others stay where they are."""
    problem, model = walk.problem, walk.model
    free = ends.free.copy()
    few = smallest_class(model, problem.panel.n) / problem.panel.n
    for i in np.flatnonzero(ends.degenerate & np.isfinite(ends.value)):
        at = jax.tree.map(lambda leaf: leaf[..., 0], unpack(free[i][:, None], model, problem.bounds))
        worst = np.argsort(ends.by_person[i])[: max(15, problem.panel.n // (2 * model.n_classes))]
        again = reseeded(at, ends.shares[i] < few, worst, problem.panel, model, problem.bounds, rng)
        free[i] = np.asarray(pack(jax.tree.map(jnp.asarray, again), model, problem.bounds))
    stage = np.where(ends.degenerate, walk.direct, len(WIDTHS))
    return walk.climbed(free, stage, start=ends.start)


def _kept(ends: Ends, again: Ends) -> Ends:
    """Take what a second climb found, where the first was degenerate and the second is finite."""
    taken = ends.degenerate & np.isfinite(again.value)
    pairs = zip(ends.arrays, again.arrays, strict=True)
    return Ends(*(np.where(taken.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in pairs))


def _with(ends: Ends, more: Ends) -> Ends:
    return Ends(*(np.concatenate(both) for both in zip(ends.arrays, more.arrays, strict=True)))


def _packed(starts: Parameters, problem: Problem, model: Model, count: int) -> np.ndarray:
    if not count:
        return np.zeros((0, model.size))
    return np.asarray(jax.jit(jax.vmap(lambda at: pack(at, model, problem.bounds)))(starts))


def _distinct(ends: Ends) -> list[int]:
    """Give the best end of each optimum, the highest first, degenerate ones left out where others are."""
    order = np.argsort(-np.where(ends.degenerate, ends.value - 1e6, ends.value), kind="stable")
    kept: list[int] = []
    for i in order[np.isfinite(ends.value[order])]:
        if not kept or ends.value[kept[-1]] - ends.value[i] > SAME:
            kept.append(int(i))
    return kept


def _shaken(ends: Ends, walk: _Walk, rng: np.random.Generator) -> np.ndarray:
    """Shake the best optima: shapes by 1 to 6 % of the range of times, entries of C near 0 lifted off it.

    Where half of the starts agree on the best, few shakes are enough.
    """
    model = walk.model
    own = ends.value[ends.start >= 0]
    agree = np.mean(own > ends.value[ends.best] - SAME) if len(own) else 0.0
    count = min(walk.batch, 2 * SHAKEN) if agree >= 0.5 else walk.batch
    free = ends.free[np.resize(_distinct(ends)[:SHAKEN], count)].copy()
    shapes, chol = model.places("shape").reshape(-1), model.places("chol").reshape(-1)
    strength = rng.uniform(0.04, 0.3, size=(count, 1))
    free[:, shapes] += strength * rng.normal(size=(count, len(shapes)))
    near = np.abs(free[:, chol]) < 0.02
    free[:, chol] += np.where(near, 0.1 * rng.normal(size=near.shape), 0.0)
    return free


def _at_kinks(ends: Ends, walk: _Walk) -> Ends:
    """Hold one knot of the best end at an observed time beside it, and climb with all else."""
    problem, model = walk.problem, walk.model
    best = ends.free[ends.best]
    times = np.unique(np.asarray(problem.panel.t)[np.asarray(problem.panel.mask) > 0])
    times = times[(times > float(problem.bounds.low)) & (times < float(problem.bounds.high))]
    knots = model.places("shape").reshape(-1)
    each = max(1, walk.batch // len(knots))
    frees, moves = [], []
    for place, knot in zip(knots, np.asarray(unpack(best[:, None], model, problem.bounds).shape)[:, 0, 0], strict=True):
        for time in times[np.argsort(np.abs(times - knot))[: min(each, 3)]]:
            share = (time - float(problem.bounds.low)) / (float(problem.bounds.high) - float(problem.bounds.low))
            frees.append(best.copy())
            frees[-1][place] = np.log(share) - np.log1p(-share)
            moves.append(np.ones(model.size))
            moves[-1][place] = 0.0
    frees, moves = frees[: walk.batch], moves[: walk.batch]
    return walk.climbed(np.array(frees).reshape(-1, model.size), walk.direct, np.array(moves).reshape(-1, model.size))
