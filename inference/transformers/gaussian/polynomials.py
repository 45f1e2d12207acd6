"""Polynomials: what an operation makes of values that are polynomials of a few numbers, coefficient by coefficient.

Law: the coefficients of a result are those of the operation, up to the second power; what is not seen to keep that is
refused (`NotWritten`). A part of a coefficient that is zero but at one place of an axis, as the derivative of a vector
by one of its elements, is held at that place alone, so that a sum along the axis is a sum of what moves.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.distributions.short_roots import SHORT
from lawful.form import Branch, Det, Form, Loop, Site, Var
from lawful.form.fold import Fold
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import called, unfold

type Key = tuple[int, ...]  # the numbers that a coefficient belongs to, in order
type Shape = tuple[int, ...]
type Place = tuple[tuple[int, int], ...]  # axes along which a part is zero but at one index, with that index
type Parts = dict[Key, dict[Place, Any]]  # the parts of each coefficient, which add up to it


class NotWritten(Exception):
    """An operation is not seen to keep polynomials of the second power."""


@dataclass(frozen=True, eq=False)
class Poly:
    """A value by its coefficients; one that is not there is zero."""

    shape: Shape
    parts: Parts

    def entries(self) -> Iterator[tuple[Key, Place, Any]]:
        """Give all parts."""
        return ((key, at, part) for key, pieces in self.parts.items() for at, part in pieces.items())

    def dense(self, key: Key) -> Any:
        """Give a coefficient as an array; None where it is zero."""
        return total([_spread(part, at, self.shape) for at, part in self.parts.get(key, {}).items()])

    def numbers(self, index: tuple[int, ...], lead: int) -> dict[Key, Any]:
        """Give the coefficients at an index of what comes after some leading axes; those that are zero are left out."""
        found = {}
        for key, pieces in self.parts.items():
            own = []
            for at, part in pieces.items():
                places = dict(at)
                if all(places.get(lead + d, i) == i for d, i in enumerate(index)):
                    own.append(part[(..., *(0 if lead + d in places else i for d, i in enumerate(index)))])
            if own:
                found[key] = total(own)
        return found


class Polynomials(Fold[Any]):
    """Gives values their coefficients; a value that no noise reaches is an array, and is cut into parts once."""

    def __init__(self) -> None:
        self.cuts: dict[tuple[int, int], tuple[Any, Sequence[Any]]] = {}

    def constant(self, variable: Var, array: Any) -> Any:
        """Give the array."""
        return array

    def det(self, node: Det, ins: list[Any]) -> Sequence[Any]:
        """Apply a function: one that no number reaches as it is, others operation by operation."""
        function: Any = node.function
        if not any(isinstance(x, Poly) for x in ins):
            return list(function(*ins))
        if not isinstance(function, Equation):
            shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in node.ins]
            return self(unfold(function, *shapes, opened=False, loops=True), ins)
        if function.row.compares and len(ins) == 2 and ins[0] is ins[1]:
            return list(function(np.zeros(ins[0].shape), np.zeros(ins[0].shape)))  # which asks whether it is a number
        operands = function.operands(ins, lambda literal: np.asarray(literal[0], literal[1]))
        if function.is_call:
            if function.row.brings:
                raise NotWritten(function.label)
            return self(called(function), operands)
        if (ranges := function.ranges) is not None:
            return [functools.reduce(_between, own.items(), ins[0]) for own in ranges]
        if len(node.outs) != 1:
            raise NotWritten(function.name)
        return [self.operation(function.bare, operands, tuple(node.outs[0].shape))]

    def site(self, node: Site, ins: list[Any]) -> Any:
        """Refuse a site, which is no function."""
        raise NotWritten("site")

    def loop(self, node: Loop, ins: list[Any]) -> Sequence[Any]:
        """Run a loop that no number reaches."""
        return _as_it_is(node, ins)

    def branch(self, node: Branch, index: Any, operands: list[Any]) -> Sequence[Any]:
        """Run a choice that no number reaches."""
        return _as_it_is(node, [index, *operands])

    def operation(self, equation: Equation, operands: list[Any], shape: Shape) -> Poly:
        """Apply one operation, some of whose operands are polynomials."""
        varies = [isinstance(x, Poly) for x in operands]
        if equation.power == 2.0:
            return self.product(equation, operands[0], operands[0], shape)
        if (equation.multiplies or equation.contraction is not None) and all(varies):
            return self.product(equation, operands[0], operands[1], shape)
        if equation.joins:
            return _joined(equation, operands, shape)
        if not (equation.stands or equation.contraction is not None or equation.linear(varies)):
            raise NotWritten(equation.name)
        if equation.row.signs is not None:
            return _sum(equation.row.signs, operands, shape)
        if equation.chooses:
            operands = [operands[0], *(x if isinstance(x, Poly) else _lifted(x) for x in operands[1:])]
        moving = [i for i, x in enumerate(operands) if isinstance(x, Poly)]
        found: Parts = {}
        for key, at in dict.fromkeys((key, at) for i in moving for key, at, _ in operands[i].entries()):
            own = [x.parts.get(key, {}).get(at) if isinstance(x, Poly) else x for x in operands]
            _add(found, key, *self.applied(equation, own, [np.shape(x) for x in operands], moving, at, shape))
        return Poly(shape, found)

    def product(self, equation: Equation, left: Poly, right: Poly, shape: Shape) -> Poly:
        """Multiply two values; a square has each pair of its parts once."""
        found: Parts = {}
        matrix = equation.contraction is not None
        square = left is right and not matrix
        for i, (key, at, a) in enumerate(left.entries()):
            for j, (with_key, with_at, b) in enumerate(right.entries()):
                if (square and j < i) or (not matrix and any(dict(at).get(axis, k) != k for axis, k in with_at)):
                    continue
                if len(key) + len(with_key) > 2:
                    raise NotWritten("a third power")
                place: Place = ()
                if matrix:
                    part = equation(_spread(a, at, left.shape), _spread(b, with_at, right.shape))[0]
                else:
                    place = tuple(sorted({*at, *with_at}))
                    part = self.part(a, _others(with_at, at)) * self.part(b, _others(at, with_at))
                _add(found, tuple(sorted((*key, *with_key))), place, 2.0 * part if square and j > i else part)
        return Poly(shape, found)

    def applied(
        self, equation: Equation, operands: list[Any], shapes: list[Shape], moving: list[int], at: Place, shape: Shape
    ) -> tuple[Place, Any]:
        """Apply an operation that is linear in parts that move together, all at one place; what is None is zero."""
        reads, left = list[Any](), list[tuple[int, int]]()
        held, slices = dict(at), [dict[int, int]() for _ in operands]
        for axis, i in at:
            known = [(d, equation.axes_read(shapes, shape, d)) for d in range(len(shape))]
            follows = [(d, read) for d, read in known if read is not None and all(read[m] == axis for m in moving)]
            if follows:
                reads.append(follows[0][1])
                left.append((follows[0][0], i))
                for m, own in enumerate(follows[0][1]):
                    slices[m] |= {} if own is None else {own: i}
            elif equation.contraction is not None and axis in equation.contraction[0][moving[0]]:
                own, across = equation.contraction[0][moving[0]], equation.contraction[0][1 - moving[0]]
                slices[1 - moving[0]][across[own.index(axis)]] = i
            elif not equation.row.totals or axis not in equation.axes:
                operands = [_spread(x, ((axis, i),), shapes[m]) if m in moving else x for m, x in enumerate(operands)]
                del held[axis]
        dtype = next(operands[m].dtype for m in moving if operands[m] is not None)
        for m, x in enumerate(operands):
            if m not in moving:
                operands[m] = self.part(x, slices[m])
            elif x is None:
                operands[m] = jnp.zeros([1 if a in held else n for a, n in enumerate(shapes[m])], dtype)
        small = equation.smaller([d for d, _ in left], reads) if left else equation
        return tuple(sorted(left)), small(*operands)[0]

    def part(self, x: Any, at: Mapping[int, int]) -> Any:
        """Read one index of some axes, which stay; a number is what it is."""
        for axis, i in at.items() if np.ndim(x) else ():
            if (n := np.shape(x)[axis]) > SHORT:
                x = jax.lax.slice_in_dim(x, i, i + 1, axis=axis)
            elif n > 1:  # the reverse pass joins what the parts get in one piece of work
                if (id(x), axis) not in self.cuts:
                    self.cuts[id(x), axis] = x, jax.lax.split(x, (1,) * n, axis=axis)
                x = self.cuts[id(x), axis][1][i]
        return x


def _as_it_is(node: Loop | Branch, ins: Sequence[Any]) -> list[Any]:
    if any(isinstance(x, Poly) for x in ins):
        raise NotWritten("noises enter a loop or a choice")
    given = dict(zip(node.ins, ins, strict=True))
    return list(emit(Form(tuple(given), (node,), node.outs))(jax.random.key(0), *given.values())[0])


def _between(value: Poly, along: tuple[int, range]) -> Poly:
    """Give a slice along an axis."""
    axis, places = along
    shape = tuple(len(places) if a == axis else n for a, n in enumerate(value.shape))
    if shape == value.shape:
        return value
    found: Parts = {}
    for key, at, part in value.entries():
        own = dict(at)
        if axis not in own:
            _add(found, key, at, jax.lax.slice_in_dim(part, places.start, places.stop, places.step, axis))
        elif (i := own.pop(axis)) in places:
            own |= {axis: places.index(i)} if len(places) > 1 else {}
            _add(found, key, tuple(sorted(own.items())), part)
    return Poly(shape, found)


def _joined(equation: Equation, operands: Sequence[Any], shape: Shape) -> Poly:
    """Put values one after the other along an axis: what one adds is zero but at its own place."""
    (axis,), first = equation.axes, 0
    found: Parts = {}
    for x in operands:
        for key, at, part in (x if isinstance(x, Poly) else _lifted(x)).entries():
            if equation.stacks:
                part, at = jnp.expand_dims(part, axis), tuple((a + (a >= axis), i) for a, i in at)
            own = dict(at)
            if axis in own:
                _add(found, key, tuple(sorted({**own, axis: own[axis] + first}.items())), part)
            elif part.shape[axis] == 1 < shape[axis]:
                _add(found, key, tuple(sorted({**own, axis: first}.items())), part)
            else:
                sides = [(0, 0, 0)] * part.ndim
                sides[axis] = (first, shape[axis] - first - part.shape[axis], 0)
                _add(found, key, at, jax.lax.pad(part, jnp.zeros((), part.dtype), sides))
        first += 1 if equation.stacks else np.shape(x)[axis] if not isinstance(x, Poly) else x.shape[axis]
    return Poly(shape, found)


def _lifted(array: Any) -> Poly:
    """Give a constant its coefficients; zeros have none."""
    if isinstance(array, np.ndarray) and not array.any():
        return Poly(array.shape, {})
    return Poly(array.shape, {(): {(): array}})


def _sum(signs: Sequence[int], operands: Sequence[Any], shape: Shape) -> Poly:
    found: Parts = {}
    for sign, x in zip(signs, operands, strict=True):
        for key, at, part in (x if isinstance(x, Poly) else _lifted(x)).entries():
            held = dict(at)
            whole = jnp.broadcast_to(part, [1 if a in held else n for a, n in enumerate(shape)])
            _add(found, key, at, whole if sign > 0 else -whole)
    return Poly(shape, found)


def _others(at: Place, known: Place) -> dict[int, int]:
    axes = dict(known)
    return {axis: i for axis, i in at if axis not in axes}


def _spread(part: Any, at: Place, shape: Sequence[int]) -> Any:
    """Put a part into zeros; one that is None stays so."""
    if not at or part is None:
        return part
    sides = [(0, 0, 0)] * np.ndim(part)
    for axis, i in at:
        sides[axis] = (i, shape[axis] - 1 - i, 0)
    return jax.lax.pad(part, jnp.zeros((), part.dtype), sides)


def _add(found: Parts, key: Key, at: Place, part: Any) -> None:
    pieces = found.setdefault(key, {})
    pieces[at] = pieces[at] + part if at in pieces else part


def total(terms: Sequence[Any]) -> Any:
    """Add up what is there; None where nothing is."""
    return functools.reduce(operator.add, terms) if terms else None
