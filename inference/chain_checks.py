"""Chain checks: what draws of Markov chains, or of independent runs, say against themselves.

Law: a check reads draws and numbers of a run and changes none; what is not a number never passes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .findings import Finding, Limits


def chain_findings(limits: Limits, posterior: Mapping[str, Any], stats: Mapping[str, Any]) -> Iterator[Finding]:
    """Check Markov chains."""
    divergent = int(np.sum(np.asarray(stats.get("diverging", 0))))
    if divergent > limits.divergences:
        yield Finding(
            "DIVERGENT",
            f"{divergent} divergent transitions (limit {limits.divergences}): reparameterise the model or take smaller "
            "steps.",
            value=divergent,
            limit=limits.divergences,
        )
    nonfinite = int(np.sum(np.asarray(stats.get("n_nonfinite", 0))))
    if nonfinite:
        yield Finding(
            "NONFINITE_DENSITY",
            f"{nonfinite} proposals had a log density that is NaN or +inf and were rejected: the chains target the "
            "posterior restricted to the rest; guard the model's arithmetic there.",
            value=nonfinite,
            limit=0,
        )
    lost = int(np.sum(np.asarray(stats.get("n_nonfinite_grad", 0))))
    if lost:
        yield Finding(
            "NONFINITE_GRADIENT",
            f"{lost} proposals led to where the log density is finite and its gradient is not a number, and were "
            "rejected: chains that start elsewhere never go there; guard the model's arithmetic, as the argument of a "
            "square root in an arm of `where` that is not taken.",
            value=lost,
            limit=0,
        )
    stuck = _stuck_chains(posterior)
    if len(stuck):
        yield Finding(
            "NEVER_MOVED",
            f"chains {', '.join(map(str, stuck))} never moved: take smaller steps or another start.",
            value=len(stuck),
            limit=0,
        )
    yield from r_hat_findings(limits, posterior, "run longer, or use a better kernel")
    yield from _ess_findings(limits, posterior)


def r_hat_findings(limits: Limits, posterior: Mapping[str, Any], remedy: str) -> Iterator[Finding]:
    """Check whether chains, or runs, agree."""
    worst = worst_of(posterior, "rhat", method="rank")
    # Not a number means that there are too few draws to say: never a pass.
    if worst is not None and not worst[1] <= limits.r_hat:
        name, value = worst
        yield Finding(
            "HIGH_RHAT",
            f"r-hat of '{name}' is {value:.3f} (limit {limits.r_hat:g}): the chains disagree; {remedy}.",
            sites=(name.split("[")[0],),
            value=value,
            limit=limits.r_hat,
        )


def _ess_findings(limits: Limits, posterior: Mapping[str, Any]) -> Iterator[Finding]:
    chains, draws = np.shape(next(iter(posterior.values()), np.empty((0, 1))))[:2]
    if not draws:
        enough = limits.ess_per_chain * chains
        yield Finding("LOW_ESS", "there is no draw: ask for draws=1000 or so.", value=0, limit=enough)
    for kind, options in (("bulk", {}), ("tail", {"prob": (0.05, 0.95)})):
        worst = worst_of(posterior, "ess", method=kind, **options)
        if worst is not None and not worst[1] >= limits.ess_per_chain * chains:
            name, value = worst
            yield Finding(
                "LOW_ESS",
                f"{kind} effective sample size of '{name}' is {value:.0f} over {chains} chains (limit "
                f"{limits.ess_per_chain:g} a chain): run longer, or use a better kernel.",
                sites=(name.split("[")[0],),
                value=value,
                limit=limits.ess_per_chain * chains,
            )


def worst_of(posterior: Mapping[str, Any], diagnostic: str, **options: Any) -> tuple[str, float] | None:
    """Find the element with the worst diagnostic among those that vary; a value that is not a number is the worst."""
    from arviz_stats.base.array import array_stats

    found: list[tuple[float, str]] = []
    for name, draws in posterior.items():
        array = np.asarray(draws, dtype=float)
        flat = array.reshape(*array.shape[:2], math.prod(array.shape[2:]))  # -1 fails where there is no element
        # Where an arm did not run a value is NaN: chains that visit it differently often have no common diagnostic.
        always = ~np.any(np.isnan(flat), axis=(0, 1))
        varying = np.flatnonzero(always & np.any(flat != flat[:1, :1], axis=(0, 1)))
        if not len(varying):
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # short or constant chains: the numbers themselves say so
            values = getattr(array_stats, diagnostic)(flat[..., varying], chain_axis=0, draw_axis=1, **options)
        values = np.asarray(values)
        badness = np.where(np.isnan(values), math.inf, values if diagnostic == "rhat" else -values)
        place = int(badness.argmax())
        index = np.unravel_index(varying[place], array.shape[2:])
        label = name + (f"[{', '.join(map(str, index))}]" if index else "")
        found.append((float(values[place]), label))
    if not found:
        return None
    sign = 1.0 if diagnostic == "rhat" else -1.0
    value, label = max(found, key=lambda pair: math.inf if math.isnan(pair[0]) else sign * pair[0])
    return label, value


def _stuck_chains(posterior: Mapping[str, Any]) -> np.ndarray:
    """Find chains of two or more draws in which no variable ever changes."""
    arrays = [np.asarray(draws, dtype=float) for draws in posterior.values() if np.size(draws)]
    if not arrays or arrays[0].shape[1] < 2:
        return np.array([], dtype=int)
    differs = [(a != a[:, :1]) & ~(np.isnan(a) & np.isnan(a[:, :1])) for a in arrays]
    moved = [np.any(d, axis=tuple(range(1, d.ndim))) for d in differs]
    return np.flatnonzero(~np.any(moved, axis=0))
