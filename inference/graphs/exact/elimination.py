"""Elimination: the sum over all variables of a factor graph, batch by batch, and back again.

Law: the total is the log of the graph's mass. Going back, the shares of a joint table are those of its result times
the conditional of the variable, so every table gets its exact marginal, and drawing the variables in the reverse order
gives the exact conditional of all. With a maximum in place of the sum the total is the largest log score.

Tables are row-major, so the place of an entry is linear in its states, and is the sum of one number for some of its
axes and one for the others. So tables of any shapes meet in one array, and no table is ever transposed.

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

from ..model.potentials import Scores, constant, top_of
from .lanes import lanes_last

type Mode = Literal["sum", "max"]

NOWHERE = -(1 << 29)  # negative with what is added to it, and twice it is an integer of 32 bits
SEPARATELY = 16  # tables that are looked up one by one; more become an axis of one array


class Index(NamedTuple):
    """Places `near[..., i] + far[..., j]`; what is below zero stands for the first number of a vector.

    Attributes:
        near: (..., I).
        far: (..., J); axes before the last one spread.
    """

    near: Any
    far: Any

    def of(self, vector: Any, xp: Any) -> Any:
        """Look the numbers up (..., I, J, *lanes) in a vector (n, *lanes)."""
        return xp.take(vector, self.near[..., :, None] + self.far[..., None, :], axis=0, mode="clip")


class Reading(NamedTuple):
    """Sums of numbers of a vector.

    Attributes:
        blocks: places of the terms: of T times I sums the terms stand along the last axis, (T, I) and (T or 1, J).
        order: which of the sums of all blocks are wanted, in order (m,); None where it is all of them.
    """

    blocks: tuple[Index, ...]
    order: Any

    def of(self, vector: Any, xp: Any) -> Any:
        """Sum the numbers of a vector (n, *lanes) up (m, *lanes)."""
        sums = [xp.sum(block.of(vector, xp), axis=2).reshape((-1, *vector.shape[1:])) for block in self.blocks]
        whole = sums[0] if len(sums) == 1 else xp.concatenate([vector[:0], *sums])
        return whole if self.order is None else xp.take(whole, self.order, axis=0, mode="clip")


class Batch(NamedTuple):
    """Variables that are eliminated at once: B joint tables of K own states and R states of what is left.

    Attributes:
        sources: places of the scores that meet: near (S, B, K), far (S, B or 1, R).
        targets: where the results are added (B, R).
        readers: a Reading of the shares that the states of the results have in the joint tables that they go into.
        variables: their numbers (B,).
        scopes: numbers of the variables that are left in each table (B, W).
        strides: what a state of each of these adds to the place among the R (B, W).
    """

    sources: Index
    targets: Any
    readers: Any
    variables: Any
    scopes: Any
    strides: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Places:
    """Where all numbers of an elimination stand: arrays for the compiled program, whose shapes decide what it is.

    The scores of an elimination are a vector: -inf, zero, the scores of the graph, and the results. The shares of the
    entries of all joint tables are another: zero, one (or zero where the graph is impossible), and the shares.

    Attributes:
        batches: in the order in which they are run.
        constants: places of the tables without variables.
        variables: of all marginals of variables, batch by batch (B, K), which are those of each variable in turn (U,).
        tables: of the marginals of the entries of all tables of factors, in the order of the scores.
        owner: variable of each score of a single variable (U,).
        first: place of the score of the first state of each variable, among the scores of the graph (n,).
        size: number of scores and results.
    """

    batches: tuple[Batch, ...]
    constants: Any
    variables: Any
    tables: Reading
    owner: Any
    first: Any
    size: int = field(metadata={"static": True})


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


def observed(places: Places, scores: Scores, seen: Any) -> Scores:
    """Exclude the states that were not observed.

    Args:
        places: where the scores stand.
        scores: of a graph.
        seen: state of each variable by number, -1 where nothing was observed (n,).
    """
    xp = np if isinstance(scores.entries, np.ndarray) and isinstance(seen, np.ndarray) else jnp
    known, count = seen >= 0, len(places.owner)
    own, place = scores.entries[:count], places.first + seen
    top = xp.where(known, xp.take(own, place, mode="clip"), 0)
    top = constant(xp.where(xp.isfinite(top), top, 0).astype(own.dtype))
    out = xp.take(known, places.owner) & (xp.take(place, places.owner) != xp.arange(count, dtype=place.dtype))
    entries = xp.where(out, -xp.inf, own - xp.take(top, places.owner))
    return Scores(xp.concatenate([entries, scores.entries[count:]]), scores.level + xp.sum(top))


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
