"""Unchain loops: the work of a loop that need not wait for the step before, done for all steps at once.

Law: the results of a loop stay what they are. Where all choices are given, as in a density, what a step leaves to the
next is mostly a function of that step's own choices: a stack, shifted by one step, and no recursion. Where it is a
recursion, as the forward pass over hidden states, the recursion alone stays a loop: what is equal in all steps is
computed once, what the recursion reads and what is read from it for all steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from ..form import Det, Factor, Form, Loop, Node, Site, Var, walk
from ..form.builder import Block, Tupled, renamed
from ..form.liveness import dependents, without_dead_code
from ..form.operations.device import device_array
from ..form.operations.equation import Equation, identity, is_plain_call
from ..form.operations.from_jaxpr import unfold
from ..form.operations.stacks import Row
from ..form.pipeline import Pass, keeps
from .xla import DEFAULT, apply_det, run_nodes

MOST = 1 << 20  # numbers that the steps of a loop may hold together
SMALL = 1 << 10  # numbers of a value that is computed when the form is written


@keeps("the outputs and the weight")
def unchained(form: Form) -> Form:
    """Write the loops of a form so that no step waits for another but where it reads what that leaves.

    >>> import lawful, numpyro.distributions as dist
    >>> from lawful.passes.thread_sites import score
    >>> def step(x, _):
    ...     x = lawful.sample("x", dist.Normal(x, 1.0))
    ...     return x, None
    >>> given = score(lawful.trace(lambda: lawful.scan(step, 0.0, None, length=5)[0])).form
    >>> [len(loop.init) for f in (given, unchained(given)) for loop in f.nodes if isinstance(loop, Loop)]
    [1, 0]
    """
    if not any(map(_fits, form.nodes)):
        return form
    block, known = Block(), _known(form)
    block.constants.extend(form.constants)
    for node in form.nodes:
        if _fits(node):
            _write(_settled(node, known, block), block)
        else:
            block.nodes.append(node)
    written = replace(form, nodes=tuple(block.nodes), constants=tuple(block.constants))
    known = _known(written)
    return replace(written, nodes=tuple(_read_in_order(node, known) for node in written.nodes))


UNCHAINED: tuple[Pass, ...] = (without_dead_code, unchained, *DEFAULT)  # where all choices are given


def _fits(node: Node) -> TypeGuard[Loop]:
    """Tell whether a node is a loop that has steps to spread out, and nothing but pure functions in them."""
    return (
        isinstance(node, Loop)
        and bool(node.init)
        and node.length > 1
        and not any(isinstance(inner, Site | Factor) for inner in walk(node.body))
        and not any(v.plates for v in (*node.body.inputs, *node.body.outputs, *node.ins))
    )


def _known(form: Form) -> dict[Var, Any]:
    """Find the values that no input reaches."""
    with jax.ensure_compile_time_eval():
        known = {v: device_array(array) for v, array in form.constants if np.size(array) <= SMALL}
        for node in form.nodes:
            small = sum(math.prod(v.full_shape) for v in node.outs) <= SMALL
            if isinstance(node, Det) and small and all(v in known for v in node.ins):
                known |= zip(node.outs, apply_det(node, [known[v] for v in node.ins]), strict=True)
    return known


def _read_in_order(node: Node, known: Mapping[Var, Any]) -> Node:
    """Read a stretch of an array as it stands, where it is known to be one: XLA would read element by element.

    So it is where a row is read for each value of a summed site. Which elements are read is told by their numbers.
    """
    function = node.function if isinstance(node, Det) else None
    function = function.function if isinstance(function, Tupled) else function
    if not (isinstance(node, Det) and isinstance(function, Equation) and function.reads_windows):
        return node
    array, *places = node.ins
    size = math.prod(array.shape)
    if array in known or array.plates or size > MOST or not all(v in known for v in places):
        return node
    with jax.ensure_compile_time_eval():
        (read,) = apply_det(node, [jnp.arange(size).reshape(array.shape), *(known[v] for v in places)])
        found = np.asarray(read)
    first = int(found.flat[0]) if found.size else 0
    if not np.array_equal(found.ravel(), np.arange(first, first + found.size)):
        return node
    return replace(node, function=Stretch(first, found.shape), ins=(array,), plates=())


def _settled(node: Loop, known: Mapping[Var, Any], block: Block) -> Loop:
    """Open a body into single operations, and write those that are equal in all steps before the loop.

    The value of a site and its term come from one function, and are read apart; a carry that is one constant is none.
    """
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in node.body.inputs]
    body = unfold(lambda *inputs: run_nodes(node.body, inputs, {})[0], *shapes, opened=is_plain_call)
    first, count = len(node.constants), len(node.init)
    carries, own = body.inputs[first : first + count], _known(body)
    names = dict(zip(body.inputs, node.constants, strict=False))
    left = []
    for i, (carry, start, out) in enumerate(zip(carries, node.init, node.carry_out, strict=True)):
        if start in known and body.outputs[i] in own and np.array_equal(known[start], own[body.outputs[i]]):
            names[carry] = start
            block.nodes.append(Det(identity, (start,), (out,), "carry"))
        else:
            left.append(i)
    moving = dependents(body, [v for v in body.inputs if v not in names])
    for variable, array in body.constants:
        names[variable] = variable
        block.constants.append((variable, array))
    inside = []
    for inner in body.nodes:
        if moving.isdisjoint(inner.ins):
            block.nodes.append(renamed(inner, names))
        else:
            inside.append(inner)
    outputs = (*(body.outputs[i] for i in left), *body.outputs[count:])
    read = dict.fromkeys(v for v in (*(v for inner in inside for v in inner.ins), *outputs) if v in names)
    inputs = (*read, *(carries[i] for i in left), *body.inputs[first + count :])
    return replace(
        node,
        body=Form(inputs, tuple(inside), outputs),
        constants=tuple(names[v] for v in read),
        init=tuple(node.init[i] for i in left),
        carry_out=tuple(node.carry_out[i] for i in left),
    )


def _groups(body: Form, first: int, count: int) -> list[list[int]]:
    """Group the carries that read each other, each group after those that it reads."""
    reached = [dependents(body, [v]) for v in body.inputs[first : first + count]]
    reads = [{j for j in range(count) if body.outputs[i] in reached[j]} for i in range(count)]
    for _ in range(count):  # what is read by what is read
        reads = [found.union(*(reads[j] for j in found)) for found in reads]
    groups: list[list[int]] = []
    for i in sorted(range(count), key=lambda i: len(reads[i])):
        same = next((group for group in groups if i in reads[group[0]] and group[0] in reads[i]), None)
        if same is None:
            groups.append([i])
        else:
            same.append(i)
    return groups


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
class Stretch:
    """Reads elements that follow each other as an array of a given shape.

    >>> Stretch(1, (2, 1))(jax.numpy.arange(6).reshape(3, 2))[0].tolist()
    [[1], [2]]
    """

    first: int
    shape: tuple[int, ...]

    def __call__(self, array: jax.Array) -> tuple[jax.Array]:
        """Read."""
        return (array.ravel()[self.first : self.first + math.prod(self.shape)].reshape(self.shape),)


def _write(node: Loop, block: Block) -> None:
    """Write a loop whose body reads nothing twice: a loop for each recursion, the rest for all steps at once."""
    body, count, first = node.body, len(node.init), len(node.constants)
    numbers = sum(math.prod(v.shape) for v in (*body.inputs, *(v for inner in body.nodes for v in inner.outs)))
    if node.length * numbers > MOST:
        block.nodes.append(node)
        return
    fixed, carries, own = body.inputs[:first], body.inputs[first : first + count], body.inputs[first + count :]
    makers = {v: inner for inner in body.nodes for v in inner.outs}
    stacks = dict(zip(own, node.xs, strict=True))  # a value of a step -> that of all steps

    def stacked(values: Iterable[Var]) -> dict[Var, Var]:
        return {v: Var((node.length, *v.shape), v.dtype) for v in values}

    def spread(values: Sequence[Var]) -> list[Var]:
        """Append what is missing of some values, for all steps at once."""
        new = stacked(u for v in values if v not in stacks for u in (makers[v].outs if v in makers else (v,)))
        if new:
            inner = tuple(n for n in body.nodes if stacks.keys().isdisjoint(n.outs))
            step = without_dead_code(Form((*fixed, *stacks), inner, tuple(new)))
            ins = node.constants, (), tuple(stacks.values())
            block.nodes.append(Loop(step, node.length, *ins, (), tuple(new.values()), node.reverse, addresses=()))
        found = stacks | new
        stacks.update((v, stack) for v, stack in new.items() if v not in fixed)
        return [found[v] for v in values]

    for group in _groups(body, first, count):
        begun, left = [carries[i] for i in group], [body.outputs[i] for i in group]
        chained = dependents(body, begun)
        told_last = not chained.isdisjoint(left)
        if not told_last:
            kept = spread(left)
        else:
            core = [n for n in without_dead_code(replace(body, outputs=tuple(left))).nodes if chained & {*n.ins}]
            made = {v for n in core for v in n.outs}
            read = [v for n in core for v in n.ins] + left
            read = [v for v in dict.fromkeys(read) if v not in made and v not in begun and v not in fixed]
            spread(read)
            # What others read of the recursion is kept, and not computed again.
            others = [v for n in body.nodes if n not in core for v in n.ins] + list(body.outputs)
            told = stacked(u for v in others if v in made for u in makers[v].outs)
            kept = list(stacked(begun).values())
            block.nodes.append(
                Loop(
                    Form((*fixed, *begun, *read), tuple(core), (*left, *left, *told)), node.length, node.constants,
                    tuple(node.init[i] for i in group), tuple(stacks[v] for v in read),
                    tuple(node.carry_out[i] for i in group), (*kept, *told.values()), node.reverse,
                )
            )  # fmt: skip
            stacks |= told
        for i, carry, stack in zip(group, begun, kept, strict=True):
            stacks[carry] = Var((node.length, *carry.shape), carry.dtype)
            block.nodes.append(Det(Shift(node.reverse), (node.init[i], stack), (stacks[carry],), "shift"))
            if not told_last:
                last = Row(0 if node.reverse else node.length - 1)
                block.nodes.append(Det(last, (stack,), (node.carry_out[i],), "last"))
    for stack, out in zip(spread(body.outputs[count:]), node.ys, strict=True):
        block.nodes.append(Det(identity, (stack,), (out,), "steps"))
