"""Move statistics: what a population tells of the kernel that moves its particles, as one number for all of them.

Law: counts are those of the particles that have weight. One without weight stands where nothing is kept, and what a
move does with it says nothing of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Var
from lawful.form.builder import Block

from .findings import Finding

OF = "@"  # between a number and the part of a composed kernel that it is of
KEPT = ("acceptance_rate", "n_nonfinite", "n_nonfinite_grad")
LOST, NO_SLOPE = "n_nonfinite_moves", "n_nonfinite_grad"


def kept_of(info: Sequence[str]) -> list[str]:
    """Choose the numbers of a kernel that a population tells.

    >>> kept_of(("acceptance_rate", "accepted", "n_nonfinite@1_mh"))
    ['acceptance_rate', 'n_nonfinite@1_mh']
    """
    return [name for name in info if name.partition(OF)[0] in KEPT]


def of_particles(block: Block, name: str, numbers: Var, log_weight: Var) -> Var:
    """Append the number of all particles, from that of each and their log weights."""
    if not name.startswith("n_"):
        return block.det(over_moves(name), numbers, label=name)
    return block.det(_counted, numbers, log_weight, label=name)


def over_moves(name: str) -> Callable[[jax.Array], jax.Array]:
    """Say how the numbers of many moves become one; a part of a mixture did not always run."""
    return _count if name.startswith("n_") else _known if OF in name else _mean


def told(name: str) -> str:
    """Give the name under which a number is told: values that are not finite are counted apart from those of weights.

    >>> told("n_nonfinite@1_mh")
    'n_nonfinite_moves@1_mh'
    """
    own, of, part = name.partition(OF)
    return f"{LOST}{of}{part}" if own == "n_nonfinite" else name


def move_findings(stats: Mapping[str, np.ndarray]) -> tuple[Finding, ...]:
    """Report moves that were rejected since a density or a gradient was no number."""
    found = []
    for name, code, what in (
        (LOST, "NONFINITE_DENSITY", "the log density is NaN or +inf"),
        (NO_SLOPE, "NONFINITE_GRADIENT", "the log density is finite and its gradient is no number"),
    ):
        count = int(np.nansum(stats.get(name, 0)))
        if count:
            message = (
                f"{count} moves of particles led to where {what}, and were rejected: what only moves can reach there "
                "is missing. Fix: guard the model's arithmetic."
            )
            found.append(Finding(code, message, (), count, 0))
    return tuple(found)


def _counted(counts: jax.Array, log_weight: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(log_weight > -jnp.inf, counts, 0), dtype=jnp.int32)


def _mean(x: jax.Array) -> jax.Array:
    return jnp.mean(x, dtype=jnp.result_type(float))


def _known(x: jax.Array) -> jax.Array:
    return jnp.nanmean(x, dtype=jnp.result_type(float))


def _count(x: jax.Array) -> jax.Array:
    return jnp.sum(x, dtype=jnp.int32)
