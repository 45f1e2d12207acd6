"""A line of a study: a bar, what was measured beside it, and whether it is reached."""

from __future__ import annotations

__all__ = ["judge"]


def judge(name: str, wanted: str, measured: str, reached: bool) -> int:
    """Print a line; give 1 where the bar is missed.

    >>> judge("largest error", "1e-4", f"{2e-5:.0e}", 2e-5 <= 1e-4)
    ok     largest error: bar 1e-4, measured 2e-05
    0
    """
    print(f"{'ok    ' if reached else 'MISSED'} {name}: bar {wanted}, measured {measured}", flush=True)
    return int(not reached)
