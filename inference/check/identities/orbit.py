"""Orbit: whether a kernel's choice of a point on a trajectory keeps exp(-energy), exactly.

Law: a kernel that goes along an orbit of a map that keeps volume uses the map only as a shift. On a row of integers,
with any energies, none outside a window, and any symmetric table of which stretches turn, the transition matrix of the
choice keeps the weights exp(-energy). All values of all coins are enumerated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.compile_options import QUICK
from lawful.errors import LawfulError

from ...kernels.gradient.trajectories import Phase
from ..statistics.keys import key_of
from ..statistics.report import Report

TOLERANCE = 1e-12
SIZES = (6, 8, 10, 12)
BATCH = 1024  # paths that run side by side


def orbit(kernel: Any, *, tables: int = 24, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> Report:
    """Check the choice of a point of a Hamiltonian kernel on random finite orbits.

    Args:
        kernel: a kernel of `kernels.hmc`, `kernels.mala` or `kernels.nuts` of max_depth 3 or less; or any object whose
            `move.on_integers(start, shifted, log_weight, turning, flip)` moves along an orbit by coins.
        tables: number of random tables of energies and turns.
        sizes: numbers of points of the window, in turn.
        seed: of the tables.

    Returns: a report whose `tv` is the largest total variation of pi K and pi.

    Reference: Betancourt (2017), A conceptual introduction to Hamiltonian Monte Carlo, appendix A.

    >>> from lawful.inference import kernels
    >>> report = orbit(kernels.hmc(0.1, 3), tables=4)
    >>> report.passed, report.tv < 1e-12
    (True, True)
    """
    move: Any = getattr(kernel, "move", None)
    if not hasattr(move, "on_integers"):
        raise LawfulError(
            f"orbit: {kernel!r} does not move along orbits. Fix: give kernels.hmc, kernels.mala or kernels.nuts, or an "
            "object with `move.on_integers`."
        )
    if getattr(move, "max_depth", 0) > 3:
        raise LawfulError(f"orbit: the coins of depth {move.max_depth} are too many. Fix: give max_depth=3 or less.")
    with jax.enable_x64(True):
        rng = np.random.default_rng([seed, int(jax.random.key_data(key_of(f"orbit/{kernel!r}"))[-1])])
        errors, paths, seen = [], 0, {"turned": set[bool](), "moved": set[bool]()}
        for number in range(tables):
            size, turning = sizes[number % len(sizes)], (0.0, 0.1, 0.3)[number % 3]
            table = random_table(rng, size, turning, max(sizes))
            matrix, count = transitions(move, table)
            weights = np.exp(-table.energies)
            pi = weights / weights.sum()
            errors.append(max(0.5 * np.abs(pi @ matrix - pi).sum(), np.abs(matrix.sum(1) - 1).max()))
            paths += count
            seen["turned"].add(bool(table.turns.any()))
            seen["moved"].add(bool(np.any(np.diag(matrix) < 1)))
    worst = float(max(errors))
    return Report(
        status="passed" if worst <= TOLERANCE else "failed", law=f"{move!r} keeps exp(-energy) on orbits",
        level="exact", tv=worst, paths=paths, instances=tables, coverage=seen,
        worst=(f"table {int(np.argmax(errors))}", worst),
        repro=f"lawful.inference.check.orbit(kernel, tables={tables}, sizes={sizes}, seed={seed})",
    )  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Energies of a row of integers from 0, infinite at the end, and whether the stretch from one to another turns."""

    energies: np.ndarray | jax.Array
    turns: np.ndarray | jax.Array

    def start(self, place: Any) -> Phase:
        """Stand at a place; its momentum is its number."""
        at = jnp.asarray(place, float)[None]
        return Phase(at, at, jnp.zeros(()), jnp.zeros(1))

    def log_weight(self, phase: Phase) -> jax.Array:
        """Minus the energy; outside the window nothing weighs."""
        place = jnp.round(phase.position[0]).astype(int)
        inside = (place >= 0) & (place < len(self.energies))
        return jnp.where(inside, -jnp.asarray(self.energies)[jnp.clip(place, 0, len(self.energies) - 1)], -jnp.inf)

    def turning(self, first: jax.Array, last: jax.Array, total: jax.Array) -> jax.Array:
        """Look up the stretch between two places; a wrong sum over the stretch gives the wrong answer."""
        a, b = jnp.broadcast_arrays(first[..., 0], last[..., 0])
        low, high = jnp.minimum(a, b), jnp.maximum(a, b)
        expected = 0.5 * (low + high) * (high - low + 1)
        places = [jnp.clip(jnp.round(x).astype(int), 0, len(self.energies) - 1) for x in (low, high)]
        return jnp.asarray(self.turns)[places[0], places[1]] ^ (jnp.abs(total[..., 0] - expected) > 0.5)


def shifted(phase: Phase, direction: Any) -> Phase:
    """Go to the next integer."""
    at = phase.position + direction
    return phase._replace(position=at, momentum=at)


def random_table(rng: np.random.Generator, size: int, turning: float, room: int) -> Table:
    """Draw energies, and each stretch of two places or more as one that turns with a given probability."""
    turns = np.triu(rng.random((room, room)) < turning, 1)
    energies = np.where(np.arange(room) < size, rng.normal(scale=2.0, size=room), np.inf)
    return Table(energies, turns | turns.T)


class _Coins:
    """Answers coins by a given sequence, then by the first outcome that has a probability; notes all of them."""

    def __init__(self, given: jax.Array, fixed: Any) -> None:
        self.given, self.fixed = given, fixed
        self.odds: list[jax.Array] = []
        self.answers: list[jax.Array] = []

    def __call__(self, odds: Any) -> jax.Array:
        at = len(self.odds)
        answer = jnp.where(at < self.fixed, self.given[min(at, len(self.given) - 1)], odds > 0)
        self.odds.append(jnp.asarray(odds, float))
        self.answers.append(answer)
        return answer


def transitions(move: Any, table: Table) -> tuple[np.ndarray, int]:
    """Enumerate a move from every place of a table.

    Returns: the transition matrix, and the number of sequences of coins.
    """
    size = len(table.energies)
    count = _count_coins(move, table)
    run = _compiled(move, size, count)
    matrix, total = np.eye(size) * ~np.isfinite(table.energies), 0
    todo: list[tuple[int, np.ndarray, int]] = [
        (int(place), np.zeros(count, bool), 0) for place in np.flatnonzero(np.isfinite(table.energies))
    ]
    while todo:
        now, todo = todo[:BATCH], todo[BATCH:]
        padded = now + [now[0]] * (BATCH - len(now))
        places, given, fixed = (np.array([row[i] for row in padded]) for i in range(3))
        ends, odds, answers = (
            np.asarray(x)[: len(now)] for x in run(table.energies, table.turns, places, given, fixed)
        )
        for (place, _, known), end, p, taken in zip(now, ends, odds, answers, strict=True):
            matrix[place, int(round(end))] += np.prod(np.where(taken, p, 1.0 - p))
            for coin in np.flatnonzero((p > 0) & (p < 1)):
                if coin >= known:
                    other = taken.copy()
                    other[coin] = not taken[coin]
                    todo.append((place, other, int(coin) + 1))
        total += len(now)
    return matrix, total


def _path(move: Any, table: Table, place: Any, given: jax.Array, fixed: Any) -> Any:
    coins = _Coins(given, fixed)
    end = move.on_integers(table.start(place), shifted, table.log_weight, table.turning, coins)
    return end.position[0], jnp.stack(coins.odds), jnp.stack(coins.answers)


def _count_coins(move: Any, table: Table) -> int:
    shape = jax.eval_shape(lambda given: _path(move, table, 0, given, 0), jnp.zeros(1, bool))[1].shape
    return int(shape[0])


def _compiled(move: Any, size: int, count: int) -> Callable[..., Any]:
    def one(energies: Any, turns: Any, place: Any, given: Any, fixed: Any) -> Any:
        return _path(move, Table(energies, turns), place, given, fixed)

    mapped = jax.vmap(one, (None, None, 0, 0, 0))
    return _kept(repr(move), size, count, jax.jit(mapped, compiler_options=QUICK))


_functions: dict[tuple[str, int, int], Callable[..., Any]] = {}


def _kept(name: str, size: int, count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile once for all tables of a size."""
    return _functions.setdefault((name, size, count), function)
