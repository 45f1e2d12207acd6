"""Climbs in batches, and what stands at their ends.

Law: an end depends on its start alone, not on what is climbed beside it. Batches of one size share a compiled program,
and several of them run at once where there are processors for it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference import map_parts

from ..model.parameters import Model
from .objective import Described, Problem, climb_all, describe_all
from .optimiser import Climbed, Schedule

__all__ = ["Ends", "Walk", "joined", "smallest_class"]

WIDTHS = (0.18, 0.09, 0.05, 0.02, 0.008, 0.0)  # of kinks, in ranges of time
LOOSE, TIGHT = 0.1, 1e-8  # promised gains that end a stage
STEPS = 300  # looks in a stage
BATCH = 4  # climbs of one call


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
        return int(np.argmax(self.heights))

    @property
    def heights(self) -> np.ndarray:
        """The values (m,); -inf for what is no number, and for degenerate ends where another end is regular."""
        finite = np.where(np.isfinite(self.value), self.value, -np.inf)
        regular = np.where(self.degenerate, -np.inf, finite)
        return regular if np.isfinite(regular).any() else finite

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of them, in order."""
        return tuple(getattr(self, field.name) for field in fields(Ends))

    def at(self, which: Any) -> Ends:
        """Give some of the ends."""
        return Ends(*(array[which] for array in self.arrays))


def joined(ends: Ends, more: Ends) -> Ends:
    """Give the ends of both."""
    return Ends(*(np.concatenate(both) for both in zip(ends.arrays, more.arrays, strict=True)))


def smallest_class(model: Model, persons: int) -> float:
    """Give the number of persons below which a class is degenerate: 5 % of all, or twice the growth factors and two."""
    return max(0.05 * persons, 2.0 * (model.form.q + 1)) if model.n_classes > 1 else 0.0


class Walk:
    """Climbs of one problem.

    Args:
        problem: what is climbed.
        model: which mixture.
        penalised: whether the penalty of the problem is added.
        map: an executor that climbs batches; see `inference.map_parts`.
    """

    def __init__(self, problem: Problem, model: Model, penalised: bool, map: Any = None) -> None:
        self.problem, self.model, self.penalised, self.map = problem, model, penalised, map
        gains = jnp.asarray([LOOSE] * (len(WIDTHS) - 1) + [TIGHT])
        self.schedule = Schedule(jnp.asarray(WIDTHS), gains, STEPS)
        self.direct = len(WIDTHS) - 1  # the stage without smoothing
        self.still = len(WIDTHS)  # no stage at all

    def climbed(self, free: np.ndarray, stage: Any, moving: Any = 1.0, start: Any = -1) -> Ends:
        """Climb from points.

        Args:
            free: the points (m, P).
            stage: where each begins (m,), or all of them.
            moving: 1 where a parameter may move (m, P), or everywhere.
            start: which start each comes from (m,), or all of them.
        """
        m, size = free.shape
        idle = -m % BATCH
        points = np.concatenate([free, np.zeros((idle, size))])
        stages = np.concatenate([np.broadcast_to(stage, m), np.full(idle, self.still)])
        moves = np.concatenate([np.broadcast_to(moving, free.shape), np.ones((idle, size))])
        same = self.schedule, self.problem, self.model, self.penalised
        parts: list[tuple[Any, ...]] = [
            (*(array[i : i + BATCH] for array in (points, moves, stages)), *same) for i in range(0, len(points), BATCH)
        ]
        if self.map is None:  # calls return at once, so that batches run side by side
            calls = [_climbed(*part) for part in parts]
        else:
            calls = map_parts(self.map, _climbed_elsewhere, parts)
        found, told = jax.tree.map(lambda *parts: np.concatenate([np.asarray(p) for p in parts])[:m], *calls)
        persons = self.problem.panel.n
        degenerate = ~(told.shares.min(axis=1) * persons >= smallest_class(self.model, persons))
        return Ends(
            found.free, np.where(np.isfinite(found.value), found.value, -np.inf), told.shares,
            np.broadcast_to(start, m), found.calm, degenerate, told.by_person,
        )  # fmt: skip


def _climbed(
    points: Any, moves: Any, stages: Any, schedule: Schedule, problem: Problem, model: Model, penalised: bool
) -> tuple[Climbed, Described]:
    """Climb a batch, and describe its ends."""
    part = (jnp.asarray(array) for array in (points, moves, stages))
    found = climb_all(*part, schedule, problem, model, penalised)
    return found, describe_all(found.free, problem, model)


def _climbed_elsewhere(*part: Any) -> tuple[Climbed, Described]:
    """Climb a batch for another process."""
    return jax.tree.map(np.asarray, _climbed(*part))
