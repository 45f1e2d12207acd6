"""Elimination: the sum over all variables of a factor graph, batch by batch, and back again.

Law: the total is the log of the graph's mass. Going back, the shares of a joint table are those of its result times
the conditional of the variable, so every table gets its exact marginal, and drawing the variables in the reverse order
gives the exact conditional of all. With a maximum in place of the sum the total is the largest log score.

One source serves NumPy, for a query that is asked once, and JAX, for those that are asked again. Scores stay logs, so
no range of them is lost to single precision; shares are at most one. All arrays may have lanes behind their axes.

Reference: Dechter (1999), Bucket elimination: a unifying framework for reasoning; Darwiche (2003), A differential
approach to inference in Bayesian networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..model.places import Index, Places
from ..model.scores import Scores, constant, top_of
from .lanes import lanes_last

type Mode = Literal["sum", "max"]

SEPARATELY = 16  # tables that are looked up one by one; more become an axis of one array


class Joint(NamedTuple):
    """The tables of a batch before its variables went: log scores (B, K, R), and what is left (B, R)."""

    scores: Any
    result: Any


class Forward(NamedTuple):
    """An elimination: the log of the total, and the tables of each batch."""

    log_total: Any
    joints: list[Joint]


class Marginals(NamedTuple):
    """The log of the total, and probabilities of the entries of all tables in the order of the scores (E,)."""

    log_total: Any
    beliefs: Any


def total(places: Places, scores: Scores) -> Any:
    """Give the log of the total; its derivatives are those of `marginals`."""
    return forward(places, scores).log_total if _by_numpy(places, scores) else _mass(_held(places), scores)


def marginals(places: Places, scores: Scores) -> Marginals:
    """Give the log of the total, and all marginals; these are zero where the total is.

    The derivative of the total by an entry is its marginal, and further ones are those of the marginals.
    """
    return _marginals(places, scores) if _by_numpy(places, scores) else _differentiable(_held(places), scores)


def largest(places: Places, scores: Scores) -> tuple[Any, Any]:
    """Give states of all variables (n,) of the highest score, of equal ones the first, and the score."""
    if _by_numpy(places, scores):
        return _largest(places, scores)
    found: tuple[Any, Any] = lanes_last(_largest)(_held(places), constant(scores))
    return found


def drawn(places: Places, scores: Scores, uniforms: Any) -> Any:
    """Turn uniforms, one for each variable (n,), into a draw of all states (n,)."""
    if _by_numpy(places, scores, uniforms):
        return _drawn(places, scores, uniforms)
    return lanes_last(_drawn)(_held(places), constant(scores), constant(uniforms))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Known:
    """Places that are constants of a program, not arguments."""

    places: Places = field(metadata={"static": True})


def _held(places: Places) -> Any:
    return _Known(places) if isinstance(places.first, np.ndarray) else places


def _by_numpy(*given: Any) -> bool:
    return all(isinstance(x, np.ndarray | np.generic) for x in jax.tree.leaves(given))


def _places(held: Any) -> Places:
    places: Places = held.places if isinstance(held, _Known) else held
    return places


def _total(held: Any, scores: Scores) -> Any:
    return forward(_places(held), scores).log_total


def _marginals(held: Any, scores: Scores) -> Marginals:
    run = forward(_places(held), scores)
    return Marginals(run.log_total, _backward(_places(held), run))


@jax.custom_jvp
def _mass(held: Any, scores: Scores) -> Any:
    return lanes_last(_total)(held, scores)


@_mass.defjvp
def _slope(primals: Any, tangents: Any) -> Any:
    found = _differentiable(*primals)
    return found.log_total, _change(found, tangents[1])


@jax.custom_jvp
def _differentiable(held: Any, scores: Scores) -> Marginals:
    found: Marginals = lanes_last(_marginals)(held, scores)
    return found


@_differentiable.defjvp
def _derivative(primals: Any, tangents: Any) -> Any:
    (held, scores), (_, change) = primals, tangents
    found = _differentiable(held, scores)
    _, slopes = jax.jvp(partial(_marginals, held), (scores,), (change,))
    return found, Marginals(_change(found, change), slopes.beliefs)


def _change(found: Marginals, change: Scores) -> Any:
    """How the log of the total changes with the scores."""
    return jnp.vdot(found.beliefs, change.entries) + change.level


def _largest(held: Any, scores: Scores) -> tuple[Any, Any]:
    run = forward(_places(held), scores, "max")
    return _decoded(_places(held), run, (), lambda scores, variables: scores.argmax(axis=1)), run.log_total


def _drawn(held: Any, scores: Scores, uniforms: Any) -> Any:
    places = _places(held)
    xp = _namespace(places.first, *scores, uniforms)

    def pick(scores: Any, variables: Any) -> Any:
        """Pick states in proportion to their weights."""
        top = xp.max(scores, axis=1, keepdims=True)
        weights = xp.exp(scores - xp.where(xp.isfinite(top), top, xp.zeros_like(top)))
        sums = xp.cumsum(weights, axis=1)
        # The last sum is out of reach, and a state of weight zero has an empty interval.
        below = xp.sum(sums <= uniforms[variables][:, None] * sums[:, -1:], axis=1)
        return xp.minimum(below, weights.shape[1] - 1 - xp.argmax(weights[:, ::-1] > 0, axis=1))

    return _decoded(places, forward(places, scores), uniforms.shape[1:], pick)


def forward(places: Places, scores: Scores, mode: Mode = "sum") -> Forward:
    """Eliminate all variables."""
    xp, dtype = _namespace(places.first, *scores), scores.entries.dtype
    lanes, room = scores.entries.shape[1:], places.size - len(scores.entries) - 2
    ends = [xp.full((count, *lanes), value, dtype) for count, value in ((1, -np.inf), (1, 0), (room, 0))]
    store = xp.concatenate([*ends[:2], scores.entries, ends[2]])
    joints, levels = [], [scores.level]
    for batch in places.batches:
        joint = _joined(store, batch.sources, xp)
        result = _log_sum(joint, xp) if mode == "sum" else xp.max(joint, axis=1)
        joints.append(Joint(joint, result))
        top = top_of(result, xp)
        levels.append(xp.sum(top, axis=(0, 1)))
        store = _add(store, batch.targets, result - top)
    constants = xp.take(store, places.constants, axis=0, mode="clip")
    return Forward(xp.sum(xp.stack(levels), axis=0) + xp.sum(constants, axis=0), joints)


def _backward(places: Places, run: Forward) -> Any:
    xp, lanes = _namespace(places.first, run.log_total), run.log_total.shape
    possible = xp.isfinite(run.log_total).astype(run.log_total.dtype)[None]
    end = 2 + sum(math.prod(joint.scores.shape[:3]) for joint in run.joints)
    shares = xp.concatenate([xp.zeros_like(possible), possible, xp.zeros((end - 2, *lanes), possible.dtype)])
    variables = [shares[:0]]
    for batch, joint in zip(reversed(places.batches), reversed(run.joints), strict=True):
        weight = batch.readers.of(shares, xp).reshape(joint.result.shape)
        shift = xp.where(xp.isfinite(joint.result), joint.result, xp.zeros_like(joint.result))
        share = weight[:, None] * xp.exp(joint.scores - shift[:, None])
        variables.append(xp.sum(share, axis=2).reshape((-1, *lanes)))
        flat = share.reshape((-1, *lanes))
        shares = _put(shares, slice(end - len(flat), end), flat)
        end -= len(flat)
    whole = xp.concatenate(variables[::-1])
    return xp.concatenate([xp.take(whole, places.variables, axis=0, mode="clip"), places.tables.of(shares, xp)])


def _decoded(places: Places, run: Forward, lanes: tuple[int, ...], pick: Callable[[Any, Any], Any]) -> Any:
    """Choose states of all variables (n, *lanes), each given those that were eliminated later.

    Args:
        places: where the numbers stand.
        run: the elimination.
        lanes: shape of those of the choice.
        pick: (log scores (B, K, *lanes), numbers of the variables (B,)) -> states (B, *lanes).
    """
    xp, own = _namespace(places.first, run.log_total), run.log_total.shape
    lanes = np.broadcast_shapes(own, lanes)
    states = xp.zeros((len(places.first), *lanes), np.int32)
    for batch, joint in zip(reversed(places.batches), reversed(run.joints), strict=True):
        strides = batch.strides.reshape((*batch.strides.shape, *[1] * len(lanes)))
        column = xp.sum(states[batch.scopes] * strides, axis=1, dtype=np.int32)
        if math.prod(own) == 1:  # one table serves all lanes, which look up a column each
            table, index = joint.scores.reshape(joint.scores.shape[:3]), column.reshape((len(column), 1, -1))
        else:
            table, index = joint.scores, column[:, None, None]
        scores = xp.take_along_axis(table, index, axis=2).reshape((*table.shape[:2], *lanes))
        states = _put(states, batch.variables, pick(scores, batch.variables).astype(states.dtype))
    return states


def _joined(store: Any, sources: Index, xp: Any) -> Any:
    """Sum the scores of the tables that meet (B, K, R)."""
    if len(sources.near) > SEPARATELY:
        return xp.sum(sources.of(store, xp), axis=0)
    joint, *more = [Index(near, far).of(store, xp) for near, far in zip(*sources, strict=True)]
    for scores in more:
        joint = joint + scores
    return joint


def _log_sum(scores: Any, xp: Any) -> Any:
    """Log of a sum of exponentials along axis 1: -inf, with gradient zero, where all are -inf."""
    top = constant(xp.max(scores, axis=1))
    shift = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    total = xp.sum(xp.exp(scores - shift[:, None]), axis=1)
    none = total == 0
    return xp.where(none, -xp.inf, shift + xp.log(xp.where(none, xp.ones_like(total), total)))


def _namespace(*arrays: Any) -> Any:
    return np if all(isinstance(x, np.ndarray | np.generic) for x in arrays) else jnp


def _put(array: Any, where: Any, values: Any) -> Any:
    """Write numbers; the NumPy arrays written to are those of this module alone."""
    if isinstance(array, np.ndarray):
        array[where] = values
        return array
    return array.at[where].set(values)


def _add(array: Any, where: Any, values: Any) -> Any:
    if isinstance(array, np.ndarray):
        np.add.at(array, where.reshape(-1), values.reshape(-1))
        return array
    return array.at[where].add(values, mode="promise_in_bounds")
