"""Report: one page about a run that opens anywhere, the verdict first; and the same as data.

Law: everything that a model, its data or its names put on the page is shown as text, never read as markup, and the page
refers to nothing outside itself.
"""

from __future__ import annotations

import base64
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from lawful.form import Form
from lawful.form.dependence import dependence

from ...checkpoints.form_digests import code_of
from ...findings.evidence import kish_ess
from ...registered import method_of
from ..arguments import digest_of
from ..datatree.summary import summary
from ..record import Record, leading
from ..variable_order import leading_first
from .checks import check_rows
from .page import rendered
from .plots import Plot, alive, pictures

ROWS, FIRST_ROWS = 200, 12  # elements in the table of variables: on the page, and before its fold
VERTICES = 150  # in a picture that a person can read
LETTERS = 60_000  # of the program's text
MACHINE = ("lawful", "jax", "jaxlib", "numpyro", "numpy", "python", "device", "x64")
SECONDS = ("seconds", "compile_seconds")
IDENTITY = ("program", "seed")
OBJECTS = ("kernel", "proposal", "move", "cuts")  # settings that a run holds as their text


def write_report(
    result: Record, path: str | Path, *, plan: str = "", command: str = "", plots: Sequence[Plot] | None = None
) -> None:
    """Write the page; see `Result.report`."""
    shown = pictures(result) if plots is None else plots
    coded = [{"name": plot.name, "title": plot.title, "code": base64.b64encode(plot.png).decode()} for plot in shown]
    page = rendered(
        "page",
        **_first(result, ROWS),
        **_model(result.form),
        title=f"Report of {_program_name(result)}",
        plan=plan or str(result.run.get("plan", "")),
        checks=check_rows(result),
        plots=coded,
        settings=_settings(result),
        machine=_machine(result.run),
        identity=_identity(result),
        command=command or _call(result),
        promise=_promise(result),
    )
    Path(path).write_text(page, encoding="utf-8")


def first_screen(result: Record) -> str:
    """Return the verdict and the first variables as a piece of HTML, for notebooks."""
    return rendered("first screen", **_first(result, FIRST_ROWS))


def write_diagnostics(result: Record, path: str | Path) -> None:
    """Write verdict, reasons, checks and evidence as JSON; what is no number is a text there, as "nan"."""
    found: dict[str, Any] = {
        "ok": result.ok,
        "status": [bit.name for bit in type(result.status) if bit in result.status],
        "reasons": [
            {"code": f.code, "message": f.message, "sites": list(f.sites), "value": f.value, "limit": f.limit}
            for f in result.reasons
        ],
        "checks": [
            {"name": row.name, "value": row.value, "limit": row.limit, "ok": row.ok} for row in check_rows(result)
        ],
        "limits": asdict(result.limits),
        "sampler": result.sampler,
        "finished": result.finished,
        "interrupted": result.interrupted,
        "log_evidence": result.log_evidence_pooled,
        "log_evidence_error": result.log_evidence_error,
        "run": dict(result.run),
    }
    Path(path).write_text(json.dumps(_strict(found), indent=2) + "\n")


def table_of(result: Record, elements: int = ROWS) -> tuple[Any, int]:
    """Tabulate the first variables, None where no draw of a run that lives is left; and count the other elements."""
    living = alive(result)
    if living is None:
        return None, 0
    total = sum(math.prod(np.shape(array)[2:]) for array in living._posterior.values())
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of few or constant draws: the numbers themselves say so
        table = summary(_cut(living, elements)).head(elements)
    return table, total - len(table)


def _cut(result: Record, elements: int) -> Record:
    """Keep the first elements of the leading variables.

    Of a variable that is cut, whose axes lose their names, these are those of its first indices.
    """
    kept: dict[str, Any] = {}
    dims, left = dict(result.dims), elements
    for name, array in leading_first(result).items():
        size = math.prod(np.shape(array)[2:])
        if size > left > 0:
            rows = -(-left * np.shape(array)[2] // size)
            kept[name] = np.asarray(array)[:, :, :rows]
            dims.pop(name, None)
        elif left > 0:
            kept[name] = array
        left -= size
    weighted = result._weighted and result._weighted._replace(values={})
    part = replace(result, _posterior=kept, _weighted=weighted, dims=dims)
    part.__dict__["reasons"] = result.reasons  # the verdict is that of the whole
    return part


def _first(result: Record, elements: int) -> dict[str, Any]:
    """Collect what the first screen shows."""
    bits = ", ".join(bit.name or "" for bit in type(result.status) if bit in result.status)
    table, left = table_of(result, elements)
    variables = None
    if table is not None:
        rows = [
            [str(name), *(_number(kind, value) for kind, value in zip(table.columns, row, strict=True))]
            for name, row in zip(table.index, table.to_numpy(), strict=True)
        ]
        variables = {"columns": ["", *map(str, table.columns)], "first": rows[:FIRST_ROWS], "rest": rows[FIRST_ROWS:]}
    evidence = None
    if result.log_evidence is not None:
        evidence = {
            "pooled": f"{result.log_evidence_pooled:.4f}",
            "error": f"{result.log_evidence_error:.4f}",
            "runs": [f"{value:.4f}" for value in np.asarray(result.log_evidence, float).ravel()],
        }
    return {
        "ok": result.ok,
        "headline": "OK: every check passed" if result.ok else f"Not ok: {bits}",
        "findings": result.reasons,
        "summary": _summary(result),
        "evidence": evidence,
        "variables": variables,
        "left": left,
    }


def _summary(result: Record) -> str:
    chains, draws = leading(result._posterior)
    words = f"{result.sampler}, {len(result.runs)} {'chains' if result._weighted is None else 'runs'} of {draws} draws"
    if result.interrupted:
        words += f", stopped early after {result.finished}"
    if result._weighted is not None and np.size(result._weighted.log_weight):
        ess = kish_ess(result._weighted.log_weight)
        words += f"; effective sizes of the weights {ess.min():.0f} to {ess.max():.0f}"
    return words


def _model(form: Any) -> dict[str, Any]:
    """Draw the model, and write it out."""
    if not isinstance(form, Form):
        return {"picture": None, "picture_note": "The result does not know its program.", "program": ""}
    count = len(dependence(form, named=True).vertices)
    text = form.show()
    return {
        "picture": form.to_svg() if count <= VERTICES else None,
        "picture_note": f"The model has {count} sites, factors and named values, too many for a picture.",
        "program": text if len(text) <= LETTERS else f"{text[:LETTERS]}\n... and {len(text) - LETTERS} more letters",
    }


def _program_name(result: Record) -> str:
    return str(result.run.get("program") or getattr(result.model, "__name__", "") or "an inference")


def _settings(result: Record) -> list[tuple[str, str]]:
    rest = (*MACHINE, *SECONDS, *IDENTITY, "form", "plan", "arguments")
    return [("sampler", result.sampler)] + [
        (name, _cell(value)) for name, value in result.run.items() if name not in rest and "fingerprint" not in name
    ]


def _machine(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    times = []
    if "seconds" in run:
        compiling = run.get("compile_seconds", getattr(run["seconds"], "compiling", None))
        times.append(("run", f"{max(float(run['seconds']) - float(compiling or 0.0), 0.0):.2f} s"))
        if compiling is not None:
            times.append(("compilation", f"{float(compiling):.2f} s"))
    return times + [(name, str(run[name])) for name in MACHINE if name in run]


def _identity(result: Record) -> list[tuple[str, str]]:
    """Say what was run on what: fingerprints are equal where program and data are."""
    shown = {name: result.run[name] for name in IDENTITY if name in result.run}
    named = [(name, seed_text(value) if name == "seed" else str(value)) for name, value in shown.items()]
    prints = {name: str(value) for name, value in result.run.items() if "fingerprint" in name}
    if isinstance(result.form, Form):
        prints.setdefault("fingerprint", code_of(result.form))
    data = digest_of(result.args) or result.run.get("arguments")
    if data is not None:
        prints["data"] = str(data)
    labels = {"fingerprint": "fingerprint of the program", "data": "fingerprint of the data"}
    return named + [(labels.get(name, name), value) for name, value in prints.items()]


def _call(result: Record) -> str:
    """Write the call that made a result, as far as the result tells it."""
    kind = method_of(result.sampler)
    if kind is None:
        return ""
    names = [f.name for f in fields(kind) if f.name in result.run]
    words = [f"{name}={result.run[name] if name in OBJECTS else repr(result.run[name])}" for name in names]
    if "devices" in result.run:
        words.append("mesh=mesh")
    model = getattr(result.model, "__name__", "model")
    key = seed_text(result.run["seed"]) if "seed" in result.run else "key"
    same = "arguments" if "seed" in result.run else "key and arguments"
    return f"inference.{result.sampler}({', '.join([model, *words])})({key}, *arguments)  # of the same {same}"


def seed_text(seed: Any) -> str:
    """Write a seed as one gives it to a run.

    >>> seed_text(7), seed_text({"key": [0, 7], "impl": "threefry2x32"})
    ('7', "jax.random.wrap_key_data(numpy.uint32([0, 7]), impl='threefry2x32')")
    """
    if not isinstance(seed, Mapping):
        return repr(seed)
    return f"jax.random.wrap_key_data(numpy.uint32({seed['key']}), impl={seed['impl']!r})"


def _promise(result: Record) -> str:
    """Say whether a repeated run has the same bits, or the same law alone."""
    if any(finding.code == "RESUMED_ELSEWHERE" for finding in result.found):
        return (
            "The run went on elsewhere than where it began: its draws equal those of a run in one go in law, not bit "
            "for bit."
        )
    if not {"jax", "device", "x64"} <= result.run.keys():
        return ""
    bits, device, count = 64 if result.run["x64"] else 32, result.run["device"], result.run.get("devices")
    there = f"the same kind of device ({device})" if count is None else f"a mesh of {count} such devices ({device})"
    return (
        f"The same key gives the same draws, bit for bit, with JAX {result.run['jax']} on {there} in {bits} bits, "
        "however the run is divided; elsewhere, draws of the same law."
    )


def _number(column: Any, value: Any) -> str:
    """Write a number of the table: sizes are whole, and all r-hat have as many digits."""
    if isinstance(value, float | np.floating) and math.isfinite(value):
        if str(column).startswith("ess_"):
            return f"{value:.0f}"
        if column == "r_hat":
            return f"{value:.3f}"
    return _cell(value)


def _cell(value: Any) -> str:
    """Write a number as people read it."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, threshold=20)
    return str(value)


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
