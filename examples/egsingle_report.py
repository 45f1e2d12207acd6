"""Tables and pictures of the example on school growth: what examples/egsingle.py shows, without the fitting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from output import place, saved, say

from lawful.models.trajectories import TrajectoryFit
from lawful.models.trajectories.plots import plot_class_number

AXES = {"xlabel": "year of the study", "ylabel": "score in mathematics"}


def criteria(fits: Mapping[tuple[str, int], TrajectoryFit]) -> pd.DataFrame:
    """Collect the criteria of every fit, and how sure its search is."""
    rows = {}
    for (_, k), fit in fits.items():
        reached = f"{fit.optima.starts[0]} of {len(fit.starts)}"
        edges = ", ".join(sorted({finding.kind for finding in fit.boundary})) or "-"
        rows[fit.model.form.long_name, k] = {
            "parameters": fit.n_parameters, "-2LL": round(fit.minus2ll, 2), "BIC": round(fit.bic, 2),
            "ICL": round(fit.icl, 2), "entropy": round(fit.entropy, 3), "reached": reached, "edges": edges,
            "sizes": ", ".join(f"{size:.2f}" for size in fit.class_sizes),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["curve", "classes"])


def print_choice(chosen: TrajectoryFit, table: pd.DataFrame) -> None:
    """Say what BIC prefers, and what to make of it."""
    k, name = chosen.model.n_classes, chosen.model.form.long_name
    say(f"BIC prefers {_classes(k)} of {name} curves. " + (
        f"""Its entropy is {chosen.entropy:.2f}, where 1 would be sure of every pupil, and ICL, which counts how unsure
        memberships are, prefers one class: read the classes as the shape of one population whose growth is not normal,
        not as kinds of pupils."""
        if k > 1 and table.loc[name]["ICL"].idxmin() == 1 else ""
    ))  # fmt: skip
    for finding in chosen.boundary:
        say(finding.message[0].upper() + finding.message[1:])


def print_evidence(comparison: Any, pupils: int) -> None:
    """Say which number of classes is preferred, and by how much."""
    table, best = comparison.table, comparison.best
    ahead = np.exp(table.log_evidence[best] - table.log_evidence.drop(best).max())
    say(
        f"""
        On {pupils} pupils the evidence prefers {_classes(best)}, {ahead:.1f} times as probable as the next best number;
        BIC prefers {_classes(comparison.best_by("bic"))}."""
    )


def print_gate(fit: TrajectoryFit, without: TrajectoryFit) -> None:
    """Print odds ratios with their intervals, and by how much covariates improve the fit."""
    better = f"{fit.minus2ll:.2f} and BIC {fit.bic:.2f}, without them {without.minus2ll:.2f} and {without.bic:.2f}"
    print(f"  -2LL is {better}; entropy {fit.entropy:.2f}\n")
    print(f"  {'odds of':<28}{'covariate':<12}{'odds ratio':>10}   95 % interval")
    frame = fit.estimates()
    for _, row in frame[frame["meaning"].str.startswith("log odds")].iterrows():
        of, _, name = row["meaning"].removeprefix("log odds of ").partition(": ")
        if name != "intercept":
            with np.errstate(over="ignore"):  # a bound that no number can hold is inf
                middle, low, high = np.exp([row["estimate"], row["lower"], row["upper"]])
            interval = "refused, see below" if np.isnan(high) else f"{low:.2f} to {high:.2f}"
            print(f"  {of:<28}{name:<12}{middle:>10.2g}   {interval}")
    say("lowinc is told per tenth of the pupils of the school; pupils of one school are taken as independent.")
    for reason in fit.standard_errors.refused:
        say(reason[0].upper() + reason[1:])


def write(
    fits: Mapping[tuple[str, int], TrajectoryFit], table: pd.DataFrame, gated: TrajectoryFit, comparison: Any
) -> list[Path]:
    """Write tables and pictures into out/egsingle/."""
    written = [place(f"egsingle/{name}.csv") for name in ("criteria", "evidence", "estimates", "pupils")]
    table.to_csv(written[0])
    comparison.table.to_csv(written[1])
    gated.estimates().to_csv(written[2], index=False)
    share = pd.DataFrame(gated.predict_proba().round(4)).rename(columns=lambda k: f"class_{k + 1}")
    share.insert(0, "childid", gated.data.persons)
    share.to_csv(written[3], index=False)
    summary = place("egsingle/summary.txt")
    summary.write_text(gated.summary() + "\n")
    return [*written, summary, draw_number(fits, comparison), draw_classes(gated), draw_gate(gated), draw_check(gated)]


def draw_number(fits: Mapping[tuple[str, int], TrajectoryFit], comparison: Any) -> Path:
    """Draw criteria by the number of classes: of all pupils, and of the subset with its evidence."""
    curves = list(dict.fromkeys(curve for curve, _ in fits))
    figure, axes = plt.subplots(1, len(curves) + 1, figsize=(13, 4), layout="constrained")
    for axis, curve in zip(axes, curves, strict=False):
        own = [fit for (name, _), fit in fits.items() if name == curve]
        plot_class_number(own, axis)
        axis.set_title(f"{own[0].model.form.long_name} curves, {own[0].n} pupils")
    plot_class_number(comparison.table, axes[-1])
    axes[-1].set_title("linear curves, the subset for evidence")
    return saved(figure, "egsingle/classes.png")


def draw_classes(fit: TrajectoryFit) -> Path:
    """Draw pupils, the curves of their classes, and where the starts ended."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    fit.plot.persons(most=250, ax=axes[0]).set(**AXES)
    fit.plot.curves(ax=axes[1]).set(**AXES)
    fit.plot.starts(ax=axes[2])
    return saved(figure, "egsingle/growth.png")


def draw_gate(fit: TrajectoryFit) -> Path:
    """Draw odds ratios, and class probabilities along each covariate."""
    axes = fit.plot.gate()
    axes[1].set_xlabel("low income, of ten pupils")
    return saved(axes[0].figure, "egsingle/gate.png")


def draw_check(fit: TrajectoryFit) -> Path:
    """Draw residuals by class and year, within bands of data that the fit draws."""
    axes = fit.plot.residuals(draws=20)
    for axis in axes:
        axis.set_xlabel(AXES["xlabel"])
    return saved(axes[0].figure, "egsingle/check.png")


def _classes(number: int) -> str:
    return "one class" if number == 1 else f"{number} classes"
