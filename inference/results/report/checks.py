"""Checks of a report: each number behind the verdict with its limit, also where it passed.

Law: a row fails exactly where the result has a finding of its code, so the table and the verdict agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.form import Form

from ...findings.chain_checks import moving_chains
from ...findings.diagnostics import Measured, ess_of, r_hat_of, variables_of
from ...findings.evidence import kish_ess
from ...findings.evidence_checks import ENOUGH_RUNS, UNMOVED, evidence_sd
from ...findings.move_statistics import LOST, NO_SLOPE
from ...findings.population_checks import copies_of, judged_variables, together
from ..record import Record, leading


@dataclass(frozen=True)
class CheckRow:
    """A check: what was looked at, the value, its limit, and whether it passed."""

    name: str
    value: str
    limit: str
    ok: bool


def check_rows(result: Record) -> tuple[CheckRow, ...]:
    """List the checks of a result.

    >>> import numpy as np
    >>> from lawful.inference.results.collect import from_chains
    >>> rows = check_rows(from_chains({"x": np.random.default_rng(0).normal(size=(4, 500))}))
    >>> [(row.name, row.ok) for row in rows][:2]
    [('chains that never moved', True), ('r-hat, the largest', True)]
    """
    codes = {finding.code for finding in result.reasons}
    rows = _of_chains(result) if result._weighted is None else _of_populations(result)
    return tuple(CheckRow(name, value, limit, not codes & set(marks)) for name, value, limit, marks in rows)


type _Row = tuple[str, str, str, tuple[str, ...]]


def _of_chains(result: Record) -> Iterator[_Row]:
    limits, draws, stats = result.limits, result._posterior, result.stats
    if "diverging" in stats:
        yield "divergent transitions", _count(stats, "diverging"), f"at most {limits.divergences}", ("DIVERGENT",)
    if "n_nonfinite" in stats:
        yield "log densities that are no number", _count(stats, "n_nonfinite"), "0", ("NONFINITE_DENSITY",)
    stuck = next((str(f.message).split(" never moved")[0] for f in result.reasons if f.code == "NEVER_MOVED"), "none")
    yield "chains that never moved", stuck, "none", ("NEVER_MOVED",)
    variables = variables_of(moving_chains(draws))
    yield "r-hat, the largest", *_named(r_hat_of(limits, variables), ".3f", "at most"), ("HIGH_RHAT",)
    for kind in ("bulk", "tail"):
        worst = ess_of(limits, variables, kind)
        marks = ("LOW_ESS",) if worst is not None and not worst.ok else ()
        yield f"{kind} effective size, the smallest", *_named(worst, ".0f", "at least"), marks
    length = leading(draws)[1]
    few = ("LOW_ESS",) if length < limits.ess_per_chain else ()
    yield "draws a chain", str(length), f"at least {limits.ess_per_chain:g}", few


def _of_populations(result: Record) -> Iterator[_Row]:
    limits, stats, particles = result.limits, result.stats, result._weighted
    assert particles is not None
    log_weight = np.asarray(particles.log_weight)
    size = log_weight.shape[1]
    dead = [run for run in result.runs if result._dead_at(run) >= 0]
    yield "runs that died", str(len(dead)), "0", ("DEAD", "NONFINITE_WEIGHT")
    alive = [place for place, run in enumerate(result.runs) if run not in dead]
    if not alive:
        return
    draws = {name: np.asarray(x)[alive] for name, x in result._posterior.items()}
    form = result.form if isinstance(result.form, Form) else None
    ess = kish_ess(log_weight[alive])
    least, enough, total = limits.ess_fraction * size, limits.ess_per_chain, together(ess)
    yield (
        "effective size of the last weights, the smallest",
        f"{ess.min():.0f} of {size}",
        f"at least {least:.0f}",
        ("LOW_ESS",) if ess.min() < least else (),
    )
    worth = ("LOW_ESS",) if total < enough else ()
    yield "draws that the last weights of all runs are worth", f"{total:.0f}", f"at least {enough:g}", worth
    judged, _ = copies_of(draws, stats, form)
    if judged:
        fewest = min(judged)
        marks = ("LOW_ESS",) if fewest.size < enough else ()
        value = f"{fewest.size:.0f} ({fewest.name})"
        yield "different values that draws are worth, the fewest", value, f"at least {enough:g}", marks
    for name, what, code in (
        (LOST, "moves to where the log density is no number", "NONFINITE_DENSITY"),
        (NO_SLOPE, "moves to where the gradient is no number", "NONFINITE_GRADIENT"),
    ):
        if name in stats:
            yield what, _count(stats, name), "0", (code,)
    if "root_share" in stats and form is None:
        shares = np.asarray(stats["root_share"], float)[[result.runs[place] for place in alive]]
        yield (
            "share of one ancestor, the largest",
            f"{np.nanmax(shares):.0%}",
            f"at most {limits.root_share:.0%}",
            ("ONE_ANCESTOR",),
        )
    if result.log_evidence is not None:
        yield (
            "log evidence: sd of a run, and error of all",
            f"{evidence_sd(result.log_evidence, size, stats):.3f}, {result.log_evidence_error:.3f}",
            f"at most {limits.log_evidence_sd:g}, and {limits.log_evidence_error:g} of {ENOUGH_RUNS} runs or more",
            ("EVIDENCE_SPREAD",),
        )
    if "unmoved_chains" in stats:
        share = np.nanmax(np.asarray(stats["unmoved_chains"], float), initial=0.0)
        yield "chains of a stage that never moved, the most", f"{share:.0%}", f"at most {UNMOVED:.0%}", ("NEVER_MOVED",)
    if len(alive) > 1:
        worst = r_hat_of(limits, judged_variables(draws, stats, form), enough)
        yield "r-hat over runs, the largest", *_named(worst, ".3f", "at most"), ("HIGH_RHAT",)
    outside = [str(f.value) for f in result.reasons if f.code == "OUT_OF_SUPPORT"]
    yield (
        "particles with an observation outside its support",
        outside[0] if outside else "0",
        (f"at most {limits.out_of_support:.0%} of a run"),
        ("OUT_OF_SUPPORT",),
    )


def _count(stats: Mapping[str, Any], name: str) -> str:
    return str(int(np.nansum(np.asarray(stats[name], float))))


def _named(worst: Measured | None, how: str, side: str) -> tuple[str, str]:
    """Write the value and the limit."""
    if worst is None:
        return "nothing varies", ""
    value = "above 10" if how == ".3f" and worst.value > 10 else f"{worst.value:{how}}"
    return f"{value} ({worst.label})", f"{side} {round(worst.limit, 3 if how == '.3f' else 0):g}"
