"""Elementwise: sums over the elements of a plate are taken apart, into one term for each element.

Law: the terms and the rest add up to the value, and the term of an element reads the data of that element alone. Both
follow from the operations: elements are followed along an axis to where they are summed, and what is done to a sum has
to be linear in it. Where no rule proves that, the elements may meet, which is refused (`Mixed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Branch, Det, Form, Loop, Node, Var
from lawful.form.builder import Block, renamed
from lawful.form.liveness import dependents, without_dead_code
from lawful.form.operations.equation import Equation, body_of
from lawful.form.operations.from_jaxpr import Reader, unfold

from .axes import Mixed, moved


@dataclass(frozen=True, eq=False)
class Along:
    """A value that has the elements along an axis."""

    value: Var
    axis: int


@dataclass(frozen=True, eq=False)
class Apart:
    """A sum over the elements, before it is taken: what each adds (elements, ...), and what depends on none."""

    terms: Var
    rest: Var | None = None


type Followed = Var | Along | Apart  # a value alone depends on no element
type Place = int | None | type[Apart]


def terms_apart(function: Callable[..., Any], operands: Sequence[Any], axes: Sequence[int | None]) -> Form:
    """Write a function that gives a list of sums over elements as one that gives their terms.

    Args:
        function: a pure function of arrays, which gives a list of arrays.
        operands: arrays, or their shapes and types.
        axes: for each operand the axis of the elements; None where it is the same for all of them.

    Returns: a form of the same inputs; its outputs are for each sum its terms (elements, ...), then its rest.

    Raises: Mixed where elements may meet.

    >>> form = terms_apart(lambda x, y: [jnp.sum(x * y) + x], [2.0, jnp.arange(3.0)], [None, 0])
    >>> from lawful.backends.xla import emit
    >>> [part.tolist() for part in emit(form)(jax.random.key(0), 2.0, jnp.arange(3.0))[0]]
    [[0.0, 2.0, 4.0], 2.0]
    """
    (size,) = {np.shape(x)[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None}
    whole = without_dead_code(unfold(function, *operands, opened=False, loops=True))
    walk = _Walk(size)
    inputs = tuple(v.like() for v in whole.inputs)
    outputs: Sequence[Followed]
    if size == 1:
        reached = dependents(whole, [v for v, axis in zip(whole.inputs, axes, strict=True) if axis is not None])
        outputs = [walk.of_one(v) if old in reached else v for old, v in walk.spliced(whole, inputs)]
    else:
        outputs = walk.form(whole, [v if a is None else Along(v, a) for v, a in zip(inputs, axes, strict=True)])
    parts = [v for value in outputs for v in walk.packed(walk.of_kind(value, Apart))]
    return without_dead_code(walk.block.form(inputs, parts))


def reads(function: Callable[..., Any], operands: Sequence[Any], axes: Sequence[int | None]) -> bool:
    """Tell whether what a function of arrays gives reads one that has elements; as `terms_apart`.

    >>> reads(lambda x, y: [x + y.shape[0]], [2.0, jnp.arange(3.0)], [None, 0])
    False
    """
    whole = without_dead_code(unfold(function, *operands, opened=False, loops=True))
    reached = dependents(whole, [v for v, axis in zip(whole.inputs, axes, strict=True) if axis is not None])
    return any(v in reached for v in whole.outputs)


class _Walk:
    """The walk over a form of operations, which writes each of them for the terms."""

    def __init__(self, size: int) -> None:
        self.size, self.block = size, Block()

    def form(self, form: Form, inputs: Sequence[Followed]) -> list[Followed]:
        """Walk a form."""
        known: dict[Var, Followed] = dict(zip(form.inputs, inputs, strict=True))
        for variable, array in form.constants:
            known[variable] = self.block.constant(array)
        for node in form.nodes:
            known |= zip(node.outs, self.node(node, [known[v] for v in node.ins]), strict=True)
        return [known[v] for v in form.outputs]

    def node(self, node: Node, values: Sequence[Followed]) -> Sequence[Followed]:
        """Write a node; one that no element reaches stays as it is."""
        if all(isinstance(value, Var) for value in values):
            return self.copied(node, values)
        if isinstance(node, Loop):
            return self.loop(node, values)
        if isinstance(node, Branch):
            return self.branch(node, values)
        assert isinstance(node, Det), "a function is made of operations alone"
        function: Any = node.function
        if isinstance(function, Equation) and not function.is_call:
            return self.operation(node, function.bare, function.operands(values, self.number))
        return self.call(node, values)

    def copied(self, node: Node, values: Sequence[Followed]) -> list[Var]:
        """Write a node as it is."""
        names = {v: _whole(value) for v, value in zip(node.ins, values, strict=True)}
        self.block.nodes.append(renamed(node, names))
        return [names[v] for v in node.outs]

    def number(self, literal: Sequence[Any]) -> Var:
        """Write a number of the program."""
        return self.block.constant(np.asarray(literal[0], literal[1]))

    def spliced(self, form: Form, inputs: Sequence[Var]) -> list[tuple[Var, Var]]:
        """Write a form as it is; give its outputs and what they are now."""
        return list(zip(form.outputs, self.block.splice(form, inputs), strict=True))

    def of_one(self, value: Var) -> Apart:
        """Give a value of the one element that there is: it is the sum over the elements."""
        return Apart(self.block.det(lambda x: x[None], value, label="alone"))

    # Functions.

    def call(self, node: Det, values: Sequence[Followed]) -> Sequence[Followed]:
        """Write what a function is made of where it sums elements; else the function, with the derivative it has."""
        function: Any = node.function
        if isinstance(function, Equation) and function.is_compensated_sum and isinstance(values[0], Apart):
            return [self.mapped(function, values[0])]
        if isinstance(function, Equation):
            inside = Reader(lambda operation: False, loops=True).form(body_of(function))
            operands = function.operands(values, self.number)
        else:
            types = [jax.ShapeDtypeStruct(_shape(v), _dtype(v)) for v in values]
            inside, operands = unfold(function, *types, opened=False, loops=True), list(values)
        before = len(self.block.nodes)
        found = self.form(without_dead_code(inside), operands)
        if any(isinstance(value, Apart) for value in found):
            return found
        del self.block.nodes[before:]
        results = self.copied(node, values)
        return [replace(f, value=v) if isinstance(f, Along) else v for f, v in zip(found, results, strict=True)]

    def mapped(self, function: Equation, value: Apart) -> Apart:
        """Apply a linear function of one array to the terms and to the rest."""
        terms = self.block.det(jax.vmap(lambda x: function(x)[0]), value.terms, label=function.label)
        rest = value.rest
        return Apart(terms, rest and self.block.det(lambda x: function(x)[0], rest, label=function.label))

    def operation(self, node: Det, equation: Equation, values: Sequence[Followed]) -> Sequence[Followed]:
        """Write one operation."""
        if any(isinstance(value, Apart) for value in values):
            return self.linear(equation, values)
        places = [value.axis if isinstance(value, Along) else None for value in values]
        whole = [_whole(value) for value in values]
        axes = [axis for axis in places if axis is not None]
        if equation.row.totals and axes[0] in equation.axes and len(node.outs[0].shape) < len(whole[0].shape):
            return [Apart(self.block.det(_Terms(equation.axes, axes[0]), *whole, label="terms"))]
        if equation.contraction is not None and any(a in c for a, c in zip(places, equation.contraction[0])):
            return [self.product(equation, whole, places)]
        shapes, flows = [v.shape for v in whole], [None if axis is None else (axis,) for axis in places]
        found = [moved(equation, shapes, flows, v.shape)[0] for v in node.outs]
        outs = self.block.det(equation, *whole, label=node.label)
        return [Along(v, axis) for v, axis in zip(outs, found, strict=True)]

    def linear(self, equation: Equation, values: Sequence[Followed]) -> list[Apart]:
        """Apply an operation that is linear in the sums among its operands, to the terms and to the rest."""
        apart = [isinstance(value, Apart) for value in values]
        if any(isinstance(value, Along) for value in values) or not equation.linear(apart):
            raise Mixed(f"'{equation.name}' reads a sum over them")
        together = [equation.linear([*apart[:k], True, *apart[k + 1 :]]) for k in range(len(apart))]
        zeros = [
            self.zeros(_shape(v), _dtype(v)) if own else _whole(v) for v, own in zip(values, together, strict=True)
        ]
        terms = [v.terms if isinstance(v, Apart) else zero for v, zero in zip(values, zeros, strict=True)]
        mapped = jax.vmap(equation, [0 if own else None for own in apart])
        found = self.block.det(mapped, *terms, label=equation.label)
        rests = [v.rest if isinstance(v, Apart) else _whole(v) for v in values]
        if all(rest is None or not own for rest, own in zip(rests, together, strict=True)):
            return [Apart(value) for value in found]
        filled = [zero if rest is None else rest for rest, zero in zip(rests, zeros, strict=True)]
        beside = self.block.det(equation, *filled, label=equation.label)
        return [Apart(*parts) for parts in zip(found, beside, strict=True)]

    def product(self, equation: Equation, whole: Sequence[Var], places: Sequence[int | None]) -> Apart:
        """Multiply arrays along the elements, without the sum over them."""
        sums = equation.contraction[0]
        k = next(k for k, own in enumerate(sums) if places[k] in own)
        pair = sums[k].index(places[k])
        if any(axis not in (None, own[pair]) for axis, own in zip(places, sums, strict=True)):
            raise Mixed(f"'{equation.name}' reads them at two different places")
        return Apart(self.block.det(equation.without_sum(pair), *whole, label=equation.label)[0])

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Var:
        """Write zeros."""
        return self.block.det(lambda: jnp.zeros(shape, dtype), label="zeros")

    # What is carried.

    def loop(self, node: Loop, values: Sequence[Followed]) -> list[Followed]:
        """Write a loop whose state may hold elements or sums over them, as what its steps add to them."""
        given = node.split(values)
        if any(isinstance(value, Along) and value.axis == 0 for value in given.xs):
            raise Mixed("each is read in a step of its own of a loop")
        kinds = [_kind(value) for value in given.carry]
        rows = [v.axis - 1 if isinstance(v, Along) else _kind(v) for v in given.xs]
        constants = [_kind(value) for value in given.constants]
        while True:
            inner, groups = _Walk(self.size), []
            inside = node.split(node.body.inputs)
            for own, variables in zip((constants, kinds, rows), inside, strict=True):
                groups.append([inner.fresh(v, kind) for v, kind in zip(variables, own, strict=True)])
            state, out = node.split_out(inner.form(node.body, [value for group in groups for value in group]))
            joined = [_joined(kind, _kind(value)) for kind, value in zip(kinds, state, strict=True)]
            if joined == kinds:
                break
            kinds = joined
        state = [inner.of_kind(value, kind) for value, kind in zip(state, kinds, strict=True)]
        ins = [[v for value in group for v in inner.packed(value)] for group in groups]
        outs = [v for value in (*state, *out) for v in inner.packed(value)]
        body = inner.block.form([v for group in ins for v in group], outs)
        carry = [self.of_kind(value, kind) for value, kind in zip(given.carry, kinds, strict=True)]
        stacks = [v for value in given.xs for v in self.packed(value, stacked=True)]
        last, ys = self.block.loop(
            body, node.length,
            [v for value in given.constants for v in self.packed(value)],
            [v for value in carry for v in self.packed(value)],
            stacks, node.reverse,
        )  # fmt: skip
        ends, stacked = iter(last), iter(ys)
        return [
            *(self.unpacked(ends, kind) for kind in kinds),
            *(self.unpacked(stacked, _kind(value), stacked=True) for value in out),
        ]

    def branch(self, node: Branch, values: Sequence[Followed]) -> list[Followed]:
        """Write the arms of a choice that no element decides."""
        index, *operands = values
        if not isinstance(index, Var):
            raise Mixed("a choice between arms reads them")
        walks = [_Walk(self.size) for _ in node.forms]
        ins, found = [], []
        for walk, arm in zip(walks, node.forms, strict=True):
            fresh = [walk.fresh(v, _kind(value)) for v, value in zip(arm.inputs, operands, strict=True)]
            ins.append([v for value in fresh for v in walk.packed(value)])
            found.append(walk.form(arm, fresh))
        kinds: list[Place] = [None] * len(node.outs)
        for outs in found:
            kinds = [_joined(kind, _kind(value)) for kind, value in zip(kinds, outs, strict=True)]
        arms = []
        for walk, own, outs in zip(walks, ins, found, strict=True):
            parts = [v for value, kind in zip(outs, kinds, strict=True) for v in walk.packed(walk.of_kind(value, kind))]
            arms.append(walk.block.form(own, parts))
        packed = [v for value in operands for v in self.packed(value)]
        results = iter(self.block.branch(index, arms, packed, arms[0].outputs))
        return [self.unpacked(results, kind) for kind in kinds]

    def fresh(self, like: Var, kind: Place) -> Followed:
        """Make a new value of a kind."""
        if isinstance(kind, type):
            return Apart(Var((self.size, *like.shape), like.dtype), like.like())
        return like.like() if kind is None else Along(like.like(), kind)

    def of_kind(self, value: Followed, kind: Place) -> Followed:
        """Give a value as one of a kind that says less of it."""
        if isinstance(kind, type):
            if isinstance(value, Along):
                raise Mixed("a value that has an element each is no sum over them")
            terms = value.terms if isinstance(value, Apart) else self.zeros((self.size, *value.shape), value.dtype)
            return Apart(terms, value.rest if isinstance(value, Apart) else value)
        return value if kind is None or isinstance(value, Along) else Along(_whole(value), kind)

    def packed(self, value: Followed, stacked: bool = False) -> list[Var]:
        """List the arrays of a value; `stacked`, with steps as first axis, they come in front of the elements."""
        if not isinstance(value, Apart):
            return [_whole(value)]
        rest = self.zeros(value.terms.shape[1:], value.terms.dtype) if value.rest is None else value.rest
        return [self.turned(value.terms) if stacked else value.terms, rest]

    def unpacked(self, arrays: Any, kind: Place, stacked: bool = False) -> Followed:
        """Read a value from an iterator over arrays."""
        if isinstance(kind, type):
            terms = next(arrays)
            return Apart(self.turned(terms) if stacked else terms, next(arrays))
        return next(arrays) if kind is None else Along(next(arrays), kind + stacked)

    def turned(self, terms: Var) -> Var:
        """Change the first two axes."""
        found: Var = self.block.det(lambda x: jnp.swapaxes(x, 0, 1), terms, label="turn")
        return found


@dataclass(frozen=True)
class _Terms:
    """A sum over axes without that over the elements, which come first."""

    axes: tuple[int, ...]
    axis: int

    def __call__(self, value: jax.Array) -> jax.Array:
        """Sum."""
        return jnp.sum(
            jnp.moveaxis(value, self.axis, 0), axis=tuple(a + (a < self.axis) for a in self.axes if a != self.axis)
        )


def _kind(value: Followed) -> Place:
    return Apart if isinstance(value, Apart) else value.axis if isinstance(value, Along) else None


def _joined(one: Place, other: Place) -> Place:
    """Say what two values are that stand in one place."""
    if one is None or one == other:
        return other
    if other is None:
        return one
    raise Mixed("they stand at two different places in what a loop or a choice gives")


def _whole(value: Followed) -> Var:
    assert not isinstance(value, Apart)
    return value.value if isinstance(value, Along) else value


def _shape(value: Followed) -> tuple[int, ...]:
    return value.terms.shape[1:] if isinstance(value, Apart) else _whole(value).shape


def _dtype(value: Followed) -> Any:
    return value.terms.dtype if isinstance(value, Apart) else _whole(value).dtype
