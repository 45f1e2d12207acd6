"""Frames of pandas of a fit: estimates with their errors, every start, every optimum, and the order of the classes.

Law: a row is a number of the fit under its name; degenerate optima come last, the others by their likelihood.
Which class is told first, and which one odds are told against, changes no likelihood, membership or error of a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from lawful.errors import LawfulError

from ..fitting.batches import Ends
from ..fitting.boundaries import seen_from_within, smallest_eigenvalues
from ..fitting.fitted import FittedMixture
from ..fitting.search import SAME, Search
from ..model.parameters import Model, unpack
from ..model.reports import Row
from ..model.scaling import doubly

__all__ = [
    "ended_at",
    "estimates_of",
    "grouped",
    "nlpsem_names_of",
    "optima_of",
    "order_of",
    "starts_of",
    "wald_intervals",
]


def estimates_of(
    rows: Sequence[Row], values: np.ndarray, observed: np.ndarray, robust: np.ndarray, level: float = 0.95,
    ties: Any = "",
) -> Any:  # fmt: skip
    """Give one row a reported parameter; errors that were refused are NaN, with a flag.

    Intervals are those of Wald, for variances of their logarithm, whose law is nearer to a normal one.

    Args:
        rows: what is reported (R,).
        values: the estimates (R,).
        observed: their standard errors by observed information (R,).
        robust: by the sandwich (R,).
        level: of confidence.
        ties: of each, whether it is "equal" in all classes, or "fixed" (R,).
    """
    import pandas

    lower, upper = wald_intervals(values, observed, [row.variance for row in rows], level)
    flag = np.where(np.isnan(observed), "refused", ties)
    return pandas.DataFrame({
        "class": [row.label for row in rows], "parameter": [row.parameter for row in rows],
        "meaning": [row.meaning for row in rows], "estimate": values, "se": observed,
        "se_robust": robust, "lower": lower, "upper": upper, "flag": flag,
    })  # fmt: skip


def wald_intervals(
    values: np.ndarray, errors: np.ndarray, variance: Sequence[bool], level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Give lower and upper ends (R,) of intervals.

    Args:
        values: the estimates (R,).
        errors: their standard errors (R,).
        variance: of each, whether its logarithm is what has a normal law.
        level: of confidence.

    >>> lower, upper = wald_intervals(np.array([4.0, 4.0]), np.array([1.0, 1.0]), [False, True])
    >>> lower.round(2).tolist(), upper.round(2).tolist()
    ([2.04, 2.45], [5.96, 6.53])
    """
    logs = np.asarray(variance) & (values > 0)
    away = norm.ppf(0.5 + 0.5 * level) * errors
    with np.errstate(over="ignore"):  # an error that dwarfs its variance bounds nothing
        factor = np.exp(away / np.where(logs, values, 1.0), where=logs, out=np.ones_like(values))
    lower = np.where(logs, values / factor, values - away)
    return lower, np.where(logs, values * factor, values + away)


def nlpsem_names_of(rows: Sequence[Row], model: Model) -> list[str]:
    """Give the name that nlpsem has for each reported parameter."""
    gates = len(rows) - (model.n_classes - 1) * (1 + model.p_gate)
    return [
        f"beta{row.label}{row.parameter[4:]}" if i >= gates else f"c{row.label}{row.parameter}"
        for i, row in enumerate(rows)
    ]


def starts_of(search: Search, log_jacobian: float) -> Any:
    """Give one row a start, the best first; likelihoods of the search lack what the user's units add."""
    import pandas

    own = search.start >= 0
    deviance = -2 * (search.value[own] + log_jacobian)
    frame = pandas.DataFrame(
        {"start": search.start[own], "minus2ll": deviance, "calm": search.calm[own],
         "degenerate": search.degenerate[own]}
    )  # fmt: skip
    return frame.sort_values("minus2ll", ignore_index=True)


def optima_of(fit: FittedMixture) -> Any:
    """Give one row a distinct optimum, the best first."""
    import pandas

    found = [_optimum(fit, group) for group in grouped(fit.search)]
    return pandas.DataFrame(found).sort_values(["degenerate", "minus2ll"], ignore_index=True)


def grouped(search: Search) -> list[list[int]]:
    """Gather ends of one likelihood, the highest first, degenerate ones apart."""
    groups: list[list[int]] = []
    for bad in (False, True):
        own = np.flatnonzero((search.degenerate == bad) & np.isfinite(search.value))
        for i in own[np.argsort(-search.value[own], kind="stable")]:
            last = groups[-1] if groups and search.degenerate[groups[-1][0]] == bad else None
            if last is not None and search.value[last[0]] - search.value[i] <= SAME:
                last.append(int(i))
            else:
                groups.append([int(i)])
    return groups


def ended_at(search: Search, place: int) -> dict[str, Any]:
    """Give the search without what is better than a row of the optima, and the order of the classes there."""
    groups = grouped(search)
    if not 0 <= place < len(groups):
        raise LawfulError(f"optimum: place={place!r}, and there are {len(groups)}. Fix: give a row of fit.optima.")
    first = groups[place][0]
    keep = np.sort(np.concatenate(groups[place:]))
    ends = {field.name: getattr(search, field.name)[keep] for field in fields(Ends)}
    order = np.argsort(-search.shares[first], kind="stable")
    return {"search": replace(search, **ends), "order": tuple(order.tolist())}


@doubly
def _optimum(fit: FittedMixture, group: Sequence[int]) -> dict[str, Any]:
    first, search = group[0], fit.search
    at = unpack(search.free[first], fit.model, fit.problem.bounds)
    order = np.argsort(-search.shares[first], kind="stable")
    unit = float(fit.scaling.t_scale) ** fit.model.form.shape_power
    times = np.asarray(fit.problem.panel.t)[np.asarray(fit.problem.panel.mask) > 0]
    random = seen_from_within(at.chol, fit.model, times)[:, fit.model.random_places]
    polish = int(np.sum(search.start[group] < 0))
    return {
        "minus2ll": float(-2 * (search.value[first] + fit.log_jacobian)), "starts": len(group) - polish,
        "polish": polish, "sizes": search.shares[first][order].round(4).tolist(),
        "shapes": (np.asarray(at.shape)[order].reshape(-1) * unit).tolist(),
        "eigenvalues": smallest_eigenvalues(random)[order].tolist(),
        "degenerate": bool(search.degenerate[first]),
    }  # fmt: skip


def order_of(fit: FittedMixture, by: Any, reference: int) -> tuple[int, ...]:
    """Give the order of the classes of the search, as `TrajectoryFit.reordered` asks for it.

    Args:
        fit: a fit.
        by: "size", the name of a parameter that each class has, or the labels of the fit.
        reference: a class, from 1.

    Raises:
        LawfulError: there is no such parameter or class.
    """
    count = fit.model.n_classes
    own = len(fit.rows) - (count - 1) * (1 + fit.model.p_gate)  # odds come last, and belong to no class alone
    if by == "size":
        places = np.argsort(-fit.class_sizes, kind="stable")
    elif isinstance(by, str):
        told = [value for row, value in zip(fit.rows[:own], fit.values[:own], strict=True) if row.parameter == by]
        places = np.argsort(told, kind="stable")
    else:
        places = np.asarray(by).reshape(-1) - 1
    if sorted(places.tolist()) != list(range(count)) or reference not in range(1, count + 1):
        names = ", ".join(dict.fromkeys(row.parameter for row in fit.rows[:own]))
        raise LawfulError(
            f"reordered: by={by!r}, reference={reference!r} and {count} classes. Fix: order by 'size', by one of "
            f"{names}, or by the labels 1 to {count}, each once; take one of these as the reference."
        )
    return tuple(fit.order[place] for place in places)
