"""Closed forms, O(B): one of many, or, and, none, noisy or, parity.

Law: the messages are those of the potential of the same name. What all members but one contribute is a running total
from the left joined with one from the right, never a total minus a part, so known members do no harm.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lawful.distributions.softplus import softplus

from .recursion import log_add, log_total


def others(
    x: Float[Array, "... B"], combine: Callable[[jax.Array, jax.Array], jax.Array], empty: float
) -> Float[Array, "... B"]:
    """Combine all entries but one, for each; `empty` is what no entry gives.

    >>> others(jnp.array([1.0, 2.0, 4.0]), jnp.add, 0.0).tolist()
    [6.0, 5.0, 3.0]
    """
    edge = jnp.full((*x.shape[:-1], 1), empty, x.dtype)
    if not x.shape[-1]:
        return x
    up, down = (jax.lax.associative_scan(combine, x, axis=x.ndim - 1, reverse=back) for back in (False, True))
    left, right = jnp.concatenate([edge, up[..., :-1]], axis=-1), jnp.concatenate([down[..., 1:], edge], axis=-1)
    return combine(left, right)


def one_of(h: Float[Array, "... B"]) -> Float[Array, "... B"]:
    """Return the messages of "exactly one": -log sum_{j != i} exp(h_j).

    >>> one_of(jnp.zeros(3)).round(4).tolist() == [round(-float(jnp.log(2.0)), 4)] * 3
    True
    """
    known = _known_others(h)
    rest = others(jnp.where(h == jnp.inf, 0, h), log_add, -jnp.inf)
    return jnp.where(known == 1, -jnp.inf, jnp.where(known > 1, 0, -rest))


def _known_others(h: jax.Array) -> jax.Array:
    """Return how many of the others are ones for certain; with two of them nothing is possible."""
    one = (h == jnp.inf).astype(jnp.int32)
    return jnp.sum(one, axis=-1, keepdims=True, dtype=jnp.int32) - one


def none_of(h: Float[Array, "... B"]) -> Float[Array, "... B"]:
    """Return the messages of "none": -inf, or 0 where another member is known to be one.

    >>> none_of(jnp.zeros(2)).tolist()
    [-inf, -inf]
    """
    return jnp.where(_known_others(h) > 0, 0, -jnp.inf).astype(h.dtype)


def any_of(h: Float[Array, "... B"]) -> Float[Array, "... B"]:
    """Return the messages of "at least one": -log(1 - prod_{j != i} sigma(-h_j)).

    >>> any_of(jnp.zeros(2)).round(4).tolist() == [round(float(jnp.log(2.0)), 4)] * 2
    True
    """
    return _neg_log1mexp(others(softplus(h), jnp.add, 0.0))


def all_of(h: Float[Array, "... B"]) -> Float[Array, "... B"]:
    """Return the messages of "all": inf, or 0 where another member is known to be zero.

    >>> all_of(jnp.zeros(2)).tolist()
    [inf, inf]
    """
    return -none_of(-h)


def any_of_odds(h: Float[Array, "... B"]) -> Float[Array, " ..."]:
    """Return the log odds of o = or(y), the message to an output variable.

    >>> round(float(any_of_odds(jnp.zeros(2))), 4) == round(float(jnp.log(3.0)), 4)
    True
    """
    return noisy_or_odds(h, jnp.zeros_like(h))


def noisy_or(
    h: Float[Array, "... B"], log_fail: Float[Array, "... B"], output: Float[Array, " ..."], leak: float = 0.0
) -> Float[Array, "... B"]:
    """Return the messages to the causes of a noisy or, P(o = 0 | y) = (1 - leak) prod_i fail_i^{y_i}.

    Args:
        h: log odds of the causes (..., B).
        log_fail: log of the probability that a present cause fails to act (..., B), at most 0; -inf for a sure one.
        output: log odds of the effect (...); inf where it is observed, -inf where it is known to be absent.
        leak: probability of the effect without a cause.

    >>> sure = jnp.full(2, -jnp.inf)
    >>> bool(jnp.allclose(noisy_or(jnp.zeros(2), sure, jnp.array(jnp.inf)), any_of(jnp.zeros(2))))
    True
    """
    absent = others(_log_absent(h, log_fail), jnp.add, 0.0) + jnp.log1p(-jnp.asarray(leak, h.dtype))
    present = output[..., None]
    # With o's odds r: weight of y is 1 + (1/r - 1) a fail^y for r >= 1, or r + (1 - r) a fail^y, both free of overflow.
    likely = present >= 0
    ratio = jnp.exp(-jnp.abs(present))

    def log_weight(a: jax.Array) -> jax.Array:
        some = jnp.exp(-_neg_log1mexp(-a))  # 1 - exp(a), to relative precision
        return jnp.log(jnp.where(likely, some + ratio * jnp.exp(a), ratio * some + jnp.exp(a)))

    with_cause, without = absent + log_fail, absent
    both = jnp.isfinite(log_weight(with_cause)) | jnp.isfinite(log_weight(without))
    return jnp.where(both, log_weight(with_cause) - jnp.where(both, log_weight(without), 0), 0)


def noisy_or_odds(h: Float[Array, "... B"], fail: Float[Array, "... B"], leak: float = 0.0) -> Float[Array, " ..."]:
    """Return the log odds of the effect of a noisy or, the message to its variable.

    Args:
        h: log odds of the causes (..., B).
        fail: probability that a present cause fails to act (..., B).
        leak: probability of the effect without a cause.
    """
    log_fail = jnp.where(fail > 0, jnp.log(jnp.where(fail > 0, fail, 1)), -jnp.inf)
    absent = jnp.sum(_log_absent(h, log_fail), axis=-1) + jnp.log1p(-jnp.asarray(leak, h.dtype))
    return -_neg_log1mexp(-absent) - absent


def parity(h: Float[Array, "... B"], odd: Bool[Array, " ..."]) -> Float[Array, "... B"]:
    """Return the messages of an odd or even number of ones: +-2 atanh prod_{j != i} tanh(h_j / 2).

    Magnitudes are kept as -log |tanh(h / 2)|, which is exact for members that are nearly known, and signs apart.

    >>> parity(jnp.array([jnp.inf, 0.5]), jnp.array(False)).tolist()
    [0.5, inf]
    """
    size = jnp.abs(h)
    loss = _neg_log_tanh(size)
    total = others(loss, jnp.add, 0.0)
    flips = others(jnp.where(h > 0, -1, 1).astype(h.dtype), jnp.multiply, 1.0)  # a likely one turns the parity
    sign = jnp.where(odd, 1, -1).astype(h.dtype)[..., None] * flips
    return sign * _neg_log_tanh(total)


def _log_absent(h: jax.Array, log_fail: jax.Array) -> jax.Array:
    """Return log(sigma(-h) + sigma(h) fail) for each cause."""
    return log_add(-softplus(h), -softplus(-h) + log_fail)


def _neg_log1mexp(x: jax.Array) -> jax.Array:
    """Return -log(1 - exp(-x)) for x >= 0, inf at 0."""
    near = x < 0.6931
    small = jnp.where(near & (x > 0), x, 1)
    large = jnp.where(near, 1, x)
    return jnp.where(x > 0, jnp.where(near, -jnp.log(-jnp.expm1(-small)), -jnp.log1p(-jnp.exp(-large))), jnp.inf)


def _neg_log_tanh(x: jax.Array) -> jax.Array:
    """Return -log tanh(x / 2), which is its own inverse, for x >= 0."""
    inner = jnp.where((x > 0) & (x < jnp.inf), x, 1)
    value = jnp.log1p(jnp.exp(-inner)) + _neg_log1mexp(inner)
    return jnp.where(x > 0, jnp.where(x < jnp.inf, value, 0), jnp.inf)


def log_one_of(h: Float[Array, "... B"]) -> Float[Array, " ..."]:
    """Return the log evidence of "exactly one" with normalised members.

    >>> round(float(jnp.exp(log_one_of(jnp.zeros(2)))), 6)
    0.5
    """
    ones = jnp.sum(h == jnp.inf, axis=-1)
    free = jnp.where(h == jnp.inf, -jnp.inf, h)
    with_one = log_total(jnp.moveaxis(free, -1, 0))
    rest = jnp.sum(softplus(free), axis=-1)
    return jnp.where(ones == 0, with_one - rest, jnp.where(ones == 1, -rest, -jnp.inf))


def log_parity(h: Float[Array, "... B"], odd: Bool[Array, " ..."]) -> Float[Array, " ..."]:
    """Return the log evidence of an odd or even number of ones with normalised members: (1 -+ prod tanh(-h/2)) / 2.

    >>> round(float(jnp.exp(log_parity(jnp.zeros(2), jnp.array(True)))), 6)
    0.5
    """
    loss = jnp.sum(_neg_log_tanh(jnp.abs(h)), axis=-1)
    turn = jnp.prod(jnp.where(h > 0, -1, 1), axis=-1) * jnp.where(odd, -1, 1)
    unlikely = -_neg_log1mexp(loss)
    return jnp.where(turn > 0, jnp.log1p(jnp.exp(-loss)), unlikely) - jnp.log(jnp.asarray(2.0, h.dtype))
