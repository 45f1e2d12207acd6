"""Shrinking: from a random program on which a law fails to the smallest such program that Hypothesis finds.

Law: what is told fails the law by itself, and the same failure gives the same text in every process. The search begins
with the smallest programs and ends at the integers that the failing one was generated from, so it always finds one.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..programs.grammar import picks
from ..programs.limits import Limits
from ..programs.printing import HEADER
from ..programs.programs import FiniteProgram
from ..strategies import finite_programs
from .suite import Instance, Needs, instance

type Failing = Callable[[Instance], str]

EXAMPLES = 100  # programs of one size; most of them are not what the algorithm needs, and cost nothing
TRIED = 300  # programs that are checked at most, all in all
WITHOUT = "Hypothesis would make it smaller. Fix: pip install 'lawful[check]'."


def smallest_failure(start: Instance, needs: Needs, failing: Failing, tried: int = TRIED) -> str:
    """Describe the smallest random program on which a law fails: its text and tables, and what differs.

    Args:
        start: a random program on which it fails.
        needs: what the programs have to be like.
        failing: says how the law fails on an instance, by both measures; empty where it holds.
        tried: how many programs are checked at most.

    Returns: the description, with the line by which Hypothesis gives the program again; that of `start` where
        Hypothesis is not installed, or found nothing that fails.

    >>> from .suite import instances_of
    >>> start = next(one for one in instances_of(12, particles=1) if "branch" in one.features)
    >>> text = smallest_failure(start, Needs(particles=1), lambda one: "a branch" * ("branch" in one.features))
    >>> text.splitlines()[0], "a branch" in text, "@reproduce_failure(" in text
    ('smallest failing program, of 3 sites:', True, True)
    """
    found, again = _search(start, needs, failing, tried)
    shown = found or start
    sites = 0 if shown.finite is None else shown.finite.site_count
    head = f"{'smallest ' if found else ''}failing program, of {sites} site{'' if sites == 1 else 's'}:"
    return "\n".join(line for line in (head, shown.name.removeprefix(HEADER), failing(shown), again) if line)


class _Fails(AssertionError):
    """The law fails on a program."""


def _search(start: Instance, needs: Needs, failing: Failing, tried: int) -> tuple[Instance | None, str]:
    """Find the smallest failing program, and the line by which Hypothesis gives it again.

    Programs of one statement and two values come first, then of two statements, and so on; last the start itself.
    """
    try:
        hypothesis, database = (importlib.import_module(name) for name in ("hypothesis", "hypothesis.database"))
    except ImportError:
        return None, WITHOUT
    if start.limits is None or start.seed is None:
        return None, ""
    known: dict[FiniteProgram, bool] = {}

    def law(program: FiniteProgram) -> None:
        if needs.admit(program) and program not in known and len(known) < tried:
            known[program] = _fails(failing, instance(program))
        if known.get(program, False):
            raise _Fails(program)

    rising = [replace(start.limits, statements=n, max_cardinality=2) for n in range(1, start.limits.statements + 1)]
    for limits in (*rising, start.limits):
        settings = hypothesis.settings(
            database=_start(database, picks(start.seed, limits)) if limits is start.limits else None,
            suppress_health_check=list(hypothesis.HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
            max_examples=min(EXAMPLES, tried),
            derandomize=False,  # that would leave no database; the seed does the same
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
        )
        given = hypothesis.given(finite_programs(**vars(limits)))
        try:
            settings(hypothesis.seed(0)(given(law)))()  # in this order, since a seed takes the database away
        except _Fails as failure:
            notes = "\n".join(getattr(failure, "__notes__", ()))
            blob = re.search(r"@reproduce_failure\(.*\)", notes)
            return instance(failure.args[0]), f"{blob[0]} of {_shown(limits)}" if blob else ""
    return None, ""


def _fails(failing: Failing, candidate: Instance) -> bool:
    """Tell whether the law fails; a program that the check itself refuses is no answer."""
    try:
        return bool(failing(candidate))
    except Exception:
        return False


def _start(database: Any, choices: Sequence[int]) -> Any:
    """Make a database of examples that holds one, whatever it is asked for.

    One integer stands there more than is drawn: an example that is met again as it was counts as the smallest already.
    """

    class Start(database.ExampleDatabase):
        """The integers of the program that fails."""

        def fetch(self, key: bytes) -> list[bytes]:
            return [database.choices_to_bytes((*choices, 0))]

        def save(self, key: bytes, value: bytes) -> None:
            """Keep nothing."""

        def delete(self, key: bytes, value: bytes) -> None:
            """Keep all."""

    return Start()


def _shown(limits: Limits) -> str:
    """Write the strategy, with the limits that are not the usual ones."""
    usual = vars(Limits())
    shown = [f"{name}={value!r}" for name, value in vars(limits).items() if value != usual[name]]
    return f"lawful.inference.check.strategies.finite_programs({', '.join(shown)})"
