"""Plots of a report, as PNG files in memory: draws and how they agree, and the stages of a population.

Law: plots show the draws of runs that live and nothing that was not computed; without matplotlib there are none.
"""

from __future__ import annotations

import io
import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .result import Result

ELEMENTS = 8  # of the variables that are drawn
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


def pictures(result: Result) -> tuple[Plot, ...]:
    """Draw the plots of a result.

    Of chains: traces and densities, and of several their ranks; of a population: densities by run, and its stages.
    """
    if find_spec("matplotlib") is None:
        return ()
    living = alive(result)
    return () if living is None else tuple(_drawn(living))


def alive(result: Result) -> Result | None:
    """Return the result without the runs that died; None where no draw is left."""
    runs = [run for run in result.runs if result._dead_at(run) < 0]
    if not runs or not any(np.size(array) for array in result._posterior.values()):
        return None
    return result if len(runs) == len(result.runs) else result.surviving()


def few(result: Result, elements: int) -> list[str]:
    """Choose the first variables that have so many elements in all, at most."""
    chosen: list[str] = []
    left = elements
    for name, array in result._posterior.items():
        size = math.prod(np.shape(array)[2:])
        if 0 < size <= left:
            chosen.append(name)
            left -= size
    return chosen


def _drawn(result: Result) -> Iterator[Plot]:
    import arviz_plots

    names = few(result, ELEMENTS)
    if names:
        tree = result.to_datatree(log_likelihood=False, log_prior=False)
        if result._weighted is None:
            yield Plot("trace", "Densities and traces", _png(arviz_plots.plot_trace_dist, tree, names))
            if len(result.runs) > 1:  # one chain has nothing to agree with
                yield Plot(
                    "ranks", "Ranks: even bars where chains agree", _png(arviz_plots.plot_rank_dist, tree, names)
                )
        else:
            yield Plot("posterior", "Densities of the draws", _png(arviz_plots.plot_dist, tree, names))
    stages = _stages(result)
    if stages is not None:
        yield stages


def _png(plot: Any, tree: Any, names: list[str]) -> bytes:
    from matplotlib import pyplot

    before = set(pyplot.get_fignums())
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # of layouts; what is wrong with draws the verdict says
            path = Path(folder) / "plot.png"
            plot(tree, var_names=names, backend="matplotlib").savefig(str(path), dpi=80, bbox_inches="tight")
            return path.read_bytes()
    finally:
        for number in set(pyplot.get_fignums()) - before:
            pyplot.close(number)  # else a notebook shows it beside the page


def _stages(result: Result) -> Plot | None:
    """Draw what a population says of its stages, a line a run."""
    shown = {label: np.asarray(result.stats[name], float) for name, label in STAGES.items() if name in result.stats}
    shown = {label: rows for label, rows in shown.items() if rows.ndim == 2 and rows.shape[1] > 1}
    if result._weighted is None or not shown:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 2.2 * len(shown)), layout="constrained")
    rows_of_axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (label, rows) in zip(rows_of_axes, shown.items(), strict=True):
        axes.plot(np.arange(rows.shape[1]), rows.T, linewidth=1)
        axes.set(ylabel=label, xlabel="stage")
        axes.set_ylim(bottom=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return Plot("stages", "Stages, a line for each run", buffer.getvalue())
