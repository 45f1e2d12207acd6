"""Run form: a form as a program that runs eagerly, node by node, announcing every site to the handlers.

Law: a form run eagerly denotes the measure of the form. Nothing here is compiled: with concrete values each operation
is computed by NumPy, one element of the plates after another, so that a handler (one that enumerates, one that traces)
sees an algorithm as it sees any program.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..backends.xla import apply_det, broadcast_plates, laned_flags, select_arms
from ..distributions.batched import LanesLaw
from ..errors import UnsupportedProgramError
from ..form import Branch, Det, Factor, Form, Loop, Site, Var
from ..form.arguments.arrays import split_arguments
from ..form.arguments.constant_data import refuse_other_data
from ..form.fold import Fold
from ..form.operations.on_numpy import evaluate
from ..form.pipeline import cache_of
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
    value_of,
)
from ..passes.rolling.match_steps import step_of
from .data.observed import complete

LARGEST = 64  # elements of an operand of what is remembered
REMEMBERED = 4096  # results of a node, of which all are forgotten where there are more


def run_form(form: Form, *args: Any) -> Any:
    """Run a Form as a program on its arguments; outputs keep the structure of the traced program where it is known.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Bernoulli(0.5)))
    >>> record = lawful.handlers.trace(lawful.handlers.seed(form, jax.random.key(0)))()
    >>> list(record.choices)
    [('x',)]

    Raises: UnsupportedProgramError inside a transformation of JAX, or inside lawful.mask, lawful.scale or lawful.plate.
    """
    if frames := surroundings().plates:
        raise UnsupportedProgramError(
            f"{form!r}: a Form is run inside the plate '{frames[-1].name}' ({caller()}), and it has no axis for it: it "
            "would be drawn once for all elements. Fix: open the plate inside the program before it is traced."
        )
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
    return _Run(is_staged())(form, inputs)


class _Run(Fold[Any]):
    """Announces each site, factor and named value to the handlers; `staged` where a program is being traced."""

    def __init__(self, staged: bool) -> None:
        self.staged = staged

    def constants(self, form: Form) -> dict[Var, Any]:
        if not self.staged:
            return dict(form.constants)
        with jax.ensure_compile_time_eval():  # so that they are known while a program is traced
            return {variable: jnp.asarray(array) for variable, array in form.constants}

    def det(self, node: Det, ins: list[Any]) -> Sequence[Any]:
        results: Sequence[Any]
        if self.staged:
            results = apply_det(node, ins)
        else:
            results = remembered(node, None, ins, lambda arrays: _over(node, arrays))
        if node.address is not None:
            send(DeterministicMessage(_here(node.address), results[0], node.source, plates=node.frames))
        return results

    def site(self, node: Site, ins: list[Any]) -> Any:
        law = node.law
        if node.plates:
            law = LanesLaw(law, tuple(p.size for p in node.plates), laned_flags(node.plates, node.parameters))
        distribution = law.bound(ins[: len(node.parameters)])
        observed = None if node.observed is None else ins[-1]
        message = SampleMessage(
            _here(node.address), distribution, observed, observed is not None, node.frames, node.source,
            event_dims=node.event_dims, droppable=node.droppable,
        )  # fmt: skip
        send(message)
        if message.present is not None:
            complete(message, distribution)
        value = value_of(message)
        return value if self.staged else np.asarray(value)

    def factor(self, node: Factor, term: Any) -> None:
        send(FactorMessage(_here(node.address), term, node.source, role=node.role))

    def loop(self, node: Loop, ins: list[Any]) -> list[Any]:
        constants, init, stacks = node.split(ins)
        want, (have, rows) = node.split(node.body.inputs)[1], node.split_out(node.body.outputs)
        start = self.spread(init, node.init, want)
        place = surroundings()

        def step(carry: list[Any], index: Any, xs: list[Any]) -> tuple[list[Any], list[Any]]:
            if node.unrolled:
                outputs = self(step_of(node, index), [*constants, *carry, *xs])
            else:
                with placed(replace(place, indices=(*place.indices, index))):
                    outputs = self(node.body, [*constants, *carry, *xs])
            after, ys = node.split_out(outputs)
            return self.spread(after, have, want), ys

        if not self.staged or node.unrolled:
            return self.steps(node, stacks, start, step)
        xs = [jnp.moveaxis(x, len(v.plates), 0) for x, v in zip(stacks, node.xs, strict=True)]
        carry, ys = jax.lax.scan(
            lambda carry, x: step(carry, *x), [*map(jnp.asarray, start)], (jnp.arange(node.length), xs),
            length=node.length, reverse=node.reverse,
        )  # fmt: skip
        return [*carry, *(jnp.moveaxis(y, 0, len(v.plates)) for y, v in zip(ys, rows, strict=True))]

    def steps(self, node: Loop, stacks: Sequence[Any], carry: list[Any], step: Callable[..., Any]) -> list[Any]:
        """Run the steps of a loop one by one."""
        math: Any = jnp if self.staged else np
        stacked: dict[int, list[Any]] = {}
        for index in range(node.length - 1, -1, -1) if node.reverse else range(node.length):
            xs = [x[(*[slice(None)] * len(v.plates), index)] for x, v in zip(stacks, node.xs, strict=True)]
            carry, stacked[index] = step(carry, index, xs)
        if not node.length:
            return [*carry, *(np.zeros(out.full_shape, out.dtype) for out in node.ys)]
        rows = zip(*(stacked[index] for index in range(node.length)), strict=True)
        inner = node.split_out(node.body.outputs)[1]
        return [*carry, *(math.stack(row, axis=len(v.plates)) for row, v in zip(rows, inner, strict=True))]

    def branch(self, node: Branch, index: Any, operands: list[Any]) -> list[Any]:
        def arm(number: int) -> Callable[..., list[Any]]:
            form = node.forms[number]
            return lambda *inside: self.spread(self(form, inside), form.outputs, node.outs)

        arms = [arm(number) for number in range(len(node.forms))]
        if node.index.plates:
            columns = zip(*(self.beside(k, run, operands) for k, run in enumerate(arms)), strict=True)
            parts = list(zip(node.outs, columns, strict=True))
            if self.staged:
                return [select_arms(node.index, out, index, *column) for out, column in parts]
            return [
                remembered(node, k, (index, *column), lambda xs: [_selected(node.index, out, *xs)])[0]
                for k, (out, column) in enumerate(parts)
            ]
        if self.staged:
            return list(jax.lax.switch(jnp.asarray(index, jnp.int32), arms, *operands))
        taken = int(np.clip(int(index), 0, len(arms) - 1))
        send(DecisionMessage((node.label, taken)))
        return arms[taken](*operands)

    def beside(self, number: int, run: Callable[..., list[Any]], operands: Sequence[Any]) -> list[Any]:
        """Run one arm of several that all run: its number is in the addresses, so that no two sites share one."""
        place = surroundings()
        if self.staged:  # a site of a traced program has its loops beside it, not in its name
            place = replace(place, scopes=(*place.scopes, f"~arm{number}"))
        else:
            place = replace(place, indices=(*place.indices, number))
        with placed(place):
            return run(*operands)

    def spread(self, arrays: Sequence[Any], have: Sequence[Var], want: Sequence[Var]) -> list[Any]:
        """Give arrays the plates that the variables after a loop or branch have, and those inside have not."""
        spread = broadcast_plates if self.staged else _repeated
        found = zip(arrays, have, want, strict=True)
        return [x if h.plates == w.plates else spread(x, h, w) for x, h, w in found]


def remembered(
    owner: Any, what: Hashable, operands: Sequence[Any], compute: Callable[[list[np.ndarray]], list[Any]]
) -> list[Any]:
    """Compute arrays from arrays, once for operands of these contents: `owner` and `what` stand for the function.

    An enumeration runs a program again for every path, and paths share almost all of their operands. Operands of more
    than `LARGEST` elements, or of objects, are computed every time.
    """
    arrays = [np.asarray(x) for x in operands]
    contents: list[Hashable] = [what]
    for x in arrays:
        if x.size > LARGEST or x.dtype.hasobject:
            return compute(arrays)
        contents += x.tobytes(), x.dtype.char, x.shape
    known, key = cache_of(owner), tuple(contents)
    found: list[Any] | None = known.get(key)
    if found is None:
        if len(known) >= REMEMBERED:
            known.clear()
        found = known[key] = [np.asarray(x) for x in compute(arrays)]
        for result in found:
            result.flags.writeable = False
    return found


def _here(address: Any) -> Any:
    place = surroundings()
    return (*place.scopes, *address, *place.indices)


def _over(node: Det, operands: Sequence[Any]) -> list[Any]:
    """Evaluate once per element of the plates, in plain Python, and stack."""
    if not node.plates:
        return [np.array(x) for x in evaluate(node.function, operands)]
    sizes = [plate.size for plate in node.plates]
    lanes = []
    for cell in np.ndindex(*sizes):
        at = dict(zip(node.plates, cell, strict=True))
        own = [x[tuple(at.get(p, slice(None)) for p in v.plates)] for x, v in zip(operands, node.ins, strict=True)]
        lanes.append(evaluate(node.function, own))
    return [np.stack(column).reshape((*sizes, *np.shape(column[0]))) for column in zip(*lanes, strict=True)]


def _aligned(array: Any, have: Var, want: Var) -> np.ndarray:
    """Give an array an axis of size one for each plate that it lacks."""
    return np.asarray(array)[tuple(slice(None) if p in have.plates else None for p in want.plates)]


def _repeated(array: Any, have: Var, want: Var) -> np.ndarray:
    return np.broadcast_to(_aligned(array, have, want), want.full_shape)


def _selected(index: Var, out: Var, array: Any, *arms: Any) -> np.ndarray:
    """Take each lane's value from the arm that it runs."""
    which = _aligned(array, index, out)
    which = which.reshape(which.shape + (1,) * len(out.shape))
    return np.choose(np.broadcast_to(which, out.full_shape), arms)
