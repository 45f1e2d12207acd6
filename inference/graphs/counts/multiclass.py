"""Multiclass counts, exactly: members with K classes whose numbers S_1, ..., S_K are given.

Law: alpha_i(s) is the log probability that the members before i fill the classes s, beta_i(s) that those after i lead
from s to S; the message to class k of member i is log sum_s alpha_i(s) beta_i(s + e_k). The class with most members
follows from the others and has no axis of its own. Classes of number 0 have an axis of length one: they are gone.

There are prod_k (S_k + 1) states, which must not exceed 2^16; `multiclass_tilted` has the approximation for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lawful.errors import MemoryLimitError, ObservationError

from .recursion import log_add, log_total

MOST_STATES = 1 << 16


class MulticlassSolved(NamedTuple):
    """Messages (..., B, K), logs with maximum 0 over the classes, and the log evidence of the counts (...)."""

    messages: Float[Array, "... B K"]
    log_evidence: Float[Array, " ..."]


def multiclass_solve(
    logits: Float[Array, "... B K"], counts: Int[Array, " ..."], most: Sequence[int] | None = None
) -> MulticlassSolved:
    """Return the exact messages and log evidence of given numbers of members in each class.

    Args:
        logits: log scores of the classes of each member (..., B, K), normalised here; -inf excludes a class.
        counts: the number of members in each class (..., K).
        most: bounds on the counts of each class, needed where the counts are traced; None takes their maxima.

    Returns: a MulticlassSolved; an impossible class has message -inf, and an impossible bag evidence -inf.

    Raises:
        MemoryLimitError: more than 2^16 states. `multiclass_approximate` takes such bags.
        ObservationError: shapes that do not fit, or counts that are negative or do not add up to B.

    >>> solved = multiclass_solve(jnp.zeros((2, 2)), jnp.array([1, 1]))
    >>> round(float(jnp.exp(solved.log_evidence)), 6), solved.messages.tolist()
    (0.5, [[0.0, 0.0], [0.0, 0.0]])
    """
    size, classes = check_counts(logits, counts, "multiclass_solve")
    bounds = _bounds(counts, most)
    states = math.prod(b + 1 for b in bounds)
    if states > MOST_STATES:
        raise MemoryLimitError(
            f"multiclass_solve: counts up to {bounds} make {states} states, more than {MOST_STATES}. "
            "Fix: use multiclass_approximate, or give the counts of some classes alone as binary counts.",
            states=states,
        )
    shape = logits.shape[:-2]
    rows = logits.reshape(-1, size, classes)
    targets = jnp.broadcast_to(counts, (*shape, classes)).reshape(-1, classes).astype(jnp.int32)
    told, log_z = _solved(rows, targets, bounds)
    return MulticlassSolved(told.reshape(logits.shape), log_z.reshape(shape))


def check_counts(logits: Float[Array, "... B K"], counts: Int[Array, " ..."], where: str) -> tuple[int, int]:
    """Refuse shapes that do not fit and counts that cannot be; return the numbers of members and classes."""
    if logits.ndim < 2 or counts.ndim < 1 or counts.shape[-1] != logits.shape[-1]:
        raise ObservationError(
            f"{where}: logits {logits.shape}, counts {counts.shape}; expected (..., B, K) and (..., K). "
            "Fix: give a log score for each class of each member and a count for each class."
        )
    if counts.shape[:-1] not in ((), logits.shape[:-2]):
        raise ObservationError(f"{where}: logits {logits.shape}, counts {counts.shape}. Fix: give both the same bags.")
    if not isinstance(counts, jax.core.Tracer):
        numbers = np.asarray(counts)
        if (numbers < 0).any() or (numbers.sum(-1) != logits.shape[-2]).any():
            raise ObservationError(
                f"{where}: counts {numbers.tolist()} for {logits.shape[-2]} members; each must be at least 0, and they "
                "must add up to the members. Fix: count the members of every class, or leave the bag out."
            )
    return logits.shape[-2], logits.shape[-1]


def _bounds(counts: Int[Array, " ..."], most: Sequence[int] | None) -> tuple[int, ...]:
    if most is not None:
        if len(most) != counts.shape[-1]:
            raise ObservationError(
                f"multiclass_solve: most={most!r} for {counts.shape[-1]} classes. Fix: one for each."
            )
        return tuple(int(m) for m in most)
    if isinstance(counts, jax.core.Tracer):
        raise ObservationError(
            "multiclass_solve: the counts are traced, so their largest values are not known. Fix: give most=(...), "
            "an upper bound for each class."
        )
    return tuple(int(m) for m in np.asarray(counts).reshape(-1, counts.shape[-1]).max(axis=0, initial=0))


def log_probabilities(logits: Float[Array, "*S K"]) -> Float[Array, "*S K"]:
    """Normalise log scores; a member without any class stays at -inf.

    >>> log_probabilities(jnp.full((1, 2), -jnp.inf)).tolist()
    [[-inf, -inf]]
    """
    total = log_total(jnp.moveaxis(logits, -1, 0))
    return logits - jnp.where(total == -jnp.inf, 0, total)[..., None]


@partial(jax.jit, static_argnames="bounds")  # else each call would compile its loops anew
def _solved(
    rows: Float[Array, "G B K"], targets: Int[Array, "G K"], bounds: tuple[int, ...]
) -> tuple[Float[Array, "G B K"], Float[Array, " G"]]:
    each = jax.checkpoint(lambda bag: _solve(bag[0], bag[1], bounds))
    told, log_z = jax.lax.map(each, (rows, targets))
    return told, log_z


def _solve(
    logits: Float[Array, "B K"], target: Int[Array, " K"], bounds: tuple[int, ...]
) -> tuple[Float[Array, "B K"], Float[Array, ""]]:
    implied = int(np.argmax(bounds))
    axes = [k for k in range(len(bounds)) if k != implied]
    shape = tuple(bounds[k] + 1 for k in axes)
    log_p = log_probabilities(logits)
    nothing = jnp.full(shape, -jnp.inf, log_p.dtype)
    start = nothing.at[(0,) * len(shape)].set(0)
    fits = jnp.all(target <= jnp.array(bounds, target.dtype))
    right = fits & jnp.all(target >= 0) & (jnp.sum(target) == len(logits))
    end = jnp.where(right, nothing.at[tuple(target[k] for k in axes)].set(0, mode="drop"), -jnp.inf)

    def moved(x: jax.Array, k: int, step: int) -> jax.Array:
        """Return x(s - step e_k), -inf where that leaves the table; the implied class has no axis."""
        if k == implied:
            return x
        axis = axes.index(k)
        edge = jnp.full_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis), -jnp.inf)
        parts = (edge, jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis))
        if step < 0:
            parts = (jax.lax.slice_in_dim(x, 1, x.shape[axis], axis=axis), edge)
        return jnp.concatenate(parts, axis=axis)

    def mixed(x: jax.Array, log_p: jax.Array, step: int) -> jax.Array:
        total = moved(x, 0, step) + log_p[0]
        for k in range(1, len(bounds)):
            total = log_add(total, moved(x, k, step) + log_p[k])
        return total

    def forward(alpha: jax.Array, log_p: jax.Array) -> tuple[jax.Array, jax.Array]:
        return mixed(alpha, log_p, 1), alpha

    def backward(beta: jax.Array, member: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        log_p, alpha = member
        told = jnp.stack([log_total((alpha + moved(beta, k, -1)).reshape(-1)) for k in range(len(bounds))])
        return mixed(beta, log_p, -1), told

    _, alphas = jax.lax.scan(forward, start, log_p)
    first, told = jax.lax.scan(backward, end, (log_p, alphas), reverse=True)
    log_z = first[(0,) * len(shape)]
    top = jnp.max(told, axis=1, keepdims=True)
    return told - jnp.where(top == -jnp.inf, 0, top), log_z
