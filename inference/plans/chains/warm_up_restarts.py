"""Warm-up restarts: chains that stand still, or where no mass is, go on from where another chain is.

Law: a warm-up changes where draws begin, never what a draw means; no chain is restarted once draws begin. A chain that
cannot leave its start at any step size, or a mode without mass, says nothing about the posterior, and is told in the
result. Before a chain that stands still is restarted, it is set apart, with steps of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form.operations.device import device_array

from ...findings.findings import Finding

APART = 5  # steps without a move after which a chain gets a step size of its own, in the first part
PATIENT, LONGER = 25, 100  # steps without a move after which a chain is restarted, in the first part and later
RESTARTS = ("restarted", "log_mass_below")  # the last of what is known of each chain, as a result names them


class Watched(NamedTuple):
    """Of each chain: steps since it last moved, whether it is apart, and of its restart: from which, or -1, and why.

    That is by how much the log mass of where it was lay below that of the best, or zero where it stood still.
    """

    still: jax.Array
    apart: jax.Array
    restarted: jax.Array
    below: jax.Array


def watched(chains: int) -> Watched:
    """Begin to watch.

    >>> watched(2).restarted.tolist()
    [-1, -1]
    """
    none, dtype = np.zeros(chains, np.int32), jnp.result_type(float)
    return Watched(*map(device_array, (none, np.zeros(chains, bool), none - 1, np.zeros(chains, dtype))))


def moved(before: Sequence[jax.Array], after: Sequence[jax.Array]) -> jax.Array:
    """Tell of each chain whether any of its values changed; values that are no numbers do not count."""
    changed = [jnp.any(((a != b) & (a == a)).reshape(len(a), -1), 1) for a, b in zip(after, before, strict=True)]
    return jnp.any(jnp.stack(changed), 0)


def seen(now: Watched, moved: jax.Array, first: Any, below: Any = 0.0) -> tuple[Watched, jax.Array]:
    """Look at a step: gives what is known after it, and for each chain that whose place it takes, mostly itself.

    Chains that stood still for long, or where no mass is, take the places of the others, in turn; where all did, none.

    Args:
        now: what is known.
        moved: of each chain, whether the step moved it.
        first: whether the step lies in the first part of the warm-up.
        below: of each chain where no mass is, by how much its log mass lies below the best, else zero (see
            `warm_up_regions`).

    >>> now = watched(3)._replace(still=jnp.array([24, 0, 7]))
    >>> after, places = seen(now, jnp.array([False, True, False]), True)
    >>> places.tolist(), after.restarted.tolist(), after.still.tolist(), after.apart.tolist()
    ([1, 1, 2], [1, -1, -1], [0, 0, 8], [False, False, True])
    """
    still = jnp.where(moved, 0, now.still + 1)
    apart = now.apart | (jnp.asarray(first) & (still >= APART) & jnp.any(still < APART))
    lost = (still >= jnp.where(first, PATIENT, LONGER)) | (below > 0)
    own = jnp.arange(len(still), dtype=jnp.int32)
    others = jnp.argsort(lost, stable=True).astype(jnp.int32)
    count = jnp.sum(~lost)
    places = jnp.where(lost & (count > 0), others[(jnp.cumsum(lost) - 1) % jnp.maximum(count, 1)], own)
    taken = places != own
    still = jnp.where(taken, 0, still)
    restarted, below = (jnp.where(taken, a, b) for a, b in ((places, now.restarted), (below, now.below)))
    return Watched(still, apart[places], restarted, below), places


def restart_findings(restarted: Any, below: Any) -> Iterator[Finding]:
    """Tell which chains were restarted, why, and from which: a remark.

    >>> [told] = restart_findings([-1, 0, 1], [0.0, 0.0, 57.2])
    >>> told.code, told.value, list(restart_findings([-1, -1], [0.0, 0.0]))
    ('RESTARTED', 2, [])
    """
    rows = [(i, place, gap) for i, (place, gap) in enumerate(zip(restarted, below, strict=True)) if place >= 0]
    still = [f"chain {i} from chain {place}" for i, place, gap in rows if not gap > 0]
    sunk = [f"chain {i} from chain {place} (log mass {gap:.0f} lower)" for i, place, gap in rows if gap > 0]
    told = []
    if still:
        told.append(
            f"chains that stood still were restarted in the warm-up from others: {', '.join(still)}. No step size led "
            "away from where they stood, which may be a mode of its own"
        )
    if sunk:
        told.append(
            f"chains were restarted in the warm-up from others where the posterior has much more mass: "
            f"{', '.join(sunk)}, as normal laws of the same spread tell it"
        )
    if told:
        words = ". ".join(text[0].upper() + text[1:] if number else text for number, text in enumerate(told))
        yield Finding(
            "RESTARTED", f"{words}: see result.warmup, or give other starts (init=).", value=len(rows), limit=0
        )
