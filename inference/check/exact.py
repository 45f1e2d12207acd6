"""Exact checks (tier 0): an algorithm is a program, so its measure is enumerated and compared.

Law: `preserves` compares unnormalised measures on full traces; it passes only when the largest error is within the
tolerance, no path was lost, and every data-dependent decision was seen with both outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import networkx
import numpy as np

from lawful.eager import run_nodes
from lawful.errors import PathLimitError
from lawful.form import Form
from lawful.tracing import split_arguments, trace
from lawful.worlds import emit_worlds

from ..kernels.base import KernelForm
from .measure import Measure, Trace, compare
from .outcomes import Layout, compiled_measure, outcome_form, reference_measure, source
from .programs import FiniteProgram
from .reference import enumerate_measure
from .report import Report
from .suite import Instance, instances_of

TOLERANCE = 1e-12
UNREACHED = "some state of the support is never reached from another"


class Tally:
    """The worst of many comparisons, and what they covered."""

    def __init__(self, tolerance: float) -> None:
        """Start with nothing seen."""
        self.tolerance = tolerance
        self.error, self.tv, self.ratio = 0.0, 0.0, 1.0
        self.paths, self.instances = 0, 0
        self.coverage: dict[str, set[bool]] = {}
        self.worst: str = ""
        self.lost = 0.0

    def add(self, measure: Measure, truth: Measure, name: str) -> None:
        """Compare one measure with the truth."""
        comparison = compare(measure, truth)
        self.instances += 1
        self.paths += measure.paths
        self.lost = max(self.lost, abs(float(measure.probability) - 1.0))
        for label, outcomes in measure.coverage.items():
            self.coverage.setdefault(label, set()).update(outcomes)
        if not comparison.error <= self.error:
            self.error, self.worst = comparison.error, name
            self.tv, self.ratio = comparison.tv, comparison.evidence_ratio

    def report(self, law: str, require_coverage: bool, repro: str) -> Report:
        """Give the verdict."""
        # A branch of a kernel, "~branch", is a step of the program's: one outcome of it may be all there is.
        missing = [label for label, seen in self.coverage.items() if len(seen) < 2 and not label.startswith("~")]
        status, remarks = "passed", ""
        if not (self.error <= self.tolerance and self.lost <= TOLERANCE):
            status, remarks = "failed", f"worst instance:\n{self.worst}"
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

    Returns: a Report with measure error, evidence ratio, paths and coverage.

    >>> from lawful import inference
    >>> report = preserves(inference.spawn(2) >> inference.PushEvidence >> inference.Collapse, instances=2)
    >>> report.passed, report.measure_error < 1e-12
    (True, True)
    """
    if program is None:
        found = instances_of(instances or 12, particles=particles, loops=loops, max_paths=max_paths)
    else:
        found = [Instance(program, args, getattr(program, "__name__", "program"))]
    tally = Tally(tolerance)
    for instance in found:
        try:
            check_instance(transformer, instance, tally, max_paths, enumerator)
        except PathLimitError as error:
            return Report(
                status="inconclusive", law="m(t(p)) = m(p)", level="exact", paths=tally.paths, remarks=str(error)
            )
    name = getattr(transformer, "name", repr(transformer))
    return tally.report(f"{name} keeps the measure", require_coverage and program is None, _repro("preserves", name))


def check_instance(transformer: Any, instance: Instance, tally: Tally, max_paths: int, enumerator: str) -> None:
    """Enumerate one transformed program and compare it with its source."""
    form = trace(instance.program, *instance.args)
    inputs, _, _ = split_arguments(instance.args)
    truth = instance.truth()
    transformed, layout = transformed_form(transformer, form)
    if enumerator in ("compiled", "both"):
        emit_worlds(transformed)  # refuses what is too large before any work is done
    if enumerator in ("reference", "both"):
        measure = reference_measure(transformed, layout, [np.asarray(x) for x in inputs], max_paths)
        tally.add(measure, truth, instance.name)
    if enumerator in ("compiled", "both"):
        tally.add(compiled_measure(transformed, layout, inputs), truth, instance.name)


def transformed_form(transformer: Any, form: Form) -> tuple[Form, Layout]:
    """Apply a transformer to a program whose choices are outputs."""
    recorded, layout = source(form)
    return outcome_form(transformer(recorded.form), layout)


def invariant(
    kernel: Any,
    model: Any,
    *args: Any,
    tolerance: float = TOLERANCE,
    reversible: bool | None = None,
    irreducible: bool = True,
    max_paths: int = 100_000,
) -> Report:
    """Check that a kernel keeps a finite program's posterior: pi K = pi, by its full transition matrix.

    Args:
        kernel: a kernel with `build(form)`, as those of `inference.kernels`.
        model: a finite program, or a `FiniteProgram`.
        args: its arguments.
        tolerance: largest total variation of pi K and pi.
        reversible: whether pi_x K_xy must be symmetric; default: what the kernel's contract claims.
        irreducible: whether every state of the support must be reachable from every other.
        max_paths: path budget of one row.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def coins():
    ...     a = lawful.sample("a", dist.Bernoulli(0.3))
    ...     lawful.factor("f", 0.5 * a)
    >>> report = invariant(kernels.mh(), coins)
    >>> report.passed, report.tv < 1e-12
    (True, True)
    """
    if isinstance(model, FiniteProgram):
        args = (model.default_tables(),) if not args else args
        model = model.program
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    truth = enumerate_measure(model, *args, max_paths=max_paths).marginal(lambda t: Trace(t.choices, None))
    built = kernel.build(form)
    matrix, states, pi, paths = transition_matrix(built, form, inputs, truth, max_paths)
    if not states:
        return Report(
            status="passed", law=f"{kernel!r} keeps pi", level="exact", tv=0.0, remarks="the support is empty"
        )
    after = pi @ matrix
    tv = float(np.abs(after - pi).sum() / 2)
    rows = float(np.abs(matrix.sum(axis=1) - 1).max())
    flux = pi[:, None] * matrix
    asymmetry = float(np.abs(flux - flux.T).max())
    claims = kernel.contract.reversible if reversible is None else reversible
    problems = []
    if not tv <= tolerance:
        problems.append(f"total variation of pi K and pi is {tv:.3g}")
    if not rows <= tolerance:
        problems.append(f"a row sums to 1 only within {rows:.3g}: mass left the support, or a path was lost")
    if claims and not asymmetry <= tolerance:
        problems.append(f"the flux pi_x K_xy is asymmetric by {asymmetry:.3g}")
    if irreducible and not _irreducible(matrix):
        problems.append(UNREACHED)
    return Report(
        status="failed" if problems else "passed",
        law=f"{kernel!r} keeps pi",
        level="exact",
        measure_error=float(np.abs(after - pi).max()),
        tv=tv,
        paths=paths,
        instances=1,
        worst=("total variation", tv),
        repro=_repro("invariant", repr(kernel)),
        remarks="; ".join(problems),
    )


def transition_matrix(
    kernel: KernelForm, form: Form, inputs: Sequence[Any], truth: Measure, max_paths: int
) -> tuple[np.ndarray, list[Trace], np.ndarray, int]:
    """Enumerate every row of a kernel on the support of a measure: (matrix, states, pi, paths)."""
    states = [t for t, w in truth.traces() if w > 0]
    weights = np.array([float(truth.weights[t]) for t in states])
    pi = weights / weights.sum() if len(states) else weights
    place = {t: i for i, t in enumerate(states)}
    layout = Layout(kernel.choices, 0, jax.tree.structure(()))
    matrix = np.zeros((len(states), len(states)))
    paths = 0
    arrays = [np.asarray(x) for x in inputs]
    for row, state in enumerate(states):
        here = [*arrays, *state_arrays(kernel, state), np.asarray(np.log(weights[row]) + truth.log_scale)]
        measure = enumerate_measure(lambda here=here: tuple(run_nodes(kernel.form, here)), max_paths=max_paths)
        paths += measure.paths
        for outcome, weight in measure.traces():
            outputs: Any = outcome.output
            there = layout.trace([np.asarray(x) for x in outputs[: kernel.size - 1]])
            column = place.get(Trace(there.choices, None))
            if column is not None:
                matrix[row, column] += float(weight)
    return matrix, states, pi, paths


def state_arrays(kernel: KernelForm, state: Trace) -> list[np.ndarray]:
    """Write a trace as the arrays of a kernel's state; a choice that did not run gets zeros."""
    known = dict(state.choices)
    values, flags = [], []
    for choice in kernel.choices:
        value = np.zeros(choice.full_shape, choice.dtype)
        flag = np.zeros(choice.loops, bool)
        for cell in np.ndindex(*choice.loops):
            address = (*choice.address, *map(int, cell))
            if address in known:
                value[cell] = np.asarray(known[address]).reshape(
                    choice.shape
                )  # an empty array froze into an empty tuple
                flag[cell] = True
        values.append(value)
        if choice.conditional:
            flags.append(flag)
    return [*values, *flags]


def _irreducible(matrix: np.ndarray) -> bool:
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(matrix)))
    graph.add_edges_from(zip(*np.nonzero(matrix > 0), strict=True))
    return networkx.is_strongly_connected(graph)


def _repro(check: str, name: str) -> str:
    return f"lawful.inference.check.{check}({name})"
