"""Sampling: exact draws of the members given the factor, as a pure function of uniforms.

Law: y has probability proportional to exp(g(sum y)) prod sigma(+-h_i). The count of the bag is drawn from its
posterior, then split between the two halves of the bag, each half's between its quarters, and so on: the law of the
left part is left(a) right(s - a). That takes one uniform for the count and one for each split, B for a bag (as many as
there are leaves of the tree), and O(B log B) operations a draw once the tree is there; the levels run one after the
other, all splits of a level at once. Where linear products underflow, the splits are computed in the log domain from
the two laws that the recursion gives.

Reference: Tarlow, Swersky, Zemel, Adams and Frey (2012), Fast exact inference for recursive cardinality models.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lawful.errors import ObservationError

from . import product_tree, recursion, solving
from .arguments import rows


def uniforms_needed(size: int) -> int:
    """Return how many uniforms a draw of a bag takes: the next power of two.

    >>> uniforms_needed(5)
    8
    """
    return product_tree.padded_size(size)


def push_members(
    u: Float[Array, "*draws U"],
    h: Float[Array, "... B"],
    g: Float[Array, "... S"],
    *,
    negated: Bool[Array, " ..."] | None = None,
) -> Bool[Array, "... B"]:
    """Turn uniforms into the members of each bag.

    Args:
        u: uniforms in [0, 1), (..., bags..., uniforms_needed(B)); leading axes are draws.
        h: log odds of the members (bags..., B).
        g: log potential of the counts (bags..., B + 1).
        negated: members that count when they are zero.

    Returns: (..., bags..., B), True for ones. In an impossible bag the draws mean nothing.

    >>> g = jnp.array([-jnp.inf, 0.0, -jnp.inf])  # exactly one of two
    >>> push_members(jnp.array([[0.5, 0.2], [0.5, 0.7]]), jnp.zeros(2), g).tolist()
    [[False, True], [True, False]]
    """
    at = rows(h, g, negated, "push_members")
    bags, size = at.h.shape
    needed = uniforms_needed(size)
    tail = (*at.shape, needed)
    if u.shape[u.ndim - len(tail) :] != tail:
        raise ObservationError(
            f"push_members: uniforms of shape {u.shape}; expected (..., {', '.join(map(str, tail))}). "
            "Fix: give uniforms_needed(B) of them for each bag, draws first.",
            shape=u.shape,
        )
    draws = u.shape[: u.ndim - len(tail)]
    drawn = _draw(u.reshape(-1, bags, needed), at.h, at.g).reshape(*draws, *at.shape, size)
    if at.sign is None:
        return drawn
    return drawn != (at.sign < 0).reshape(*at.shape, size)


def _draw(u: Float[Array, "D G U"], h: Float[Array, "G B"], g: Float[Array, "G S"]) -> Bool[Array, "D G B"]:
    problem = solving.pose(h.T, g.T)
    size = h.shape[1]
    levels = product_tree.grow(problem.tilted.one, problem.tilted.zero)
    mass = product_tree.root(levels) * jnp.where(problem.tilted.clipped, 0, problem.tilted.weights)
    enough = jnp.sum(mass, axis=0) >= solving.FLOOR[h.dtype]
    trusted = jnp.all(enough | ~problem.possible.bag)

    def linear() -> jax.Array:
        return jax.vmap(lambda u: split(u.T, levels, mass, size))(u)

    def in_logs() -> jax.Array:  # one bag at a time: the laws before each member take B^2 numbers
        one = jax.lax.map(lambda bag: backward(bag[0][:, None], bag[1][None], bag[2][None]), (u.swapaxes(0, 1), h, g))
        return one[..., 0].transpose(1, 2, 0)

    return jax.lax.cond(trusted, linear, in_logs).swapaxes(1, 2)


def split(
    u: Float[Array, "U G"], levels: product_tree.Levels, mass: Float[Array, "S G"], size: int
) -> Bool[Array, "B G"]:
    """Draw the count and split it down the tree; one uniform for the count and one for each split."""
    counts = pick(u[0], mass)[None]
    used = 1
    for level in reversed(levels):
        nodes = level.shape[1] // 2
        if not nodes:
            break
        first, second = level[:, :nodes], level[:, nodes:]
        a = jnp.arange(len(level), dtype=jnp.int32)[:, None, None]
        rest = counts[None] - a
        inside = (rest >= 0) & (rest < len(level))
        other = jnp.take_along_axis(second, jnp.clip(rest, 0, len(level) - 1), axis=0)
        left = pick(u[used : used + nodes], jnp.where(inside, first * other, 0))
        used += nodes
        counts = jnp.concatenate([left, counts - left])
    return counts[jnp.array(product_tree.order(size)[:size], dtype=jnp.int32)] > 0


def pick(u: Float[Array, " ..."], mass: Float[Array, "S ..."]) -> jax.Array:
    """Return the entry in whose part of the running mass the uniform falls; never one of mass zero.

    >>> int(pick(jnp.array(0.0), jnp.array([0.0, 1.0])))
    1
    """
    sums = jnp.cumsum(mass, axis=0)
    found = jnp.sum(sums <= (u * sums[-1])[None], axis=0, dtype=jnp.int32)
    last = len(mass) - 1 - jnp.argmax(mass[::-1] > 0, axis=0).astype(jnp.int32)  # rounding may run past the end
    return jnp.minimum(found, last)


def backward(u: Float[Array, "D G U"], h: Float[Array, "G B"], g: Float[Array, "G S"]) -> Bool[Array, "D B G"]:
    """Draw the count, then the members from the last to the first, with the laws of the recursion in the log domain."""
    x = h.T
    log_law = recursion.log_law(x, g.shape[1])
    level = jnp.where(log_law == -jnp.inf, -jnp.inf, log_law + g.T)
    top = jnp.max(level, axis=0)
    mass = jnp.exp(level - jnp.where(top == -jnp.inf, 0, top)[None])
    alphas = recursion.forward(x, g.shape[1])

    def draw(u: jax.Array) -> jax.Array:
        def member(count: jax.Array, at: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            x, alpha, uniform = at
            stay = jnp.take_along_axis(alpha, count[None], axis=0)[0]
            less = jnp.take_along_axis(alpha, jnp.maximum(count - 1, 0)[None], axis=0)[0]
            less = jnp.where(count > 0, less, -jnp.inf)
            certain = (x == jnp.inf) | (stay == -jnp.inf)
            never = (x == -jnp.inf) | (less == -jnp.inf)
            odds = jnp.where(certain | never, 0, x + jnp.where(never, 0, less) - jnp.where(certain, 0, stay))
            one = jnp.where(never, False, certain | (uniform < jax.nn.sigmoid(odds)))
            return count - one.astype(jnp.int32), one

        # The first member is what the others leave, so the uniform of the count decides nothing else.
        return jax.lax.scan(member, pick(u[:, 0], mass), (x, alphas, u[:, : len(x)].T), reverse=True)[1]

    return jax.vmap(draw)(u)
