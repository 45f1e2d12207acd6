"""The count factor f(y) = exp(g(sum_i y_i)) over binary members: its messages and its evidence.

Law: with log odds h_i coming in, the message out_i is the log ratio of the sums of f times the law of the other members
with y_i one and zero; it never contains h_i, and it is infinite exactly where g says so. The evidence is the mean of f
under the law of the members; its derivatives are posterior expectations, P(y_i = 1) - sigma(h_i) and P(count = s).

Bags are rows: give many of one size at once, smaller ones padded by members with h = -inf, whose presence leaves every
other number as it is. Under `jax.vmap` bags are put side by side as well.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lawful.distributions.softplus import softplus
from lawful.errors import IndexRangeError

from . import posterior, solving
from .arguments import check_choice, rows
from .chunks import side_by_side
from .tilting import chances

ACCURACY = 1e-5


class Solved(NamedTuple):
    """Messages (..., B) to the members and the log evidence (...)."""

    messages: Float[Array, "... B"]
    log_evidence: Float[Array, " ..."]


def messages(
    h: Float[Array, "... B"],
    g: Float[Array, "... S"],
    *,
    negated: Bool[Array, " ..."] | None = None,
    method: str = "auto",
    accuracy: float = ACCURACY,
) -> Float[Array, "... B"]:
    """Return the log odds that a count factor sends to each member.

    Args:
        h: log odds of the members without this factor (..., B); inf or -inf where a member is known.
        g: log potential of the counts 0..B, (..., B + 1) or (B + 1,) for all bags; -inf excludes a count.
        negated: members that count when they are zero.
        method: one of `METHODS`: "auto" takes the normal approximation for hard counts of large variance and the
            product tree otherwise; "tree", "blocks" (the recursion, sixteen members a step), "fourier" (a tree by
            Fourier transforms), "log" (the recursion in the log domain), "asymptotic" (for hard counts alone).
        accuracy: largest error of a message that "auto" and "fourier" may trade for speed.

    Returns: log odds (..., B). An impossible value has an infinite message; where no count is possible all are 0 that
        the others do not decide.

    Raises:
        ObservationError: the shapes or types do not fit.
        NonFiniteError: NaN, or a potential of +inf, where values are known.

    >>> h, g = jnp.zeros(3), jnp.array([-jnp.inf, 0.0, -jnp.inf, -jnp.inf])  # exactly one of three
    >>> messages(h, g).round(4).tolist() == [round(-float(jnp.log(2.0)), 4)] * 3
    True
    """
    at = rows(h, g, negated, "messages")
    return at.members(_messages(*_options(method, accuracy, "messages"))(at.h, at.g))


def log_evidence(
    h: Float[Array, "... B"],
    g: Float[Array, "... S"],
    *,
    negated: Bool[Array, " ..."] | None = None,
    normalised: bool = True,
    method: str = "auto",
    accuracy: float = ACCURACY,
) -> Float[Array, " ..."]:
    """Return log E exp(g(sum_i y_i)) with independent y_i ~ Bernoulli(sigma(h_i)); -inf for an impossible bag.

    Args:
        h: log odds (..., B).
        g: log potential of the counts (..., B + 1).
        negated: members that count when they are zero.
        normalised: whether members have probabilities; otherwise scores 1 and exp(h_i), which adds sum softplus(h_i).
            A known member, of infinite log odds, has weight one either way.
        method: as for `messages`.
        accuracy: as for `messages`.

    >>> h, g = jnp.zeros(2), jnp.array([-jnp.inf, 0.0, -jnp.inf])  # exactly one of two fair members
    >>> [round(float(jnp.exp(log_evidence(h, g, normalised=n))), 5) for n in (True, False)]
    [0.5, 2.0]
    """
    at = rows(h, g, negated, "log_evidence")
    value = at.bags(_evidence(*_options(method, accuracy, "log_evidence"))(at.h, at.g))
    if normalised:
        return value
    free = jnp.isfinite(h)
    scores = jnp.sum(jnp.where(free, softplus(jnp.where(free, h, 0)), 0), axis=-1)
    return value + jnp.broadcast_to(scores, value.shape)


def solve(
    h: Float[Array, "... B"],
    g: Float[Array, "... S"],
    *,
    negated: Bool[Array, " ..."] | None = None,
    method: str = "auto",
    accuracy: float = ACCURACY,
) -> Solved:
    """Return messages and (normalised) log evidence at the price of the messages; see `messages`.

    >>> solved = solve(jnp.zeros(2), jnp.array([-jnp.inf, 0.0, -jnp.inf]))
    >>> solved.messages.tolist(), round(float(solved.log_evidence), 4) == round(float(jnp.log(0.5)), 4)
    ([0.0, 0.0], True)
    """
    at = rows(h, g, negated, "solve")
    told, log_z = _both(*_options(method, accuracy, "solve"))(at.h, at.g)
    return Solved(at.members(told), at.bags(log_z))


def _options(method: str, accuracy: float, where: str) -> tuple[str, float]:
    check_choice(method, solving.METHODS, "method", where)
    if not accuracy > 0:
        raise IndexRangeError(f"{where}: accuracy={accuracy!r}, expected a positive number. Fix: leave it at 1e-5.")
    return method, float(accuracy)


@cache
def _messages(method: str, accuracy: float) -> Any:
    def kernel(h: jax.Array, g: jax.Array) -> jax.Array:
        return solving.solve(solving.pose(h, g), method, accuracy).messages

    return side_by_side(kernel)


@cache
def _both(method: str, accuracy: float) -> Any:
    def kernel(h: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        problem = solving.pose(h, g)
        sums = solving.solve(problem, method, accuracy)
        return sums.messages, solving.log_normaliser(problem, sums.log_mean)

    both = jax.custom_jvp(side_by_side(kernel))

    @both.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        told, dtold = jax.jvp(_messages(method, accuracy), primals, tangents)
        log_z = _evidence(method, accuracy)(*primals)
        return (told, log_z), (dtold, _slope(primals, told, log_z, tangents))

    return both


@cache
def _evidence(method: str, accuracy: float) -> Any:
    def kernel(h: jax.Array, g: jax.Array) -> jax.Array:
        problem = solving.pose(h, g)
        return solving.log_normaliser(problem, solving.log_mean_alone(problem, method, accuracy))

    both = _both(method, accuracy)
    value = jax.custom_jvp(side_by_side(kernel))

    @value.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        told, log_z = both(*primals)
        return log_z, _slope(primals, told, log_z, tangents)

    return value


def _slope(primals: Any, told: jax.Array, log_z: jax.Array, tangents: Any) -> Float[Array, " G"]:
    """Return the change of the log evidence: posterior expectations times changes; none in an impossible bag."""
    (h, g), (dh, dg) = primals, tangents
    real = log_z > -jnp.inf
    after, _ = chances(jnp.where(real[:, None], h + told, 0))
    before, _ = chances(jnp.where(real[:, None], h, 0))
    counts = posterior.count_rows(h, g)
    return jnp.sum((after - before) * dh, axis=1) + jnp.sum(counts * dg, axis=1)
