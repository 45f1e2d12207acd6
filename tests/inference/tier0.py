"""The exact expected measure of a population method on a finite program: all values of all its sites are listed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from lawful.backends.enumeration import emit_worlds
from lawful.form.liveness import without_dead_code
from lawful.inference import Plan
from lawful.inference.check import Comparison, Measure, compare, enumerate_measure

ABSENT = -(2**31)  # stands for a choice whose arm did not run


def law_error(plan: Plan, program: Callable[..., Any], *args: Any) -> Comparison:
    """Compare E[ Z-hat mean_i w_i delta(x_i) ] with the program's measure, on all choices or on what it returns."""
    paths = plan.method.keep == "paths"
    ours = population_measure(plan, *args)
    truth = enumerate_measure(program, *args).marginal(lambda trace: trace.choices if paths else trace.output)
    return compare(ours, truth)


def population_measure(plan: Plan, *args: Any) -> Measure:
    """The expected measure of the last particles; an outcome holds the active choices, or is the returned value."""
    prepared = plan.prepare(args)
    built = prepared.built
    count = len(built.written.values) + len(built.written.active)
    form = without_dead_code(replace(built.form, outputs=built.form.outputs[: count + 1]))
    worlds = jax.jit(emit_worlds(form))(*prepared.inputs)
    *held, log_weight = (np.asarray(x) for x in worlds.outputs)
    mass = np.exp(np.asarray(worlds.log_mass))
    weight = (mass[:, None] * np.exp(log_weight) / log_weight.shape[1]).reshape(-1)
    values = [array.reshape(len(weight), *array.shape[2:]) for array in held]
    columns, names = _columns(plan, built, values)
    rows, place = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    totals = np.bincount(place.reshape(-1), weights=weight)
    outcomes = [_outcome(row.tolist(), names, prepared.form.out_tree) for row in rows]
    return Measure(dict(zip(outcomes, totals.tolist(), strict=True)))


def _columns(plan: Plan, built: Any, values: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[Any] | None]:
    """One column per element of a choice; without paths, one per scalar that is returned."""
    if plan.method.keep == "last":
        assert all(array.ndim == 1 for array in values), "return scalars"
        return [*values], None
    active = dict(zip(built.written.active, values[len(built.written.values) :], strict=True))
    columns, names = [], []
    for choice, array in zip(built.choices, values, strict=False):
        if choice.kind != "sample":
            continue
        for cell in np.ndindex(*choice.loops):
            for element in np.ndindex(*choice.shape):
                column = array[:, *cell, *element]
                if choice.name in active:
                    column = np.where(active[choice.name][:, *cell], column, ABSENT)
                columns.append(column)
                names.append(((*choice.address, *cell), element))
    return columns, names


def _outcome(row: list[Any], names: list[Any] | None, out_tree: Any) -> Any:
    if names is None:
        value = jax.tree.unflatten(out_tree, row)
        return tuple(sorted(value.items())) if isinstance(value, dict) else value
    found: dict[Any, Any] = {}
    for (address, element), value in zip(names, row, strict=True):
        if value != ABSENT:
            found[address] = value if element == () else (*found.get(address, ()), value)
    return frozenset(found.items())
