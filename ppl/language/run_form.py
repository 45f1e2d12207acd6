"""Run form: a form as a program that runs eagerly, node by node, announcing every site to the handlers.

Law: a form run eagerly denotes the measure of the form. Nothing here is compiled: with concrete values each operation
is computed by NumPy, one element of the plates after another, so that a handler (one that enumerates, one that traces)
sees an algorithm as it sees any program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..backends.xla import apply_det, broadcast_plates, select_arms
from ..distributions.batched import LanesLaw
from ..errors import UnsupportedProgramError
from ..form import Branch, Det, Factor, Form, Loop, Plate, Site, Var
from ..form.arguments.arrays import split_arguments
from ..form.arguments.constant_data import refuse_other_data
from ..form.cached import per_form
from ..form.fold import Fold
from ..form.operations.on_numpy import evaluate
from ..messages import (
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
from ..passes.rolling.match_steps import step_of
from .data.missing import complete
from .operation_cache import fixed, remembered


def run_form(form: Form, *args: Any) -> Any:
    """Run a Form as a program on its arguments; outputs keep the structure of the traced program where it is known.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Bernoulli(0.5)))
    >>> record = lawful.handlers.trace(lawful.handlers.seed(form, jax.random.key(0)))()
    >>> list(record.choices)
    [('x',)]

    Raises: UnsupportedProgramError inside a transformation of JAX, or inside lawful.mask or lawful.scale.
    """
    if surroundings().mask is not None or surroundings().scale is not None:
        raise UnsupportedProgramError(
            f"{form!r}: a Form is run inside lawful.mask or lawful.scale ({caller()}), which weigh the statements of "
            "programs only. Fix: put them inside the program before it is traced."
        )
    arrays, _, _ = split_arguments(args)
    refuse_other_data(form, arrays)
    try:
        outputs = run_nodes(form, arrays if is_staged() else [np.asarray(a) for a in arrays])
    except jax.errors.TracerArrayConversionError as error:
        raise UnsupportedProgramError(
            f"{form!r}: a Form is run eagerly inside jax.jit, jax.vmap or another transformation of JAX ({caller()}), "
            "which gives it arrays without values. Fix: run it outside of them, or take lawful.density(form, *args), "
            "which they can transform."
        ) from error
    if form.out_tree is not None and form.out_tree.num_leaves == len(outputs):
        return jax.tree.unflatten(form.out_tree, outputs)
    return tuple(outputs)


def run_nodes(form: Form, inputs: Sequence[Any]) -> list[Any]:
    """Run the nodes of a form in order."""
    return Run(is_staged())(form, inputs)


class Run(Fold[Any]):
    """Announces each site, factor and named value to the handlers; `staged` where a program is being traced."""

    def __init__(self, staged: bool) -> None:
        """Begin."""
        self.staged = staged

    def constants(self, form: Form) -> dict[Var, Any]:
        """Give the arrays, known while a program is traced; read-only elsewhere, and made once."""
        return _known(form) if self.staged else _constants(form)

    def det(self, node: Det, ins: list[Any]) -> Sequence[Any]:
        """Apply an operation."""
        return _det(node, tuple(ins), self.staged)

    def site(self, node: Site, ins: list[Any]) -> Any:
        """Announce a site."""
        return _site(node, ins)

    def factor(self, node: Factor, term: Any) -> None:
        """Announce a factor."""
        send(FactorMessage(_here(node.address), term, node.source, role=node.role))

    def loop(self, node: Loop, ins: list[Any]) -> Sequence[Any]:
        """Run the steps."""
        return _loop(node, ins)

    def branch(self, node: Branch, index: Any, operands: list[Any]) -> Sequence[Any]:
        """Run the arm that is chosen."""
        return _branch(node, index, operands)


def _known(form: Form) -> dict[Var, Any]:
    """The closed-over arrays of a form, as arrays that are known while a program is traced."""
    with jax.ensure_compile_time_eval():
        return {variable: jnp.asarray(array) for variable, array in form.constants}


@per_form
def _constants(form: Form) -> dict[Var, Any]:
    """The closed-over arrays of a form; read-only, so that what reads them is remembered."""
    return {variable: fixed(variable, array) for variable, array in form.constants}


def _here(address: Any) -> Any:
    place = surroundings()
    return (*place.scopes, *address, *place.indices)


def _site(node: Site, ins: Sequence[Any]) -> Any:
    distribution = _bound(node, ins[: len(node.parameters)])
    observed = None if node.observed is None else ins[-1]
    message = SampleMessage(
        _here(node.address), distribution, observed, observed is not None, node.frames, node.source,
        event_dims=node.event_dims,
    )  # fmt: skip
    message.droppable = node.droppable
    send(message)
    if message.present is not None:
        complete(message, distribution)
    return message.value if is_staged() else fixed(node, message.value)


def _bound(node: Site, parameters: Sequence[Any]) -> Any:
    """Give a site's law its parameters: a distribution where the law is one, else a bound law."""
    law = node.law
    if node.plates:
        flags = tuple(tuple(p in v.plates for p in node.plates) for v in node.parameters)
        law = LanesLaw(law, tuple(p.size for p in node.plates), flags)
    return law.bound(parameters)


def _det(node: Det, operands: tuple[Any, ...], staged: bool) -> Sequence[Any]:
    results: Sequence[Any]
    if staged:
        results = apply_det(node, operands)
    else:
        results = remembered(node, None, operands, lambda arrays: _over(node, node.plates, arrays, _plates_of(node)))
    if node.address is not None:
        send(DeterministicMessage(_here(node.address), results[0], node.source, plates=node.frames))
    return results


def _plates_of(node: Det) -> list[list[Plate]]:
    return [list(v.plates) for v in node.ins]


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


def _spread(
    node: Loop | Branch, part: Any, arrays: Sequence[Any], have: Sequence[Var], want: Sequence[Var]
) -> list[Any]:
    """Give arrays the plates that the variables after a loop or branch have, and those inside have not."""
    if all(h.plates == w.plates for h, w in zip(have, want, strict=True)):
        return list(arrays)
    if is_staged():
        return [broadcast_plates(x, h, w) for x, h, w in zip(arrays, have, want, strict=True)]

    def spread(arrays: list[Any]) -> list[Any]:
        return [
            np.array(np.broadcast_to(_aligned(x, h.plates, w), w.full_shape))
            for x, h, w in zip(arrays, have, want, strict=True)
        ]

    return remembered(node, (_spread, part), tuple(arrays), spread)


def _aligned(array: Any, plates: tuple[Plate, ...], want: Var) -> Any:
    """Give an array an axis of size one for each plate that it lacks."""
    return np.asarray(array)[tuple(slice(None) if p in plates else None for p in want.plates)]


def _loop(node: Loop, ins: Sequence[Any]) -> list[Any]:
    constants, init, stacks = node.split(ins)
    want, have = node.split(node.body.inputs)[1], node.split_out(node.body.outputs)[0]
    carry = _spread(node, "init", init, node.init, want)
    place = surroundings()

    def step(carry: list[Any], index: Any, xs: list[Any]) -> tuple[list[Any], list[Any]]:
        if node.unrolled:
            outputs = run_nodes(step_of(node, index), [*constants, *carry, *xs])
        else:
            with placed(replace(place, indices=(*place.indices, index))):
                outputs = run_nodes(node.body, [*constants, *carry, *xs])
        after, ys = node.split_out(outputs)
        return _spread(node, "step", after, have, want), ys

    if is_staged() and not node.unrolled:
        return _staged_loop(node, stacks, carry, step)
    order = range(node.length - 1, -1, -1) if node.reverse else range(node.length)
    stacked: dict[int, list[Any]] = {}
    for index in order:
        carry, stacked[index] = step(
            carry, index, [_at_step(node, v, x, index) for x, v in zip(stacks, node.xs, strict=True)]
        )
    rows = [[stacked[i][k] for i in range(node.length)] for k in range(len(node.ys))]
    return [*carry, *(_stacked(node, k, row) for k, row in enumerate(rows))]


def _at_step(node: Loop, variable: Var, array: Any, index: int) -> Any:
    """Take what a loop reads at one step."""
    axis = len(variable.plates)
    if is_staged():
        return jnp.take(array, index, axis=axis)
    return remembered(node, (variable, index), (array,), lambda arrays: [np.take(arrays[0], index, axis=axis)])[0]


def _stacked(node: Loop, position: int, rows: Sequence[Any]) -> Any:
    """Stack what the steps of a loop gave."""
    out, inner = node.ys[position], node.body.outputs[len(node.init) + position]
    if not rows:
        return np.zeros(out.full_shape, out.dtype)
    axis = len(inner.plates)
    if is_staged():
        return jnp.stack(rows, axis=axis)
    return remembered(node, position, tuple(rows), lambda arrays: [np.stack(arrays, axis=axis)])[0]


def _staged_loop(node: Loop, stacks: Sequence[Any], carry: list[Any], step: Any) -> list[Any]:
    xs = [jnp.moveaxis(x, len(v.plates), 0) for x, v in zip(stacks, node.xs, strict=True)]
    init = [jnp.asarray(c) for c in carry]

    def body(carry: Any, x: Any) -> Any:
        return step(carry, x[0], x[1])

    carry, ys = jax.lax.scan(body, init, (jnp.arange(node.length), xs), length=node.length, reverse=node.reverse)
    inner = node.body.outputs[len(node.init) :]
    return [*carry, *(jnp.moveaxis(y, 0, len(v.plates)) for y, v in zip(ys, inner, strict=True))]


def _branch(node: Branch, index: Any, operands: Sequence[Any]) -> list[Any]:
    def arm(number: int) -> Any:
        form = node.forms[number]

        def run(*inside: Any) -> list[Any]:
            return _spread(node, number, run_nodes(form, inside), form.outputs, node.outs)

        return run

    if node.index.plates:
        arms = [_in_arm(k, arm(k), operands) for k in range(len(node.forms))]
        if is_staged():
            return [select_arms(node.index, v, index, *(a[k] for a in arms)) for k, v in enumerate(node.outs)]
        count = len(node.outs)
        return remembered(
            node, None, (index, *(x for a in arms for x in a)),
            lambda xs: _selected(node, xs[0], [xs[1 + k :: count] for k in range(count)]),
        )  # fmt: skip
    if is_staged():
        return list(jax.lax.switch(jnp.asarray(index, jnp.int32), [arm(k) for k in range(len(node.forms))], *operands))
    taken = int(np.clip(int(index), 0, len(node.forms) - 1))
    send(DecisionMessage((node.label, taken)))
    return arm(taken)(*operands)


def _in_arm(number: int, run: Any, operands: Sequence[Any]) -> list[Any]:
    """Run one arm of several that all run: its number is a part of the addresses, so that no two sites share one."""
    place = surroundings()
    if is_staged():  # a site of a traced program has its loops beside it, not in its name
        place = replace(place, scopes=(*place.scopes, f"~arm{number}"))
    else:
        place = replace(place, indices=(*place.indices, number))
    with placed(place):
        return run(*operands)


def _selected(node: Branch, index: Any, options: Sequence[Sequence[Any]]) -> list[Any]:
    """Take each lane's value from the arm that it runs: one list of options for each value."""
    chosen = []
    for out, arms in zip(node.outs, options, strict=True):
        which = _aligned(index, node.index.plates, out)
        which = which.reshape(which.shape + (1,) * len(out.shape))
        chosen.append(np.choose(np.broadcast_to(which, out.full_shape), arms))
    return chosen
