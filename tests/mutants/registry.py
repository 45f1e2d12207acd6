"""Registry: every planted fault, the row of the law that must find it, and whether it is a fault at all.

Law: a mutant counts as killed when its patched code ran and the check of its row did not pass; an equivalent mutant and
the clean code must pass.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawful.inference.check import Report
from lawful.inference.check.exact import TOLERANCE, Tally, check_instance
from lawful.inference.check.law import check_row
from lawful.inference.check.rows import ROWS, Row
from lawful.inference.check.suite import instances_of
from tests.mutants import kernels, populations, proposals

MH, NESTED = "mh single site", "mh single site, nested branches"
IMPORTANCE, MULTINOMIAL = "importance: collapse . push_evidence . spawn", "smc multinomial"
SYSTEMATIC, ADAPTIVE, ADAPTIVE_3 = (
    "smc systematic",
    "smc systematic adaptive, N = 2",
    "smc systematic adaptive, N = 3",
)


@dataclass(frozen=True)
class Mutant:
    """A planted fault.

    Attributes:
        id: its number in the list of the validation document.
        description: the fault in words.
        patch: makes the context in which the fault is there; entering gives a counter of its calls.
        row: the row that must find it.
        programs: number of random programs of that row.
        equivalent: why no check of expectations can see it; empty for a fault.
    """

    id: str
    description: str
    patch: Callable[[], Any]
    row: str
    programs: int = 12
    equivalent: str = ""


MUTANTS = (
    Mutant("4", "proposal ratio forgotten", kernels.proposal_forgotten, MH),
    Mutant("5", "proposal ratio inverted", kernels.proposal_inverted, MH),
    Mutant("7", "always accept", kernels.always_accept, MH),
    Mutant("8", "wrong temperature, 1.02", kernels.tempered, MH),
    Mutant("9", "slack 0.05 in the acceptance", kernels.slack, MH),
    Mutant("16", "systematic resampling with a fixed offset", populations.fixed_offset, SYSTEMATIC),
    Mutant("17", "ancestor index off by one", populations.off_by_one, SYSTEMATIC),
    Mutant("18", "residual remainder drawn uniformly", populations.uniform_remainder, "smc residual"),
    Mutant("19", "resampling by arg max", populations.arg_max, MULTINOMIAL),
    Mutant("20", "resampling with uniform weights", populations.uniform_weights, MULTINOMIAL),
    Mutant("21", "ancestors computed, not applied", populations.not_applied, SYSTEMATIC),
    Mutant("22", "weights not reset after systematic resampling", populations.kept_weights, SYSTEMATIC),
    Mutant(
        "22b", "old weights kept in place after multinomial resampling", populations.kept_weights, MULTINOMIAL,
        equivalent="the slots of multinomial resampling are exchangeable and independent of the old weights of others",
    ),
    Mutant("22c", "weights permuted with the ancestors and kept", populations.permuted_weights, MULTINOMIAL),
    Mutant("23", "weights reset although not resampled", populations.reset_anyway, ADAPTIVE_3, programs=24),
    Mutant("24", "evidence increment ignores incoming weights", populations.incoming_ignored, ADAPTIVE),
    Mutant("25", "evidence not divided by N", populations.not_divided, SYSTEMATIC),
    Mutant("25b", "no 1/N when weights are reset", populations.reset_to_n, "resample systematic"),
    Mutant("26", "largest instead of mean weight", populations.largest_weight, SYSTEMATIC),
    Mutant("27", "zero weights left out of the mean", populations.zeros_left_out, SYSTEMATIC),
    Mutant("28", "final weights ignored", populations.any_particle, IMPORTANCE),
    Mutant("29b", "weight computed from the state before the move", populations.old_state, SYSTEMATIC),
    Mutant("43", "likelihood dropped", kernels.likelihood_dropped, MH),
    Mutant("45", "children of the redrawn site not scored again", kernels.children_forgotten, MH),
    Mutant("46", "trans-dimensional move without n / n'", kernels.counts_forgotten, NESTED),
    Mutant("53", "proposal weight forgotten", proposals.weight_forgotten, "propose"),
    Mutant("53b", "proposal weight forgotten in a filter", proposals.weight_forgotten, "guided smc"),
    Mutant("52", "kernel that never moves", kernels.never_accept, MH),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant; `id` is "clean" for the library as it is."""

    id: str
    row: str
    report: Report
    reached: int
    seconds: float
    equivalent: bool = False

    @property
    def verdict(self) -> str:
        """Killed, survived or not reached; for the clean code passed or alarm."""
        if self.id == "clean":
            return "passed" if self.report.passed else "alarm"
        if not self.reached:
            return "not reached"
        if self.equivalent and self.report.passed:
            return "equivalent"
        return "survived" if self.report.status in ("passed", "inconclusive") else "killed"

    @property
    def error(self) -> float:
        """Largest error of the measure, or of pi K."""
        return max(self.report.measure_error or 0.0, self.report.tv or 0.0)

    def record(self) -> dict[str, Any]:
        """The outcome as JSON."""
        shown = {"error": self.error, "evidence_ratio": self.report.evidence_ratio, "paths": self.report.paths}
        return {
            "id": self.id, "check": self.row, "tier": 0, "verdict": self.verdict, "reached": self.reached,
            "instances": self.report.instances, "seconds": round(self.seconds, 2), **shown,
        }  # fmt: skip

    def __str__(self) -> str:
        """One line of the table."""
        ratio = "" if self.report.evidence_ratio is None else f"Z x {self.report.evidence_ratio:.4g}"
        return f"{self.id:<6} {self.row:<44} {self.error:>9.1e}  {ratio:<12} {self.seconds:>6.1f}  {self.verdict}"


def row_of(name: str) -> Row:
    """Find a row by its name."""
    (row,) = (row for row in ROWS if row.name == name)
    return row


def check(row: Row, programs: int) -> Report:
    """Check a row by the reference enumerator, which compiles nothing, up to the first program that shows an error."""
    if row.is_kernel:
        return check_row(row, programs, structures=0).report
    tally = Tally(TOLERANCE)
    for instance in instances_of(
        programs, particles=row.particles, loops=row.loops, steps=row.steps, max_paths=row.max_paths
    ):
        check_instance(row.subject, instance, tally, 100_000, "reference")
        if not tally.error <= TOLERANCE:
            break
    return tally.report(row.name, True, f"lawful.inference.check.law.check_row({row.name!r})")


def run(mutant: Mutant) -> Outcome:
    """Plant a fault and check its row."""
    start = time.perf_counter()
    with mutant.patch() as reached:
        report = check(row_of(mutant.row), mutant.programs)
    return Outcome(mutant.id, mutant.row, report, reached.count, time.perf_counter() - start, bool(mutant.equivalent))


def clean_rows() -> dict[str, int]:
    """The rows that some mutant is checked by, each with the largest number of programs."""
    found: dict[str, int] = {}
    for mutant in MUTANTS:
        found[mutant.row] = max(mutant.programs, found.get(mutant.row, 0))
    return found


def run_clean(row: str, programs: int) -> Outcome:
    """Check a row of the library as it is."""
    start = time.perf_counter()
    return Outcome("clean", row, check(row_of(row), programs), 1, time.perf_counter() - start)
