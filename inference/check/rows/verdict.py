"""Verdict: what was checked of one row of the law, and how it ended; its text is a line of the table of `make law`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..statistics.report import Report

HEADING = f"{'row':<44} {'programs':>8} {'sets':>6} {'branch':>6} {'paths':>9} {'error':>9} {'s':>6}  verdict"


@dataclass(frozen=True)
class RowVerdict:
    """The outcome of one row: how many programs, sets of parameters and programs with structure it saw."""

    name: str
    report: Report
    programs: int = 0
    parameter_sets: int = 0
    structured: int = 0
    seconds: float = 0.0

    @property
    def error(self) -> float:
        """The error of the measure, or of the probabilities where no measure was compared."""
        found = self.report.measure_error if self.report.measure_error is not None else self.report.tv
        return 0.0 if found is None else found

    def __str__(self) -> str:
        counts = (self.programs, 8), (self.parameter_sets, 6), (self.structured, 6), (self.report.paths, 9)
        cells = " ".join(f"{count or '':>{width}}" for count, width in counts)
        return f"{self.name:<44} {cells} {self.error:>9.1e} {self.seconds:>6.1f}  {self.report.status}"


def is_chosen(name: str, parts: Sequence[str]) -> bool:
    """Tell whether the name of a row has one of these parts; no part chooses every row.

    >>> is_chosen("smc residual", ["eager", "residual"]), is_chosen("smc residual", ["eager"]), is_chosen("spawn", [])
    (True, False, True)
    """
    return not parts or any(part in name for part in parts)
