"""Verdicts and certificates: how a run ended, and what its answer is worth.

Law: every answer carries both. A verdict says what happened; a certificate says what is guaranteed, and is given only
where it was proved.
"""

from __future__ import annotations

from typing import Literal

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
