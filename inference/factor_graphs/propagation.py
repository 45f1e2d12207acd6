"""Propagation: loopy belief propagation on a graph, from potentials to beliefs, verdict and certificate.

Law: the answer says how the run ended. With counting numbers one on a forest a converged answer is exact; elsewhere its
log_z is that of the Bethe free energy, or of the bound that its counting numbers belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lawful.errors import LawfulError

from .beliefs import Beliefs
from .columns import class_rows
from .free_energy import inconsistency, log_z, point_at, probabilities
from .graph import FactorGraph, Potentials
from .loopy import CEILING, Run, Settings, run
from .messages import Messages, Net, net_of, scores_of
from .structure import Structure
from .verdicts import Certificate, Kind, number_of

SCHEDULES = ("flooding", "residual")


def propagated(
    graph: FactorGraph,
    *,
    temperature: float | None = 1.0,
    counting: Sequence[Any] | None = None,
    damping: float | None = None,
    max_iters: int = 500,
    tol: float | None = None,
    schedule: str = "flooding",
    init: Beliefs | None = None,
) -> Beliefs:
    """Send messages until they stay.

    Args:
        graph: the graph, with its evidence.
        temperature: 1 for sums of products; None for largest products, whose beliefs are those of the best states.
        counting: for each group of factors, counting numbers: one, or an array (G,). Default: one, the Bethe numbers.
        damping: share of the old message in the new one, in [0, 1); None raises it whenever the residual does not fall.
        max_iters: largest number of sweeps.
        tol: the residual at which the run ends; default 1e-4 in float32 and 1e-9 in float64.
        schedule: "flooding" or "residual".
        init: an answer of the same structure, whose messages are the first.

    Raises: LawfulError for settings out of range, and for an `init` of another structure.
    """
    structure, potentials = graph.structure, graph.potentials
    if schedule not in SCHEDULES:
        raise LawfulError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}.")
    if damping is not None and not 0 <= damping < 1:
        raise LawfulError(f"damping: expected a share in [0, 1), or None, got {damping}.")
    if max_iters < 1:
        raise LawfulError(f"max_iters: expected at least 1, got {max_iters}.")
    if init is not None and (init.structure != structure or init.messages is None):
        raise LawfulError(
            "init: expected the answer of belief propagation on a graph of this structure "
            f"({structure.digest[:12]}), got {'no messages' if init.messages is None else init.structure.digest[:12]}."
        )
    numbers = _counting(structure, counting)
    settings = Settings(_may_exclude(potentials), temperature, damping is None, max_iters, schedule)
    eps = 1e-4 if _precision(potentials) == np.float32 else 1e-9
    limit = min(eps if tol is None else tol, CEILING)
    found = _program(structure, settings)(
        potentials, numbers, limit, damping or 0.0, None if init is None else init.messages
    )
    kind: Kind = "max" if temperature is None else "bethe" if counting is None else "fractional"
    forest = counting is None and is_forest(structure)
    certificate: Certificate = "exact" if forest and _converged(found[3]) else "none"
    return Beliefs(structure, *found, log_z_kind=kind, certificate=certificate, method=f"loopy ({schedule})")


def is_forest(structure: Structure) -> bool:
    """Tell whether no cycle of variables and factors exists."""
    return _forest(structure)


@lru_cache(maxsize=128)
def _forest(structure: Structure) -> bool:
    number, ends = structure.size, [np.zeros((2, 0), np.int64)]
    for group in structure.groups:
        factor = np.repeat(number + np.arange(group.size), group.arity)
        ends.append(np.stack([group.scopes.reshape(-1), factor]))
        number += group.size
    pairs = np.concatenate(ends, axis=1)
    whole = coo_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=(number, number))
    # A forest has as many components as it has vertices more than edges; every other graph has more.
    return bool(connected_components(whole, directed=False)[0] == number - pairs.shape[1])


def _counting(structure: Structure, counting: Sequence[Any] | None) -> tuple[Any, ...]:
    net = net_of(structure)
    if counting is None:
        return (1.0,) * len(net.groups)
    if len(counting) != len(structure.groups):
        raise LawfulError(f"counting: expected numbers for {len(structure.groups)} groups, got {len(counting)}.")
    found = []
    for k, shape in zip(net.groups, net.shapes, strict=True):
        numbers = jnp.asarray(counting[k])
        found.append(numbers if numbers.ndim == 0 else numbers.reshape(shape))
    return tuple(found)


@lru_cache(maxsize=256)
def _program(structure: Structure, settings: Settings) -> Any:
    """Compile a run for a structure; potentials, counting numbers, tolerance and damping are given to it."""
    net = net_of(structure)

    @jax.jit
    def program(potentials: Potentials, counting: Any, tol: Any, damping: Any, first: Messages | None) -> Any:
        scores = scores_of(net, potentials, counting)
        ended = run(net, scores, settings, tol, damping, first)
        point = point_at(net, scores, ended.messages, settings.hard)
        total = log_z(net, scores, ended.messages, point)
        variables = _by_family(net, {card: probabilities(b, 1) for card, b in point.variables.items()})
        factors = _by_group(net, point.factors, variables)
        info = {
            "iterations": ended.iterations,
            "residual": ended.residual,
            "residuals": ended.trace,
            "damping": ended.damping,
            "inconsistency": inconsistency(net, point),
        }
        return variables, factors, total, _verdict(ended, total, tol), ended.messages, info

    return program


def _verdict(ended: Run, total: Any, tol: Any) -> Any:
    """Number of the verdict."""
    before, after = jnp.median(ended.tail[:10]), jnp.median(ended.tail[10:])
    moving = jnp.where(after > 0.9 * before, number_of("oscillating"), number_of("slow"))
    settled = jnp.where(ended.residual <= tol, number_of("converged"), moving)
    feasible = jnp.where(total == -jnp.inf, number_of("infeasible"), settled)
    broken = jnp.isnan(ended.residual) | jnp.isnan(total) | (total == jnp.inf)
    return jnp.where(broken, number_of("nonfinite"), feasible)


def _converged(verdict: Any) -> bool:
    """Tell whether all runs converged; of traced runs that is not known."""
    return not isinstance(verdict, jax.core.Tracer) and bool((np.asarray(verdict) == number_of("converged")).all())


def _by_family(net: Net, beliefs: dict[int, Any]) -> tuple[Any, ...]:
    begun = dict.fromkeys(beliefs, 0)
    found = []
    for family in net.structure.families:
        card, size = family.cardinality, family.size
        if not size:
            found.append(jnp.zeros((*family.shape, card)))
            continue
        start = begun[card]
        begun[card] = start + size
        found.append(beliefs[card][:, start : start + size].T.reshape((*family.shape, card)))
    return tuple(found)


def _by_group(net: Net, log_beliefs: Sequence[Any], variables: Sequence[Any]) -> tuple[Any, ...]:
    flat = {f.name: v.reshape((f.size, f.cardinality)) for f, v in zip(net.structure.families, variables, strict=True)}
    found: list[Any] = []
    for number, group in enumerate(net.structure.groups):
        if number in net.groups:
            own = log_beliefs[net.groups.index(number)]
            beliefs = probabilities(own, group.arity)
            spread = jnp.broadcast_to(
                beliefs, (*group.cardinalities, *net.shapes[net.groups.index(number)])
            ).reshape((*group.cardinalities, group.size))
            found.append(jnp.moveaxis(spread, -1, 0))
        elif group.arity == 1 and group.size:
            whole = _rows_of(net.structure, flat, group.cardinalities[0])
            found.append(whole[_numbers_within(net.structure, group.scopes[:, 0])])
        else:
            found.append(jnp.ones((group.size, *group.cardinalities)))
    return tuple(found)


def _rows_of(structure: Structure, flat: dict[str, Any], card: int) -> Any:
    return jnp.concatenate([flat[f.name] for f in structure.families if f.cardinality == card])


def _numbers_within(structure: Structure, variables: np.ndarray) -> np.ndarray:
    return class_rows(structure)[0][variables]


def _may_exclude(potentials: Potentials) -> bool:
    """Tell whether a score may be -inf; of traced scores that is not known."""
    arrays = (*potentials.unary, *potentials.tables)
    if any(isinstance(x, jax.core.Tracer) for x in arrays):
        return True
    return any(bool(np.isneginf(np.asarray(x)).any()) for x in arrays)


def _precision(potentials: Potentials) -> Any:
    arrays = (*potentials.unary, *potentials.tables)
    return np.dtype(jnp.result_type(*arrays)) if arrays else np.dtype(float)
