"""Row reports: one row of the law on given programs, by both enumerators.

Law: a transformer keeps the unnormalised measure of every program, a kernel its posterior; a row that fails shows a
program on which it does, the smallest that was found, and both measures where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lawful.tracing.trace import trace

from ..exact.exact_checks import COMPILED, TOLERANCE, Tally, check_instance, smallest_of, transformed_form
from ..exact.invariance import invariant
from ..exact.matrix import stationary_errors
from ..exact.outcomes import compiled_measures
from ..exact.shrinking import Failing, smallest_failure
from ..exact.suite import Instance, blamed
from ..exact.transition import UNREACHED
from ..statistics.report import Report
from .rows import Row


def transformer_report(
    row: Row, by_hand: Sequence[Instance], compiled: Sequence[Instance], parameter_sets: int, repro: str, shrink: bool
) -> Report:
    """Check that a transformer keeps the measure.

    The programs `by_hand` are for the reference enumerator; the others are compiled, once for all sets of tables.
    """
    tally = Tally(TOLERANCE)
    for instance in by_hand:
        with blamed(instance):
            check_instance(row.subject, instance, tally, 100_000, "reference")
    for instance in compiled:
        form = trace(instance.program, *instance.args)
        transformed, layout = transformed_form(row.subject, form)
        tables = list(_parameter_sets(instance, parameter_sets))
        for other, measure in zip(tables, compiled_measures(transformed, layout, tables), strict=True):
            sibling = instance.with_tables(other)
            tally.add(measure, sibling.truth(), sibling)
    smallest = smallest_of(row.subject, tally.failed, row.needs) if shrink else ""
    return tally.report(f"{row.name} keeps the measure", True, repro, smallest)


def kernel_report(
    row: Row, by_hand: Sequence[Instance], compiled: Sequence[Instance], parameter_sets: int, repro: str, shrink: bool
) -> Report:
    """Check that a kernel keeps the posterior; zeros may cut a program apart for it, but not every second one.

    It ends at the first program on which the kernel fails.
    """
    error, paths, seen, apart, remarks = 0.0, 0, 0, 0, ""
    for instance in by_hand:
        with blamed(instance):
            report = _stepped(row, instance)
        paths, seen = paths + report.paths, seen + 1
        apart += report.remarks == UNREACHED
        error = max(error, report.tv or 0.0)
        if not report.passed and (report.remarks != UNREACHED or 2 * apart > len(by_hand)):
            failing = _unreached(row) if report.remarks == UNREACHED else _not_kept(row)
            remarks = _told(row, instance, failing, shrink)
            break
    for instance in compiled if not remarks else ():
        siblings = [instance.with_tables(tables) for tables in _parameter_sets(instance, parameter_sets)]
        errors = stationary_errors(row.subject.build(trace(instance.program, *instance.args)), siblings)
        worst, seen = int(np.argmax(errors)), seen + len(siblings)
        error = max(error, errors[worst])
        if not errors[worst] <= TOLERANCE:
            by_hand_too = not _stepped(row, siblings[worst]).passed
            failing, tried = (_not_kept(row), {}) if by_hand_too else (_miscompiled(row), {"tried": COMPILED})
            remarks = _told(row, siblings[worst], failing, shrink, **tried)
            break
    return Report(
        status="failed" if remarks else "passed",
        law=f"{row.name}: pi K = pi",
        level="exact",
        tv=error,
        measure_error=error,
        paths=paths,
        instances=seen,
        worst=("total variation", error),
        repro=repro,
        remarks=remarks,
    )


def _parameter_sets(instance: Instance, count: int) -> Iterator[Any]:
    rng = np.random.default_rng(20_260 + count)
    for _ in range(count):
        yield instance.random_tables(rng)


def _stepped(row: Row, instance: Instance) -> Report:
    return invariant(row.subject, instance.program, *instance.args, level="exact", max_paths=100_000)


def _told(row: Row, instance: Instance, failing: Failing, shrink: bool, **tried: int) -> str:
    """Describe how a kernel fails on a program, or on the smallest such."""
    if shrink:
        return smallest_failure(instance, row.needs, failing, **tried)
    return f"failing program:\n{instance.name}\n{failing(instance)}"


def _not_kept(row: Row) -> Failing:
    """By the reference enumerator, whatever is wrong except for states that are never reached."""

    def failing(instance: Instance) -> str:
        report = _stepped(row, instance)
        return "" if report.passed or report.remarks == UNREACHED else report.remarks

    return failing


def _unreached(row: Row) -> Failing:
    def failing(instance: Instance) -> str:
        report = _stepped(row, instance)
        return report.remarks if report.remarks == UNREACHED else ""

    return failing


def _miscompiled(row: Row) -> Failing:
    """By the compiled enumeration alone."""

    def failing(instance: Instance) -> str:
        built = row.subject.build(trace(instance.program, *instance.args))
        (error,) = stationary_errors(built, [instance])
        return "" if error <= TOLERANCE else f"compiled, total variation of pi K and pi is {error:.3g}"

    return failing
