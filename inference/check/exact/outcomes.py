"""Outcomes: the measure of a Form on the traces of its source program, by either enumerator.

Law: both enumerators give the same measure, and the outcome of an algorithm is a trace of the source program: the
active choices with their values, and the returned value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import names_of
from lawful.backends.compile_options import QUICK
from lawful.backends.enumeration import Worlds, count_worlds, emit_worlds
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice
from lawful.form.pipeline import per_form
from lawful.language.run_form import run_nodes
from lawful.passes.record import record
from lawful.passes.thread_sites import Threaded

from ...representations.population import Population
from ...transformers.pauses import finish
from .measure import Measure, Trace, exact_sum, freeze
from .reference import enumerate_measure


@dataclass(frozen=True)
class Layout:
    """How the outputs of a transformed form make up a trace of the source program."""

    choices: tuple[Choice, ...]
    own: int
    out_tree: Any
    particles: int | None = None

    def trace(self, outputs: Sequence[Any]) -> Trace:
        """Read one outcome."""
        values = outputs[self.own : self.own + len(self.choices)]
        flags = iter(outputs[self.own + len(self.choices) :])
        active: set[tuple[Any, Hashable]] = set()
        for choice, value in zip(self.choices, values, strict=True):
            flag = np.asarray(next(flags)) if choice.conditional else np.ones(choice.loops, bool)
            value = np.asarray(value)
            for cell in np.ndindex(*choice.loops):
                if flag[cell]:
                    active.add(((*choice.address, *map(int, cell)), freeze(value[cell])))
        returned = [np.asarray(x) for x in outputs[: self.own]]
        return Trace(frozenset(active), freeze(jax.tree.unflatten(self.out_tree, returned)))


def source(form: Form) -> tuple[Threaded, Layout]:
    """Record a program's choices as outputs, which every transformer then has to carry."""
    recorded = record(form, ("sample",))
    return recorded, Layout(recorded.choices, recorded.own, form.out_tree)


def on_choices(measure: Measure, choices: Sequence[Choice]) -> Measure:
    """Sum out of the measure of eager runs what a traced program does not draw: observations that nothing reads.

    What is missing of an observation integrates to one, so it is no choice of a Form, while an eager run draws it.
    """
    kept = {choice.address for choice in choices}
    if all(names_of(address) in kept for trace, _ in measure.traces() for address, _ in trace.choices):
        return measure

    def small(trace: Trace) -> Trace:
        return Trace(frozenset(pair for pair in trace.choices if names_of(pair[0]) in kept), trace.output)

    return measure.marginal(small)


def outcome_form(result: Form | Population, layout: Layout) -> tuple[Form, Layout]:
    """Turn what a transformer gave into a form of outcomes; a population keeps its particles, each with its weight."""
    if isinstance(result, Form):
        return result, layout
    population = finish(result) if result.pending is not None else result
    block, plate = population.block, population.plate
    size = plate.size
    values = [
        v
        if plate in v.plates
        else block.det(lambda x: jnp.broadcast_to(x, (size, *x.shape)), v, label="repeat", adds=(plate,))
        for v in population.values
    ]
    form = block.form(population.inputs, (*values, population.log_weight))
    return form, Layout(layout.choices, layout.own, layout.out_tree, size)


def reference_measure(form: Form, layout: Layout, inputs: Sequence[Any], max_paths: int) -> Measure:
    """Enumerate a form through the eager interpreter."""
    raw = enumerate_measure(lambda: tuple(run_nodes(form, inputs)), max_paths=max_paths)
    if layout.particles is None:
        return raw.marginal(lambda trace: layout.trace(_arrays(trace.output)))
    parts: dict[Hashable, list[Any]] = {}
    for outcome, weight in raw.traces():
        *values, log_weight = _arrays(outcome.output)
        for i in range(layout.particles):
            share = weight * float(np.exp(log_weight[i])) / layout.particles
            parts.setdefault(layout.trace([v[i] for v in values]), []).append(share)
    weights = {trace: exact_sum(list_) for trace, list_ in parts.items()}
    return Measure(weights, raw.log_scale, raw.probability, raw.paths, raw.coverage)


def _arrays(output: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in output]


@per_form
def compiled_worlds(form: Form) -> Callable[..., Worlds]:
    """Return the compiled enumerator of a form, built once."""
    return jax.jit(emit_worlds(form), compiler_options=QUICK)


def compiled_measure(form: Form, layout: Layout, inputs: Sequence[Any]) -> Measure:
    """Enumerate a form by its compiled enumeration."""
    worlds = jax.device_get(compiled_worlds(form)(*inputs))
    return measure_of_worlds(worlds, layout, count_worlds(form))


def compiled_measures(form: Form, layout: Layout, arguments: Sequence[Any]) -> Iterator[Measure]:
    """Enumerate a form, compiled once, at many argument values of equal shapes."""
    run, paths = compiled_worlds(form), count_worlds(form)
    for argument in arguments:
        yield measure_of_worlds(jax.device_get(run(*split_arguments((argument,))[0])), layout, paths)


def measure_of_worlds(worlds: Worlds, layout: Layout, paths: int) -> Measure:
    """Add up the worlds of equal outcomes."""
    outputs = [np.asarray(x) for x in worlds.outputs]
    log_mass = np.asarray(worlds.log_mass, np.float64)
    if layout.particles is not None:
        *outputs, log_weight = outputs
        outputs = [x.reshape((x.shape[0] * x.shape[1], *x.shape[2:])) for x in outputs]
        log_mass = (log_mass[:, None] + log_weight - np.log(layout.particles)).reshape(-1)
    alive = np.flatnonzero(log_mass > -np.inf)
    finite = log_mass[alive]
    top = float(finite.max()) if len(finite) else 0.0
    log_scale = top if abs(top) > 300 else 0.0
    weights = np.exp(finite - log_scale)
    rows = [x[alive] for x in outputs]
    flat = [x.reshape(len(alive), int(np.prod(x.shape[1:]))).astype(np.float64) for x in rows]
    table = np.concatenate(flat, axis=1) if flat else np.zeros((len(alive), 0))
    found: dict[Hashable, list[Any]] = {}
    if table.shape[1]:
        _, first, group = np.unique(table, axis=0, return_index=True, return_inverse=True)
    else:
        first, group = np.zeros(min(1, len(alive)), int), np.zeros(len(alive), int)
    order = np.argsort(group.reshape(-1), kind="stable")
    bounds = np.searchsorted(group.reshape(-1)[order], np.arange(len(first) + 1))
    for place, index in enumerate(first):
        members = weights[order[bounds[place] : bounds[place + 1]]]
        trace = layout.trace([x[index] for x in rows])
        found.setdefault(trace, []).append(exact_sum(members.tolist()))
    total = float(np.sum(np.exp(np.asarray(worlds.log_probability, np.float64))))
    coverage = {
        label: frozenset(bool(k) for k in range(2) if np.asarray(seen)[k] > 0)
        for label, seen in worlds.decisions.items()
    }
    return Measure({t: exact_sum(w) for t, w in found.items()}, log_scale, total, paths, coverage)
