"""Restarts: chains that stand still in the warm-up are set apart, and go on from where another chain is.

Law: a warm-up changes where draws begin, never what a draw means; no chain is restarted once draws begin. A chain that
cannot leave its start at any step size says nothing about the posterior, and is told in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.device import device_array

from .findings import Finding

APART = 5  # steps without a move after which a chain gets a step size of its own, in the first part
PATIENT, LONGER = 25, 100  # steps without a move after which a chain is restarted, in the first part and later


class Watched(NamedTuple):
    """Of each chain: steps since it last moved, whether it is apart, and what it was restarted from, or -1."""

    still: jax.Array
    apart: jax.Array
    restarted: jax.Array


def watched(chains: int) -> Watched:
    """Begin to watch.

    >>> watched(2).restarted.tolist()
    [-1, -1]
    """
    return Watched(
        *map(device_array, (np.zeros(chains, np.int32), np.zeros(chains, bool), np.full(chains, -1, np.int32)))
    )


def moved(before: Sequence[jax.Array], after: Sequence[jax.Array]) -> jax.Array:
    """Tell of each chain whether any of its values changed; values that are no numbers do not count."""
    changed = [jnp.any(((a != b) & (a == a)).reshape(len(a), -1), 1) for a, b in zip(after, before, strict=True)]
    return jnp.any(jnp.stack(changed), 0)


def seen(now: Watched, moved: jax.Array, first: Any) -> tuple[Watched, jax.Array]:
    """Look at a step: gives what is known after it, and for each chain that whose place it takes, mostly itself.

    Chains that stood still for long take the places of those that did not, in turn; where all did, none.

    Args:
        now: what is known.
        moved: of each chain, whether the step moved it.
        first: whether the step lies in the first part of the warm-up.

    >>> now = watched(3)._replace(still=jnp.array([24, 0, 7]))
    >>> after, places = seen(now, jnp.array([False, True, False]), True)
    >>> places.tolist(), after.restarted.tolist(), after.still.tolist(), after.apart.tolist()
    ([1, 1, 2], [1, -1, -1], [0, 0, 8], [False, False, True])
    """
    still = jnp.where(moved, 0, now.still + 1)
    apart = now.apart | (jnp.asarray(first) & (still >= APART) & jnp.any(still < APART))
    lost, own = still >= jnp.where(first, PATIENT, LONGER), jnp.arange(len(still), dtype=jnp.int32)
    others = jnp.argsort(lost, stable=True).astype(jnp.int32)
    count = jnp.sum(~lost)
    places = jnp.where(lost & (count > 0), others[(jnp.cumsum(lost) - 1) % jnp.maximum(count, 1)], own)
    taken = places != own
    return Watched(jnp.where(taken, 0, still), apart[places], jnp.where(taken, places, now.restarted)), places


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
