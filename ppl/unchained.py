"""Unchained: loops whose carry never comes back to itself, computed for all steps at once.

Law: the results of a loop stay what they are. Where all choices are given, as in a density, what a step leaves to the
next is mostly a function of that step's own choices: a stack, shifted by one step, and no recursion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax

from .analysis import dependents, without_dead_code
from .block import Block
from .form import Det, Form, Loop, Var
from .lowering import unfold

MOST = 1 << 20  # numbers that the steps of a loop may hold together


def unchained(form: Form) -> Form:
    """Write the loops of a form whose steps need not wait for each other as loops without a carry.

    >>> import lawful, numpyro.distributions as dist
    >>> from lawful.interpose import score
    >>> def step(x, _):
    ...     x = lawful.sample("x", dist.Normal(x, 1.0))
    ...     return x, None
    >>> given = score(lawful.trace(lambda: lawful.scan(step, 0.0, None, length=5)[0])).form
    >>> [len(loop.init) for f in (given, unchained(given)) for loop in f.nodes if isinstance(loop, Loop)]
    [1, 0, 0]
    """
    block = Block()
    block.constants.extend(form.constants)
    for node in form.nodes:
        if isinstance(node, Loop) and _fits(node):
            body = _opened(node.body)
            order = _order(body, len(node.constants), len(node.init))
            if order is not None:
                _write(replace(node, body=body), order, block)
                continue
        block.nodes.append(node)
    return replace(form, nodes=tuple(block.nodes))


def _fits(node: Loop) -> bool:
    """Tell whether a loop has steps to spread out, nothing but pure functions in them, and few enough numbers."""
    values = [*node.body.inputs, *(v for inner in node.body.nodes for v in inner.outs)]
    return (
        bool(node.init)
        and node.length > 1
        and all(isinstance(inner, Det) for inner in node.body.nodes)
        and not any(v.plates for v in (*values, *node.ins))
        and node.length * sum(math.prod(v.shape) for v in values) <= MOST
    )


def _opened(body: Form) -> Form:
    """Write a body in single operations: the value of a site and its term come from one function, and read apart."""
    block, names = Block(), {v: v for v in body.inputs}
    for variable, array in body.constants:
        names[variable] = variable
        block.constants.append((variable, array))
    for node in body.nodes:
        assert isinstance(node, Det)
        operations = unfold(node.function, *(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in node.ins))
        names |= zip(node.outs, block.splice(operations, [names[v] for v in node.ins]), strict=True)
    return block.form(body.inputs, [names[v] for v in body.outputs])


def _order(body: Form, first: int, count: int) -> list[int] | None:
    """Order the carries so that each depends on those before it alone; None where they are chained."""
    reached = [dependents(body, [v]) for v in body.inputs[first : first + count]]
    needs = {i: {j for j in range(count) if body.outputs[i] in reached[j]} for i in range(count)}
    order: list[int] = []
    while len(order) < count:
        free = [i for i in range(count) if i not in order and needs[i] <= set(order)]
        if not free:
            return None
        order += free
    return order


@dataclass(frozen=True)
class Shift:
    """Puts the start of a carry before what the steps leave, and drops what the last step leaves.

    >>> Shift(False)(jax.numpy.array(0), jax.numpy.array([1, 2, 3]))[0].tolist()
    [0, 1, 2]
    """

    reverse: bool

    def __call__(self, first: jax.Array, left: jax.Array) -> tuple[jax.Array]:
        """Shift by one step."""
        row = jax.lax.expand_dims(first, (0,))
        return (jax.lax.concatenate([left[1:], row] if self.reverse else [row, left[:-1]], 0),)


@dataclass(frozen=True)
class Last:
    """What the last step leaves."""

    reverse: bool

    def __call__(self, left: jax.Array) -> tuple[jax.Array]:
        """Read."""
        return (left[0 if self.reverse else -1],)


def _write(node: Loop, order: Sequence[int], block: Block) -> None:
    body, count = node.body, len(node.init)
    first = len(node.constants)
    carries, own = body.inputs[first : first + count], body.inputs[first + count :]
    known: dict[Var, Var] = {}  # a carry inside the body -> the stack of what the steps begin with

    def run(outputs: Sequence[Var], stacks: Sequence[Var]) -> None:
        """Append a loop over what is known, without a carry, that gives some outputs of the body."""
        inputs = (*body.inputs[:first], *known, *own)
        inner = without_dead_code(replace(body, inputs=inputs, outputs=tuple(outputs)))
        xs = (*known.values(), *node.xs)
        block.nodes.append(
            Loop(inner, node.length, node.constants, (), xs, (), tuple(stacks), node.reverse, addresses=())
        )

    for i in order:
        start, end = node.init[i], node.carry_out[i]
        left, begun = (Var((node.length, *start.shape), carries[i].dtype) for _ in range(2))
        run([body.outputs[i]], [left])
        block.nodes.append(Det(Shift(node.reverse), (start, left), (begun,), "shift"))
        block.nodes.append(Det(Last(node.reverse), (left,), (end,), "last"))
        known[carries[i]] = begun
    run(body.outputs[count:], node.ys)
