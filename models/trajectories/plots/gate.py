"""Pictures of the gate: odds ratios with intervals, and the probability of each class along each covariate.

Law: intervals are Wald's on the scale of log odds, so that probabilities stay between 0 and 1; where the errors of the
gate were refused there are none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logsumexp, softmax

from lawful.errors import LawfulError

from ..model.parameters import LARGEST_GATE
from ..uncertainty.fit_summaries import FitSummaries
from .style import NORMAL_95, class_colours, new_row, rug

__all__ = ["plot_gate"]


def plot_gate(fit: FitSummaries, axes: Any = None) -> np.ndarray:
    """Show odds ratios for one standard deviation of each gate covariate, and class probabilities along each.

    Along a covariate the others are at their means. Probabilities are those before any outcome is seen.

    Args:
        fit: a fit by maximum likelihood whose gate has covariates.
        axes: 1 + p_g axes of matplotlib; new ones by default.

    Returns: the axes, that of odds ratios first.

    Raises:
        LawfulError: the gate has no covariates.
    """
    names = fit.data.gate_names
    if not names or fit.model.n_classes == 1:
        what = "there is one class" if fit.model.n_classes == 1 else "the gate has no covariates"
        raise LawfulError(f"plot.gate: {what}. Fix: fit two classes or more with gate=[...].")
    axes = new_row(axes, 1 + len(names), "plot.gate")
    _odds(fit, axes[0])
    for j, name in enumerate(names):
        _along(fit, j, axes[1 + j])
        axes[1 + j].set(xlabel=name, ylabel="probability of the class", ylim=(-0.02, 1.02))
    axes[1].legend(frameon=False)
    return axes


def _gate_places(fit: FitSummaries) -> np.ndarray:
    """Where the gate stands among the reports (K - 1, 1 + p_g)."""
    size = 1 + fit.model.p_gate
    count = (fit.model.n_classes - 1) * size
    return np.arange(len(fit.rows) - count, len(fit.rows)).reshape(-1, size)


def _odds(fit: FitSummaries, ax: Any) -> None:
    places, names = _gate_places(fit), fit.data.gate_names
    spread = fit.data.gate.std(axis=0, ddof=1)
    colours = class_colours(fit.model.n_classes)
    for row, own in enumerate(places):
        label = fit.rows[own[0]].label
        middle = fit.values[own[1:]] * spread
        error = NORMAL_95 * fit.standard_errors.observed[own[1:]] * spread
        error = np.minimum(error, LARGEST_GATE)  # the whole range of a coefficient: no arm is drawn longer
        down = -np.arange(len(names)) - 0.16 * (row - 0.5 * (len(places) - 1))
        limits = np.exp(middle) - np.exp(middle - error), np.exp(middle + error) - np.exp(middle)
        ax.errorbar(np.exp(middle), down, xerr=np.where(np.isfinite(limits), limits, 0.0), fmt="o",
                    color=colours[label - 1], capsize=3, label=f"class {label}")  # fmt: skip
    ax.axvline(1.0, color="0.6", linewidth=1, linestyle="--")
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    if high < 1000 * low:  # round odds; over more decades matplotlib's own powers of ten
        ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_yticks(-np.arange(len(names)), names)
    ax.margins(y=0.25)
    refused = "" if np.isfinite(fit.standard_errors.observed[places]).all() else ", no intervals at an edge"
    ax.set(xlabel=f"odds ratio against class {fit.reference + 1},\nper SD{refused}", title="Gate")
    ax.legend(frameon=False)


def _along(fit: FitSummaries, j: int, ax: Any) -> None:
    places, given = _gate_places(fit), fit.data.gate
    values = np.unique(given[:, j])
    groups = len(values) == 2  # two groups of persons, between which nobody is
    at = values if groups else np.linspace(values[0], values[-1], 101)
    design = np.tile(np.concatenate([[1.0], given.mean(axis=0)]), (len(at), 1))
    design[:, 1 + j] = at
    count = fit.model.n_classes
    others = [k for k in range(count) if k != fit.reference]
    logits = np.zeros((len(at), count))
    logits[:, others] = design @ fit.values[places].T
    share = softmax(logits, axis=1)
    covariance = fit.standard_errors.covariance[np.ix_(places.reshape(-1), places.reshape(-1))]
    for k, colour in enumerate(class_colours(count)):
        centre, slope = log_odds(logits, k)
        by_gate = (slope[:, others, None] * design[:, None]).reshape(len(at), -1)
        error = NORMAL_95 * np.sqrt(np.einsum("ma,ab,mb->m", by_gate, covariance, by_gate))
        low, high = expit(centre - error), expit(centre + error)
        if groups:
            limits = np.fmax(np.stack([share[:, k] - low, high - share[:, k]]), 0.0)  # NaN where refused
            aside = 0.03 * np.ptp(values) * (k - 0.5 * (count - 1))
            ax.errorbar(at + aside, share[:, k], limits, fmt="o", color=colour, capsize=3, label=f"class {k + 1}")
        else:
            ax.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(at, share[:, k], color=colour, linewidth=2, label=f"class {k + 1}")
    if groups:
        ax.set_xticks(values)
        ax.margins(x=0.3)
    else:
        rug(ax, values, markersize=7, alpha=float(np.clip(60 / len(values), 0.1, 0.6)))


def log_odds(logits: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Give log p_k / (1 - p_k) of each row of logits, and its derivative by them, also where p_k is 0 or 1 in a float.

    The odds are exp(l_k) against the sum of exp(l_j) over the other classes j, so that no 1 - p_k is needed.

    >>> log_odds(np.array([[0.0, 800.0]]), 1)
    (array([800.]), array([[-1.,  1.]]))
    """
    rest = np.delete(logits, k, axis=1)
    return logits[:, k] - logsumexp(rest, axis=1), np.insert(-softmax(rest, axis=1), k, 1.0, axis=1)
