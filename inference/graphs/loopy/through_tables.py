"""Through tables: what factors send to their variables, by the tables of a group at once.

Law: a message is the sum over all other variables of the table times what they send, or the largest such product, with
its largest entry at zero. A state that is excluded stays -inf, and no operation makes NaN of it.

Arrays have the states first and the factors last, (K, *shape): the work is elementwise over factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp

UNROLLED = 64  # entries of a table of pairs up to which its sums are written out


def outgoing(table: Any, sent: Sequence[Any], temperature: Any) -> tuple[Any, ...]:
    """Give what factors send to each of their variables, with the largest entry at zero."""
    return tuple(outgoing_to(axis, table, sent, temperature) for axis in range(len(sent)))


def outgoing_to(axis: int, table: Any, sent: Sequence[Any], temperature: Any) -> Any:
    """Give what factors send to the variable on one axis of their tables."""
    total = table
    for other, message in enumerate(sent):
        if other != axis:
            total = total + _along(message, other, len(sent))
    return normalised(reduced(total, _without(axis, len(sent)), temperature))


def outgoing_weights(weights: Any, sent: Sequence[Any], potts: bool = False) -> tuple[Any, ...]:
    """Give the same for sums of products of finite scores, from tables of weights: an exponential for each state.

    Args:
        weights: tables (K_1, ..., K_r, *shape).
        sent: what the variables send.
        potts: whether all tables are of pairs, with one weight for all states that differ, and no less for equal ones.
    """
    arity = len(sent)
    if potts:
        return _met(weights, sent[1]), _met(weights, sent[0])
    if arity == 2 and weights.shape[0] * weights.shape[1] <= UNROLLED:
        return _summed_out(jnp.swapaxes(weights, 0, 1), sent[1]), _summed_out(weights, sent[0])
    each = [_along(jnp.exp(normalised(message)), axis, arity) for axis, message in enumerate(sent)]
    found = []
    for axis in range(arity):
        total = weights
        for other, weight in enumerate(each):
            if other != axis:
                total = total * weight
        found.append(normalised(jnp.log(jnp.sum(total, axis=_without(axis, arity)))))
    return tuple(found)


def _met(weights: Any, message: Any) -> Any:
    """Sum out one variable of Potts pairs, whose message is the sum of all states and more of the same state."""
    each = jnp.exp(normalised(message))
    apart, equal = weights[0, 1], jnp.stack([weights[k, k] for k in range(len(weights))])
    sums = apart * jnp.sum(each, axis=0) + (equal - apart) * each
    return normalised(jnp.log(sums))


def _summed_out(weights: Any, message: Any) -> Any:
    """Sum out the first variable of pairs, state by state: the loops over factors stay free of short axes.

    The barrier keeps XLA from computing each exponential once for every sum that it enters.
    """
    states = list(message)
    each = jax.lax.optimization_barrier([jnp.exp(x - reduce(jnp.maximum, states)) for x in states])
    sums = [
        reduce(jnp.add, [w * e for w, e in zip(column, each, strict=True)]) for column in jnp.swapaxes(weights, 0, 1)
    ]
    top = reduce(jnp.maximum, sums)
    return jnp.log(jnp.stack([total / top for total in sums]))


def _without(axis: int, arity: int) -> tuple[int, ...]:
    return tuple(j for j in range(arity) if j != axis)


def joint(table: Any, sent: Sequence[Any]) -> Any:
    """Add what the variables send to a table: log beliefs of the factors up to a constant."""
    for axis, message in enumerate(sent):
        table = table + _along(message, axis, len(sent))
    return table


def _along(message: Any, axis: int, arity: int) -> Any:
    """Put the states of a message (K, *shape) on an axis of a table."""
    states = [message.shape[0] if k == axis else 1 for k in range(arity)]
    return message.reshape((*states, *message.shape[1:]))


def reduced(total: Any, axes: tuple[int, ...], temperature: Any) -> Any:
    """Log of a sum of exponentials along axes, or the largest entry where the temperature is None (maximum)."""
    top = jnp.max(total, axis=axes, keepdims=True)
    if temperature is None:
        return jnp.squeeze(top, axes)
    shift = jax.lax.stop_gradient(_above_none(top))
    scores = total - shift
    mass = jnp.sum(jnp.exp(scores if temperature == 1 else scores / temperature), axis=axes)
    none = mass == 0
    logs = jnp.log(jnp.where(none, 1.0, mass))
    return jnp.where(none, -jnp.inf, jnp.squeeze(shift, axes) + (logs if temperature == 1 else temperature * logs))


def normalised(message: Any) -> Any:
    """Put the largest entry at zero; a message without any state stays as it is."""
    return message - _above_none(jnp.max(message, axis=0, keepdims=True))


def _above_none(top: Any) -> Any:
    """Give a number in place of -inf: what is subtracted from -inf leaves it."""
    return jnp.maximum(top, jnp.finfo(top.dtype).min)
