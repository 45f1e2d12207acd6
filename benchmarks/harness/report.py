"""Records to Markdown.

Law: a contestant that fails its accuracy test shows no time; one that failed or is not available is shown with the
reason; nothing is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.harness.catalogue import WORKLOADS
from benchmarks.harness.workload import FLOOR, OURS

HEADER = (
    "contestant", "CPU ms, min (median)", "wall ms, min", "M {unit} / CPU s", "first, CPU s (trace + lower + compile)",
    "{first}", "{second}", "peak MB (above bare)", "time / ours: min [low, median, high]",
    "in wall time", "bar", "verdict",
)  # fmt: skip
BLANK = "–"
EVIDENCE = "log Z: bias ± error, sd", "mean Z-hat/Z ± error"
VALUES = "error of the value", "largest error of the rest"
LARGEST = ("marginal_error", "message_error", "gradient_error")
VALUED = ("log_likelihood", *LARGEST)  # outputs that are compared with fixed values
CHAINS = "means: largest bias ± error (of one run), in sd", "least bulk ESS of a run (per CPU s)"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first row its header."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _ratio(r: Mapping[str, float] | None) -> str:
    return BLANK if r is None else f"{r['min']:.2f} [{r['low']:.2f}, {r['median']:.2f}, {r['high']:.2f}]"


def _first(entry: Mapping[str, Any]) -> str:
    stages = [entry[name] for name in ("trace_s", "lower_s", "compile_s")]
    split = "" if None in stages else " (" + " + ".join(f"{stage:.2f}" for stage in stages) + ")"
    return f"{entry['first_cpu_s']:.2f}{split}"


def _verdict(entry: Mapping[str, Any]) -> str:
    if "verdict" not in entry:
        return BLANK
    if "error_cost_to_ours" in entry and not entry["decided"]:
        return "open (too few runs)"
    if entry["bar_met"] is None:
        return str(entry["verdict"])
    missed = "" if entry["bar_met"] else ", bar missed"
    return f"{entry['verdict']}{missed}" + ("" if entry["decided"] else " (too few rounds)")


def _accuracy(entry: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Whether the numbers of a contestant are right, and how near they are: of an estimate, or of a fixed value."""
    if not entry["accuracy"]:  # nothing is known exactly
        return True, [BLANK, BLANK]
    if "means" in entry["accuracy"]:
        means, size = entry["accuracy"]["means"], entry["accuracy"]["ess"]["mean"]
        passed = bool(means["passed"])
        bias = f"{means['largest']:.3f} ± {means['largest_error']:.3f} ({means['largest_of_a_run']:.2f})"
        return passed, [bias, f"{size:.0f}" + (f" ({size / entry['cpu_min_s']:.0f})" if passed else "")]
    if "log_density" in entry["accuracy"]:
        values = entry["accuracy"].values()
        return all(v["passed"] for v in values), [f"error {max(v['error'] for v in values):.0e}", BLANK]
    if any(name in entry["accuracy"] for name in VALUED):
        largest = next((name for name in LARGEST if name in entry["accuracy"]), LARGEST[0])
        values = [entry["accuracy"].get(name) for name in ("log_likelihood", largest)]
        passed = all(v["passed"] for v in values if v is not None)
        return passed, [BLANK if v is None else f"{v['error']:.1e}" for v in values]
    z = entry["accuracy"]["log_evidence"]
    evidence = [
        f"{z['bias']:+.3f} ± {z['bias_error']:.3f}, {z['sd']:.3f}",
        f"{z['ratio']:.3f} ± {z['ratio_error']:.3f}",
    ]
    return bool(z["passed"]), evidence


def row(entry: Mapping[str, Any]) -> list[str]:
    """One contestant."""
    if entry["failure"]:
        return [entry["contestant"], entry["failure"].replace("|", "/"), *[BLANK] * (len(HEADER) - 2)]
    passed, evidence = _accuracy(entry)
    memory = f"{entry['peak_mb']:.0f} ({entry['above_bare_mb']:.0f})"
    bar = BLANK if entry["bar"] is None else f"{entry['bar']:.2f}"
    if not passed:
        tested = {"log_density": "value", **dict.fromkeys(VALUED, "value"), "means": "means"}
        what = next((what for name, what in tested.items() if name in entry["accuracy"]), "evidence")
        wrong = [entry["contestant"], f"no time: wrong {what}", *[BLANK] * 3, *evidence, memory]
        return [*wrong, BLANK, BLANK, bar, BLANK]
    return [
        entry["contestant"],
        f"{1e3 * entry['cpu_min_s']:.1f} ({1e3 * entry['cpu_median_s']:.1f})",
        f"{1e3 * entry['wall_min_s']:.1f}",
        f"{entry['work_per_cpu_s'] / 1e6:.3g}",
        _first(entry),
        *evidence,
        memory,
        _ratio(entry.get("ratio_to_ours")),
        _ratio(entry.get("wall_ratio_to_ours")),
        bar,
        _verdict(entry),
    ]


def variant_section(entries: Sequence[Mapping[str, Any]]) -> str:
    """Heading, table and floor check of one variant."""
    head = entries[0]
    unit = WORKLOADS[head["workload"]].work_unit
    done = [entry for entry in entries if not entry["failure"]]
    rounds = max((entry["rounds"] for entry in done), default=0)
    condition = (
        f"{rounds} interleaved rounds, {head['cores']} core(s), {head['architecture']}, commit {head['commit']}."
    )
    told = {name for entry in done for name in entry["accuracy"]}
    first, second = CHAINS if "means" in told else VALUES if told.intersection(VALUED) else EVIDENCE
    header = [name.format(unit=unit, first=first, second=second) for name in HEADER]
    rows = [header, *[row(entry) for entry in entries]]
    parts = [f"### {head['variant']}", condition, table(rows), *_remarks(entries)]
    return "\n\n".join(parts)


def _remarks(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    remarks = []
    by_name = {entry["contestant"]: entry for entry in entries}
    ours = by_name.get(OURS)
    if ours and not ours["failure"] and not _accuracy(ours)[0]:
        remarks.append("**Void**: our numbers are wrong, so no ratio counts.")
    if ours and not ours["failure"] and ours.get("limit_s"):
        met = "met" if ours["cpu_min_s"] <= ours["limit_s"] else "**missed**"
        remarks.append(f"Absolute bar: at most {ours['limit_s']:.3g} CPU s a run: {ours['cpu_min_s']:.3g} s, {met}.")
    for name, bar in (ours.get("error_bars") or {}).items() if ours and not ours["failure"] else ():
        error = ours["accuracy"][name]["error"]
        met = "met" if error <= bar else "**missed**"
        remarks.append(f"Bar of our error, {name.replace('_', ' ')}: at most {bar:g}: {error:.2g}, {met}.")
    if ours and not ours["failure"] and ours.get("published"):
        remarks.append(_published(ours))
    for peer, check in by_name.get(FLOOR, {}).get("floor_check", {}).items():
        state = "valid" if check["valid"] else "**too slow: the bar against it is void**"
        remarks.append(f"Floor check: {peer} / floor = {_ratio(check)}, at least {check['least']:.2f} wanted: {state}.")
    for line in entries:
        for bar in line.get("line_bars", ()):
            ratio = f"{bar['peer']} / {line['contestant']} = {_ratio(bar['ratio_to_ours'])}"
            remarks.append(f"Bar of {line['contestant']}: {ratio}, at least {bar['bar']:.2f} wanted: {_verdict(bar)}.")
        for bar in line.get("first_bars", ()):
            ratio = f"{bar['peer']} / {line['contestant']} = {bar['ratio_to_ours']:.2f}"
            met = "met" if bar["bar_met"] else "**missed**"
            remarks.append(f"Bar of the first call: {ratio}, at least {bar['bar']:.2f} wanted: {met}.")
    told = [entry for entry in entries if not entry["failure"] and entry.get("error_cost")]
    if told:
        remarks.append(
            "Verdicts are those of squared errors times CPU seconds, the worse of both, and open where few runs tell."
        )
        head = ["contestant", "runs", "temperatures", "log Z rmse", "rmse of the means, in sd"]
        head += ["log Z mse x CPU s", "means mse x CPU s", "both over ours"]
        remarks.append(table([head, *map(_error_row, told)]))
    return remarks


def _published(ours: Mapping[str, Any]) -> str:
    """Times that others have published, on their machines, and ours as a share of a unit of work."""
    unit = 1e6 / ours["work_units"]
    told = [
        f"{seconds:g} s ({name}; {seconds * unit:.3g} us, {seconds / ours['cpu_min_s']:.0f} times ours)"
        for name, seconds in ours["published"].items()
    ]
    own = f"ours {ours['cpu_min_s']:.3g} CPU s, {ours['cpu_min_s'] * unit:.3g} us a unit of work"
    return f"Published, on other machines: {', '.join(told)}; {own}."


def _error_row(entry: Mapping[str, Any]) -> list[str]:
    """Errors and errors times cost of one sampler."""
    accuracy, costs, ratios = entry["accuracy"], entry["error_cost"], entry.get("error_cost_to_ours")
    z = accuracy["log_evidence"]
    rmse = (z["bias"] ** 2 + z["sd"] ** 2 * (z["runs"] - 1) / z["runs"]) ** 0.5
    numbers = [accuracy.get("temperatures"), rmse, accuracy.get("mean_rmse")]
    cells = [entry["contestant"], str(z["runs"]), *(BLANK if x is None else f"{x:.3g}" for x in numbers)]
    cells += [_known(costs.get(name), ".3g") for name in ("log_evidence", "means")]
    return [*cells, BLANK if ratios is None else ", ".join(_known(ratio, ".2f") for ratio in ratios.values())]


def _known(cost: Mapping[str, float] | None, how: str) -> str:
    return BLANK if cost is None else f"{cost['value']:{how}} ± {cost['relative_error']:.0%}"


def versions_section(entries: Sequence[Mapping[str, Any]]) -> str:
    """Versions of every contestant, once."""
    lines = {e["contestant"]: e for e in entries if e["versions"]}
    rows = [["contestant", "number type", "versions"]]
    for name, entry in lines.items():
        rows.append([name, entry["dtype"], ", ".join(f"{k} {v}" for k, v in entry["versions"].items())])
    return table(rows)


def markdown(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The whole report: workload name to its records."""
    parts = [
        "# Results",
        "Written by `python benchmarks/run.py`; how to read the columns stands in [README.md](../README.md).",
    ]
    for name, entries in results.items():
        parts.append(f"## {name}: {WORKLOADS[name].title}")
        parts += [variant_section(list(group)) for _, group in groupby(entries, key=lambda entry: entry["variant"])]
        parts.append(versions_section(entries))
    return "\n\n".join(parts) + "\n"
