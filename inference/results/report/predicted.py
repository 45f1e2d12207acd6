"""Predicted: a plot of what the draws predict, beside the data.

Law: a prediction is made for every observation by the program itself, at posterior draws; the plot judges nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.late import figures

from ..predictive import predictive
from ..record import Record, leading

DRAWS = 400  # predictions, over all chains
SITES, MANY, KINDS = (
    3,
    300,
    12,
)  # observed sites shown; elements that have an interval each; values that have a bar each
GROUPS = 8  # of flags, by their predicted probability
REPLICATES = 30  # predicted data sets whose distribution is drawn
INNER, OUTER = (0.25, 0.75), (0.05, 0.95)
COLOUR = "tab:blue"


def predicted_plot(result: Record) -> Any | None:
    """Draw predictions beside the data; None where the program or a draw that it needs is not there."""
    data = result.groups.get("observed_data", {})
    if result.model is None or result.args is None or not data:
        return None
    try:
        drawn = predictive(result, result.model, *result.args, draws=max(1, DRAWS // leading(result._posterior)[0]))
    except LawfulError:  # a choice is not in the result
        return None
    shown = []
    for name, observed in data.items():
        values, predicted = np.asarray(observed, float).ravel(), drawn.observed.get(name)
        if predicted is None or np.shape(predicted)[2:] != np.shape(observed):
            continue
        rows = np.asarray(predicted, float).reshape(-1, len(values))
        there = np.isfinite(values) & np.isfinite(rows).all(axis=0)
        if there.any():
            shown.append((name, values[there], rows[:, there]))
    if not shown:
        return None

    shown = sorted(shown, key=lambda each: -len(each[1]))[:SITES]
    figure = figures.Figure(figsize=(9.0, 2.8 * len(shown)), layout="constrained")
    for axes, (name, values, rows) in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        _one(axes, name, values, rows, _in_a_loop(result.form, name))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _in_a_loop(form: Any, name: str) -> bool:
    return isinstance(form, Form) and any(c.name == name and c.loops for c in choices_of(form, ("observed",)))


def _one(axes: Any, name: str, values: np.ndarray, rows: np.ndarray, ordered: bool) -> None:
    """Choose the picture: bars for few values, intervals for each of some elements, else the distribution of all."""
    whole = np.all(values == np.round(values)) and np.all(rows == np.round(rows))
    kinds = np.union1d(values, rows.ravel()) if whole else np.array([])
    if len(values) == 1:
        axes.hist(rows[:, 0], bins=30, color=COLOUR, alpha=0.4)
        axes.axvline(values[0], color="black")
        axes.set(yticks=[])
        _title(axes, f"{name}: predicted (bars) and observed (line)")
    elif set(kinds) == {0.0, 1.0} and len(values) >= 3 * GROUPS and np.ptp(rows.mean(axis=0)) > 0.2:
        _shares(axes, name, values, rows)
    elif 0 < len(kinds) <= KINDS:
        _bars(axes, name, values, rows, kinds)
    elif len(values) <= MANY:
        _intervals(axes, name, values, rows, ordered)
    else:
        low, high = np.quantile(np.concatenate([values, rows[:REPLICATES].ravel()]), (0.001, 0.999))
        bins = np.linspace(low, high if high > low else low + 1.0, 50)
        if whole:
            bins = np.arange(np.floor(low) - 0.5, high + 1.0, max(1.0, np.ceil((high - low) / 50)))
        for row in rows[np.linspace(0, len(rows) - 1, REPLICATES).astype(int)]:
            axes.hist(row, bins=bins, histtype="step", color=COLOUR, alpha=0.3, linewidth=0.7)
        axes.hist(values, bins=bins, histtype="step", color="black", linewidth=1.4)
        axes.set(yticks=[])
        _title(axes, f"{name}: distribution of {len(values)} observations (black) and of predicted data sets (blue)")


def _bars(axes: Any, name: str, values: np.ndarray, rows: np.ndarray, kinds: np.ndarray) -> None:
    counts = np.array([(rows == kind).sum(axis=1) for kind in kinds])
    low, high = np.quantile(counts, OUTER, axis=1)
    axes.bar(kinds, counts.mean(axis=1), width=0.6, color=COLOUR, alpha=0.3)
    axes.vlines(kinds, low, high, color=COLOUR, linewidth=2)
    axes.plot(kinds, [(values == kind).sum() for kind in kinds], "o", color="black", markersize=5)
    axes.set(xticks=kinds, ylabel="count")
    _title(axes, f"{name}: how often each value is observed (dots) and predicted (bars, 90 % intervals)")


def _shares(axes: Any, name: str, values: np.ndarray, rows: np.ndarray) -> None:
    """Draw shares of ones in groups of equal size, by the predicted probability: totals agree in any regression."""
    groups = np.array_split(np.argsort(rows.mean(axis=0), kind="stable"), GROUPS)
    place = [rows[:, group].mean() for group in groups]
    low, high = np.transpose([np.quantile(rows[:, group].mean(axis=1), OUTER) for group in groups])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.vlines(place, low, high, color=COLOUR, alpha=0.4, linewidth=6)
    axes.plot(place, [values[group].mean() for group in groups], "o", color="black", markersize=5)
    axes.set(xlabel="predicted probability", ylabel="share of ones")
    _title(axes, f"{name}: shares of ones, observed (dots) and predicted (90 %), in {GROUPS} groups by probability")


def _intervals(axes: Any, name: str, values: np.ndarray, rows: np.ndarray, ordered: bool) -> None:
    middle = np.median(rows, axis=0)
    order = np.arange(len(values)) if ordered else np.lexsort((rows.mean(axis=0), middle))
    outer, inner = (np.quantile(rows, ends, axis=0)[:, order] for ends in (OUTER, INNER))
    place = np.arange(len(values))
    if ordered:
        axes.fill_between(place, *outer, color=COLOUR, alpha=0.15, linewidth=0)
        axes.fill_between(place, *inner, color=COLOUR, alpha=0.3, linewidth=0)
    else:
        width = min(6.0, 400.0 / len(values))
        axes.vlines(place, *outer, color=COLOUR, alpha=0.25, linewidth=width)
        axes.vlines(place, *inner, color=COLOUR, alpha=0.5, linewidth=width)
    axes.plot(place, values[order], ".", color="black", markersize=5 if len(values) < 100 else 3)
    axes.set_xlabel("step" if ordered else "observation, in the order of the predicted median", fontsize=9)
    axes.margins(x=0.01)
    inside = np.mean((values[order] >= outer[0]) & (values[order] <= outer[1]))
    count = len(values)
    told = f"{math.floor(inside * count + 0.5)} of {count} inside 90 %"
    _title(axes, f"{name}: observed (dots), predicted intervals of 50 % and 90 % ({told})")


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, fontsize=9, loc="left")
