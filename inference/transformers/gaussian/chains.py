"""Chains: normal noises that a loop reads step by step, and their log density as what its steps weigh.

Law: the density of the program is that of a chain where a step's next state is linear in its state and noises, and the
rest is a sum over the steps of quadratic forms of them. Both are proved from the operations, as for noises at the top
level of a program (`quadratic_forms`); what has another structure is no chain.

What moves with the noises is told from what does not: a state that holds the label of a regime, say, is carried along
as it is, and known before the noises are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.backends.xla import emit
from lawful.form import Form, Loop, Var
from lawful.form.builder import Tupled
from lawful.form.liveness import dependents, without_dead_code
from lawful.form.operations.compensated_sum import over_steps
from lawful.form.operations.from_jaxpr import unfold
from lawful.form.rewriting import with_operations

from ...summing.axes import SUM, Mixed, flow
from ...summing.elementwise import terms_apart
from .quadratic_forms import POWERS, Shape, has_powers, moved

AFFINE = frozenset(power for power in POWERS if power <= 1)

type Arrays = list[jax.Array]


class Point(NamedTuple):
    """Where the density is asked, each step from a state of its own; all have the lanes before their last axis.

    Attributes:
        states: the numbers that move with the noises, before each step (T, *lanes, n).
        noises: of the steps (T, *lanes, m).
        last: the state after the last step (*lanes, n).
        before: the noises before the loop (*lanes, p).
    """

    states: jax.Array
    noises: jax.Array
    last: jax.Array
    before: jax.Array


@dataclass(frozen=True, eq=False)
class Chain:
    """A log density of noises that one loop reads.

    Attributes:
        loop: the loop, whose rows hold the noises of the steps.
        start: from the noises before it and the operands to what it reads: constants, state, rows.
        rest: from the noises before it, what it gives and the operands to the log density.
        shapes: of all noises, those of the steps with the steps first.
        rows: for each of them its place among the rows of the loop; None for a noise before it.
        moving: which values of the state move with the noises.
        operands: shapes and types of what else the density reads.
        lanes: of chains side by side that do not meet, as the series of a plate: their number, or nothing.
    """

    loop: Loop
    start: Form
    rest: Form
    shapes: tuple[Shape, ...]
    rows: tuple[int | None, ...]
    moving: tuple[int, ...]
    operands: tuple[jax.ShapeDtypeStruct, ...]
    lanes: Shape = ()

    @classmethod
    def of(cls, form: Form, noises: int) -> Chain | None:
        """Find the chain in a log density, a form of noises and operands; None where none is seen."""
        found = cls.read(form, noises)
        return found._in_lanes() if found is not None and found._is_linear() and found._is_apart() else None

    @classmethod
    def read(cls, form: Form, noises: int) -> Chain | None:
        """Find the loop that reads the noises of a form, whatever it does with them."""
        own, operands = form.inputs[:noises], form.inputs[noises:]
        moving = dependents(form, own)
        loops = [node for node in form.nodes if isinstance(node, Loop) and not moving.isdisjoint(node.ins)]
        if len(loops) != 1 or loops[0].plates:
            return None
        (loop,) = loops
        rows = tuple(loop.xs.index(v) if v in loop.xs else None for v in own)
        stepwise = {v for v, row in zip(own, rows, strict=True) if row is not None}
        others = [v for v in loop.xs if v not in stepwise]
        elsewhere = {v for node in form.nodes if node is not loop for v in node.ins} | {*loop.constants, *loop.init}
        if not stepwise or len(loop.xs) - len(others) != len(stepwise):
            return None
        if not stepwise.isdisjoint(elsewhere) or not moving.isdisjoint(others):
            return None
        before, read = [v for v in own if v not in stepwise], (*loop.constants, *loop.init, *others)
        start = without_dead_code(replace(form, inputs=(*before, *operands), outputs=read))
        nodes = tuple(node for node in form.nodes if node is not loop)
        rest = without_dead_code(replace(form, inputs=(*before, *loop.outs, *operands), nodes=nodes))
        types = tuple(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in operands)
        return cls(loop, start, rest, tuple(v.shape for v in own), rows, _moving_state(loop, moving), types)

    @cached_property
    def stacked(self) -> tuple[Var, ...]:
        """What the density reads of what the loop stacks."""
        read = {v for node in self.rest.nodes for v in node.ins}
        return tuple(v for v in self.loop.ys if v in read)

    # How values are laid out.

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of a lane: of the state that move, of the noises of a step, and of the noises before the loop."""
        state = sum(math.prod(self.loop.init[i].shape) for i in self.moving)
        own = [math.prod(shape) for shape in self.shapes]
        before = sum(size for size, row in zip(own, self.rows, strict=True) if row is None)
        each = math.prod(self.lanes)
        return state // each, (sum(own) - before) // (self.loop.length * each), before // each

    def noises(self, before: jax.Array, steps: jax.Array) -> Arrays:
        """Cut numbers into the noises: those before the loop (*lanes, p), and those of the steps (T, *lanes, m)."""
        lead = len(self.lanes)
        early = iter(cut(before, [s for s, row in zip(self.shapes, self.rows, strict=True) if row is None], lead))
        rest = iter(cut(steps, [s for s, row in zip(self.shapes, self.rows, strict=True) if row is not None], lead + 1))
        return [next(early if row is None else rest) for row in self.rows]

    def parts(self, moving: jax.Array, still: Arrays, lead: int) -> Arrays:
        """Cut the numbers of states into the values of the loop, with those that do not move."""
        before = moving.shape[:lead]
        shapes = [(*before, *self.loop.init[i].shape) for i in self.moving]
        found, rest = iter(cut(moving, shapes, lead + len(self.lanes))), iter(still)
        return [next(found if i in self.moving else rest) for i in range(len(self.loop.init))]

    def split(self, states: Sequence[jax.Array], lead: int) -> tuple[jax.Array, Arrays]:
        """Take the numbers that move out of states with some leading axes."""
        none = jnp.zeros((*(self.loop.length,) * lead, *self.lanes, 0))  # of steps that are apart
        lead += len(self.lanes)
        flat = [states[i].reshape(*states[i].shape[:lead], -1) for i in self.moving]
        return jnp.concatenate(flat or [none], -1), [x for i, x in enumerate(states) if i not in self.moving]

    # What it computes.

    def reads(self, before: jax.Array, steps: jax.Array, operands: Sequence[Any]) -> tuple[Arrays, Arrays, Arrays]:
        """Give what the loop reads: constants, state, rows."""
        noises = self.noises(before, steps)
        early = [x for x, row in zip(noises, self.rows, strict=True) if row is None]
        found = emitted(self.start)(*early, *operands)
        first, count = len(self.loop.constants), len(self.loop.init)
        constants, init, others = found[:first], found[first : first + count], found[first + count :]
        own = {row: x for x, row in zip(noises, self.rows, strict=True) if row is not None}
        rest = iter(others)
        return constants, init, [own[i] if i in own else next(rest) for i in range(len(self.loop.xs))]

    def first(self, before: jax.Array, operands: Sequence[Any]) -> jax.Array:
        """Give the numbers of the first state that move (*lanes, n)."""
        steps = jnp.zeros((self.loop.length, *self.lanes, self.sizes[1]), before.dtype)
        return self.split(self.reads(before, steps, operands)[1], 0)[0]

    def walk(self, before: jax.Array, steps: jax.Array, operands: Sequence[Any]) -> tuple[Point, Any]:
        """Run the loop; gives the point, and what does not move, before each step and after the last."""
        constants, init, rows = self.reads(before, steps, operands)
        body, count = emitted(self.loop.body), len(init)

        def step(state: Arrays, row: Arrays) -> tuple[Arrays, Arrays]:
            return body(*constants, *state, *row)[:count], state

        last, states = jax.lax.scan(step, init, rows, reverse=self.loop.reverse)
        (moving, still), (after, ended) = self.split(states, 1), self.split(last, 0)
        return Point(moving, steps, after, before), (still, ended)

    def apart(self, point: Point, still: Any, operands: Sequence[Any]) -> tuple[jax.Array, jax.Array]:
        """Give the log density, and the states that the steps lead to, each from a state of its own (T, *lanes, n)."""
        (weight, *_), after = self.outputs(point, still, operands)
        return weight, after

    def outputs(self, point: Point, still: Any, operands: Sequence[Any]) -> tuple[Arrays, jax.Array]:
        """Give what the form returns, and the states that the steps lead to, each from a state of its own."""
        after, given = self._stepped(point, still, operands)
        return self._returned(point.last, given, point.before, still, operands), self.split(after, 1)[0]

    def terms(self, point: Point, still: Any, operands: Sequence[Any]) -> tuple[jax.Array, jax.Array]:
        """Give the log density by step: what belongs to none, and the terms of the steps (T,)."""
        weight, arguments, rows = self._weight_of_stacks()
        given = self._stepped(point, still, operands)[1]
        stacked = [x for x, v in zip(given, self.loop.ys, strict=True) if v in self.stacked]
        values = [*stacked, point.last, point.before, *jax.tree.leaves((still, list(operands)))]
        if not rows:
            return weight(*values), jnp.zeros(self.loop.length)
        apart = terms_apart(_listed(weight), arguments, [0] * len(rows) + [None] * (len(arguments) - len(rows)))
        terms, rest = emitted(apart)(*values)
        return rest, terms

    def _stepped(self, point: Point, still: Any, operands: Sequence[Any]) -> tuple[Arrays, Arrays]:
        """Take each step from a state of its own: the states after them, and what the loop stacks."""
        constants, _, rows = self.reads(point.before, point.noises, operands)
        state, body = self.parts(point.states, still[0], 1), emitted(self.loop.body)
        outs = jax.vmap(lambda state, row: body(*constants, *state, *row))(state, rows)
        return outs[: len(state)], outs[len(state) :]

    def _returned(
        self, last: jax.Array, given: Sequence[jax.Array], before: jax.Array, still: Any, operands: Any
    ) -> Arrays:
        steps = jnp.zeros((self.loop.length, *self.lanes, self.sizes[1]), before.dtype)
        early = [x for x, row in zip(self.noises(before, steps), self.rows, strict=True) if row is None]
        return emitted(self.rest)(*early, *self.parts(last, still[1], 0), *given, *operands)

    # That it is one.

    @cached_property
    def _types(self) -> tuple[Point, Any]:
        """Types of a point, and of what does not move."""
        (_, m, p), length = self.sizes, self.loop.length
        shapes = (*self.lanes, p), (length, *self.lanes, m)
        before, steps = (jax.ShapeDtypeStruct(shape, jnp.result_type(float)) for shape in shapes)
        found: tuple[Point, Any] = jax.eval_shape(self.walk, before, steps, self.operands)
        return found

    def _is_linear(self) -> bool:
        """Tell whether steps are seen to be linear, and the density a quadratic form of states and noises."""
        point, still = self._types
        shapes = [x.shape for x in point]
        leaves, tree = jax.tree.flatten((still, self.operands))

        def apart(*values: jax.Array) -> tuple[jax.Array, jax.Array]:
            return self._for_proofs.apart(Point._make(values[:4]), *jax.tree.unflatten(tree, values[4:]))

        return (
            has_powers(lambda *values: apart(*values)[0], shapes, leaves, POWERS)
            and has_powers(lambda *values: apart(*values)[1], shapes, leaves, AFFINE)
            and has_powers(lambda before, *rest: self.first(before, rest), shapes[3:], self.operands, AFFINE)
        )

    def _in_lanes(self) -> Chain:
        """Find lanes along the first axis of all noises and states, where nothing is seen to meet."""
        states = [self.loop.init[i].shape for i in self.moving]
        own = [s if row is None else s[1:] for s, row in zip(self.shapes, self.rows, strict=True)]
        sizes = {shape[0] if shape else 1 for shape in (*own, *states)}
        if len(sizes) != 1 or sizes == {1}:
            return self
        apart = replace(self, lanes=(sizes.pop(),))
        try:
            return apart if not self.shared and apart._steps_in_lanes() and apart._rest_in_lanes() else self
        except Mixed:
            return self

    def _steps_in_lanes(self) -> bool:
        """Tell whether a step keeps the lanes of its state and noises.

        Raises: Mixed.
        """
        constants, state, row = self.loop.split(self.loop.body.inputs)
        body, count = emitted(self.loop.body), len(constants)
        own = {i for i, v in enumerate(self.loop.xs) if i in self.rows}
        moves = [False] * count + [i in self.moving for i in range(len(state))] + [i in own for i in range(len(row))]
        flows = [(0,) if moving else None for moving in moves]
        types = [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in self.loop.body.inputs]
        found = flow(body, [tuple(x.shape) for x in types], flows, types)
        after, given = found[: len(state)], found[len(state) :]
        stacked = [lanes for lanes, v in zip(given, self.loop.ys, strict=True) if v in self.stacked]
        return {after[i] for i in self.moving} <= {(0,)} and set(stacked) <= {(0,), SUM, None}

    def _rest_in_lanes(self) -> bool:
        """Tell whether the density is a sum over the lanes of stacked values that have them, and of both ends.

        Raises: Mixed.
        """
        weight, arguments, rows = self._weight_of_stacks()
        laned = [x.ndim > 1 and x.shape[1:2] == self.lanes for x in rows]
        flows = [(0, 1) if has else None for has in laned] + [None] * (len(arguments) - len(rows))
        ends = [(0,) if len(rows) <= i < len(rows) + 2 and x.size else None for i, x in enumerate(arguments)]
        shapes = [tuple(x.shape) for x in arguments]
        found = [flow(_listed(weight), shapes, of, arguments)[0] for of in (flows, ends)]
        return set(found) <= {SUM, None}

    def _is_apart(self) -> bool:
        """Tell whether what the loop stacks enters the density as a sum over the steps, and no last state with it."""
        function, arguments, rows = self._weight_of_stacks()
        others = arguments[len(rows) :]
        try:
            flow = moved(function, [x.shape for x in rows], others, 1) if rows else None
        except Mixed:
            return False
        slope = self.slope(range(len(rows)))
        return flow in (SUM, None) and dependents(slope, [slope.inputs[len(rows)]]).isdisjoint(slope.outputs)

    @cached_property
    def shared(self) -> bool:
        """Whether the noises before the loop are read by its steps, or by what reads these."""
        if not self.sizes[2] or self.lanes:  # lanes share none
            return False
        early = self.start.inputs[: self.rows.count(None)]
        if not dependents(self.start, early).isdisjoint(self.start.outputs[: len(self.loop.constants)]):
            return True
        places = range(len(self._weight_of_stacks()[2]) + 1)
        slope = self.slope(places)
        return not dependents(slope, [slope.inputs[len(places)]]).isdisjoint(slope.outputs)

    def slope(self, places: Sequence[int]) -> Form:
        """Write the derivative of the density by some of what the loop gives."""
        function, arguments, _ = self._weight_of_stacks()
        if not places:
            return Form(tuple(Var(x.shape, x.dtype) for x in arguments), (), ())
        return without_dead_code(unfold(jax.grad(function, argnums=tuple(places)), *arguments))

    def _weight_of_stacks(self) -> tuple[Callable[..., jax.Array], list[Any], list[Any]]:
        """The density by what is read of what the loop stacks, the last state, the noises before, and all else."""
        given = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in self.loop.ys]
        used = [v in self.stacked for v in self.loop.ys]
        (_, _, last, before), still = self._types
        rows = [x for x, is_read in zip(given, used, strict=True) if is_read]
        leaves, tree = jax.tree.flatten((still, self.operands))

        def weight(*values: jax.Array) -> jax.Array:
            stacked, (last, before, *leaves) = iter(values[: len(rows)]), values[len(rows) :]
            every = [next(stacked) if own else jnp.zeros(x.shape, x.dtype) for x, own in zip(given, used, strict=True)]
            still, operands = jax.tree.unflatten(tree, leaves)
            return self._for_proofs._returned(last, every, before, still, operands)[0]

        return weight, [*rows, last, before, *leaves], rows

    @cached_property
    def _for_proofs(self) -> Chain:
        """The same with plain sums in the place of compensated ones, which have the same terms."""
        return replace(self, rest=with_operations(self.rest, _plainly_summed))


def cut(numbers: jax.Array, shapes: Sequence[Shape], lead: int) -> Arrays:
    """Cut the last axis of an array into values of some shapes, which all have the axes before it."""
    sizes = [math.prod(shape[lead:]) for shape in shapes]
    places = itertools.accumulate(sizes, initial=0)
    return [numbers[..., k : k + size].reshape(shape) for k, size, shape in zip(places, sizes, shapes, strict=False)]


def along(function: Callable[..., Any], point: Sequence[jax.Array], place: int) -> Any:
    """Differentiate a function of a few arrays along each coordinate of one of them, the last axis of what it gives.

    Lanes, the axes before the coordinates, must not mix.
    """

    def column(unit: jax.Array) -> Any:
        way = [jnp.zeros_like(x) for x in point]
        way[place] = jnp.broadcast_to(unit, point[place].shape)
        return jax.jvp(function, tuple(point), tuple(way))[1]

    return jax.vmap(column, out_axes=-1)(jnp.eye(point[place].shape[-1], dtype=point[place].dtype))


def _moving_state(loop: Loop, moving: set[Var]) -> tuple[int, ...]:
    """Say which values of the state of a loop move with what moves outside."""
    constants, state, rows = loop.split(loop.body.inputs)
    after, _ = loop.split_out(loop.body.outputs)
    found = {v for v, outer in zip(loop.body.inputs, loop.ins, strict=True) if outer in moving}
    while True:
        reached = dependents(loop.body, found)
        grown = found | {v for v, out in zip(state, after, strict=True) if out in reached}
        if grown == found:
            return tuple(i for i, v in enumerate(state) if v in found)
        found = grown


def emitted(form: Form) -> Callable[..., Arrays]:
    """Make a function of a form without choices."""
    run = emit(form, ())
    return lambda *values: run(jax.random.key(0), *values)[0]


def _listed(function: Callable[..., jax.Array]) -> Callable[..., Arrays]:
    return lambda *values: [function(*values)]


def _plainly_summed(node: Any, _: Any) -> Any:
    """Write a compensated sum as a sum, which has the same terms."""
    return replace(node, function=Tupled(jnp.sum)) if node.function == Tupled(over_steps) else node
