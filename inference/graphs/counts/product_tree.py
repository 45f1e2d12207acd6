"""Product tree: the laws of the counts of pairs, fours, eights, ... of members, and what the potential means to each.

Law: upwards a node's polynomial is the product of its children's, the law of the number of ones below it; downwards a
child's potential is the parent's, averaged over the sibling's count: g_child(t) = sum_u sibling(u) g_parent(t + u). At
a member that leaves the two sums of its message. All terms are positive and tilted (`tilting`), so nothing cancels and
nothing needs to be rescaled: laws sum to one, and potentials are averages of weights with maximum one.

Sums written out over whole levels in lanes take 3 B^2 / 2 multiplications, about ten in a nanosecond where processors
have vectors; with Fourier transforms from nodes of 64 members up it is O(B log^2 B), the error then being relative to
the largest value. Members are padded to a power of two by known zeros, so that padding by the caller changes nothing.

Reference: Tarlow, Swersky, Zemel, Adams and Frey (2012), Fast exact inference for recursive cardinality models.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .polynomials import WRITTEN_OUT, correlate, correlate_by_fourier, multiply, multiply_by_fourier

FOURIER_FROM = 64

Levels = list[jax.Array]  # one array (m + 1, nodes, G) a level, m = 1, 2, 4, ...


def padded_size(size: int) -> int:
    """Return the number of leaves: the next power of two."""
    return 1 << max(size - 1, 0).bit_length()


def order(size: int) -> list[int]:
    """Return the members in the order in which each level pairs its first half with its second: bits reversed.

    >>> order(4)
    [0, 2, 1, 3]
    """
    bits = padded_size(size).bit_length() - 1
    return [int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(padded_size(size))]


def filled(h: Float[Array, "B G"], g: Float[Array, "S G"]) -> tuple[Float[Array, "L G"], Float[Array, "M G"]]:
    """Pad members by known zeros, and their counts by excluded ones, to a power of two.

    Sizes up to one power of two are then one program, so that padding by the caller cannot change how it rounds.
    """
    more = ((0, padded_size(len(h)) - len(h)), (0, 0))
    return jnp.pad(h, more, constant_values=-jnp.inf), jnp.pad(g, more, constant_values=-jnp.inf)


def grow(one: Float[Array, "B G"], zero: Float[Array, "B G"], fourier: bool = False) -> Levels:
    """Multiply upwards, to the two children of the root; the members must be a power of two."""
    leaves = jnp.array(order(len(one)), dtype=jnp.int32)
    levels = [jnp.stack([zero[leaves], one[leaves]])]
    while levels[-1].shape[1] > 2:
        levels.append(join(levels[-1], fourier))
    return levels


def join(level: Float[Array, "M nodes G"], fourier: bool = False) -> Float[Array, "N half G"]:
    """Multiply the polynomials of each pair of nodes."""
    half = level.shape[1] // 2
    first, second = _lanes(level[:, :half]), _lanes(level[:, half:])
    product = (multiply_by_fourier if _long(fourier, level) else multiply)(first, second)
    return jax.lax.optimization_barrier(product.reshape(-1, half, level.shape[2]))


def hand_down(levels: Levels, weights: Float[Array, "S G"], fourier: bool = False) -> Float[Array, "2 B G"]:
    """Average the potential downwards, to the sums with each member zero and one."""
    potential = weights[:, None]
    for level in reversed(levels):
        half, parent = level.shape[1] // 2, _lanes(potential)
        if half:  # a single leaf is its own root
            average = correlate_by_fourier if _long(fourier, level) else correlate
            if len(level) > WRITTEN_OUT:  # one loop for both halves, as the code of loops is what takes long to compile
                siblings = jnp.concatenate([level[:, half:], level[:, :half]], axis=1)
                potential = average(_lanes(siblings), jnp.concatenate([parent, parent], axis=1), len(level))
            else:
                both = [average(_lanes(level[:, k]), parent, len(level)) for k in (slice(half, None), slice(0, half))]
                potential = jnp.concatenate([x.reshape(-1, half, level.shape[2]) for x in both], axis=1)
            potential = potential.reshape(-1, level.shape[1], level.shape[2])
            # Merged with the next level it would be rounded otherwise in a tree of another height.
            potential = jax.lax.optimization_barrier(potential)
    return potential[:, jnp.array(order(potential.shape[1]), dtype=jnp.int32)]  # reversing bits twice changes nothing


def root(levels: Levels, fourier: bool = False) -> Float[Array, "S G"]:
    """Return the law of the count of the whole bag."""
    last = levels[-1]
    return (join(last, fourier) if last.shape[1] == 2 else last)[:, 0]


def uses_fourier(size: int) -> bool:
    """Tell whether a bag is so large that a tree by Fourier transforms differs from one without."""
    return padded_size(size) // 2 >= FOURIER_FROM


def _long(fourier: bool, level: jax.Array) -> bool:
    return fourier and len(level) > FOURIER_FROM


def _lanes(level: jax.Array) -> jax.Array:
    return level.reshape(len(level), -1)
