"""Plots of a report, as PNG files in memory: predictions beside the data, draws and how they agree, and stages.

Law: plots show the draws of runs that live and nothing that was not computed; without matplotlib there are none.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from lawful.late import figures, scipy_stats

from ..record import Record
from ..variable_order import leading_elements
from .predicted import predicted_plot

ELEMENTS = 6  # that are drawn
BINS, RANK_BINS = 40, 20
THICK, DPI = 0.9, 90
STAGES = {
    "ess": "effective size",
    "n_unique": "distinct ancestors",
    "acceptance_rate": "acceptance rate",
    "beta": "temperature",
}


@dataclass(frozen=True)
class Plot:
    """A picture: the name of its file, what it shows, and the PNG."""

    name: str
    title: str
    png: bytes


def pictures(result: Record) -> tuple[Plot, ...]:
    """Draw the plots of a result.

    Predictions beside the data, where the result can predict. Of chains: densities, traces and ranks; of a population:
    densities by run, and its stages.
    """
    if find_spec("matplotlib") is None:
        return ()
    living = alive(result)
    return () if living is None else tuple(_drawn(living))


def alive(result: Record) -> Record | None:
    """Return the result without the runs that died; None where no draw is left."""
    runs = [run for run in result.runs if result._dead_at(run) < 0]
    if not runs or not any(np.size(array) for array in result._posterior.values()):
        return None
    return result if len(runs) == len(result.runs) else result.surviving()


def _drawn(result: Record) -> Iterator[Plot]:
    predicted = predicted_plot(result)
    if predicted is not None:
        yield Plot("predictions", "Predictions beside the data", _png(predicted))
    shown = [(label, draws) for label, draws in leading_elements(result, ELEMENTS) if not np.isnan(draws).all()]
    if shown and result._weighted is None:
        ranks = ", ranks" if len(result.runs) > 1 else ""
        yield Plot("trace", f"Draws by chain: density, trace{ranks}", _png(_chains(shown, result.stats)))
    elif shown:
        yield Plot("posterior", "Draws by run: density", _png(_densities(shown)))
    stages = _stages(result)
    if stages is not None:
        yield Plot("stages", "Stages, a line for each run", _png(stages))


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _figure(width: float, height: float) -> Any:

    # Of its own, so that a notebook does not show it beside the page.
    return figures.Figure(figsize=(width, height), layout="constrained")


def _chains(shown: list[tuple[str, np.ndarray]], stats: Any) -> Any:
    """Draw a row an element: density, trace and ranks, a line a chain; divergent transitions are ticks."""
    columns = 3 if len(shown[0][1]) > 1 else 2
    figure = _figure(10.5, 1.7 * len(shown) + 0.3)
    rows = figure.subplots(len(shown), columns, squeeze=False)
    diverging = np.asarray(stats.get("diverging", False))
    for axes, (label, draws) in zip(rows, shown, strict=True):
        _density(axes[0], draws)
        axes[0].set_ylabel(label)
        for chain in draws:
            axes[1].plot(chain, linewidth=0.4)
        axes[1].margins(x=0)
        if diverging.shape == draws.shape and diverging.any():
            axes[0].plot(draws[diverging], np.zeros(diverging.sum()), "|", color="black", markersize=9)
            axes[1].plot(np.nonzero(diverging)[1], draws[diverging], "x", color="black", markersize=4)
        if columns == 3:
            _ranks(axes[2], draws)
    titles = ("density", "trace", "ranks: level where chains agree")
    for axes, title in zip(rows[0], titles[:columns], strict=True):
        axes.set_title(title, fontsize=9)
    return _small(figure)


def _densities(shown: list[tuple[str, np.ndarray]]) -> Any:
    """Draw the densities of elements, a line a run."""
    columns = min(len(shown), 3)
    figure = _figure(3.5 * columns, 2.0 * math.ceil(len(shown) / columns))
    grid = figure.subplots(math.ceil(len(shown) / columns), columns, squeeze=False).ravel()
    for axes, (label, draws) in zip(grid[: len(shown)], shown, strict=True):
        _density(axes, draws)
        axes.set_title(label, fontsize=9)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    return _small(figure)


def _density(axes: Any, draws: np.ndarray) -> None:
    """Draw histograms with common bins; whole numbers have a bin each, where there are few."""
    values = draws[np.isfinite(draws)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    whole = len(values) and high - low < BINS and np.all(values == np.round(values))
    bins = np.arange(low - 0.5, high + 1.0) if whole else np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    for chain in draws:
        axes.hist(chain[np.isfinite(chain)], bins=bins, density=True, histtype="step", linewidth=THICK)
    axes.set_yticks([])


def _ranks(axes: Any, draws: np.ndarray) -> None:
    """Draw how often the draws of each chain stand where among all; equal heights mean equal laws."""
    order = np.random.default_rng(0).permutation(draws.size)  # equal values in random order, not chain by chain
    ranks = np.empty(draws.size)
    ranks[order] = scipy_stats.rankdata(draws.ravel()[order], method="ordinal")
    top = 0
    for chain in ranks.reshape(draws.shape):
        counts, edges = np.histogram(chain, bins=np.linspace(0, draws.size, RANK_BINS + 1))
        axes.stairs(counts, edges, baseline=None, linewidth=THICK)
        top = max(top, counts.max())
    axes.axhline(draws.shape[1] / RANK_BINS, color="grey", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 1.15 * top)
    axes.set_xticks([])
    axes.set_yticks([])


def _stages(result: Record) -> Any | None:
    """Draw what a population says of its stages, a line a run."""
    shown = {label: np.asarray(result.stats[name], float) for name, label in STAGES.items() if name in result.stats}
    shown = {label: rows for label, rows in shown.items() if rows.ndim == 2 and rows.shape[1] > 1}
    if result._weighted is None or not shown:
        return None
    figure = _figure(9.0, 1.8 * len(shown) + 0.3)
    rows_of_axes = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (label, rows) in zip(rows_of_axes, shown.items(), strict=True):
        axes.plot(np.arange(rows.shape[1]), rows.T, linewidth=1, marker="." if rows.shape[1] < 30 else "")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    rows_of_axes[-1].set_xlabel("stage")
    return _small(figure)


def _small(figure: Any) -> Any:
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_size(9)
        axes.yaxis.label.set_size(9)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
