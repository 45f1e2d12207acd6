"""Plots of a fit: counts told and reported, calibration, how rounds and messages went, and the yardstick.

Law: a picture shows numbers that the fit already has; it needs no label of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..pictures import axes_or_new, pyplot
from .bags.bags import Bags

__all__ = ["plot_bag_fit", "plot_calibration", "plot_messages", "plot_rounds", "plot_yardstick"]

LEAST = 1e-16  # a residual of zero has no logarithm


def plot_bag_fit(probability: np.ndarray, bags: Bags, ax: Any = None) -> Any:
    """Show the reported proportion of each bag against the one expected, with two standard deviations of the count.

    Args:
        probability: of the second class, of the rows, from a fit that has not read these counts (n,).
        bags: bags with counts of ones.
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    >>> plot_bag_fit(np.array([0.2, 0.6, 0.8]), Bags.from_ids([0, 0, 1], counts=[1, 1])).get_ylabel()
    'reported proportion'
    """
    ax = axes_or_new(ax)
    p = np.asarray(probability, float)
    sizes = np.maximum(bags.sizes, 1)
    expected = np.bincount(bags.owners, p[bags.members], bags.n_bags) / sizes
    spread = 2 * np.sqrt(np.bincount(bags.owners, (p * (1 - p))[bags.members], bags.n_bags)) / sizes
    known = bags.known & (bags.sizes > 0)
    ax.errorbar(expected[known], bags.proportions[known], xerr=spread[known], fmt=".", alpha=0.5)
    _diagonal(ax, np.concatenate([expected[known], bags.proportions[known]]))
    ax.set(xlabel="expected proportion", ylabel="reported proportion", title="Bags")
    return ax


def plot_calibration(probability: np.ndarray, bags: Bags, ax: Any = None, groups: int = 10) -> Any:
    """Show whether bags that expect more ones report more: bags sorted by what they expect, in groups of equal number.

    Args:
        probability: as for `plot_bag_fit`.
        bags: as for `plot_bag_fit`.
        ax: as for `plot_bag_fit`.
        groups: number of groups.

    Returns: the axes.

    >>> plot_calibration(np.array([0.2, 0.6, 0.8]), Bags.from_ids([0, 0, 1], counts=[1, 1]), groups=1).get_ylabel()
    'reported'
    """
    ax = axes_or_new(ax)
    at = calibration_points(np.asarray(probability, float), bags, groups)
    ax.errorbar(at[:, 0], at[:, 1], yerr=2 * at[:, 2], fmt="o-")
    _diagonal(ax, at[:, :2].reshape(-1))
    ax.set(xlabel="expected proportion of a group of bags", ylabel="reported", title="Calibration by counts")
    return ax


def plot_messages(residuals: Any, ax: Any = None) -> Any:
    """Show how messages settled: the residual after each sweep.

    Args:
        residuals: of `convergence.message_residuals` (m,).
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    >>> plot_messages([1.0, 0.1, 0.01]).get_xlabel()
    'sweep'
    """
    ax = axes_or_new(ax)
    ax.semilogy(np.arange(1, len(residuals) + 1), np.maximum(residuals, LEAST), "-")
    ax.set(xlabel="sweep", ylabel="residual", title="Messages")
    return ax


def plot_rounds(rounds: Sequence[Any], axes: Any = None, labelling: Any = None) -> Any:
    """Show the residual of the messages of each round, with its verdict, and the likelihood of held-out counts.

    Args:
        rounds: `rounds_` of a classifier.
        axes: two axes of matplotlib; new ones by default.
        labelling: `labelling_` of the classifier: the labels of all counts, which come after the last round.

    Returns: the two axes.

    >>> from lawful.models.llp.rounds import Round
    >>> messages, counts = plot_rounds([Round(0, None, -1.2, 0.0, 0.0, 1.0, 0.1)])
    >>> messages.get_ylabel(), counts.get_xlabel()
    ('residual', 'round')
    """
    if axes is None:
        _, axes = pyplot().subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    told = [(r.number, getattr(r, "labelling", None) or r) for r in rounds if hasattr(r, "verdict") or r.labelling]
    names = [str(number) for number, _ in told]
    if labelling is not None:
        last = max((r.number for r in rounds), default=-1) + 1
        told, names = [*told, (last, labelling)], [*names, "all counts"]
    axes[0].semilogy([n for n, _ in told], [max(each.residual, LEAST) for _, each in told], "o-")
    for number, each in told:
        place = (number, max(each.residual, LEAST))
        axes[0].annotate(each.verdict, place, xytext=(0, 6), textcoords="offset points", ha="center")
    if not told:
        axes[0].text(0.5, 0.5, "no messages were sent", ha="center", transform=axes[0].transAxes)
    axes[0].set(xlabel="round", ylabel="residual", title="Messages")
    axes[0].set_xticks([n for n, _ in told], names)
    axes[0].margins(0.2)
    judged = [r for r in rounds if np.isfinite(getattr(r, "held_out", np.nan))]
    numbers = [r.number for r in judged]
    axes[1].errorbar(numbers, [r.held_out for r in judged], [r.gain_error for r in judged], fmt="o-")
    axes[1].set(xlabel="round", ylabel="log P(count), mean of held-out bags", title="Held-out counts", xticks=numbers)
    if not judged:
        axes[1].text(0.5, 0.5, "no bags were held out", ha="center", transform=axes[1].transAxes)
    return axes


def plot_yardstick(sizes: Any, scores: Mapping[str, Any], yardstick: Any, ax: Any = None) -> Any:
    """Show scores of methods by the size of bags, beside a supervised learner on as many labels as there are bags.

    Args:
        sizes: of bags (m,); lists, arrays and columns of frames will do.
        scores: of each method, by name (m,).
        yardstick: scores on n / size labels (m,).
        ax: axes of matplotlib; new ones by default.

    Returns: the axes.

    >>> plot_yardstick([8, 128], {"ours": [0.9, 0.87]}, [0.89, 0.868]).get_xlabel()
    'rows in a bag'
    """
    ax = axes_or_new(ax)
    for name, values in scores.items():
        ax.semilogx(sizes, values, "o-", label=name)
    ax.semilogx(sizes, yardstick, "k--", label="supervised, one label a bag")
    ax.set(xlabel="rows in a bag", ylabel="area under the curve", title="What the counts are worth")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)
    ax.legend()
    return ax


def calibration_points(probability: np.ndarray, bags: Bags, groups: int) -> np.ndarray:
    """Give the proportion expected and reported in groups of bags, and its standard error (groups, 3).

    >>> bags = Bags.from_ids([0, 0, 1, 1], counts=[0, 2])
    >>> calibration_points(np.array([0.1, 0.1, 0.9, 0.9]), bags, 2).round(3).tolist()
    [[0.1, 0.0, 0.212], [0.9, 1.0, 0.212]]
    """
    known = np.flatnonzero(bags.known & (bags.sizes > 0))
    ones = np.bincount(bags.owners, probability[bags.members], bags.n_bags)[known]
    variance = np.bincount(bags.owners, (probability * (1 - probability))[bags.members], bags.n_bags)[known]
    order = np.argsort(ones / bags.sizes[known], kind="stable")
    found = []
    for own in np.array_split(order, min(groups, len(order))):
        rows = bags.sizes[known][own].sum()
        reported = bags.estimates[known][own].sum()
        found.append([ones[own].sum() / rows, reported / rows, np.sqrt(variance[own].sum()) / rows])
    return np.array(found)


def _diagonal(ax: Any, values: np.ndarray) -> None:
    ends = [float(np.min(values)), float(np.max(values))]
    ax.plot(ends, ends, "k:", linewidth=1)
