"""The law of every row, by both enumerators.

Law: a row holds when its largest error of the unnormalised measure (for kernels, of pi K - pi) is at most 1e-12 and
every data-dependent decision of the algorithm was seen with both outcomes. The reference enumerator runs many random
programs; the compiled one runs some structures with many parameter sets each.
"""

from __future__ import annotations

import functools
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

from ...algorithms.maximise import Maximise, maximise
from ...contract import Transformer
from ...kernels.gradient.gradient import Gradient
from ..exact.suite import Instance, Needs, instances_of
from ..identities.guide_gradients import GuideGradient, guide_gradients
from ..identities.identities import mh_symmetry
from ..identities.integral import integral
from ..identities.integrator import integrator
from ..identities.maximum import maximum
from ..identities.orbit import orbit
from ..identities.selection import Selection, selection
from ..identities.tilting import Tilting, tilting
from ..identities.unmasking import Unmasking, unmasking
from ..statistics.report import Report
from ..statistics.repro import line
from .eager import EAGER_ROWS, EagerRow, population_report, trace_kernel_report
from .normal_rows import LEVELS, levels
from .reports import kernel_report, transformer_report
from .rows import IDENTITIES, ROWS, Row
from .verdict import RowVerdict, is_chosen

REFERENCE_PROGRAMS = 50
STRUCTURES = 12
PARAMETER_SETS = 100
ORBITS = 12


def check_row(
    name: str,
    *,
    programs: int | None = None,
    structures: int = STRUCTURES,
    parameter_sets: int = PARAMETER_SETS,
    shrink: bool = True,
) -> Report:
    """Check one row of `make law`, by its name.

    Args:
        name: the name of the row.
        programs: random programs by the reference enumerator; default: what `make law` runs.
        structures: how many of them are compiled; rows of eager algorithms compile nothing.
        parameter_sets: sets of tables of each compiled program.
        shrink: whether Hypothesis, where it is installed, makes a random program on which the law fails as small as it
            can.

    Raises: LawfulError: no row has this name.

    >>> report = check_row("spawn", programs=2, structures=0)
    >>> report.passed, report.repro
    (True, "lawful.inference.check.check_row('spawn', programs=2, structures=0)")
    """
    for row in ROWS:
        if row.name == name:
            return row_verdict(row, programs or REFERENCE_PROGRAMS, structures, parameter_sets, shrink).report
    for eager in EAGER_ROWS:
        if eager.name == name:
            return check_eager_row(eager, programs, shrink).report
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
    shrink: bool = True,
) -> RowVerdict:
    """Check one row by both enumerators."""
    start = time.perf_counter()
    check = kernel_report if row.is_kernel else transformer_report
    by_hand = _programs_of(row, programs)
    compiled = by_hand[-structures:] if structures and not row.programs else []
    repro = line(
        check_row, repr(row.name), programs=None if programs == REFERENCE_PROGRAMS else programs, structures=structures,
        parameter_sets=parameter_sets, shrink=shrink,
    )  # fmt: skip
    shrink = shrink and not row.programs
    report = check(row, by_hand, compiled, parameter_sets, repro, shrink)
    structured = sum(i.structured for i in by_hand)
    seconds = time.perf_counter() - start
    return RowVerdict(row.name, report, len(by_hand), len(compiled) * parameter_sets, structured, seconds)


def _programs_of(row: Row, count: int) -> list[Instance]:
    """The programs that a row is checked on: its own, or random ones, which rows share."""
    if row.programs:
        return [Instance(program, (), program.__name__) for program in row.programs]
    return instances_of(count, structured=row.structured, **vars(row.needs))


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
    """Check a walk by its symmetry; a move along gradients by its integrator, and its choice of a point on orbits.

    What integrates sites out is checked by the density of what it draws back, a search for maxima by that of its ends,
    the programs of what was kept, of ratios and of orders by the mass of each value.
    """
    if isinstance(row.subject, Transformer | Maximise):
        if isinstance(row.subject, Transformer):
            reports = [integral(row.subject, program) for program in row.programs]
        else:
            how = row.subject
            plans = (
                (maximise(program, enumerate=sums, starts=how.starts, method=how.method), mode)
                for program, mode, sums in row.programs
            )
            reports = [maximum(plan, mode=mode) for plan, mode in plans]
        report = max(reports, key=lambda report: (not report.passed, report.measure_error))
        report = replace(report, instances=sum(report.instances for report in reports))
    elif isinstance(row.subject, Selection):
        report = selection(row.subject)
    elif isinstance(row.subject, Tilting):
        report = tilting(row.subject)
    elif isinstance(row.subject, Unmasking):
        report = unmasking(row.subject)
    elif isinstance(row.subject, GuideGradient):
        report = guide_gradients(levels, (1.5,), LEVELS, how=row.subject)
    elif isinstance(row.subject, Gradient):
        report = _leapfrog()
        report = orbit(row.subject, tables=ORBITS) if report.passed else report
    else:
        report = mh_symmetry(row.subject, _continuous, points=50)
    return replace(report, repro=line(check_row, repr(row.name)))


@functools.cache
def _leapfrog() -> Report:
    """Check the leapfrog, which all moves along gradients take."""
    return integrator(_continuous)


def _continuous() -> Any:
    rate = lawful.sample("rate", dist.Gamma(2.0, 1.0))
    share = lawful.sample("share", dist.Beta(2.0, 3.0))
    weights = lawful.sample("weights", dist.Dirichlet(np.array([1.0, 2.0, 3.0])))
    level = lawful.sample("level", dist.LogNormal(0.0, 0.5))
    below = lawful.sample("below", dist.Uniform(0.0, level))
    lawful.sample("y", dist.Normal(rate * share + weights[0] - below, 1.0), obs=0.3)


def check_eager_row(row: EagerRow, programs: int | None = None, shrink: bool = True) -> RowVerdict:
    """Check one row on some programs, its own number of them by default; a kernel on those that have a posterior."""
    start, repro = time.perf_counter(), line(check_row, repr(row.name), programs=programs, shrink=shrink)
    needs = Needs(row.particles, max_paths=row.max_paths)
    chosen = instances_of(programs or row.programs, **vars(needs))
    wanted = needs if shrink else None
    if row.settings is None:
        chosen = [instance for instance in chosen if any(weight > 0 for _, weight in instance.truth().traces())]
        report = trace_kernel_report(chosen, repro, wanted)
    else:
        report = population_report(row.name, row.settings, chosen, repro, wanted)
    structured = sum(instance.structured for instance in chosen)
    seconds = time.perf_counter() - start
    return RowVerdict(row.name, report, len(chosen), structured=structured, seconds=seconds)


def eager_verdicts(parts: Sequence[str]) -> Iterator[RowVerdict]:
    """Check the rows whose names have one of these parts."""
    for row in EAGER_ROWS:
        if is_chosen(row.name, parts):
            yield check_eager_row(row)
