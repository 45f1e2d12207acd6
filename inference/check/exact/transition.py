"""Transition matrices (tier 0): a kernel on a finite program, enumerated row by row.

Law: pi K = pi and, where it is claimed, the flux pi_x K_xy is symmetric; every state of the support is reached from
every other, which invariance alone does not say. Where a state ends with an estimate, pi is the measure of the kernel's
own states (`KernelForm.states`), every outcome of the estimate weighed by it; states of equal choices and estimate are
one state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import networkx
import numpy as np

from lawful.form import Form
from lawful.language.run_form import run_nodes

from ...representations.kernel_form import KernelForm
from ..statistics.report import Report
from .measure import Measure, Trace, differences, show_outcome
from .outcomes import Layout, compiled_worlds
from .reference import enumerate_measure

TOLERANCE = 1e-12
SINGLE = "single precision; exact checks need jax.config.update('jax_enable_x64', True)"
UNREACHED = "some state of the support is never reached from another"


def stationary(
    kernel: Any,
    form: Form,
    inputs: Sequence[Any],
    truth: Measure,
    *,
    tolerance: float = TOLERANCE,
    reversible: bool | None = None,
    irreducible: bool = True,
    max_paths: int = 100_000,
    repro: str = "",
) -> Report:
    """Check that pi K = pi by the full transition matrix of a kernel on a finite program; see `check.invariant`."""
    built = kernel.build(form)
    if built.states is None:
        matrix, states, pi, paths = transition_matrix(built, form, inputs, truth, max_paths)
    else:
        matrix, states, pi, paths = extended_matrix(built, inputs)
    if not states:
        return Report(
            status="passed", law=f"{kernel!r} keeps pi", level="exact", measure_error=0.0, tv=0.0, repro=repro,
            remarks="the support is empty",
        )  # fmt: skip
    after = pi @ matrix
    tv = float(np.abs(after - pi).sum() / 2)
    rows = float(np.abs(matrix.sum(axis=1) - 1).max())
    flux = pi[:, None] * matrix
    asymmetry = float(np.abs(flux - flux.T).max())
    claims = kernel.contract.reversible if reversible is None else reversible
    problems: list[str] = []
    differ: list[str] = []
    if not tv <= tolerance:
        differ += differences(_measure(states, after), _measure(states, pi), tolerance)
        problems.append(f"total variation of pi K and pi is {tv:.3g}")
    if not rows <= tolerance:
        problems.append(f"a row sums to 1 only within {rows:.3g}: mass left the support, or a path was lost")
    if claims and not asymmetry <= tolerance:
        problems.append(f"the flux pi_x K_xy is asymmetric by {asymmetry:.3g}")
        x, y = (int(i) for i in np.unravel_index(np.argmax(np.abs(flux - flux.T)), flux.shape))
        here, there = show_outcome(states[x]), show_outcome(states[y])
        differ.append(f"from [{here}] to [{there}]: {flux[x, y]:.10g}, and back {flux[y, x]:.10g}")
    if irreducible and not _irreducible(matrix):
        problems.append(UNREACHED)
    if problems and not jax.config.read("jax_enable_x64"):
        problems.append(SINGLE)
    return Report(
        status="failed" if problems else "passed",
        law=f"{kernel!r} keeps pi",
        level="exact",
        measure_error=float(np.abs(after - pi).max()),
        tv=tv,
        paths=paths,
        instances=1,
        worst=("total variation", tv),
        repro=repro,
        remarks="\n".join(["; ".join(problems), *differ]),
    )


def _measure(states: Sequence[Trace], weights: np.ndarray) -> Measure:
    return Measure(dict(zip(states, weights.tolist(), strict=True)))


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


# States that end with an estimate


type _Found = dict[Trace, tuple[list[Any], float]]  # a state with its arrays and its mass

DIGITS = 9  # of an estimate: what rounding separates is one state


def extended_matrix(kernel: KernelForm, inputs: Sequence[Any]) -> tuple[np.ndarray, list[Trace], np.ndarray, int]:
    """Enumerate a kernel on all states of positive mass: (matrix, states, pi, paths); a state returns its estimate."""
    assert kernel.states is not None
    arrays = [np.asarray(x) for x in inputs]
    found, paths = _outcomes(kernel, kernel.states, arrays)
    weights = np.array([weight for _, weight in found.values()])
    place = {state: i for i, state in enumerate(found)}
    matrix = np.zeros((len(found), len(found)))
    for row, (values, _) in enumerate(found.values()):
        ends, count = _outcomes(kernel, kernel.form, [*arrays, *values])
        paths += count
        for state, (_, mass) in ends.items():
            if state in place:
                matrix[row, place[state]] += mass
    return matrix, list(found), weights / weights.sum() if len(found) else weights, paths


def _outcomes(kernel: KernelForm, form: Form, inputs: Sequence[Any]) -> tuple[_Found, int]:
    """List the states that a form ends in, each with its arrays and its mass."""
    worlds = jax.device_get(compiled_worlds(form)(*inputs))
    mass = np.exp(np.asarray(worlds.log_mass, np.float64))
    layout = Layout(kernel.choices, 0, jax.tree.structure(()))
    found: _Found = {}
    for world in np.flatnonzero(mass > 0):
        values = [np.asarray(x)[world] for x in worlds.outputs[: kernel.size]]
        state = Trace(layout.trace(values[:-1]).choices, round(float(values[-1]), DIGITS))
        first, before = found.get(state, (values, 0.0))
        found[state] = first, before + float(mass[world])
    return found, len(mass)
