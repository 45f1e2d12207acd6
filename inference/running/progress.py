"""Progress: what a run tells of itself after every chunk, and callbacks that write it down or end the run.

Law: looking changes no draw. What is costly to know, r-hat and effective sizes, is computed only where it is asked for,
on at most 1000 draws a chain and 64 numbers a variable.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lawful.errors import LawfulError

from ..findings.diagnostics import worst_of

DRAWS, NUMBERS = 1000, 64  # that diagnostics look at


@dataclass(frozen=True)
class Progress:
    """A run after a chunk.

    Attributes:
        phase: "warmup" or "sampling" of chains; "run 1 of 4" and the like of populations.
        step: steps of the phase that are done.
        total: all its steps.
        seconds: of the run so far, without compiling.
        compile_seconds: of compiling so far.
        divergences: divergent transitions since the warm-up.
        acceptance_rate: mean over the last chunk; NaN where nothing is accepted.
        n_nonfinite: proposals or weights so far that were no number.
        stage: of a population, its stage; else None.
        beta: of a tempered one, the point of its path; else None.
        log_evidence: of a population, the log evidence so far; else None.
        drawn: gives the draws so far by name, (chain, draw, ...).
    """

    phase: str
    step: int
    total: int
    seconds: float
    compile_seconds: float = 0.0
    divergences: int = 0
    acceptance_rate: float = math.nan
    n_nonfinite: int = 0
    stage: int | None = None
    beta: float | None = None
    log_evidence: float | None = None
    drawn: Callable[[], Mapping[str, np.ndarray]] = field(default=dict, repr=False, compare=False)

    @functools.cached_property
    def _some(self) -> dict[str, np.ndarray]:
        """Some of the draws so far: evenly spaced, of evenly spaced numbers of each variable."""
        found = {}
        for name, array in self.drawn().items():
            draws = array[:, :: max(1, -(-array.shape[1] // DRAWS))]
            flat = draws.reshape(*draws.shape[:2], math.prod(draws.shape[2:]))
            found[name] = flat[..., :: max(1, -(-flat.shape[-1] // NUMBERS))]
        return found

    @functools.cached_property
    def rhat(self) -> float:
        """Rank-normalised r-hat of the worst variable over the draws so far; NaN where there are too few."""
        found = self._worst("rhat", method="rank")
        return math.nan if found is None else found

    @functools.cached_property
    def ess(self) -> float:
        """Smaller of bulk and tail effective sample size of the worst variable, of the draws that were looked at."""
        found = [self._worst("ess", method="bulk"), self._worst("ess", method="tail", prob=(0.05, 0.95))]
        return min((x for x in found if x is not None), default=math.nan)

    def _worst(self, diagnostic: str, **options: Any) -> float | None:
        if not self._some or min(x.shape[1] for x in self._some.values()) < 4:
            return None
        found = worst_of(self._some, diagnostic, **options)
        return None if found is None else found[1]


@runtime_checkable
class Callback(Protocol):
    """What watches a run; True ends it early."""

    def __call__(self, progress: Progress) -> bool | None:
        """Look at the run after a chunk."""


@dataclass(eq=False)
class _StopWhen:
    rhat: float | int
    ess: float | int
    _next: float = 0.0  # draws at which to look again: looking at every chunk would cost more than it tells

    def __call__(self, progress: Progress) -> bool:
        if progress.phase != "sampling":
            self._next = 0.0
            return False
        if progress.step < self._next:
            return False
        self._next = 1.1 * progress.step
        return bool(progress.rhat <= self.rhat and progress.ess >= self.ess)

    def __repr__(self) -> str:
        return f"stop_when(rhat={self.rhat}, ess={self.ess})"


def stop_when(rhat: float | int = 1.01, ess: float | int = 400) -> Callback:
    """End a run once its chains agree and are long enough.

    It looks at no draw of the warm-up, and again only when there are a tenth more draws. Stopping by what is seen makes
    the diagnostics of the result look slightly better than they are.

    Args:
        rhat: largest rank-normalised r-hat.
        ess: smallest effective sample size, bulk and tail, over all chains.

    >>> stop_when(ess=1000)
    stop_when(rhat=1.01, ess=1000)
    """
    if not rhat > 1 or not ess > 0:
        raise LawfulError(f"stop_when: expected rhat above 1 and ess above 0, got rhat={rhat!r}, ess={ess!r}.")
    return _StopWhen(rhat, ess)


@dataclass(eq=False)
class _LogTo:
    path: Path

    def __call__(self, progress: Progress) -> None:
        names = ("phase", "step", "total", "seconds", "compile_seconds", "divergences", "acceptance_rate",
                 "n_nonfinite", "stage", "beta", "log_evidence")  # fmt: skip
        numbers = {name: getattr(progress, name) for name in names}
        known = {k: v for k, v in numbers.items() if v is not None and not (isinstance(v, float) and math.isnan(v))}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(known) + "\n")

    def __repr__(self) -> str:
        return f"log_to({str(self.path)!r})"


def log_to(path: str | os.PathLike[str]) -> Callback:
    """Append a line of JSON to a file after every chunk; numbers that are not known are left out.

    Args:
        path: the file.

    Raises: LawfulError where its folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise LawfulError(f"log_to: there is no folder {target.parent}. Fix: make it first.", path=str(target))
    return _LogTo(target)
