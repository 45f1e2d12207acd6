"""Verdicts and certificates: how a run ended, and what its answer is worth.

Law: every answer carries both. A verdict says what happened; a certificate says what is guaranteed, and is given only
where it was proved.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

type Verdict = Literal["exact", "converged", "oscillating", "slow", "infeasible", "nonfinite"]
type Certificate = Literal["exact", "unique-fixed-point", "upper-bound", "lower-bound", "none"]
type Kind = Literal["exact", "bethe", "trw", "fractional", "max"]

# In this order, so that an array of numbers can hold verdicts of many graphs.
VERDICTS: tuple[Verdict, ...] = ("exact", "converged", "oscillating", "slow", "infeasible", "nonfinite")
GOOD = ("exact", "converged")


def number_of(verdict: Verdict) -> int:
    """Number of a verdict.

    >>> number_of("converged")
    1
    """
    return VERDICTS.index(verdict)


def verdict_of(log_z: Any) -> Any:
    """Number of the verdict of an exact answer with this log of the mass.

    >>> int(verdict_of(np.float64(-np.inf))) == number_of("infeasible")
    True
    """
    xp = jnp if isinstance(log_z, jax.Array) else np
    broken = xp.where(log_z == -np.inf, number_of("infeasible"), number_of("nonfinite"))
    return xp.where(xp.isfinite(log_z), number_of("exact"), broken)
