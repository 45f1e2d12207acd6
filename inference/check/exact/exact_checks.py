"""Exact checks (tier 0): an algorithm is a program, so its measure is enumerated and compared.

Law: `preserves` compares unnormalised measures on full traces; it passes only when the largest error is within the
tolerance, no path was lost, and every data-dependent decision was seen with both outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lawful.backends.enumeration import emit_worlds
from lawful.errors import PathLimitError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.tracing.trace import trace

from ..statistics.report import Report
from ..statistics.repro import line, named
from .measure import Measure, compare, differences
from .outcomes import Layout, compiled_measure, on_choices, outcome_form, reference_measure, source
from .shrinking import Failing, smallest_failure
from .suite import Instance, Needs, blamed, instances_of
from .transition import SINGLE

TOLERANCE = 1e-12
COMPILED = 40  # programs that are compiled in search of a small one


class Tally:
    """The worst of many comparisons, and what they covered."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.error, self.tv, self.ratio = 0.0, 0.0, 1.0
        self.paths, self.instances = 0, 0
        self.coverage: dict[str, set[bool]] = {}
        self.worst, self.differs = "", ""
        self.lost = 0.0
        self.failed: list[Instance] = []

    def add(self, measure: Measure, truth: Measure, instance: Instance) -> None:
        """Compare one measure with the truth."""
        comparison = compare(measure, truth)
        self.instances += 1
        self.paths += measure.paths
        lost = abs(float(measure.probability) - 1.0)
        self.lost = max(self.lost, lost)
        for label, outcomes in measure.coverage.items():
            self.coverage.setdefault(label, set()).update(outcomes)
        failed = not (comparison.error <= self.tolerance and lost <= TOLERANCE)
        if not comparison.error <= self.error or (failed and not self.failed):
            self.error, self.tv, self.ratio = comparison.error, comparison.tv, comparison.evidence_ratio
            self.worst = instance.name
            self.differs = "\n".join(differences(measure, truth, self.tolerance)) if failed else ""
            if not lost <= TOLERANCE:
                self.differs += f"\nthe probabilities of the paths sum to 1 only within {lost:.3g}"
        self.failed += [instance] if failed else []

    def report(self, law: str, require_coverage: bool, repro: str, smallest: str = "") -> Report:
        """Give the verdict, with the smallest failing program where one was searched for."""
        # A branch of a kernel, "~branch", is a step of the program's: one outcome of it may be all there is.
        missing = [label for label, seen in self.coverage.items() if len(seen) < 2 and not label.startswith("~")]
        status, remarks = "passed", ""
        if not (self.error <= self.tolerance and self.lost <= TOLERANCE):
            single = "" if jax.config.read("jax_enable_x64") else f"{SINGLE}; "
            told = smallest or f"worst instance:\n{self.worst}\n{self.differs}".rstrip()
            status, remarks = "failed", f"{single}{told}"
        elif require_coverage and missing:
            status = "inconclusive"
            remarks = f"one outcome only was seen of: {', '.join(missing)}; give instances that reach the other."
        return Report(
            status=status,
            law=law,
            level="exact",
            measure_error=self.error,
            evidence_ratio=self.ratio,
            tv=self.tv,
            paths=self.paths,
            instances=self.instances,
            coverage={label: frozenset(seen) for label, seen in self.coverage.items()},
            worst=("measure error", self.error),
            repro=repro,
            remarks=remarks,
        )


def preserves(
    transformer: Callable[[Any], Any],
    program: Any = None,
    *args: Any,
    instances: int | None = None,
    tolerance: float = TOLERANCE,
    max_paths: int = 100_000,
    require_coverage: bool = True,
    enumerator: str = "both",
    loops: bool = False,
    particles: int = 2,
    shrink: bool = True,
) -> Report:
    """Check that a transformer keeps the unnormalised measure on full traces: m(t(p)) = m(p).

    Args:
        transformer: takes a Form and gives a Form with the same outputs, or a Population.
        program: one finite program with its `args`; None means random finite programs.
        args: arguments of the program.
        instances: number of random programs; default 12.
        tolerance: largest error allowed, relative to Z.
        max_paths: path budget of one enumeration.
        require_coverage: whether an unseen outcome of a data-dependent decision makes the check inconclusive.
        enumerator: "reference" (eager), "compiled", or "both".
        loops: random programs have exactly one loop, for transformers that pause in it.
        particles: about how many particles the transformer uses; keeps random programs within the path budget.
        shrink: whether Hypothesis, where it is installed, makes a random program on which the law fails as small as it
            can.

    Returns: a Report with measure error, evidence ratio, paths and coverage. Where it failed the remarks show a program
        and both measures where they differ.

    >>> from lawful import inference
    >>> report = preserves(inference.spawn(2) >> inference.PushEvidence >> inference.Collapse, instances=2)
    >>> report.passed, report.measure_error < 1e-12
    (True, True)
    """
    needs = Needs(particles, loops, max_paths=max_paths)
    if program is None:
        found = instances_of(instances or 12, **vars(needs))
    else:
        found = [Instance(program, args, getattr(program, "__name__", "program"))]
    subjects = [named(transformer, "transformer"), *([] if program is None else [named(program, "program"), "*args"])]
    repro = line(
        preserves, *subjects, instances=instances, tolerance=tolerance, max_paths=max_paths,
        require_coverage=require_coverage, enumerator=enumerator, loops=loops, particles=particles, shrink=shrink,
    )  # fmt: skip
    tally = Tally(tolerance)
    for instance in found:
        try:
            with blamed(instance):
                check_instance(transformer, instance, tally, max_paths, enumerator)
        except PathLimitError as error:
            return Report(
                status="inconclusive", law="m(t(p)) = m(p)", level="exact", paths=tally.paths, remarks=str(error),
                repro=repro,
            )  # fmt: skip
    name = getattr(transformer, "name", repr(transformer))
    smallest = smallest_of(transformer, tally.failed, needs, tolerance) if shrink and program is None else ""
    return tally.report(f"{name} keeps the measure", require_coverage and program is None, repro, smallest)


def smallest_of(transformer: Any, failed: Sequence[Instance], needs: Needs, tolerance: float = TOLERANCE) -> str:
    """Describe the smallest random program on which a transformer fails; empty where it fails on none.

    Programs are enumerated eagerly, which compiles nothing, unless the fault is in the compiled program alone.
    """
    if not failed:
        return ""
    start = min(failed, key=lambda instance: len(instance.name))

    def failing(enumerator: str) -> Failing:
        def differs(instance: Instance) -> str:
            tally = Tally(tolerance)
            check_instance(transformer, instance, tally, needs.max_paths, enumerator)
            return tally.differs

        return differs

    if failing("reference")(start):
        return smallest_failure(start, needs, failing("reference"))
    return smallest_failure(start, needs, failing("compiled"), tried=COMPILED)


def check_instance(transformer: Any, instance: Instance, tally: Tally, max_paths: int, enumerator: str) -> None:
    """Enumerate one transformed program and compare it with its source."""
    form = trace(instance.program, *instance.args)
    inputs, _, _ = split_arguments(instance.args)
    transformed, layout = transformed_form(transformer, form)
    truth = on_choices(instance.truth(), layout.choices)
    if enumerator in ("compiled", "both"):
        emit_worlds(transformed)  # refuses what is too large before any work is done
    if enumerator in ("reference", "both"):
        measure = reference_measure(transformed, layout, [np.asarray(x) for x in inputs], max_paths)
        tally.add(measure, truth, instance)
    if enumerator in ("compiled", "both"):
        tally.add(compiled_measure(transformed, layout, inputs), truth, instance)


def transformed_form(transformer: Any, form: Form) -> tuple[Form, Layout]:
    """Apply a transformer to a program whose choices are outputs."""
    recorded, layout = source(form)
    return outcome_form(transformer(recorded.form), layout)
