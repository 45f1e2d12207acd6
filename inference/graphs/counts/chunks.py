"""Chunks: many bags of one size, a few hundred kilobytes at a time, bags in lanes.

Law: the result is that of all bags at once. A chunk is large enough to fill vectors and small enough to stay in the
cache; the memory of a method is that of one chunk, and a chunk that needs a slower method does not slow the others.
Derivatives compute a chunk again instead of keeping what it went through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .product_tree import padded_size

LANES = 1 << 16  # members in a chunk

Kernel = Callable[[jax.Array, jax.Array], Any]


def over_chunks(kernel: Kernel, h: Float[Array, "G B"], g: Float[Array, "G S"], lanes: int = LANES) -> Any:
    """Apply a kernel of (members, bags) and (counts, bags) to all bags; its results, bags last, are put bags first.

    Args:
        kernel: a function of log odds and potentials of a chunk, which may pad both to a power of two of members.
        h: log odds, a row for each bag.
        g: log potentials, a row for each bag.
        lanes: number of members in a chunk, about.
    """
    bags, size = h.shape
    once = max(lanes // max(size, 1), 1)
    pieces = max(-(-bags // once), 1)

    def rows(x: jax.Array) -> jax.Array:
        """Drop what a kernel has padded, and put the bags first."""
        kept = {padded_size(size): size, padded_size(size) + 1: size + 1}.get(len(x), len(x)) if x.ndim > 1 else len(x)
        return jnp.moveaxis(x[:kept], -1, 0)

    run = jax.checkpoint(lambda pair: jax.tree.map(rows, kernel(pair[0].T, pair[1].T)))
    if pieces == 1:
        return run((h, g))
    once = -(-bags // pieces)
    fill = ((0, pieces * once - bags), (0, 0))
    split = tuple(jnp.pad(x, fill).reshape(pieces, once, -1) for x in (h, g))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:bags], jax.lax.map(run, split))


def side_by_side(kernel: Kernel, lanes: int = LANES) -> Any:
    """Make a function of rows of bags out of a kernel; `jax.vmap` puts its rows beside the others.

    A choice between methods, made for a chunk, would under `jax.vmap` become a run of all methods for each bag. That
    happens still where a derivative is batched, so there give bags as rows.
    """
    plain = jax.jit(partial(over_chunks, kernel, lanes=lanes))
    folded = jax.custom_batching.custom_vmap(plain)

    @folded.def_vmap
    def rule(size: int, batched: Sequence[bool], h: jax.Array, g: jax.Array) -> tuple[Any, Any]:
        full = [x if b else jnp.broadcast_to(x[None], (size, *x.shape)) for x, b in zip((h, g), batched, strict=True)]
        out = folded(*(x.reshape(-1, x.shape[-1]) for x in full))
        apart = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), out)
        return apart, jax.tree.map(lambda _: True, apart)

    value = jax.custom_jvp(folded)

    @value.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        return jax.jvp(plain, primals, tangents)

    return value
