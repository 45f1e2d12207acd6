"""Smooth sites: continuous choices that a gradient sees whole, told from the program alone.

Law: where some parameter or factor reads a choice by operations without a derivative only (rounding, a comparison, an
integer, a loop without a bound), or the choice decides what runs, it is not smooth: there the log density has jumps
that no gradient tells of. What is read both ways, as by `jnp.where(x > 0, x, 0)`, counts as smooth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.backends.pointwise import ask_at_choices
from lawful.errors import UnsupportedProgramError
from lawful.form import Det, Factor, Form, Site, Var
from lawful.form.choices import Choice, choices_of
from lawful.form.fold import Fold
from lawful.form.markov_blanket import reached
from lawful.form.operations.equation import Equation, is_plain_call
from lawful.form.operations.from_jaxpr import unfold
from lawful.passes.condition import conditioned
from lawful.passes.probe import Probe

from .frame import frame_of

# What JAX raises where a gradient cannot be written: a primitive without a rule, numbers that are not real, a loop of
# unknown length or a callback; and a site without coordinates.
NO_GRADIENT = (UnsupportedProgramError, NotImplementedError, TypeError, ValueError)


def smooth_sites(form: Form) -> tuple[Choice, ...]:
    """Find the continuous choices along which the log density has a gradient, the others held.

    Args:
        form: the program.

    Returns: the choices, in the order of the program; none of them runs in one arm of a branch only.

    >>> import numpyro.distributions as dist, lawful
    >>> def model():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     steps = lawful.sample("steps", dist.Normal(0.0, 1.0))
    ...     lawful.factor("f", -x**2 + jnp.floor(steps))
    >>> [choice.name for choice in smooth_sites(lawful.trace(model))]
    ['x']
    """
    choices = choices_of(form)
    found = [c for c in choices if jnp.issubdtype(c.dtype, jnp.floating) and not c.conditional]
    found = [c for c in found if not c.law.is_point_mass]
    if found:
        rough = _rough(form, choices)
        found = [c for c in found if c.address not in rough]
        if reached(form, [c.address for c in found]).switched:
            found = [c for c in found if not reached(form, [c.address]).switched]
    return tuple(found) if found and _differentiable(form, [c.address for c in found]) else ()


def _rough(form: Form, choices: Sequence[Choice]) -> set[Address]:
    """Find the choices that something reads without a derivative."""
    _, function = ask_at_choices(form, _question)
    inputs = [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in form.inputs]
    values = [jax.ShapeDtypeStruct(c.full_shape, c.dtype) for c in choices]
    form = unfold(function, inputs, values, opened=is_plain_call, loops=True)  # others bring their own derivative
    own = [_Read(frozenset(), frozenset())] * len(inputs)
    own += [_Read(frozenset([i]), frozenset([i])) for i in range(len(values))]
    outs = _Reading()(form, own)
    return {choices[i].address for read in outs for i in read.seen - read.smoothly}


def _question(node: Site | Factor) -> Iterable[Probe]:
    read = (node.term,) if isinstance(node, Factor) else node.parameters
    for place, value in enumerate(read):
        yield Probe(f"{place}", _total, (value,))


def _total(x: jax.Array) -> jax.Array:
    return jnp.sum(x, dtype=jnp.result_type(float))


class _Read(NamedTuple):
    """The choices that a value depends on, and those among them of which it has a derivative."""

    seen: frozenset[int]
    smoothly: frozenset[int]


NOTHING = _Read(frozenset(), frozenset())


def _joined(reads: Iterable[_Read]) -> _Read:
    found = NOTHING
    for read in reads:
        found = _Read(found.seen | read.seen, found.smoothly | read.smoothly)
    return found


class _Reading(Fold[_Read]):
    """What each value of a traced function depends on."""

    def constant(self, variable: Var, array: Any) -> _Read:
        """Nothing."""
        return NOTHING

    def det(self, node: Det, ins: list[_Read]) -> list[_Read]:
        """What its operands depend on; whole numbers, and steps, have no derivative."""
        read = _joined(ins)
        flat = isinstance(node.function, Equation) and node.function.row.flat
        smooth = [not flat and jnp.issubdtype(v.dtype, jnp.floating) for v in node.outs]
        return [read if whole else read._replace(smoothly=frozenset()) for whole in smooth]

    def site(self, node: Site, ins: list[_Read]) -> _Read:
        """There are none."""
        return _joined(ins)

    def join(self, meanings: Sequence[_Read]) -> _Read:
        """All that any depends on."""
        return _joined(meanings)


def _differentiable(form: Form, moved: Sequence[Address]) -> bool:
    """Tell whether the gradient along some choices can be written."""
    part = conditioned(form, {c.address for c in choices_of(form)} - set(moved), reached(form, moved).terms).form
    try:
        frame = frame_of(part, "nuts")
        inputs = [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in part.inputs]
        jax.eval_shape(frame.value_and_grad, inputs, jax.ShapeDtypeStruct((frame.size,), jnp.result_type(float)))
    except NO_GRADIENT:
        return False
    return True
