"""Records to tables: means over seeds with the single seeds beside them, and differences to the best baseline.

Law: a difference is a mean over the seeds that both methods have, with a 95 % t interval over them. The best baseline
is that of the highest mean in the cell, chosen with hindsight, which favours the baselines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.label_proportions.catalogue import BASELINES, OURS
from benchmarks.label_proportions.metrics import paired_interval

Records = Sequence[dict[str, Any]]
NAMES = {"adult": "Adult", "bank_full": "Bank full", "bank_additional_full": "Bank additional"}


def areas(rows: Records, data: str, size: int, method: str, selection: str, column: str = "auc") -> dict[int, float]:
    """Return a number by seed."""
    wanted = (data, size, method, selection)
    found = [r for r in rows if (r["data"], int(r["size"]), r["method"], r["selection"]) == wanted]
    return {int(r["seed"]): float(r[column]) for r in found if r[column] not in ("", "nan")}


def best_baseline(rows: Records, data: str, size: int) -> str | None:
    """Return the baseline with the highest mean area in a cell."""
    means = {name: areas(rows, data, size, name, "last") for name in BASELINES}
    means = {name: seeds for name, seeds in means.items() if seeds}
    return max(means, key=lambda name: float(np.mean(list(means[name].values()))), default=None)


def difference(rows: Records, data: str, size: int, method: str, other: str) -> tuple[float, float, float] | None:
    """Return the mean paired difference of areas and its 95 % interval."""
    ours, theirs = areas(rows, data, size, method, "last"), areas(rows, data, size, other, "last")
    both = sorted(ours.keys() & theirs.keys())
    return paired_interval(np.array([ours[seed] - theirs[seed] for seed in both])) if both else None


def table(rows: Records, data: str, selection: str, column: str = "auc", digits: int = 4) -> str:
    """Return methods by sizes: the mean, and in brackets each seed."""
    sizes = sorted({int(r["size"]) for r in rows if r["data"] == data})
    methods = list(dict.fromkeys(r["method"] for r in rows if r["data"] == data and r["selection"] == selection))
    lines = ["| method | " + " | ".join(f"B = {size}" for size in sizes) + " |", "| --- " * (len(sizes) + 1) + "|"]
    for method in methods:
        cells = [list(areas(rows, data, size, method, selection, column).values()) for size in sizes]
        lines.append(f"| {method} | " + " | ".join(_cell(values, digits) for values in cells) + " |")
    return "\n".join(lines)


def comparison(rows: Records, data: str) -> str:
    """Return, by sizes, the best baseline and what each method is better than it by."""
    sizes = sorted({int(r["size"]) for r in rows if r["data"] == data})
    best = {size: best_baseline(rows, data, size) for size in sizes}
    lines = ["| method | " + " | ".join(f"B = {size}: {best[size]}" for size in sizes) + " |"]
    lines += ["| --- " * (len(sizes) + 1) + "|"]
    for method in dict.fromkeys(r["method"] for r in rows if r["data"] == data and r["selection"] == "last"):
        cells = []
        for size in sizes:
            told = None if best[size] is None else difference(rows, data, size, method, str(best[size]))
            cells.append(_told(told))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def against(rows: Records, data: str, method: str) -> str:
    """Return, for each other method and size, what this method is better than it by."""
    sizes = sorted({int(r["size"]) for r in rows if r["data"] == data})
    lines = ["| better than | " + " | ".join(f"B = {size}" for size in sizes) + " |"]
    lines += ["| --- " * (len(sizes) + 1) + "|"]
    for other in dict.fromkeys(r["method"] for r in rows if r["data"] == data and r["method"] != method):
        lines.append(
            f"| {other} | " + " | ".join(_told(difference(rows, data, s, method, other)) for s in sizes) + " |"
        )
    return "\n".join(lines)


def verdicts(rows: Records, data: str) -> str:
    """Return how often each verdict was given, by method and size; a method that gives none is left out."""
    sizes = sorted({int(r["size"]) for r in rows if r["data"] == data})
    told = [r for r in rows if r["data"] == data and r["verdict"]]
    lines = ["| method | " + " | ".join(f"B = {size}" for size in sizes) + " |", "| --- " * (len(sizes) + 1) + "|"]
    for method in dict.fromkeys(r["method"] for r in told):
        counts = [Counter(r["verdict"] for r in told if r["method"] == method and int(r["size"]) == s) for s in sizes]
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
            "Difference to the best baseline of each size (95 % interval, paired by seed):",
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


def _told(difference: tuple[float, float, float] | None) -> str:
    """Write a difference and its interval."""
    return "" if difference is None else "{:+.4f} ({:+.4f}, {:+.4f})".format(*difference)


def _cell(values: list[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{value:.{max(digits - 1, 1)}f}' for value in values)})"
