"""Eager runs of a Form: the Form as a program, node by node, announcing every site to the handlers.

Law: a Form run eagerly denotes the measure of the Form. Nothing here is compiled: with concrete values each operation
is computed by NumPy, lane by lane, so that a handler (an enumerator, a tracer) sees an algorithm as it sees any
program.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .array_math import evaluate
from .emitter import apply_det, broadcast_plates, select_arms
from .errors import UnsupportedProgramError
from .form import Branch, Det, Factor, Form, Loop, Plate, Site, Var
from .incomplete import complete
from .lanes import LanesLaw
from .laws import BoundLaw, DistributionLaw
from .messages import (
    DecisionMessage,
    DeterministicMessage,
    FactorMessage,
    SampleMessage,
    caller,
    is_staged,
    placed,
    send,
    surroundings,
)
from .steps import step_of
from .tracing import split_arguments


def run_form(form: Form, *args: Any) -> Any:
    """Run a Form as a program on its arguments; outputs keep the structure of the traced program where it is known.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Bernoulli(0.5)))
    >>> record = lawful.handlers.trace(lawful.handlers.seed(form, jax.random.key(0)))()
    >>> list(record.choices)
    [('x',)]
    """
    if surroundings().mask is not None or surroundings().scale is not None:
        raise UnsupportedProgramError(
            f"{form!r}: a Form is run inside lawful.mask or lawful.scale ({caller()}), which weigh the statements of "
            "programs only. Fix: put them inside the program before it is traced."
        )
    arrays, _, _ = split_arguments(args)
    outputs = run_nodes(form, arrays if is_staged() else [np.asarray(a) for a in arrays])
    if form.out_tree is not None and form.out_tree.num_leaves == len(outputs):
        return jax.tree.unflatten(form.out_tree, outputs)
    return tuple(outputs)


def run_nodes(form: Form, inputs: Sequence[Any]) -> list[Any]:
    """Run the nodes of a form in order."""
    values: dict[Var, Any] = dict(zip(form.inputs, inputs, strict=True))
    for variable, array in form.constants:
        values[variable] = array if is_staged() else np.asarray(array)
    for node in form.nodes:
        results: Sequence[Any] = ()
        if isinstance(node, Det):
            results = _det(node, [values[v] for v in node.ins])
        elif isinstance(node, Site):
            results = (_site(node, values),)
        elif isinstance(node, Factor):
            send(FactorMessage(_here(node.address), values[node.term], node.source, role=node.role))
        elif isinstance(node, Loop):
            results = _loop(node, values)
        else:
            results = _branch(node, values)
        values.update(zip(node.outs, results, strict=True))
    return [values[v] for v in form.outputs]


def _here(address: Any) -> Any:
    place = surroundings()
    return (*place.scopes, *address, *place.indices)


def _site(node: Site, values: dict[Var, Any]) -> Any:
    distribution = _bound(node, [values[v] for v in node.parameters])
    observed = None if node.observed is None else values[node.observed]
    message = SampleMessage(_here(node.address), distribution, observed, observed is not None, node.frames, node.source)
    message.droppable = node.droppable
    send(message)
    if message.present is not None:
        complete(message, distribution)
    return message.value if is_staged() else np.asarray(message.value)


def _bound(node: Site, parameters: Sequence[Any]) -> Any:
    """Give a site's law its parameters: a distribution where the law is one, else a bound law."""
    law = node.law
    if node.plates:
        flags = tuple(tuple(p in v.plates for p in node.plates) for v in node.parameters)
        law = LanesLaw(law, tuple(p.size for p in node.plates), flags)
    if isinstance(law, DistributionLaw):
        return law.distribution(*parameters)
    return BoundLaw(law, tuple(parameters))


def _det(node: Det, operands: Sequence[Any]) -> Sequence[Any]:
    if is_staged():
        results: Sequence[Any] = apply_det(node, operands)
    else:
        results = _lanes(node, operands)
    if node.address is not None:
        send(DeterministicMessage(_here(node.address), results[0], node.source))
    return results


# Dets are pure, and an enumeration meets the same operands again at every run of a prefix.
_seen: weakref.WeakKeyDictionary[Det, dict[Any, list[Any]]] = weakref.WeakKeyDictionary()
_REMEMBERED = 4096


def _lanes(node: Det, operands: Sequence[Any]) -> list[Any]:
    arrays = [np.asarray(x) for x in operands]
    if any(x.dtype == object or x.size > 64 for x in arrays):
        return _over(node, node.plates, arrays, [list(v.plates) for v in node.ins])
    known = _seen.setdefault(node, {})
    key = tuple((x.tobytes(), x.dtype.char, x.shape) for x in arrays)
    if key not in known:
        if len(known) >= _REMEMBERED:
            known.clear()
        known[key] = _over(node, node.plates, arrays, [list(v.plates) for v in node.ins])
        for result in known[key]:
            if isinstance(result, np.ndarray):
                result.flags.writeable = False
    return known[key]


def _over(node: Det, plates: tuple[Plate, ...], operands: Sequence[Any], own: list[list[Plate]]) -> list[Any]:
    """Evaluate once per element of the plates, in plain Python, and stack."""
    if not plates:
        return [np.array(x) for x in evaluate(node.function, operands)]
    plate, rest = plates[0], plates[1:]
    axes = [o.index(plate) if plate in o else None for o in own]
    left = [[p for p in o if p != plate] for o in own]
    lanes = [
        _over(
            node, rest, [x if a is None else np.take(x, i, axis=a) for x, a in zip(operands, axes, strict=True)], left
        )
        for i in range(plate.size)
    ]
    return [np.stack([lane[k] for lane in lanes]) for k in range(len(node.outs))]


def _spread(array: Any, have: Var, want: Var) -> Any:
    if have.plates == want.plates:
        return array
    if is_staged():
        return broadcast_plates(array, have, want)
    return np.broadcast_to(_aligned(array, have.plates, want), want.full_shape)


def _aligned(array: Any, plates: tuple[Plate, ...], want: Var) -> Any:
    """Give an array an axis of size one for each plate that it lacks."""
    return np.asarray(array)[tuple(slice(None) if p in plates else None for p in want.plates)]


def _loop(node: Loop, values: dict[Var, Any]) -> list[Any]:
    n_const, n_carry = len(node.constants), len(node.init)
    constants = [values[v] for v in node.constants]
    want = node.body.inputs[n_const : n_const + n_carry]
    have = node.body.outputs[:n_carry]
    carry = [_spread(values[v], v, w) for v, w in zip(node.init, want, strict=True)]
    place = surroundings()

    def step(carry: list[Any], index: Any, xs: list[Any]) -> tuple[list[Any], list[Any]]:
        if node.unrolled:
            outputs = run_nodes(step_of(node, index), [*constants, *carry, *xs])
        else:
            with placed(replace(place, indices=(*place.indices, index))):
                outputs = run_nodes(node.body, [*constants, *carry, *xs])
        return [_spread(x, h, w) for x, h, w in zip(outputs[:n_carry], have, want, strict=True)], outputs[n_carry:]

    if is_staged() and not node.unrolled:
        return _staged_loop(node, values, carry, step)
    order = range(node.length - 1, -1, -1) if node.reverse else range(node.length)
    stacked: dict[int, list[Any]] = {}
    math = jnp if is_staged() else np
    for index in order:
        xs = [math.take(values[v], index, axis=len(v.plates)) for v in node.xs]
        carry, stacked[index] = step(carry, index, xs)
    ys = [
        math.stack([stacked[i][k] for i in range(node.length)], axis=len(inner.plates))
        if node.length
        else np.zeros(out.full_shape, out.dtype)
        for k, (out, inner) in enumerate(zip(node.ys, node.body.outputs[n_carry:], strict=True))
    ]
    return [*carry, *ys]


def _staged_loop(node: Loop, values: dict[Var, Any], carry: list[Any], step: Any) -> list[Any]:
    xs = [jnp.moveaxis(values[v], len(v.plates), 0) for v in node.xs]
    init = [jnp.asarray(c) for c in carry]

    def body(carry: Any, x: Any) -> Any:
        return step(carry, x[0], x[1])

    carry, ys = jax.lax.scan(body, init, (jnp.arange(node.length), xs), length=node.length, reverse=node.reverse)
    inner = node.body.outputs[len(node.init) :]
    return [*carry, *(jnp.moveaxis(y, 0, len(v.plates)) for y, v in zip(ys, inner, strict=True))]


def _branch(node: Branch, values: dict[Var, Any]) -> list[Any]:
    operands = [values[v] for v in node.operands]

    def arm(form: Form) -> Any:
        def run(*inside: Any) -> list[Any]:
            outputs = run_nodes(form, inside)
            return [_spread(x, h, w) for x, h, w in zip(outputs, form.outputs, node.outs, strict=True)]

        return run

    index = values[node.index]
    if node.index.plates:
        return _plated_branch(node, index, [_in_arm(k, arm(form), operands) for k, form in enumerate(node.forms)])
    if is_staged():
        return list(jax.lax.switch(jnp.asarray(index, jnp.int32), [arm(form) for form in node.forms], *operands))
    taken = int(np.clip(int(index), 0, len(node.forms) - 1))
    send(DecisionMessage((node.label, taken)))
    return arm(node.forms[taken])(*operands)


def _in_arm(number: int, run: Any, operands: Sequence[Any]) -> list[Any]:
    """Run one arm of several that all run: its number is a part of the addresses, so that no two sites share one."""
    place = surroundings()
    if is_staged():  # a site of a traced program has its loops beside it, not in its name
        place = replace(place, scopes=(*place.scopes, f"~arm{number}"))
    else:
        place = replace(place, indices=(*place.indices, number))
    with placed(place):
        return run(*operands)


def _plated_branch(node: Branch, index: Any, arms: list[list[Any]]) -> list[Any]:
    chosen: list[Any] = []
    for k, out in enumerate(node.outs):
        options = [arm[k] for arm in arms]
        if is_staged():
            chosen.append(select_arms(node.index, index, out, options))
        else:
            which = _aligned(index, node.index.plates, out)
            which = which.reshape(which.shape + (1,) * len(out.shape))
            chosen.append(np.choose(np.broadcast_to(which, out.full_shape), options))
    return chosen
