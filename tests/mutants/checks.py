"""Checks: what has to find a planted fault, as a row of the law, a check with a report, or a test of the suite.

Law: a check passes on the library as it is, and says so by a Report; a test that fails, or that raises, counts as a
fault that was found.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _pytest.outcomes import Failed

from lawful.inference.check import Report
from lawful.inference.check.exact.exact_checks import TOLERANCE, Tally, check_instance
from lawful.inference.check.exact.suite import instances_of
from lawful.inference.check.rows.law import row_verdict
from lawful.inference.check.rows.rows import ROWS, Row
from tests.marked import Marked, marked


@dataclass(frozen=True)
class RowCheck:
    """A row of `make law`, by the reference enumerator, which compiles nothing.

    Attributes:
        name: the row.
        programs: number of random programs.
    """

    name: str
    programs: int = 12
    tier = "0"

    def run(self) -> Report:
        """Check programs up to the first that shows an error."""
        row = row_of(self.name)
        if row.is_kernel or row.programs:
            return row_verdict(row, self.programs, structures=0, shrink=False).report
        tally = Tally(TOLERANCE)
        for instance in instances_of(self.programs, structured=row.structured, **vars(row.needs)):
            check_instance(row.subject, instance, tally, 100_000, "reference")
            if not tally.error <= TOLERANCE:
                break
        repro = f"lawful.inference.check.check_row({row.name!r}, programs={self.programs}, structures=0, shrink=False)"
        return tally.report(row.name, True, repro)


@dataclass(frozen=True)
class Reported:
    """A check of `lawful.inference.check` on a program of its own."""

    name: str
    tier: str
    make: Callable[[], Report]

    def run(self) -> Report:
        """Make the report."""
        return self.make()


@dataclass(frozen=True)
class Tested:
    """A test that is marked with the faults that it must find, and with the arguments of the case that does.

    Attributes:
        test: where it is.
    """

    test: Marked

    @property
    def name(self) -> str:
        """Name of the test."""
        return self.test.test.removeprefix("test_").replace("_", " ")

    @property
    def tier(self) -> str:
        """How the test shows its law, by its own marker or that of its file; identities are tier 0b."""
        module = getattr(self.test.module, "pytestmark", [])
        marks = [*self.test.function.pytestmark, *(module if isinstance(module, list) else [module])]
        return next((mark.name.removeprefix("tier") for mark in marks if mark.name.startswith("tier")), "0b")

    @property
    def case(self) -> dict[str, Any]:
        """The arguments that the marker gives."""
        (mark,) = (m for m in self.test.function.pytestmark if (m.name, m.args) == ("kills", self.test.named))
        return dict(mark.kwargs)

    def run(self) -> Report:
        """Run the test; whatever it raises is a failure."""
        case = self.case
        try:
            self.test.function(**case)
        except (Exception, Failed) as error:
            return Report(status="failed", law=self.name, level="identities", remarks=repr(error)[:200])
        return Report(status="passed", law=self.name, level="identities", instances=1)


@functools.cache
def tests_that_kill() -> dict[str, Tested]:
    """The test of each fault that a test is marked with."""
    return {fault: Tested(test) for test in marked("kills") for fault in test.named}


def row_of(name: str) -> Row:
    """Find a row by its name."""
    (row,) = (row for row in ROWS if row.name == name)
    return row
