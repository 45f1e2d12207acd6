"""Restarts: a chain that stands still in the warm-up goes on from where another chain is.

Law: a warm-up changes where draws begin, never what a draw means; no chain is restarted once draws begin. A chain that
cannot leave its start at any step size says nothing about the posterior, and is told in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .findings import Finding

PATIENT, LONGER = 25, 100  # steps without a move: while each chain has a step size of its own, and later


class Watched(NamedTuple):
    """Of each chain: steps since it last moved, and the chain that it was last restarted from, or -1."""

    still: jax.Array
    restarted: jax.Array


def watched(chains: int) -> Watched:
    """Begin to watch.

    >>> watched(2).restarted.tolist()
    [-1, -1]
    """
    return Watched(jnp.zeros(chains, jnp.int32), jnp.full(chains, -1, jnp.int32))


def moved(before: Sequence[jax.Array], after: Sequence[jax.Array]) -> jax.Array:
    """Tell of each chain whether any of its values changed; values that are no numbers do not count."""
    changed = [jnp.any(((a != b) & (a == a)).reshape(len(a), -1), 1) for a, b in zip(after, before, strict=True)]
    return jnp.any(jnp.stack(changed), 0)


def seen(now: Watched, moved: jax.Array, patience: jax.Array | int) -> tuple[Watched, jax.Array]:
    """Look at a step: gives what is known after it, and for each chain that whose place it takes, mostly itself.

    Chains that stood still for so long take the places of those that did not, in turn; where all do, none.

    >>> now = Watched(jnp.array([24, 0, 7]), jnp.array([-1, -1, -1]))
    >>> after, places = seen(now, jnp.array([False, True, False]), 25)
    >>> places.tolist(), after.restarted.tolist(), after.still.tolist()
    ([1, 1, 2], [1, -1, -1], [0, 0, 8])
    """
    still = jnp.where(moved, 0, now.still + 1)
    lost, own = still >= patience, jnp.arange(len(still), dtype=jnp.int32)
    others = jnp.argsort(lost, stable=True).astype(jnp.int32)
    count = jnp.sum(~lost)
    places = jnp.where(lost & (count > 0), others[(jnp.cumsum(lost) - 1) % jnp.maximum(count, 1)], own)
    taken = places != own
    return Watched(jnp.where(taken, 0, still), jnp.where(taken, places, now.restarted)), places


def restart_findings(restarted: Any) -> Iterator[Finding]:
    """Tell which chains were restarted, and from which: a remark.

    >>> [finding.code for finding in restart_findings([-1, 0])], list(restart_findings([-1, -1]))
    (['RESTARTED'], [])
    """
    told = [f"chain {i} from chain {place}" for i, place in enumerate(np.asarray(restarted)) if place >= 0]
    if told:
        yield Finding(
            "RESTARTED",
            f"chains that stood still were restarted in the warm-up from others: {', '.join(told)}. No step size led "
            "away from where they stood, which may be a mode of its own: see result.warmup, or give other starts "
            "(init=).",
            value=len(told),
            limit=0,
        )
