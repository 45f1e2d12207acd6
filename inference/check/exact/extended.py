"""Extended: transition matrices of kernels whose state ends with an estimate, on the space of choices and estimate.

Law: pi K = pi, where pi is the measure of the kernel's own states (`KernelForm.states`), every outcome of the estimate
weighed by it. States of equal choices and estimate are one state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lawful.form import Form

from ...kernels.base.base import KernelForm
from .measure import Trace
from .outcomes import Layout, compiled_worlds

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
