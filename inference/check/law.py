"""The law of every row, by both enumerators.

Law: a row holds when its largest error of the unnormalised measure (for kernels, of pi K - pi) is at most 1e-12 and
every data-dependent decision of the algorithm was seen with both outcomes. The reference enumerator runs many random
programs; the emitter runs some compiled structures with many parameter sets each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from multiprocessing import get_context
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError
from lawful.tracing import trace

from .eager import EAGER_ROWS, check_eager_row
from .exact import TOLERANCE, Tally, check_instance, transformed_form
from .identities import mh_symmetry
from .invariance import invariant
from .matrix import stationary_errors
from .outcomes import compiled_measures
from .report import Report
from .repro import line
from .row_verdict import RowVerdict, is_chosen
from .rows import IDENTITIES, ROWS, Row
from .suite import Instance, instances_of
from .transition import UNREACHED

REFERENCE_PROGRAMS = 50
STRUCTURES = 12
PARAMETER_SETS = 100


def check_row(
    name: str,
    *,
    programs: int | None = None,
    structures: int = STRUCTURES,
    parameter_sets: int = PARAMETER_SETS,
) -> Report:
    """Check one row of `make law`, by its name.

    Args:
        name: the name of the row.
        programs: random programs by the reference enumerator; default: what `make law` runs.
        structures: how many of them are compiled; rows of eager algorithms compile nothing.
        parameter_sets: sets of tables of each compiled program.

    Raises: LawfulError: no row has this name.

    >>> report = check_row("spawn", programs=2, structures=0)
    >>> report.passed, report.repro
    (True, "lawful.inference.check.check_row('spawn', programs=2, structures=0)")
    """
    for row in ROWS:
        if row.name == name:
            return row_verdict(row, programs or REFERENCE_PROGRAMS, structures, parameter_sets).report
    for eager in EAGER_ROWS:
        if eager.name == name:
            return check_eager_row(eager, programs).report
    for row in IDENTITIES:
        if row.name == name:
            return _identity_report(row)
    names = [*(row.name for row in (*ROWS, *IDENTITIES)), *(row.name for row in EAGER_ROWS)]
    close = get_close_matches(name, names) or names
    raise LawfulError(f"check_row: no row is called {name!r}. Fix: give one of {'; '.join(close)}.", name=name)


def row_verdict(
    row: Row,
    programs: int = REFERENCE_PROGRAMS,
    structures: int = STRUCTURES,
    parameter_sets: int = PARAMETER_SETS,
) -> RowVerdict:
    """Check one row by both enumerators."""
    start = time.perf_counter()
    check = _kernel_report if row.is_kernel else _transformer_report
    by_hand = _programs_of(row, programs)
    compiled = by_hand[-structures:] if structures and not row.programs else []
    report = check(row, by_hand, compiled, parameter_sets, _line(row.name, programs, structures, parameter_sets))
    structured = sum(i.structured for i in by_hand)
    seconds = time.perf_counter() - start
    return RowVerdict(row.name, report, len(by_hand), len(compiled) * parameter_sets, structured, seconds)


def _programs_of(row: Row, count: int) -> list[Instance]:
    """The programs that a row is checked on: its own, or random ones, which rows share."""
    if row.programs:
        return [Instance(program, (), program.__name__) for program in row.programs]
    return instances_of(count, **row.suite)


def _transformer_report(
    row: Row, by_hand: Sequence[Instance], compiled: Sequence[Instance], parameter_sets: int, repro: str
) -> Report:
    tally = Tally(TOLERANCE)
    for instance in by_hand:
        check_instance(row.subject, instance, tally, 100_000, "reference")
    for instance in compiled:
        form = trace(instance.program, *instance.args)
        transformed, layout = transformed_form(row.subject, form)
        tables = list(_parameter_sets(instance, parameter_sets))
        for other, measure in zip(tables, compiled_measures(transformed, layout, tables), strict=True):
            sibling = instance.with_tables(other)
            tally.add(measure, sibling.truth(), sibling.name)
    return tally.report(f"{row.name} keeps the measure", True, repro)


def _line(name: str, programs: int, structures: int, parameter_sets: int) -> str:
    asked = None if programs == REFERENCE_PROGRAMS else programs
    return line(check_row, repr(name), programs=asked, structures=structures, parameter_sets=parameter_sets)


def _parameter_sets(instance: Instance, count: int) -> Iterator[Any]:
    rng = np.random.default_rng(20_260 + count)
    for _ in range(count):
        yield instance.random_tables(rng)


def _kernel_report(
    row: Row, by_hand: Sequence[Instance], compiled: Sequence[Instance], parameter_sets: int, repro: str
) -> Report:
    """Check that a kernel keeps the posterior; zeros may cut a program apart for it, but not every second one."""
    error, paths, apart, remarks = 0.0, 0, 0, ""
    for instance in by_hand:
        report = invariant(row.subject, instance.program, *instance.args, level="exact", max_paths=100_000)
        paths += report.paths
        apart += report.remarks == UNREACHED
        error = max(error, report.tv or 0.0)
        if not report.passed and (report.remarks != UNREACHED or 2 * apart > len(by_hand)):
            remarks = f"{report.remarks}; on the program:\n{instance.name}"
            break
    for instance in compiled if not remarks else ():
        form = trace(instance.program, *instance.args)
        siblings = [instance.with_tables(tables) for tables in _parameter_sets(instance, parameter_sets)]
        error = max(error, *stationary_errors(row.subject.build(form), siblings))
    return Report(
        status="failed" if remarks or not error <= TOLERANCE else "passed",
        law=f"{row.name}: pi K = pi",
        level="exact",
        tv=error,
        measure_error=error,
        paths=paths,
        instances=len(by_hand) + len(compiled) * parameter_sets,
        worst=("total variation", error),
        repro=repro,
        remarks=remarks,
    )


def verdicts(parts: Sequence[str], sizes: tuple[int, int, int], workers: int) -> Iterator[RowVerdict]:
    """Check the rows whose names have one of these parts, in several processes that start at once.

    Rows that run on the same programs are a group and share a process, so that the true measures are enumerated once;
    the largest groups go first.
    """
    names = [row.name for row in ROWS if is_chosen(row.name, parts)]
    if workers <= 1 or len(names) == 1:
        return (_one(name, *sizes) for name in names)
    groups: dict[Any, list[str]] = {}
    for row in ROWS:
        if row.name in names:
            groups.setdefault(tuple(_programs_of(row, sizes[0])), []).append(row.name)
    largest_first = sorted(groups.values(), key=len, reverse=True)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    futures = [pool.submit(_group, group, sizes) for group in largest_first]
    pool.shutdown(wait=False)  # it ends with its last group
    return (verdict for future in futures for verdict in future.result())


def _group(names: list[str], sizes: tuple[int, int, int]) -> list[RowVerdict]:
    return [_one(name, *sizes) for name in names]


def _one(name: str, programs: int, structures: int, parameter_sets: int) -> RowVerdict:
    jax.config.update("jax_enable_x64", True)
    (row,) = (row for row in ROWS if row.name == name)
    return row_verdict(row, programs, structures, parameter_sets)


def identity_verdicts(parts: Sequence[str]) -> Iterator[RowVerdict]:
    """Check the rows that cannot be enumerated, by their density identities."""
    for row in IDENTITIES:
        if not is_chosen(row.name, parts):
            continue
        start = time.perf_counter()
        report = _identity_report(row)
        seconds = time.perf_counter() - start
        yield RowVerdict(f"{row.name} (density identities)", report, parameter_sets=report.instances, seconds=seconds)


def _identity_report(row: Row) -> Report:
    report = mh_symmetry(row.subject, _continuous, points=50)
    return replace(report, repro=line(check_row, repr(row.name)))


def _continuous() -> Any:
    rate = lawful.sample("rate", dist.Gamma(2.0, 1.0))
    share = lawful.sample("share", dist.Beta(2.0, 3.0))
    weights = lawful.sample("weights", dist.Dirichlet(np.array([1.0, 2.0, 3.0])))
    level = lawful.sample("level", dist.LogNormal(0.0, 0.5))
    below = lawful.sample("below", dist.Uniform(0.0, level))
    lawful.sample("y", dist.Normal(rate * share + weights[0] - below, 1.0), obs=0.3)
