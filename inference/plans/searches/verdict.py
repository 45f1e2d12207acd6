"""Verdict: what searches for a maximum say against their answer.

Law: a result is ok where the best end is an inner maximum or one at an edge, and more than one search found it, or one
alone was asked for. Whatever else is known is told: where there is no maximum, no single one, or no error.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...findings.findings import Finding, few
from ...results.optima import RIDGE, UNBOUNDED, Optima, Optimum, marked
from .summit import SAME


def verdict(optima: Optima, steps: int) -> Iterator[Finding]:
    """Tell what was found; `steps` is the most that a search takes."""
    ends = list(optima)
    count = len(optima.search_value)
    lost = int(np.sum(~np.isfinite(optima.search_value)))
    if not ends:
        return
    if lost:
        yield Finding(
            "NO_FINITE_START", f"{lost} of {count} searches found no start of finite density. Fix: give init=.",
            value=lost, limit=0,
        )  # fmt: skip
    best = ends[0]
    yield from _without_maximum(ends, count)
    if best.kind == RIDGE:
        names = marked(best.flat)
        yield Finding(
            "FLAT_DIRECTION",
            f"the best value is that of a ridge: {few(list(names))} can move together without changing it, so no "
            "single point is the maximum, and these have no standard errors. Fix: fix one of them, or give a prior "
            "that tells them apart.",
            sites=names,
        )  # fmt: skip
    if not best.proper and best.kind != UNBOUNDED:
        yield Finding(
            "NOT_CONVERGED",
            f"the best end is no maximum ({best.kind}): the search took {int(np.max(optima.search_steps))} steps, of "
            f"{steps} at most. Fix: more steps, other starts (init=), or sites in better units.",
            value=int(np.max(optima.search_steps)), limit=steps,
        )  # fmt: skip
    if best.at_edge:
        yield Finding(
            "AT_EDGE",
            f"{few(list(best.at_edge))} at the edge of the support: the density does not fall on the way there, so "
            "that its curvature tells no standard error; errors of the others are those with these held.",
            sites=best.at_edge, value=len(best.at_edge),
        )  # fmt: skip
    yield from _disagreement(ends, count)


def _without_maximum(ends: list[Optimum], count: int) -> Iterator[Finding]:
    """Tell where the density never falls."""
    for one in ends:
        better = one is ends[0] or one.log_density > ends[0].log_density
        if one.kind == UNBOUNDED and better:
            names = marked(one.flat) or one.at_edge
            proper = "" if one is ends[0] else " The optima that are told are local ones below that."
            yield Finding(
                "NO_MAXIMUM",
                f"{one.starts} of {count} searches ran off: the density does not fall as {few(list(names))} move on "
                f"(log density {one.log_density:.6g} where the search stopped), so there is no maximum.{proper} Fix: a "
                "prior that holds them, or fewer parameters.",
                sites=names, value=one.starts, limit=0,
            )  # fmt: skip


def _disagreement(ends: list[Optimum], count: int) -> Iterator[Finding]:
    """Tell how far the starts agree on the best end."""
    best = ends[0]
    equal = [one for one in ends if one.kind == best.kind and best.log_density - one.log_density <= SAME]
    starts, rest = sum(one.starts for one in equal), [one for one in ends if all(one is not other for other in equal)]
    if count == 1 or starts == count:
        return
    others = ", ".join(f"{one.log_density:.6g} ({one.kind}, {one.starts})" for one in rest[:3])
    told = f"{starts} of {count} searches ended at the best value, {best.log_density:.6g}; others at {others or '-inf'}"
    more = ", ..." if len(rest) > 3 else ""
    if starts > 1:
        yield Finding("STARTS_DISAGREE", f"{told}{more}.", value=starts, limit=count)
    else:
        yield Finding(
            "LONE_OPTIMUM", f"{told}{more}. A better one may have been missed. Fix: more starts.",
            value=starts, limit=2,
        )  # fmt: skip
