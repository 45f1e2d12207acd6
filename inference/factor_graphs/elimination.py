"""Elimination: the sum over all variables of a factor graph, batch by batch, and back again.

Law: the total is the log of the graph's mass. Going back, the weight of each joint table is that of its result spread
by the conditional of the variable, so every table gets its exact marginal, and drawing the variables in the reverse
order gives the exact conditional of all. With a maximum in place of the sum the total is the largest log score.

One source serves NumPy, for a query that is asked once, and JAX, for those that are asked again.

Reference: Dechter (1999), Bucket elimination: a unifying framework for reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .buckets import Places, Shape, Steps
from .potentials import Potentials

type Mode = Literal["sum", "max"]


class Joint(NamedTuple):
    """The tables of a batch before its variables went: log scores (B, K, *scope), and what is left (B, *scope)."""

    scores: Any
    result: Any


class Forward(NamedTuple):
    """An elimination: the log of the total, and the table of each batch."""

    log_total: Any
    joints: list[Joint]


class Marginals(NamedTuple):
    """Probabilities: of the variables by number of states (n, K), and of the tables by shape (P, *shape)."""

    variables: dict[int, Any]
    tables: dict[Shape, Any]


def forward(steps: Steps, places: Places, potentials: Potentials, mode: Mode = "sum") -> Forward:
    """Eliminate all variables."""
    xp = _namespace(potentials)
    unary, totals = _unary(steps, places, potentials, xp)
    pools = _pools(steps, places, potentials, totals, xp)
    totals += [xp.sum(potentials.tables[group]) for group in steps.constants]
    joints = []
    for batch, rows, slots, targets in zip(steps.batches, places.rows, places.slots, places.targets, strict=True):
        size = batch.shape[0]
        scores = _expanded(unary[size][rows], (0,), len(batch.shape))
        for source, slot in zip(batch.sources, slots, strict=True):
            scores = scores + _expanded(pools[source.shape][slot], source.axes, len(batch.shape))
        scores = xp.broadcast_to(scores, (len(rows), *batch.shape))
        result = _log_sum(scores, xp) if mode == "sum" else xp.max(scores, axis=1)
        joints.append(Joint(scores, result))
        if not batch.rest:
            totals.append(xp.sum(result))
            continue
        message = _levelled(result, totals, xp)
        if len(batch.rest) == 1:
            unary[batch.rest[0]] = _add(unary[batch.rest[0]], targets, message)
        else:
            pools[batch.rest] = _put(pools[batch.rest], slice(batch.start, batch.start + len(rows)), message)
    return Forward(xp.sum(xp.stack(totals)) if totals else xp.zeros((), _dtype(potentials)), joints)


def backward(steps: Steps, places: Places, run: Forward) -> Marginals:
    """Give the marginals of all variables and tables of a sum; all zero where the total is zero."""
    xp = jnp if isinstance(run.log_total, jax.Array) else np
    dtype = run.log_total.dtype
    possible = xp.isfinite(run.log_total).astype(dtype)
    variables = {card: xp.zeros((count, card), dtype) for card, count in steps.cardinalities}
    tables = {shape: xp.zeros((count, *shape), dtype) for shape, count in steps.pools}
    for k in reversed(range(len(steps.batches))):
        batch, joint, rows = steps.batches[k], run.joints[k], places.rows[k]
        if not batch.rest:
            weight = xp.broadcast_to(possible, (len(rows),))
        elif len(batch.rest) == 1:
            weight = variables[batch.rest[0]][places.targets[k]]
        else:
            weight = tables[batch.rest][batch.start : batch.start + len(rows)]
        shift = xp.where(xp.isfinite(joint.result), joint.result, xp.zeros_like(joint.result))
        share = weight[:, None] * xp.exp(joint.scores - shift[:, None])
        variables[batch.shape[0]] = _put(variables[batch.shape[0]], rows, _onto(share, (0,)))
        for source, slot in zip(batch.sources, places.slots[k], strict=True):
            tables[source.shape] = _put(tables[source.shape], slot, _onto(share, source.axes))
    return Marginals(variables, tables)


def decode(steps: Steps, places: Places, run: Forward, size: int, pick: Callable[[Any, Any], Any]) -> Any:
    """Choose states of all variables, each given those that were eliminated later.

    Args:
        steps: the plan.
        places: where its numbers stand.
        run: the elimination.
        size: number of variables.
        pick: (log scores (B, K), numbers of the variables (B,)) -> states (B,).
    """
    xp = jnp if isinstance(run.log_total, jax.Array) else np
    states = xp.zeros(size, xp.int32)
    for k in reversed(range(len(steps.batches))):
        variables, scopes, scores = places.variables[k], places.scopes[k], run.joints[k].scores
        for axis in range(len(steps.batches[k].rest)):
            index = states[scopes[:, axis]].reshape((-1, *([1] * (scores.ndim - 1))))
            scores = xp.take_along_axis(scores, index, axis=2)[:, :, 0]
        states = _put(states, variables, pick(scores, variables).astype(states.dtype))
    return states


def highest(scores: Any, variables: Any) -> Any:
    """Pick the state of the highest score; of equal ones the first."""
    return scores.argmax(axis=1)


def by_uniform(uniforms: Any) -> Callable[[Any, Any], Any]:
    """Pick states in proportion to their weights, by one uniform for each variable (n,)."""

    def pick(scores: Any, variables: Any) -> Any:
        top = scores.max(axis=1, keepdims=True)
        xp = np if isinstance(scores, np.ndarray) else jnp
        weights = xp.exp(scores - xp.where(xp.isfinite(top), top, xp.zeros_like(top)))
        sums = xp.cumsum(weights, axis=1)
        # The last sum is out of reach, and a state of weight zero has an empty interval.
        below = sums <= uniforms[variables][:, None] * sums[:, -1:]
        return xp.minimum(xp.sum(below, axis=1), _last_positive(weights, xp))

    return pick


def _last_positive(weights: Any, xp: Any) -> Any:
    count = weights.shape[1]
    return count - 1 - xp.argmax(weights[:, ::-1] > 0, axis=1)


def _unary(steps: Steps, places: Places, potentials: Potentials, xp: Any) -> tuple[dict[int, Any], list[Any]]:
    """Give the scores of the variables with as many states, those of factors with one variable among them."""
    found: dict[int, list[Any]] = {card: [] for card, _ in steps.cardinalities}
    for (_, size, card), scores in zip(steps.families, potentials.unary, strict=True):
        if size:
            found[card].append(scores)
    unary = {card: xp.concatenate(parts) for card, parts in found.items()}
    for (group, card), rows in zip(steps.singles, places.singles, strict=True):
        scores = xp.broadcast_to(potentials.tables[group], (len(rows), card))
        unary[card] = _add(unary[card], rows, scores)
    totals: list[Any] = []
    return {card: _levelled(scores, totals, xp) for card, scores in unary.items()}, totals


def _pools(steps: Steps, places: Places, potentials: Potentials, totals: list[Any], xp: Any) -> dict[Shape, Any]:
    """Give the tables by shape: those that come from factors, and behind them room for those that are yet to come."""
    dtype = _dtype(potentials)
    own: dict[Shape, list[Any]] = {shape: [xp.zeros((0, *shape), dtype)] for shape, _ in steps.pools}
    for entry, rows in zip(steps.entries, places.entries, strict=True):
        tables = potentials.tables[entry.group]
        tables = tables if len(tables) in (1, len(rows)) else tables[rows]
        tables = xp.transpose(tables, (0, *(k + 1 for k in entry.order)))
        own[tables.shape[1:]].append(xp.broadcast_to(tables, (entry.count, *tables.shape[1:])))
    pools = {}
    for shape, count in steps.pools:
        filled = _levelled(xp.concatenate(own[shape]), totals, xp)
        pools[shape] = xp.concatenate([filled, xp.zeros((count - len(filled), *shape), dtype)])
    return pools


def _levelled(tables: Any, totals: list[Any], xp: Any) -> Any:
    """Put the largest entry of each table (B, ...) at zero, so that large scores cost no digits; the total gets it."""
    top = xp.max(tables, axis=tuple(range(1, tables.ndim)), keepdims=True)
    top = _constant(xp.where(xp.isfinite(top), top, xp.zeros_like(top)))
    totals.append(xp.sum(top))
    return tables - top


def _expanded(tables: Any, axes: Sequence[int], ndim: int) -> Any:
    """Put the axes of tables (B, ...) where they stand in a joint table."""
    shape = [1] * ndim
    for axis, size in zip(axes, tables.shape[1:], strict=True):
        shape[axis] = size
    return tables.reshape((tables.shape[0], *shape))


def _onto(share: Any, axes: Sequence[int]) -> Any:
    """Sum a joint table (B, ...) onto some of its axes."""
    return share.sum(axis=tuple(k for k in range(1, share.ndim) if k - 1 not in axes))


def _log_sum(scores: Any, xp: Any) -> Any:
    """Log of a sum of exponentials along axis 1: -inf, with gradient zero, where all are -inf."""
    top = _constant(xp.max(scores, axis=1))
    shift = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    total = xp.sum(xp.exp(scores - shift[:, None]), axis=1)
    none = total == 0
    return xp.where(none, -xp.inf, shift + xp.log(xp.where(none, xp.ones_like(total), total)))


def _namespace(potentials: Potentials) -> Any:
    return np if all(isinstance(x, np.ndarray) for x in (*potentials.unary, *potentials.tables)) else jnp


def _dtype(potentials: Potentials) -> Any:
    arrays = (*potentials.unary, *potentials.tables)
    return jnp.result_type(*arrays) if arrays else jnp.result_type(float)


def _constant(value: Any) -> Any:
    return value if isinstance(value, np.ndarray | np.generic) else jax.lax.stop_gradient(value)


def _put(array: Any, where: Any, values: Any) -> Any:
    """Write rows; the NumPy arrays written to are those of this module alone."""
    if isinstance(array, np.ndarray):
        array[where] = values
        return array
    return array.at[where].set(values)


def _add(array: Any, where: Any, values: Any) -> Any:
    if isinstance(array, np.ndarray):
        np.add.at(array, where, values)
        return array
    return array.at[where].add(values)
