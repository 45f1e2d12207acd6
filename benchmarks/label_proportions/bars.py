"""Bars: what the classifier has to reach beside baselines on the same rows and bags, as numbers and verdicts.

Law: a bar is on a mean of differences that are paired by seed, or on a share of what the same model reaches with all
labels; it is met or missed by the records alone, and one whose records are not there is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.label_proportions.metrics import paired_interval
from benchmarks.label_proportions.tables import NAMES, Records, areas, best_baseline, difference

OURS, LABELLED, BOOSTED, FEW_LABELS = "lawful", "lawful, all labels", "lawful, boosting", "sup n/B"
NOT_WORSE, BETTER, OF_THE_WAY = -0.003, 0.01, 0.98
SMALL, LARGE, SMALLEST = (8, 32, 128), (512, 2048), 8  # sizes of bags


class Bar(NamedTuple):
    """A number with its 95 % interval; `met` is None where it is reported and nothing is asked of it."""

    name: str
    what: str
    number: tuple[float, float, float]
    met: bool | None


def bars(rows: Records, data: str) -> Iterator[Bar]:
    """Give the bars of a data set, as far as there are records for them.

    The first, A1, is not to be worse than the best baseline by more than .003; A2 to be better than it by .01 at least,
    and surely so; A3 stands beside a ridge on as many labels as there are bags; A4 is to be at least 98 % of the way
    from one half to the same model on all labels; A5 is gradient boosting on the soft labels.
    """
    for size in (*SMALL, *LARGE):
        best = best_baseline(rows, data, size)
        found = None if best is None else difference(rows, data, size, OURS, best)
        if found is not None:
            met = found[0] >= NOT_WORSE if size in SMALL else found[0] >= BETTER and found[1] > 0
            yield Bar("A1" if size in SMALL else "A2", f"B = {size}, better than {best} by", found, met)
    for size in (128, 512):
        found = difference(rows, data, size, OURS, FEW_LABELS)
        if found is not None:
            yield Bar("A3", f"B = {size}, better than {FEW_LABELS} by", found, None)
    ours, labelled = (areas(rows, data, SMALLEST, name, "last") for name in (OURS, LABELLED))
    seeds = sorted(ours.keys() & labelled.keys())
    if seeds:
        ways = np.array([(ours[seed] - 0.5) / (labelled[seed] - 0.5) for seed in seeds])
        found = paired_interval(ways)
        yield Bar("A4", f"B = {SMALLEST}, share of the way to all labels", found, found[0] >= OF_THE_WAY)
    boosted = areas(rows, data, SMALLEST, BOOSTED, "last")
    if boosted:
        yield Bar("A5", f"B = {SMALLEST}, area with boosting", paired_interval(np.array(list(boosted.values()))), None)


def told(rows: Records) -> str:
    """Return the bars of all data sets as a table."""
    lines = ["| data | bar | what | mean (95 % interval) | |", "| --- | --- | --- | --- | --- |"]
    for data in dict.fromkeys(r["data"] for r in rows):
        for bar in bars(rows, data):
            number = "{:+.4f} ({:+.4f}, {:+.4f})".format(*bar.number)
            verdict = "reported" if bar.met is None else "met" if bar.met else "MISSED"
            lines.append(f"| {NAMES.get(data, data)} | {bar.name} | {bar.what} | {number} | {verdict} |")
    return "\n".join(lines)
