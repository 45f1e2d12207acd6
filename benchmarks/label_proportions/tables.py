"""Records to tables: means over seeds with the single seeds beside them, and differences to the best baseline.

Law: a difference is a mean over the seeds that both methods have, with a 95 % t interval over them. The best baseline
is that of the highest mean in the cell, chosen with hindsight, which favours the baselines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.label_proportions.catalogue import BASELINES, OURS
from benchmarks.label_proportions.metrics import paired_interval

Records = Sequence[dict[str, Any]]
Kind = int | str  # the size of bags of random rows, or the columns that bags were made by
NAMES = {"adult": "Adult", "bank_full": "Bank full", "bank_additional_full": "Bank additional"}


def kind_of(row: dict[str, Any]) -> Kind:
    """Return what the bags of a record are."""
    return row["columns"] or int(row["size"])


def kinds(rows: Records, data: str) -> list[Kind]:
    """Return the kinds of bags of a data set, by size, and by the names of columns behind these."""
    return sorted({kind_of(r) for r in rows if r["data"] == data}, key=lambda kind: (isinstance(kind, str), kind))


def areas(rows: Records, data: str, kind: Kind, method: str, selection: str, column: str = "auc") -> dict[int, float]:
    """Return a number by seed."""
    wanted = (data, kind, method, selection)
    found = [r for r in rows if (r["data"], kind_of(r), r["method"], r["selection"]) == wanted]
    return {int(r["seed"]): float(r[column]) for r in found if r[column] not in ("", "nan")}


def best_baseline(rows: Records, data: str, kind: Kind) -> str | None:
    """Return the baseline with the highest mean area in a cell."""
    means = {name: areas(rows, data, kind, name, "last") for name in BASELINES}
    means = {name: seeds for name, seeds in means.items() if seeds}
    return max(means, key=lambda name: float(np.mean(list(means[name].values()))), default=None)


def difference(rows: Records, data: str, kind: Kind, method: str, other: str) -> tuple[float, float, float] | None:
    """Return the mean paired difference of areas and its 95 % interval."""
    ours, theirs = areas(rows, data, kind, method, "last"), areas(rows, data, kind, other, "last")
    both = sorted(ours.keys() & theirs.keys())
    return paired_interval(np.array([ours[seed] - theirs[seed] for seed in both])) if both else None


def table(rows: Records, data: str, selection: str, column: str = "auc", digits: int = 4) -> str:
    """Return methods by kinds of bags: the mean, and in brackets each seed."""
    all_kinds = kinds(rows, data)
    methods = list(dict.fromkeys(r["method"] for r in rows if r["data"] == data and r["selection"] == selection))
    lines = _head("method", map(_named, all_kinds))
    for method in methods:
        cells = [list(areas(rows, data, kind, method, selection, column).values()) for kind in all_kinds]
        lines.append(f"| {method} | " + " | ".join(_cell(values, digits) for values in cells) + " |")
    return "\n".join(lines)


def comparison(rows: Records, data: str) -> str:
    """Return, by kinds of bags, the best baseline and what each method is better than it by."""
    all_kinds = kinds(rows, data)
    best = {kind: best_baseline(rows, data, kind) for kind in all_kinds}
    lines = _head("method", (f"{_named(kind)}: {best[kind]}" for kind in all_kinds))
    for method in dict.fromkeys(r["method"] for r in rows if r["data"] == data and r["selection"] == "last"):
        cells = []
        for kind in all_kinds:
            told = None if best[kind] is None else difference(rows, data, kind, method, str(best[kind]))
            cells.append(_told(told))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def against(rows: Records, data: str, method: str) -> str:
    """Return, for each other method and kind of bags, what this method is better than it by."""
    all_kinds = kinds(rows, data)
    lines = _head("better than", map(_named, all_kinds))
    for other in dict.fromkeys(r["method"] for r in rows if r["data"] == data and r["method"] != method):
        cells = [_told(difference(rows, data, kind, method, other)) for kind in all_kinds]
        lines.append(f"| {other} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(rows: Records, data: str) -> str:
    """Return how often each verdict was given, by method and kind of bags; a method that gives none is left out."""
    all_kinds = kinds(rows, data)
    told = [r for r in rows if r["data"] == data and r["verdict"]]
    lines = _head("method", map(_named, all_kinds))
    for method in dict.fromkeys(r["method"] for r in told):
        own = [r for r in told if r["method"] == method]
        counts = [Counter(r["verdict"] for r in own if kind_of(r) == kind) for kind in all_kinds]
        cells = [", ".join(f"{verdict} {n}" for verdict, n in each.most_common()) for each in counts]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(rows: Records, title: str) -> str:
    """Return all tables of a file of records."""
    seeds = sorted({int(r["seed"]) for r in rows})
    parts = [
        f"# {title}",
        f"Seeds {', '.join(map(str, seeds))}; test area under the curve; versions: {rows[0]['versions']}.",
    ]
    for data in dict.fromkeys(r["data"] for r in rows):
        parts.append(f"## {NAMES.get(data, data)}")
        parts += ["Mean (each seed), after the last epoch:", table(rows, data, "last")]
        parts += [
            "Difference to the best baseline of each kind of bags (95 % interval, paired by seed):",
            comparison(rows, data),
        ]
        for method in (name for name in OURS if any(r["method"] == name and r["data"] == data for r in rows)):
            parts += [f"Difference of `{method}` to each other method:", against(rows, data, method)]
        if any(r["selection"] == "by labels" for r in rows):
            parts += ["With the published selection, by labels of validation rows:", table(rows, data, "by labels")]
        parts += ["Training rows, given the counts of their bags:", table(rows, data, "last", "train_auc")]
        parts += ["Log loss of the test rows:", table(rows, data, "last", "log_loss")]
        parts += ["Calibration error of the test rows:", table(rows, data, "last", "calibration_error")]
        parts += ["Mean log likelihood of the counts of test bags:", table(rows, data, "last", "bag_log_likelihood", 3)]
        parts += ["Wall seconds, compilation included:", table(rows, data, "last", "wall_s", 1)]
        parts += ["CPU seconds:", table(rows, data, "last", "cpu_s", 1)]
        parts += ["Largest memory of the process so far, MB:", table(rows, data, "last", "peak_mb", 0)]
        parts += ["Verdicts of the messages that gave the labels, over seeds:", verdicts(rows, data)]
    return "\n\n".join(parts) + "\n"


def _head(first: str, names: Iterable[str]) -> list[str]:
    columns = [first, *names]
    return ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]


def _named(kind: Kind) -> str:
    return kind if isinstance(kind, str) else f"B = {kind}"


def _told(difference: tuple[float, float, float] | None) -> str:
    """Write a difference and its interval."""
    return "" if difference is None else "{:+.4f} ({:+.4f}, {:+.4f})".format(*difference)


def _cell(values: list[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{value:.{max(digits - 1, 1)}f}' for value in values)})"
