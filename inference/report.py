"""Report: one page about a run that opens anywhere, the verdict first; and the same as data.

Law: everything that a model, its data or its names put on the page is shown as text, never read as markup, and the page
refers to nothing outside itself.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lawful.form import Form

from .result import Result

ELEMENTS = 8  # of the variables that are drawn

STYLE = """body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
pre{background:#f5f5f5;padding:1em;overflow:auto;font-size:13px}table{border-collapse:collapse;font-size:14px}
td,th{padding:.2em .6em;border-bottom:1px solid #ddd;text-align:right}img{max-width:100%}
.ok{color:#060}.bad{color:#a00}"""


def write_report(result: Result, path: str | Path, *, plan: str = "", command: str = "", images: Any = ()) -> None:
    """Write the page.

    Args:
        result: the result.
        path: where to write.
        plan: what the plan of the inference says of itself.
        command: the command that repeats the run.
        images: PNG files that the page takes in.
    """
    verdict = (
        "ok"
        if result.ok
        else f"not ok: {', '.join(bit.name or '' for bit in type(result.status) if bit in result.status)}"
    )
    parts = [_tag("h1", "Report of an inference"), _tag("h2", verdict, "ok" if result.ok else "bad")]
    if result.warnings:
        parts.append("<ul>" + "".join(_tag("li", text) for text in result.warnings) + "</ul>")
    parts += _section("Result", repr(result))
    table = table_of(result)
    if table is not None:
        parts += [_tag("h2", "Variables"), table.to_html(border=0, escape=True)]
    for image in images:
        code = base64.b64encode(Path(image).read_bytes()).decode()
        parts.append(f'<img alt="{html.escape(Path(image).stem)}" src="data:image/png;base64,{code}">')
    if plan:
        parts += _section("Plan", plan)
    if isinstance(result.form, Form):
        parts += _section("Program", result.form.show())
        parts += _section("Picture (Mermaid)", result.form.to_mermaid())
    settings = "\n".join(f"{name}: {value}" for name, value in result.run.items())
    parts += _section("Settings, versions and device", settings)
    if command:
        parts += _section("To repeat the run", command)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title><style>{STYLE}</style>'
    Path(path).write_text(page + "\n".join(parts) + "</html>\n")


def write_diagnostics(result: Result, path: str | Path) -> None:
    """Write the verdict, its reasons and the evidence as JSON; what is no number is a text there, as "nan"."""
    found: dict[str, Any] = {
        "ok": result.ok,
        "status": [bit.name for bit in type(result.status) if bit in result.status],
        "reasons": [
            {"code": f.code, "message": f.message, "sites": list(f.sites), "value": f.value, "limit": f.limit}
            for f in result.reasons
        ],
        "sampler": result.sampler,
        "finished": result.finished,
        "interrupted": result.interrupted,
        "log_evidence": result.log_evidence_pooled,
        "log_evidence_error": result.log_evidence_error,
        "run": dict(result.run),
    }
    Path(path).write_text(json.dumps(_strict(found), indent=2) + "\n")


def table_of(result: Result) -> Any:
    """Tabulate the variables, or give None where there is no draw of a run that lives."""
    alive = [run for run in result.runs if result._dead_at(run) < 0]
    if not alive or not any(np.size(array) for array in result._posterior.values()):
        return None
    return (result if len(alive) == len(result.runs) else result.surviving()).summary()


def draw(result: Result, path: str | Path) -> bool:
    """Draw traces and densities of the first variables; False where nothing can be drawn."""
    try:
        import matplotlib
    except ImportError:
        return False
    names = _few(result)
    if table_of(result) is None or not names:
        return False
    import arviz_plots

    matplotlib.use("Agg")
    living = result if all(result._dead_at(run) < 0 for run in result.runs) else result.surviving()
    tree = living.to_datatree(log_likelihood=False, log_prior=False)
    arviz_plots.plot_trace_dist(tree, var_names=names, backend="matplotlib").savefig(str(path))
    return True


def _few(result: Result) -> list[str]:
    """Choose variables of few elements in all."""
    chosen: list[str] = []
    left = ELEMENTS
    for name, array in result._posterior.items():
        size = math.prod(np.shape(array)[2:])
        if 0 < size <= left:
            chosen.append(name)
            left -= size
    return chosen


def _tag(name: str, text: str, kind: str = "") -> str:
    return f"<{name}{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{html.escape(text)}</{name}>"


def _section(title: str, text: str) -> list[str]:
    return [_tag("h2", title), _tag("pre", text)]


def _strict(value: Any) -> Any:
    """Make a value that strict JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): _strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return _strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
