"""Matrix: transition rows of a kernel by the compiled enumeration, for many parameter sets of one structure.

Law: the total variation of pi K and pi is that of the enumerated kernel; pi is the reference enumerator's, so the two
enumerators meet here as they do for transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from lawful.form.arguments.arrays import split_arguments

from ...representations.kernel_form import KernelForm
from .measure import Trace
from .outcomes import Layout, compiled_worlds
from .suite import Instance
from .transition import state_arrays


def stationary_errors(kernel: KernelForm, instances: Sequence[Instance]) -> list[float]:
    """Total variation of pi K and pi for each instance; all of them share the kernel's structure."""
    states, places, columns, starts = [], [], [], []
    for instance in instances:
        truth = instance.truth().marginal(lambda t: Trace(t.choices, None))
        states.append({t.choices: float(w) for t, w in truth.traces() if w > 0})
        places.append({t: i for i, t in enumerate(states[-1])})
        inputs, _, _ = split_arguments(instance.args)
        for trace, weight in truth.traces():
            if weight > 0:
                density = np.asarray(np.log(float(weight)) + truth.log_scale)
                columns.append([*map(np.asarray, inputs), *state_arrays(kernel, trace), density])
                starts.append((len(states) - 1, places[-1][trace.choices]))
    after = [np.zeros(len(place) + 1) for place in places]
    pi = [np.fromiter(weights.values(), float) / sum(weights.values()) for weights in states]
    for (number, start), (codes, traces, mass) in zip(starts, _rows(kernel, columns), strict=True):
        end = np.array([places[number].get(trace.choices, len(places[number])) for trace in traces])
        np.add.at(after[number], end[codes], pi[number][start] * mass)
    return [float(np.abs(a[:-1] - p).sum() / 2 + a[-1]) for a, p in zip(after, pi, strict=True)]


def _rows(kernel: KernelForm, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[np.ndarray, list[Trace], np.ndarray]]:
    """Enumerate one step from each state: which of the listed traces each world ends in, and its probability."""
    run = compiled_worlds(kernel.form)
    layout = Layout(kernel.choices, 0, jax.tree.structure(()))
    for row in rows:
        worlds = jax.device_get(run(*row))
        probability = np.exp(np.asarray(worlds.log_mass, np.float64))
        alive = np.flatnonzero(probability > 0)
        outputs = [np.asarray(x)[alive] for x in worlds.outputs[: kernel.size - 1]]
        table = np.concatenate([x.reshape(len(alive), -1).astype(np.float64) for x in outputs], axis=1)
        _, example, codes = np.unique(table, axis=0, return_index=True, return_inverse=True)
        yield codes, [layout.trace([x[i] for x in outputs]) for i in example], probability[alive]
