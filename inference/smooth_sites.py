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
from lawful.form import Factor, Form, Site
from lawful.form.choices import Choice, choices_of
from lawful.form.markov_blanket import reached
from lawful.form.operations.equation import CALLS, scan_counts
from lawful.passes.condition import conditioned
from lawful.passes.probe import Probe

from .kernels.frame import frame_of

# Operations of numbers whose derivative is zero or missing.
CUTS = {"floor", "ceil", "round", "sign", "nextafter", "stop_gradient", "while", "pure_callback", "io_callback"}
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
    found = [c for c in found if not getattr(c.law, "is_point_mass", False)]
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
    traced = jax.make_jaxpr(function)(inputs, values)
    own = [_Read(frozenset(), frozenset())] * len(inputs)
    own += [_Read(frozenset([i]), frozenset([i])) for i in range(len(values))]
    outs = _walk(traced.jaxpr, own)
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


def _walk(jaxpr: Any, ins: Sequence[_Read]) -> list[_Read]:
    """Follow the choices through the operations of a traced function."""
    known: dict[Any, _Read] = dict(zip(jaxpr.invars, ins, strict=True))

    def of(value: Any) -> _Read:
        return NOTHING if hasattr(value, "val") else known.get(value, NOTHING)

    for equation in jaxpr.eqns:
        reads = [of(value) for value in equation.invars]
        for value, read in zip(equation.outvars, _results(equation, reads), strict=True):
            exact = not jnp.issubdtype(value.aval.dtype, jnp.floating)
            known[value] = read._replace(smoothly=frozenset()) if exact else read
    return [of(value) for value in jaxpr.outvars]


def _results(equation: Any, reads: list[_Read]) -> list[_Read]:
    """Give what the results of an operation depend on."""
    name, params = equation.primitive.name, equation.params
    if name in CUTS:
        return [_joined(reads)._replace(smoothly=frozenset())] * len(equation.outvars)
    if name == "cond":
        arms = [_walk(arm.jaxpr, reads[1:]) for arm in params["branches"]]
        return [_joined([reads[0], *results]) for results in zip(*arms, strict=True)]
    if name == "scan":
        constants, carried = scan_counts(params, equation.invars)
        body, ins = params["jaxpr"].jaxpr, list(reads)
        while True:
            outs = _walk(body, ins)
            later = [_joined(pair) for pair in zip(ins[constants:], outs[:carried], strict=False)]
            if later == ins[constants : constants + carried]:
                return outs
            ins[constants : constants + carried] = later
    if name in CALLS and not name.startswith("custom"):  # those bring their own derivative
        inner = params.get("jaxpr", params.get("call_jaxpr"))
        return _walk(getattr(inner, "jaxpr", inner), reads)
    return [_joined(reads)] * len(equation.outvars)


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
