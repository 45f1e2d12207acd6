"""Blocks: the recursion over members in the linear domain, sixteen members a step.

Law: alpha(s) is the probability that the members before a block have sum s, beta(s) the mean of the weight over the
members after it; the block's own potential sum_s alpha(s) beta(s + t) is handed down to its members (`product_tree`).
That is the recursion alpha_{i+1}(s) = (1 - p_i) alpha_i(s) + p_i alpha_i(s - 1) and its mirror image, B^2 operations,
with one reading of memory for sixteen members. Tilted laws sum to one: no rescaling.

Reference: Barlow and Heidtmann (1984), Computing k-out-of-n system reliability.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import product_tree
from .polynomials import correlate, multiply

BLOCK = 16
WHOLE = 64  # members up to which a tree is as soon compiled


def law(one: Float[Array, "B G"], zero: Float[Array, "B G"]) -> Float[Array, "S G"]:
    """Return the law of the count of the whole bag, (L + 1, G) for members padded to L, a power of two.

    A tree for each block and one multiplication a block take as long as one tree, and are compiled in a third of its
    time where bags are large.
    """
    size = product_tree.padded_size(len(one))
    more = ((0, size - len(one)), (0, 0))
    one, zero = jnp.pad(one, more), jnp.pad(zero, more, constant_values=1)
    if size <= WHOLE:
        return product_tree.root(product_tree.grow(one, zero))
    _, laws = _trees(one, zero)
    start = jnp.zeros((size + 1, one.shape[1]), one.dtype).at[0].set(1)
    return jax.lax.scan(lambda alpha, own: (multiply(own, alpha)[: size + 1], None), start, laws)[0]


def sums(one: Float[Array, "B G"], zero: Float[Array, "B G"], weights: Float[Array, "S G"]) -> Float[Array, "2 B G"]:
    """Return the sums with each member zero and one."""
    size, bags = one.shape
    blocks = max(-(-size // BLOCK), 1)
    length = blocks * BLOCK + 1
    fill = ((0, blocks * BLOCK - size), (0, 0))
    levels, laws = _trees(jnp.pad(one, fill), jnp.pad(zero, fill, constant_values=1))

    def forward(alpha: jax.Array, law: jax.Array) -> tuple[jax.Array, jax.Array]:
        return multiply(law, alpha)[:length], alpha

    def backward(beta: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        law, alpha = block
        wide = jnp.pad(beta, ((0, BLOCK), (0, 0)))
        own = jnp.stack([jnp.sum(alpha * wide[t : t + length], axis=0) for t in range(BLOCK + 1)])
        return correlate(law, wide, length), own

    start = jnp.zeros((length, bags), one.dtype).at[0].set(1)
    _, alphas = jax.lax.scan(forward, start, laws)
    end = jnp.pad(weights, ((0, max(length - len(weights), 0)), (0, 0)))[:length]
    _, own = jax.lax.scan(backward, end, (laws, alphas), reverse=True)
    members = product_tree.hand_down(levels, own.swapaxes(0, 1).reshape(BLOCK + 1, -1))
    return members.reshape(2, BLOCK, blocks, bags).swapaxes(1, 2).reshape(2, -1, bags)[:, :size]


def _trees(one: Float[Array, "B G"], zero: Float[Array, "B G"]) -> tuple[product_tree.Levels, Float[Array, "K S G"]]:
    """Grow the trees of all blocks, and give the law of each; the members are a multiple of a block."""
    size, bags = one.shape
    one, zero = (x.reshape(-1, BLOCK, bags).swapaxes(0, 1).reshape(BLOCK, -1) for x in (one, zero))
    levels = product_tree.grow(one, zero)
    return levels, product_tree.root(levels).reshape(BLOCK + 1, size // BLOCK, bags).swapaxes(0, 1)
