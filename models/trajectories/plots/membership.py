"""Pictures of memberships: how much parameter uncertainty moves them, and whether they are right where truth is known.

Law: classes are matched by their agreement on persons, so that names decide nothing; a calibrated membership lies on
the diagonal of the reliability picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from lawful.errors import LawfulError

from .style import COLOURS, GREY, axes_or_new, class_colours

__all__ = ["Reliability", "plot_membership", "plot_reliability", "reliability"]


def plot_membership(
    plug_in: Any, posterior_mean: Any, lower: Any = None, upper: Any = None, label: int = 1, ax: Any = None
) -> Any:
    """Show the membership of each person at the estimate against its posterior mean, with the 95 % interval.

    At an estimate people look surer than they are: points above the diagonal on the left and below it on the right.

    Args:
        plug_in: memberships at an estimate (n, K).
        posterior_mean: their posterior mean after relabelling (n, K), in any order of the classes.
        lower: limits of the interval (n, K), or None.
        upper: likewise.
        label: the class that is shown, from 1 in the order of `plug_in`.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    >>> w = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> plot_membership(w, w[:, ::-1]).get_title()
    'Membership of class 1'
    """
    plug_in, posterior_mean = np.asarray(plug_in, float), np.asarray(posterior_mean, float)
    if plug_in.shape != posterior_mean.shape:
        raise LawfulError(
            f"plot_membership: memberships of shapes {plug_in.shape} and {posterior_mean.shape}; expected the same "
            "persons and classes. Fix: give both for one data set and one number of classes."
        )
    ax = axes_or_new(ax, (5.2, 5.0))
    own = int(linear_sum_assignment(-plug_in.T @ posterior_mean)[1][label - 1])
    colour = class_colours(plug_in.shape[1])[label - 1]
    x, y = plug_in[:, label - 1], posterior_mean[:, own]
    if lower is not None and upper is not None:
        ax.vlines(x, np.asarray(lower)[:, own], np.asarray(upper)[:, own], color=colour, alpha=0.18, linewidth=1)
    ax.plot(x, y, ".", color=colour, markersize=5, alpha=0.8)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    ax.set(xlabel="at the estimate", ylabel="posterior mean, 95 % interval", title=f"Membership of class {label}")
    ax.set_aspect("equal")
    return ax


class Reliability(NamedTuple):
    """Groups of memberships of nearly one size: what they said, the share that was right, its error, and the number."""

    told: np.ndarray
    right: np.ndarray
    error: np.ndarray
    number: np.ndarray


def reliability(memberships: Any, labels: Any, groups: int = 10) -> Reliability:
    """Compare memberships with known classes, in groups of equal width that hold any.

    Args:
        memberships: (n, K).
        labels: the known classes (n,), under any names.
        groups: number of groups between 0 and 1.

    >>> found = reliability([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], ["b", "b", "a"], groups=2)
    >>> found.told.round(2).tolist(), found.right.tolist()
    ([0.1, 0.9], [0.0, 1.0])
    """
    w = np.asarray(memberships, float)
    names, which = np.unique(np.asarray(labels), return_inverse=True)
    truth = np.zeros((len(w), max(len(names), w.shape[1])))
    truth[np.arange(len(w)), which] = 1.0
    matched = linear_sum_assignment(-w.T @ truth)[1]
    w, truth = w.reshape(-1), truth[:, matched].reshape(-1)
    group = np.minimum((w * groups).astype(int), groups - 1)
    count = np.bincount(group, minlength=groups)
    there = count > 0
    told = np.bincount(group, w, groups)[there] / count[there]
    right = np.bincount(group, truth, groups)[there] / count[there]
    spread = np.bincount(group, w * (1 - w), groups)[there]
    return Reliability(told, right, np.sqrt(spread) / count[there], count[there])


def plot_reliability(memberships: Mapping[str, Any], labels: Any, groups: int = 10, ax: Any = None) -> Any:
    """Show how often persons were in a class, against the membership that was told, with two standard errors.

    Args:
        memberships: (n, K) of each way to tell them, by its name.
        labels: the known classes (n,).
        groups: number of groups between 0 and 1.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    >>> plot_reliability({"plug-in": [[0.9, 0.1], [0.2, 0.8]]}, [1, 2]).get_xlabel()
    'membership that was told'
    """
    ax = axes_or_new(ax, (5.2, 5.0))
    truth = np.asarray(labels)
    for shift, (name, given) in enumerate(memberships.items()):
        w = np.asarray(given, float)
        found = reliability(w, truth, groups)
        told = f"{name}: Brier score {_brier(w, truth):.4f}"
        aside = 0.006 * (shift - 0.5 * (len(memberships) - 1))  # so that error bars do not lie on each other
        ax.errorbar(found.told + aside, found.right, yerr=2 * found.error, fmt="o-", markersize=4, capsize=2,
                    color=COLOURS[shift % len(COLOURS)], label=told)  # fmt: skip
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    ax.set(
        xlabel="membership that was told",
        ylabel="share of persons in the class",
        title="Reliability",
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
    )  # errors of small groups reach beyond what a share can be
    ax.legend(frameon=False)
    ax.set_aspect("equal")
    return ax


def _brier(w: np.ndarray, labels: np.ndarray) -> float:
    names, which = np.unique(labels, return_inverse=True)
    truth = np.zeros((len(w), max(len(names), w.shape[1])))
    truth[np.arange(len(w)), which] = 1.0
    matched = linear_sum_assignment(-w.T @ truth)[1]
    return float(np.mean(np.sum((w - truth[:, matched]) ** 2, axis=1)))
