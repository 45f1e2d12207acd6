"""Report: the verdict of one check, with its false-alarm rate and what it can detect.

Law: a report passes only when its check ran in full; `bool(report)` is that verdict, and `detects` never promises more
than was run.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import os
from collections.abc import Hashable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import jax

from lawful.errors import LawfulError, ValidationFailure

STATUSES = ("passed", "failed", "inconclusive", "refused")
RAN = STATUSES[:2]
BOUNDS = ("exact", "finite-sample", "normal")
WITHOUT_CHANCE = {
    "exact": "exact: every value enumerated",
    "identities": "identities: compared up to rounding at the points that were tried",
}


def environment(dtype: str = "float64") -> dict[str, str]:
    """Describe what a verdict depends on besides the code: versions, device, precision.

    >>> sorted(environment())
    ['backend', 'dtype', 'jax', 'jaxlib', 'lawful', 'x64', 'xla_flags']
    """
    return {
        **{package: _version(package) for package in ("lawful", "jax", "jaxlib")},
        "backend": jax.default_backend(),
        "x64": str(jax.config.read("jax_enable_x64")),
        "dtype": dtype,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


@functools.cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


@dataclass(frozen=True, kw_only=True, repr=False)
class Report:
    """The verdict of one check.

    Attributes:
        status: "passed", "failed", "inconclusive" (coverage missing, path cap) or "refused" (a precondition is void).
        law: the claim that was checked.
        level: the tier that checked it: "exact", "identities", "statistical" or "end_to_end".
        bound: "exact" (no error), "finite-sample" (proved) or "normal" (approximation).
        p_value: the p-value of the last stage; None for exact checks.
        stage: the last stage that ran, from 1; 0 for exact checks.
        n_used: independent runs over all stages.
        alpha_spent: bound on the false-alarm rate of this check.
        min_detectable_effect: smallest effect that is found with probability `power`; 0 for exact checks.
        power: that probability.
        measure_error: largest absolute error of the unnormalised measure, relative to Z.
        evidence_ratio: Z' / Z.
        tv: total variation of the normalised measures.
        paths: number of choice sequences enumerated.
        instances: number of programs, or of parameter sets.
        coverage: each data-dependent decision with the outcomes seen with positive probability.
        worst: name and value of the statistic nearest to failing.
        key: the words of the random key.
        repro: a line that repeats the verdict and its numbers, in the same precision: an expression that needs `import
            jax, lawful.inference` and, under the names that stand in it, what the check was given.
        remarks: what a reader needs besides, as the reason of a refusal.
        environment: versions, backend, precision and compiler flags.

    >>> report = Report(status="passed", law="resampling keeps the measure", level="exact", measure_error=3e-18)
    >>> bool(report), report.detects(0.05)
    (True, True)
    """

    status: str
    law: str
    level: str
    bound: str = "exact"
    p_value: float | None = None
    stage: int = 0
    n_used: int = 0
    alpha_spent: float = 0.0
    min_detectable_effect: float = 0.0
    power: float = 1.0
    measure_error: float | None = None
    evidence_ratio: float | None = None
    tv: float | None = None
    paths: int = 0
    instances: int = 0
    coverage: Mapping[str, Set[Hashable]] = field(default_factory=dict)
    worst: tuple[str, float] | None = None
    key: tuple[int, ...] | None = None
    repro: str = ""
    remarks: str = ""
    environment: Mapping[str, str] = field(default_factory=environment)

    def __post_init__(self) -> None:
        """Refuse a status or a bound that no reader would understand."""
        for name, given, known in (("status", self.status, STATUSES), ("bound", self.bound, BOUNDS)):
            if given not in known:
                raise LawfulError(f"Report: expected {name} in {', '.join(known)}, got {given!r}.", given=given)

    @property
    def passed(self) -> bool:
        """Whether the law was checked in full and held."""
        return self.status == "passed"

    def __bool__(self) -> bool:
        return self.passed

    def detects(self, effect: float) -> bool:
        """Tell whether a violation of this size would have been found with probability `power`.

        A check that did not run in full detects nothing.
        """
        return self.status in RAN and self.min_detectable_effect <= effect

    def raise_if_failed(self) -> Report:
        """Return the report if it passed.

        Raises: ValidationFailure with the key, the worst statistic and the line that repeats the check.
        """
        if self.passed:
            return self
        lines = [f"{self.law}: {self.status}.", *(f"  {line}" for line in self._details())]
        raise ValidationFailure("\n".join(lines), status=self.status, worst=self.worst, key=self.key, repro=self.repro)

    def to_json(self, indent: int | None = None) -> str:
        """Write every field as strict JSON: sets sorted, infinities and NaN as strings."""
        return json.dumps(_plain(asdict(self)), indent=indent, sort_keys=True, allow_nan=False)

    def __repr__(self) -> str:
        """Show the verdict and its numbers; equal in every process."""
        return f"Report({self.status}: {self.law}, {self.level}; {'; '.join(self._details())})"

    def _details(self) -> list[str]:
        details = []
        if self.measure_error is not None:
            details.append(f"measure error {self.measure_error:.3g} of Z")
        if self.evidence_ratio is not None:
            details.append(f"evidence ratio {self.evidence_ratio:.6g}")
        if self.tv is not None:
            details.append(f"total variation {self.tv:.3g}")
        if self.worst is not None:
            details.append(f"worst statistic {self.worst[0]} = {self.worst[1]:.6g}")
        if self.p_value is not None:
            details.append(f"p-value {self.p_value:.3g} at stage {self.stage}, {self.n_used} runs")
        if self.paths:
            details.append(f"{self.paths} paths in {self.instances} instances")
        if self.coverage:
            seen = (f"{name}: {sorted(map(str, outcomes))}" for name, outcomes in sorted(self.coverage.items()))
            details.append(f"decisions seen {{{', '.join(seen)}}}")
        details.append(self._strength())
        if self.remarks:
            details.append(self.remarks)
        if self.key is not None:
            details.append(f"key {list(self.key)}")
        if self.repro:
            details.append(f"repeat with: {self.repro}")
        return details

    def _strength(self) -> str:
        """Tell what a verdict of this check is worth: how often it is wrong, and what it finds."""
        if self.status not in RAN:
            return "detects nothing: it did not run in full"
        if self.bound == "exact":
            return WITHOUT_CHANCE.get(self.level, "exact")
        found = f"detects {self.min_detectable_effect:.3g} with probability {self.power:.3g}"
        return f"false alarm <= {self.alpha_spent:.3g} ({self.bound}); {found}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(inner) for inner in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)
