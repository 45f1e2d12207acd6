"""Lifting: follows a program operation by operation, each element with the finite variables that it depends on.

Law: sums stay sums: an operation that is linear in a sum acts on its summands, so a factor sum_e f(z[I_e], z[J_e])
becomes one table for each e. Operations that only rearrange elements rearrange their scopes. Where elements meet in any
other way, their variables meet in one table, under a budget.

A value is an array, where it depends on no variable, or `Terms`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Det, Form, Var
from lawful.form.liveness import without_dead_code
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import unfold
from lawful.form.operations.on_numpy import evaluate

from ..model.known import applied, known, of
from .lifted import TABLE, Budget, Table, Terms, aligned, joint, plain, terms
from .linear_counts import LARGE, LinearCount, linear_count
from .matrices import by_matrices
from .segments import counted_rows, landing, rows_of
from .spreading import behind, spread_states, with_axes

type Shape = tuple[int, ...]


class Lifting:
    """The rules, under a budget of table entries; without `meets`, values whose variables all meet are over budget.

    A sum that is a count of variables in a state is carried out by a variable that holds it: `count` gives its table.
    """

    def __init__(
        self,
        budget: int = TABLE,
        meets: bool = True,
        count: Callable[[LinearCount], Table] | None = None,
        count_from: int = LARGE,
    ) -> None:
        """Keep the budget."""
        self.budget, self.meets, self.count, self.count_from = budget, meets, count, count_from

    def without_meeting(self) -> Lifting:
        """The same rules where values whose variables all meet are over budget."""
        return Lifting(self.budget, meets=False, count=self.count, count_from=self.count_from)

    def form(self, form: Form, inputs: Sequence[Any]) -> list[Any]:
        """Follow a form of pure functions."""
        values: dict[Var, Any] = dict(zip(form.inputs, inputs, strict=True)) | {v: known(x) for v, x in form.constants}
        for node in form.nodes:
            assert isinstance(node, Det)
            shape = node.outs[0].shape if node.outs else None
            values |= zip(node.outs, self.apply(node.function, [values[v] for v in node.ins], shape), strict=True)
        return [values[v] for v in form.outputs]

    def apply(self, function: Callable[..., Any], values: Sequence[Any], shape: Shape | None = None) -> tuple[Any, ...]:
        """Apply a function of arrays that gives a tuple; the shape of its first part, where known, saves tracing it."""
        if not any(isinstance(v, Terms) for v in values):
            return applied(function, values)
        if isinstance(function, Equation) and not function.is_call:
            return self.equation(function, values, shape)
        return tuple(self.form(without_dead_code(unfold(function, *(abstract(v) for v in values))), values))

    def equation(self, equation: Equation, values: Sequence[Any], shape: Shape | None = None) -> tuple[Any, ...]:
        """Apply one operation."""
        full = equation.operands(values, lambda literal: known(literal[0]))
        if equation.row.moves and equation.multiple:
            return tuple(self._at(full[0], part) for part in evaluate(equation, [_numbers(full[0])]))
        if shape is None:
            shape = tuple(jax.eval_shape(equation, *(abstract(v) for v in values))[0].shape)
        found = None
        if equation.name in RULES:
            found = RULES[equation.name](self, equation, full, shape)
        elif equation.row.moves and isinstance(full[0], Terms):
            found = self._rearranged(equation, full)
        if found is None and equation.row.elementwise:
            found = self._elementwise(equation, values, shape)
        return self._meeting(equation, values) if found is None else (self._noted(found, equation, values),)

    def _noted(self, found: Any, equation: Equation, values: Sequence[Any]) -> Any:
        """Note what a value is of the sum that it comes from, so that it can be read off a variable that holds it."""
        of = [k for k, v in enumerate(values) if isinstance(v, Terms)]
        affine = equation.row.linear is not None and not equation.row.totals
        if self.count is None or not affine or len(of) != 1:
            return found
        (k,), own = of, values[of[0]]
        if own.source is None and len(own.parts) == 1 and own.parts[0].shape == own.shape:
            return found
        source, make = own.source or (own, lambda value: value)

        def again(value: Terms) -> Terms:
            given = [*values[:k], make(value), *values[k + 1 :]]
            (result,) = self.equation(equation, given)
            return cast("Terms", result)

        return replace(found, source=(source, again))

    def single(self, value: Terms) -> Table:
        """Carry out a sum: by a variable that holds it where it is a count, else by a table of all its variables.

        Raises: Budget where too many variables meet.
        """
        held = self._counted(value)
        return value.single(self.budget) if held is None else held

    def _counted(self, value: Terms) -> Table | None:
        if self.count is None:
            return None
        source, make = value.source or (value, lambda value: value)
        if (found := linear_count(source, self.count_from)) is not None:
            return make(terms(self.count(found))).single(self.budget)
        found = None if value.source is None else linear_count(value, self.count_from)
        return None if found is None else self.count(found)

    # Linear operations act on the summands.

    def _linear(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        several = len(full[0].parts) > 1 or full[0].parts[0].shape != full[0].shape
        if several and not jnp.issubdtype(equation.new_dtype or float, jnp.floating):
            return None
        return self._each(full[0], lambda x: applied(equation, [x])[0])

    def _each(self, value: Terms, function: Callable[[Any], Any]) -> Terms:
        return Terms(value.shape, tuple(part.map(function) for part in value.parts))

    def _add(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        parts = [self._spread(value, shape) for value in full]
        return Terms(shape, tuple(p for value in parts for p in value.parts))

    def _sub(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        second = full[1]
        minus = self._each(second, operator.neg) if isinstance(second, Terms) else -second
        return self._add(equation, [full[0], minus], shape)

    def _mul(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        if all(isinstance(v, Terms) for v in full):
            return self._product(*(self._spread(v, shape) for v in full))
        return self._scaled(full, shape, operator.mul)

    def _div(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        linear = isinstance(full[0], Terms) and not isinstance(full[1], Terms)
        linear = linear and jnp.issubdtype(abstract(full[0]).dtype, jnp.floating)  # whole numbers lose their rest
        return self._scaled(full, shape, operator.truediv) if linear else None

    def _scaled(self, full: Sequence[Any], shape: Shape, function: Any) -> Any:
        value, other = full if isinstance(full[0], Terms) else (full[1], full[0])
        value, other = self._spread(value, shape), _broadcast(other, shape)
        return Terms(shape, tuple(p.map(lambda x, p=p: function(x, behind(other, p, shape))) for p in value.parts))

    def _product(self, left: Terms, right: Terms) -> Terms:
        """Multiply summand by summand, as long as the products are not too many."""
        left, right = (side if (held := self._counted(side)) is None else terms(held) for side in (left, right))
        lead = len(left.shape)
        extra = [math.prod(p.shape[lead:]) for p in (*left.parts, *right.parts)]
        if math.prod(left.shape) * sum(extra[: len(left.parts)]) * sum(extra[len(left.parts) :]) > self.budget:
            left, right = terms(self.single(left)), terms(self.single(right))
        parts = []
        for p in left.parts:
            for q in right.parts:
                own, more = p.shape[lead:], q.shape[lead:]
                first, second = with_axes(p, lead, (), more), with_axes(q, lead, own, ())
                arrays, scopes = aligned([first, second], self.budget)
                parts.append(Table(spread_states(arrays[0] * arrays[1], arrays, (*left.shape, *own, *more)), scopes))
        return Terms(left.shape, tuple(parts))

    def _select_n(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        which, *cases = full
        if isinstance(which, Terms):
            return None
        which, parts = _broadcast(which, shape), []
        for number, case in enumerate(cases):
            for p in self._spread(case, shape).parts:
                here = behind(which.astype(np.int32) == number, p, shape)
                parts.append(p.map(lambda x, here=here: _where(here, x)))
        return Terms(shape, tuple(parts))

    def _reduce_sum(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        value, axes = full[0], equation.axes
        kept = [a for a in range(len(value.shape)) if a not in axes]
        parts = []
        for part in value.parts:
            extra = range(len(value.shape), len(part.shape))
            order = [*kept, *axes, *extra]
            moved = (*range(part.arity), *(part.arity + a for a in order))
            parts.append(Table(part.array.transpose(moved), np.transpose(part.scopes, (*order, len(order)))))
        return Terms(tuple(value.shape[a] for a in kept), tuple(parts))

    def _dot_general(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        (left_in, right_in), (left_with, right_with) = equation.contraction
        ids = []
        for value, inside, beside in ((full[0], left_in, left_with), (full[1], right_in, right_with)):
            own = np.arange(math.prod(value.shape)).reshape(value.shape)
            free = [d for d in range(own.ndim) if d not in inside and d not in beside]
            ids.append((own, list(beside), free, list(inside)))
        (a, a_beside, a_free, a_in), (b, b_beside, b_free, b_in) = ids
        n, m, k = len(a_beside), len(a_free), len(b_free)
        a = np.transpose(a, (*a_beside, *a_free, *a_in))
        b = np.transpose(b, (*b_beside, *b_free, *b_in))
        a = a.reshape((*a.shape[: n + m], *[1] * k, *a.shape[n + m :]))
        b = b.reshape((*b.shape[:n], *[1] * m, *b.shape[n:]))
        a, b = np.broadcast_arrays(a, b)
        left, right = self._at(full[0], a), self._at(full[1], b)
        wide = tuple(a.shape)
        if isinstance(left, Terms) and isinstance(right, Terms):
            product = self._product(left, right)
        else:
            value, other = (left, right) if isinstance(left, Terms) else (right, left)
            product = self._scaled([value, other], wide, operator.mul)
        return Terms(shape, product.parts)  # the axes behind the shape are summed

    # Rearranging operations take elements by their numbers.

    def _at(self, value: Any, ids: np.ndarray) -> Any:
        if not isinstance(value, Terms):
            return of(value).take(value.reshape(-1), ids.reshape(-1), mode="clip").reshape(ids.shape)
        return Terms(tuple(ids.shape), tuple(part.take(ids, len(value.shape)) for part in value.parts))

    def _rearranged(self, equation: Equation, full: Sequence[Any]) -> Any:
        value, others = full[0], full[1:]
        if any(isinstance(x, Terms) or isinstance(x, jax.core.Tracer) for x in others):
            return None
        (ids,) = evaluate(equation.bare, [_numbers(value), *others])
        if ids.size and (ids.min() < 0 or ids.max() >= max(math.prod(value.shape), 1)):
            return None
        return self._at(value, ids)

    def _concatenate(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        (axis,) = equation.axes
        return self._joined(full, axis, shape)

    def _stack(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        (axis,) = equation.axes
        own = (*shape[:axis], 1, *shape[axis + 1 :])
        return self._joined([self._at(x, np.arange(math.prod(own)).reshape(own)) for x in full], axis, shape)

    def _joined(self, full: Sequence[Any], axis: int, shape: Shape) -> Any:
        tables = [self.single(v) if isinstance(v, Terms) else plain(v) for v in full]
        if len({t.cardinalities for t in tables}) == 1:
            parts = [t.array for t in tables]
            array = of(*parts).concatenate(parts, axis=tables[0].arity + axis)
            return terms(Table(array, np.concatenate([t.scopes for t in tables], axis=axis)))
        if any(
            t.shape[:axis] + t.shape[axis + 1 :] != tables[0].shape[:axis] + tables[0].shape[axis + 1 :] for t in tables
        ):
            return None
        pieces = [
            Table(of(t.array).take(t.array, k, axis=t.arity + axis, mode="clip"), np.take(t.scopes, k, axis=axis))
            for t in tables
            for k in range(t.shape[axis])
        ]
        arrays, scopes = aligned(pieces, self.budget)
        small = tuple(s for a, s in enumerate(shape) if a != axis)
        array = of(*arrays).stack([spread_states(x, arrays, small) for x in arrays], axis=scopes.shape[-1] + axis)
        return terms(Table(array, np.broadcast_to(np.expand_dims(scopes, axis), (*shape, scopes.shape[-1]))))

    def _scatter_add(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        """Add elements at known places, as a sum by segment does."""
        operand, index, updates = full
        lands = None if isinstance(index, Terms) else landing(equation.places, index, shape, abstract(updates).shape)
        if lands is None or not isinstance(updates, Terms) or any(p.arity > 1 for p in updates.parts):
            return None
        by_place = self._at(updates, rows_of(lands, math.prod(shape)).reshape((*shape, -1)))
        real = counted_rows(lands, math.prod(shape)).reshape((*shape, -1))
        summed = []
        for part in by_place.parts:
            array = _where(behind(real, part, real.shape), part.array)
            summed.append(Table(array, part.scopes))
        start = operand.parts if isinstance(operand, Terms) else (plain(operand),)
        return Terms(shape, (*start, *summed))

    def _gather(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        """Take elements of an array that depends on nothing, at an index that does."""
        operand, index = full
        if isinstance(operand, Terms):
            if isinstance(index, Terms):
                return None
            found = self._rearranged(equation, full)
            return self._taken(equation, operand, index, shape) if found is None else found
        table = self.single(index)
        pieces = [Table(table.array[..., k], table.scopes[..., k, :]) for k in range(table.shape[-1])]
        if not pieces:
            return None
        arrays, scopes = aligned(pieces, self.budget)
        batch = table.shape[:-1]
        stacked = of(*arrays).stack([spread_states(x, arrays, batch) for x in arrays], axis=-1)
        cards = stacked.shape[: scopes.shape[-1]]
        many = jax.vmap(equation, in_axes=(None, 0))
        (found,) = applied(many, [operand, stacked.reshape((-1, *table.shape))])
        offset = tuple(int(d) for d in equation.places.offset_dims)
        sizes = [1 if d in offset else shape[d] for d in range(len(shape))]
        spread = np.broadcast_to(scopes.reshape((*sizes, scopes.shape[-1])), (*shape, scopes.shape[-1]))
        return terms(Table(found.reshape((*cards, *shape)), spread))

    def _taken(self, equation: Equation, operand: Terms, index: Any, shape: Shape) -> Any:
        """Take elements at an index without a value yet, as that of data, where it picks among readers of the same."""
        table = self.single(operand)
        first = table.scopes
        for axis in equation.places.start_index_map:
            first = np.take(first, [0], axis=int(axis))
        if not np.array_equal(np.broadcast_to(first, table.scopes.shape), table.scopes):
            return None
        at = np.asarray(evaluate(equation, [_numbers(table), np.zeros(index.shape, index.dtype)])[0])
        many = jax.vmap(equation, in_axes=(0, None))
        (found,) = applied(many, [table.array.reshape((-1, *table.shape)), index])
        return terms(Table(found.reshape((*table.cardinalities, *shape)), table.scopes.reshape((-1, table.arity))[at]))

    # Everything else.

    def _elementwise(self, equation: Equation, values: Sequence[Any], shape: Shape) -> Any:
        tables = [self.single(self._spread(v, shape)) if isinstance(v, Terms) else None for v in values]
        arrays, scopes = aligned([t for t in tables if t is not None], self.budget)
        states = tuple(max(a.shape[k] for a in arrays) for k in range(scopes.shape[-1]))
        lifted = iter(arrays)
        operands = [
            _broadcast(next(lifted) if t is not None else _broadcast(v, shape), (*states, *shape))
            for t, v in zip(tables, values, strict=True)
        ]
        return terms(Table(applied(equation, operands)[0], scopes))

    def _meeting(self, equation: Equation, values: Sequence[Any]) -> tuple[Any, ...]:
        """All variables of all operands meet in one table."""
        tables = [self.single(v) if isinstance(v, Terms) else None for v in values]
        lifted = [t for t in tables if t is not None]
        cards: dict[int, int] = {}
        for table in lifted:
            for k, card in enumerate(table.cardinalities):
                cards |= dict.fromkeys(np.unique(table.scopes[..., k]).tolist(), card)
        variables = np.array(sorted(cards), np.int64)
        sizes = [cards[v] for v in variables.tolist()]
        if math.prod(sizes) > self.budget or not self.meets:
            raise Budget(math.prod(sizes), variables.tolist())
        operands = [v if t is None else joint(t, variables, sizes) for t, v in zip(tables, values, strict=True)]
        axes = [None if t is None else 0 for t in tables]
        found = applied(jax.vmap(lambda *xs: equation(*xs), in_axes=tuple(axes)), operands)
        return tuple(
            terms(Table(x.reshape((*sizes, *x.shape[1:])), np.broadcast_to(variables, (*x.shape[1:], len(variables)))))
            for x in found
        )

    def _reduced(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        """Reduce along axes: the variables of each slice meet, those of different slices do not."""
        table, axes = self.single(full[0]), equation.axes
        kept = [a for a in range(len(table.shape)) if a not in axes]
        order = [*kept, *axes]
        along = tuple(table.shape[a] for a in axes)
        moved = Table(
            table.array.transpose((*range(table.arity), *(table.arity + a for a in order))).reshape(
                (*table.cardinalities, *shape, math.prod(along))
            ),
            np.transpose(table.scopes, (*order, len(order))).reshape((*shape, math.prod(along), table.arity)),
        )
        pieces = [Table(moved.array[..., k], moved.scopes[..., k, :]) for k in range(math.prod(along))]
        arrays, scopes = aligned(pieces, self.budget)
        stacked = of(*arrays).stack([spread_states(x, arrays, shape) for x in arrays], axis=-1)
        states = stacked.shape[: scopes.shape[-1]]
        back = np.argsort(order)
        whole = stacked.reshape((math.prod(states), *shape, *along)).transpose((0, *(int(k) + 1 for k in back)))
        (found,) = applied(jax.vmap(equation), [whole])
        return terms(Table(found.reshape((*states, *shape)), scopes))

    def _by_matrices(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        tables = [self.single(value) if isinstance(value, Terms) else plain(value) for value in full]
        return terms(by_matrices(equation, tables, shape, self.budget)) if math.prod(shape) else None

    def _spread(self, value: Any, shape: tuple[int, ...]) -> Terms:
        """Give a value the shape of a result: scalars are repeated."""
        if not isinstance(value, Terms):
            return terms(plain(_broadcast(value, shape)))
        if value.shape == shape:
            return value
        return terms(self.single(value).spread(shape))


def _numbers(value: Any) -> np.ndarray:
    """Number the elements of a value: what only rearranges elements says by them where each comes from."""
    return np.arange(math.prod(value.shape)).reshape(value.shape)


def _broadcast(array: Any, shape: Shape) -> Any:
    return of(array).broadcast_to(array, shape)


def _where(which: Any, array: Any) -> Any:
    """Keep elements, and put zeros in the place of the others."""
    return of(which, array).where(which, array, np.zeros((), array.dtype))


def abstract(value: Any) -> Any:
    """Shape and type of a value."""
    if isinstance(value, Terms):
        return jax.ShapeDtypeStruct(value.shape, value.parts[0].array.dtype)
    return jax.ShapeDtypeStruct(jnp.shape(value), jnp.result_type(value))


type Rule = Callable[[Lifting, Equation, Sequence[Any], Shape], Any]

# A rule that gives None leaves the operation to those that follow.
RULES: Mapping[str, Rule] = {
    "add": Lifting._add,
    "add_any": Lifting._add,
    "sub": Lifting._sub,
    "neg": Lifting._linear,
    "convert_element_type": Lifting._linear,
    "copy": Lifting._linear,
    "mul": Lifting._mul,
    "div": Lifting._div,
    "select_n": Lifting._select_n,
    "reduce_sum": Lifting._reduce_sum,
    "dot_general": Lifting._dot_general,
    "concatenate": Lifting._concatenate,
    "stack": Lifting._stack,
    "gather": Lifting._gather,
    "scatter-add": Lifting._scatter_add,
    **{f"reduce_{name}": Lifting._reduced for name in ("max", "min", "prod", "and", "or", "xor")},
    "cholesky": Lifting._by_matrices,
    "triangular_solve": Lifting._by_matrices,
}
