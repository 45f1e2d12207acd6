"""Walks: a Markov chain whose stationary law can be drawn from exactly.

Law: the first state is an exact draw, so every later one has the same law, and a chain that is reversed looks alike:
`back` is the chain in reverse, where the kernel is reversible.

The states of `posterior_walk` are a posterior draw beside its data, which stay; those of `joint_walk` are draws of
choices and data together, both of which move (Geweke's successive-conditional simulator).

References: Geweke (2004), Getting it right: joint distribution tests of posterior simulators; Gandy and Scott (2020),
Unit testing for MCMC and other Monte Carlo methods, arXiv 2001.06465.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from lawful.addresses import show_address
from lawful.backends.xla import emit
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.builder import Block
from lawful.form.dependence import dependence
from lawful.form.liveness import without_dead_code
from lawful.passes.predict import rerun, unobserved
from lawful.passes.thread_sites import score

from ...representations.kernel_form import scored
from ..programs.joint import Joint, joint
from .quantities import Columns, Statistic

type States = Sequence[jax.Array]
type Move = Callable[[jax.Array, Sequence[Any], States], list[jax.Array]]


@dataclass(frozen=True)
class Walk:
    """A chain to be checked; all functions are of JAX, and take the program's inputs.

    Attributes:
        names: names of the columns that are looked at.
        draw: `(key, inputs) -> state`, exact.
        forth: `(key, inputs, state) -> state`, one step.
        back: one step of the reversed chain; None where nothing is claimed about it.
        read: `(inputs, state) -> columns`.
    """

    names: list[str]
    draw: Callable[[jax.Array, Sequence[Any]], States]
    forth: Move
    back: Move | None
    read: Callable[[Sequence[Any], States], jax.Array]


def posterior_walk(kernel: Any, form: Form, reversible: bool, statistics: Mapping[str, Statistic]) -> Walk:
    """Make the chain of a kernel at data that were drawn together with its first state."""
    both = joint(form)
    built, draw = kernel.build(both.posterior), emit(both.draw)
    columns, n = Columns(both.choices, tuple(statistics.items())), len(both.data)
    step, densities = emit(built.form), _densities(both)

    def forth(key: jax.Array, inputs: Sequence[Any], state: States) -> list[jax.Array]:
        return [*state[:n], *step(key, *inputs, *state)[0][: built.size]]

    def read(inputs: Sequence[Any], state: States) -> jax.Array:
        return columns.read(state[n:], *densities(inputs, state))

    return Walk(columns.names, lambda key, inputs: draw(key, *inputs)[0], forth, forth if reversible else None, read)


def joint_walk(kernel: Any, form: Form, reversible: bool, statistics: Mapping[str, Statistic]) -> Walk:
    """Make the chain that draws data from the choices, then moves the choices at these data.

    Raises: UnsupportedProgramError where a choice depends on data, so that data are not drawn from choices alone.
    """
    both = joint(form)
    _refuse_data_first(form, both)
    built, draw = kernel.build(both.posterior), emit(both.draw)
    columns, n = Columns((*both.choices, *both.data), tuple(statistics.items())), len(both.data)
    again = rerun(form, [c.address for c in both.choices])
    redrawn, step, densities, renewed = emit(again.form), emit(built.form), _densities(both), emit(_scoring(both))
    places = [[c.address for c in again.drawn].index(c.address) for c in both.data]

    def data(key: jax.Array, inputs: Sequence[Any], state: States) -> list[jax.Array]:
        values = state[n : n + len(both.choices)]
        flags = iter(state[n + len(both.choices) : -1])
        given = [
            x for c, v in zip(both.choices, values, strict=True) for x in ((v, next(flags)) if c.conditional else (v,))
        ]
        drawn = redrawn(key, *inputs, *given)[0][len(again.named) :]
        new = [drawn[place] for place in places]
        return [*new, *values, *renewed(key, *inputs, *new, *values)[0]]

    def choices(key: jax.Array, inputs: Sequence[Any], state: States) -> list[jax.Array]:
        return [*state[:n], *step(key, *inputs, *state)[0][: built.size]]

    def after(first: Move, second: Move) -> Move:
        def both_moves(key: jax.Array, inputs: Sequence[Any], state: States) -> list[jax.Array]:
            one, two = jax.random.split(key)
            return second(two, inputs, first(one, inputs, state))

        return both_moves

    def read(inputs: Sequence[Any], state: States) -> jax.Array:
        values = state[n : n + len(both.choices)]
        ordered = [*values, *state[:n], *state[n + len(both.choices) :]]
        return columns.read(ordered, *densities(inputs, state))

    back = after(choices, data) if reversible else None
    return Walk(columns.names, lambda key, inputs: draw(key, *inputs)[0], after(data, choices), back, read)


def _densities(both: Joint) -> Callable[[Sequence[Any], States], tuple[jax.Array, jax.Array]]:
    """Log prior and log likelihood of a state."""
    scoring = score(both.posterior)
    run = emit(replace(scoring.form, outputs=scoring.parts.sums))
    size = len(both.data) + len(both.choices)

    def densities(inputs: Sequence[Any], state: States) -> tuple[jax.Array, jax.Array]:
        (prior, likelihood), _ = run(jax.random.key(0), *inputs, *state[:size])
        return prior, likelihood

    return densities


def _scoring(both: Joint) -> Form:
    """Give the flags and the log density of choices at data; inputs are the program's, the data, the choices."""
    block = Block()
    inputs = tuple(v.like() for v in both.posterior.inputs)
    values = tuple(v.like() for v in both.draw.outputs[len(both.data) : len(both.data) + len(both.choices)])
    log_density, flags = scored(block, both.posterior, inputs, values)
    return without_dead_code(block.form((*inputs, *values), (*flags, log_density)))


def _refuse_data_first(form: Form, both: Joint) -> None:
    graph, data = dependence(unobserved(form)), {c.address for c in both.data}
    for choice in both.choices:
        found = graph.ancestors([choice.address]) & data
        if found:
            raise UnsupportedProgramError(
                f"site '{choice.name}' ({choice.source}) depends on the data '{show_address(min(found))}', so data "
                "cannot be drawn again given the choices alone. Fix: use check.invariant, which keeps the data of each "
                "start.",
                site=choice.address,
            )
