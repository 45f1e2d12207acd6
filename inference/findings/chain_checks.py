"""Chain checks: what draws of Markov chains, or of independent runs, say against themselves.

Law: a check reads draws and numbers of a run and changes none; what is not a number never passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .diagnostics import Measured, Variable, ess_of, r_hat_of, variables_of
from .findings import SHORTEST, Finding, Limits, few
from .tail_steps import tail_steps


def chain_findings(limits: Limits, posterior: Mapping[str, Any], stats: Mapping[str, Any]) -> Iterator[Finding]:
    """Check Markov chains."""
    short = _shortest(stats)
    steps = "give other starts (init=)" if short else "take smaller steps"
    divergent = int(np.sum(np.asarray(stats.get("diverging", 0))))
    if divergent > limits.divergences:
        yield Finding(
            "DIVERGENT",
            f"{divergent} divergent transitions (limit {limits.divergences}): reparameterise the model or {steps}.",
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
    yield from _unmoved(posterior, short)
    moving = moving_chains(posterior)
    variables = variables_of(moving)
    yield from r_hat_findings(r_hat_of(limits, variables), "the chains disagree; run longer, or use a better kernel")
    yield from _ess_findings(limits, moving, variables)
    rates = np.asarray(stats.get("acceptance_rate", ()))
    if "n_steps" in stats and len(rates) and all(v.array.shape[:2] == rates.shape for v in variables):
        yield from tail_steps(variables, rates)


def _shortest(stats: Mapping[str, Any]) -> bool:
    """Tell whether steps are so short, in units of the scales, that shorter ones help nobody."""
    return float(np.max(np.asarray(stats.get("step_size", 1.0)), initial=0.0)) < SHORTEST


def moving_chains(posterior: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Leave out chains that never moved, and elements that no chain moved: they are a finding of their own."""
    stuck, still = _stuck(posterior)
    found = {}
    for name, draws in posterior.items():
        array = np.asarray(draws)
        found[name] = np.delete(array, stuck, axis=0) if len(stuck) else array
        if name in still:
            found[name] = np.where(still[name], 0.0, found[name])  # a constant, which has no diagnostic
    return found


def r_hat_findings(worst: Measured | None, what: str) -> Iterator[Finding]:
    """Say that chains, or runs, disagree."""
    if worst is not None and not worst.ok:
        value = "above 10" if worst.value > 10 else f"{worst.value:.3f}"
        yield Finding(
            "HIGH_RHAT",
            f"r-hat of '{worst.label}' is {value} (limit {worst.limit:.4g}): {what}.",
            sites=(worst.site,),
            value=worst.value,
            limit=worst.limit,
        )


def _ess_findings(limits: Limits, posterior: Mapping[str, Any], variables: Sequence[Variable]) -> Iterator[Finding]:
    chains, draws = np.shape(next(iter(posterior.values()), np.empty((0, 1))))[:2]
    low = [(kind, ess_of(limits, variables, kind)) for kind in ("bulk", "tail")]
    for kind, worst in low:
        if worst is not None and not worst.ok:
            shown = f"limit {limits.ess_per_chain:g} a chain"
            if worst.limit < limits.ess_per_chain * chains:
                shown += f"; chance explains estimates down to {worst.limit:.0f} in all"
            yield Finding(
                "LOW_ESS",
                f"{kind} effective sample size of '{worst.label}' is {worst.value:.0f} over {chains} chains ({shown}): "
                "run longer, or use a better kernel.",
                sites=(worst.site,),
                value=worst.value,
                limit=worst.limit,
            )
    if chains and draws < limits.ess_per_chain and all(worst is None or worst.ok for _, worst in low):
        yield Finding(
            "LOW_ESS",
            f"{draws} {'draw' if draws == 1 else 'draws'} a chain are no evidence that it converged (limit "
            f"{limits.ess_per_chain:g} effective ones a chain): ask for draws=1000 or so.",
            value=draws,
            limit=limits.ess_per_chain,
        )


def _unmoved(posterior: Mapping[str, Any], short: bool) -> Iterator[Finding]:
    stuck, still = _stuck(posterior)
    if len(stuck):
        yield Finding(
            "NEVER_MOVED",
            f"chains {', '.join(map(str, stuck))} never moved: {'' if short else 'take smaller steps or '}give "
            "another start (init=).",
            value=len(stuck),
            limit=0,
        )
    elif still:
        count = sum(int(mask.sum()) for mask in still.values())
        yield Finding(
            "NEVER_MOVED",
            f"chains never moved {count} elements, of {few(list(still))}, and hold different values of them: the "
            "kernel has no move for them, or none was accepted. Fix: another kernel, "
            + ("or another start." if short else "or smaller steps."),
            sites=tuple(still),
            value=count,
            limit=0,
        )


def _stuck(posterior: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Find chains of two or more draws in which nothing ever changes, and elements that no other chain changes.

    Returns: the chains, and for each variable concerned a mask of its elements: those that chains hold at different
    values.
    """
    arrays = {name: np.asarray(draws, dtype=float) for name, draws in posterior.items() if np.size(draws)}
    if not arrays or next(iter(arrays.values())).shape[1] < 2:
        return np.array([], dtype=int), {}
    differs = {n: np.any((a != a[:, :1]) & ~(np.isnan(a) & np.isnan(a[:, :1])), axis=1) for n, a in arrays.items()}
    moved = np.any([np.any(d, axis=tuple(range(1, d.ndim))) for d in differs.values()], axis=0)
    still = {}
    for name, array in arrays.items():
        first = array[moved, 0]
        apart = np.any(first != first[:1], axis=0) & ~np.any(np.isnan(first), axis=0)
        held = np.asarray(~np.any(differs[name], axis=0) & apart)
        if len(first) and np.any(held):
            still[name] = held
    return np.flatnonzero(~moved), still
