"""Pictures of the search and of the number of classes: how sure the optimum is, and what each criterion prefers.

Law: every start is drawn, degenerate ones hollow; -2LL and criteria are shown above the best, so that zero is the best,
and a degenerate start whose -2LL is lower than any that means something stands below zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError

from ..uncertainty.fit_summaries import FitSummaries
from .style import COLOURS, axes_or_new

__all__ = ["plot_class_number", "plot_starts"]

SHOWN = 5  # optima that have a colour of their own
SAME = 0.01  # of -2LL
LINEAR = 0.1  # rises below are drawn linearly, above logarithmically
CLOSE = 10.0  # the same for criteria
CRITERIA = {"log_evidence": "-2 log evidence", "bic": "BIC", "icl": "ICL"}


def plot_starts(fit: FitSummaries, ax: Any = None) -> Any:
    """Show where every start ended: -2LL above the best, sorted, in the colour of its optimum.

    Args:
        fit: a fit by maximum likelihood.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.
    """
    ax = axes_or_new(ax)
    starts, optima = fit.starts, fit.optima
    best = float(optima.minus2ll[0])
    deviance, degenerate = starts.minus2ll.to_numpy(), starts.degenerate.to_numpy()
    finite = np.isfinite(deviance)
    rise = np.maximum(deviance - best, 0.0)
    rank = np.arange(1, len(rise) + 1)
    regular = optima[~optima.degenerate & (optima.starts > 0)].minus2ll.to_numpy()
    belongs = np.abs(deviance[:, None] - regular[None]) <= SAME if len(regular) else np.zeros((len(rise), 0), bool)
    which = np.where(belongs.any(axis=1) & ~degenerate & finite, belongs.argmax(axis=1) if len(regular) else 0, -1)
    for group in range(min(SHOWN, len(regular))):
        own = which == group
        ax.plot(rank[own], rise[own], "o", color=COLOURS[group], label=f"{regular[group]:.3f}: {_counted(own)}")
    rest = finite & ~degenerate & ((which < 0) | (which >= SHOWN))
    if rest.any():
        ax.plot(rank[rest], rise[rest], "o", color="0.65", label=f"other optima: {_counted(rest)}")
    hollow = finite & degenerate
    if hollow.any():
        name = f"degenerate: {_counted(hollow)}"
        ax.plot(rank[hollow], (deviance - best)[hollow], "o", color="0.4", markerfacecolor="none", label=name)
    if len(regular) == 0 or regular[0] - best > SAME:
        ax.axhline(0.0, color="0.3", linestyle="--", linewidth=1, label=f"{best:.3f}: found by polish")
    ax.set_yscale("symlog", linthresh=LINEAR)
    lowest, highest = (float(end((deviance - best)[finite], initial=0.0)) for end in (np.min, np.max))
    ax.set_ylim(min(-0.3 * LINEAR, 2 * lowest), max(1.0, 2 * highest))  # a degenerate start may lie below the best
    ax.set(xlabel="start, the best first", ylabel=f"-2LL above the best, linear below {LINEAR}", title="Ends of starts")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def plot_class_number(table: Any, ax: Any = None) -> Any:
    """Show evidence, BIC and ICL by the number of classes, each above its best: the lowest point is its choice.

    Args:
        table: fits by maximum likelihood with different numbers of classes; or the table of `compare_classes`, a frame
            or mapping of columns any of which are `log_evidence` with its `error`, `bic` and `icl`, and the numbers in
            the column `classes` or as its index.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    Raises:
        LawfulError: the table has none of these columns.

    >>> plot_class_number({"classes": [1, 2], "bic": [310.0, 290.0]}).get_xlabel()
    'number of classes'
    """
    if isinstance(table, list | tuple):
        table = {"classes": [fit.model.n_classes for fit in table]} | {
            name: [getattr(fit, name) for fit in table] for name in ("bic", "icl")
        }
    found = [name for name in CRITERIA if name in table]
    if not found:
        raise LawfulError(f"plot_class_number: no column {[*CRITERIA]} in {[*table]}. Fix: give one at least.")
    number = np.asarray(table["classes"] if "classes" in table else table.index, int)
    ax = axes_or_new(ax)
    for name, colour, mark in zip(found, COLOURS, "os^", strict=False):
        evidence = name == "log_evidence"
        value = np.asarray(table[name], float) * (-2.0 if evidence else 1.0)
        error = 4 * np.nan_to_num(np.asarray(table["error"], float)) if evidence and "error" in table else None
        best = int(np.nanargmin(value))
        told = f"{CRITERIA[name]}, best at {number[best]}"
        ax.errorbar(number, value - value[best], yerr=error, fmt=f"{mark}-", color=colour, capsize=3, label=told)
    ax.set_xticks(number)
    ax.set(xlabel="number of classes", ylabel=f"above the best, linear below {CLOSE:g}", title="How many classes?")
    ax.set_yscale("symlog", linthresh=CLOSE)
    ax.set_ylim(bottom=min(-0.1 * CLOSE, ax.get_ylim()[0]))
    ax.legend(frameon=False)
    return ax


def _counted(which: np.ndarray) -> str:
    number = int(which.sum())
    return f"{number} start" + ("" if number == 1 else "s")
