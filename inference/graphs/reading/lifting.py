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
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Det, Form, Var
from lawful.form.liveness import without_dead_code
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import unfold
from lawful.form.operations.on_numpy import evaluate

from .along_axes import by_matrices, contracted, reduced
from .indexing import gathered, scattered
from .lifted import (
    TABLE,
    Budget,
    Table,
    Terms,
    abstract,
    aligned,
    applied,
    behind,
    broadcast,
    elements,
    joint,
    kept_where,
    known,
    numbers_of,
    of,
    plain,
    spread_states,
    terms,
    with_axes,
)
from .linear_counts import LARGE, LinearCount, linear_count

type Shape = tuple[int, ...]


@dataclass(frozen=True)
class Each:
    """A function at each of many states or steps, axis 0 of some of its operands; what is alike is traced once."""

    function: Callable[..., Any]
    axes: tuple[int | None, ...]
    out_axis: int = 0

    def __call__(self, *operands: Any) -> Any:
        """Apply it."""
        return jax.vmap(lambda *xs: tuple(self.function(*xs)), in_axes=self.axes, out_axes=self.out_axis)(*operands)


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
        if (found := self.at_states(function, values)) is not None:
            return found
        return tuple(self.form(without_dead_code(unfold(function, *(abstract(v) for v in values))), values))

    def at_states(
        self, function: Callable[..., Any], values: Sequence[Any], steps: Sequence[int | None] = (), out_axis: int = 0
    ) -> tuple[Any, ...] | None:
        """Apply a function at each state of the variables that all elements read, so that no sum of them can stay one.

        Args:
            function: of arrays, that gives a tuple.
            values: its operands.
            steps: for each, whether it has an axis 0 of steps, each with variables of its own; empty for none.
            out_axis: of the steps in the results.

        Returns: the results; None where elements, of one step, read different variables.
        """
        tables = [v.one if v.source is None else None for v in values if isinstance(v, Terms)]
        of, lead = [t for t in tables if t is not None], int(bool(steps))
        if not of or len(of) < len(tables) or not all(math.prod(t.scopes.shape[:-1]) for t in of):
            return None
        if steps and any(isinstance(v, Terms) and axis is None for v, axis in zip(values, steps, strict=True)):
            return None
        rows = [t.scopes.reshape((*t.scopes.shape[:lead], -1, t.scopes.shape[-1])) for t in of]
        first = rows[0][..., :1, :]
        if any(r.shape[-1] != first.shape[-1] or not (r == first).all() for r in rows):
            return None
        cards = of[0].array.shape[: first.shape[-1]]
        whole = Each(function, tuple(steps), out_axis) if steps else function
        each = Each(whole, tuple(0 if isinstance(v, Terms) else None for v in values))
        given = iter([t.array.reshape((-1, *t.scopes.shape[:-1])) for t in of])
        found = applied(each, [next(given) if isinstance(v, Terms) else v for v in values])
        wide = [k for k in range(max((x.ndim for x in found), default=1) - 1) if not lead or k != out_axis]

        def table(x: Any) -> Table:
            scopes = np.expand_dims(first.reshape((*first.shape[:lead], -1)), tuple(k for k in wide if k < x.ndim - 1))
            return Table(x.reshape((*cards, *x.shape[1:])), np.broadcast_to(scopes, (*x.shape[1:], first.shape[-1])))

        return tuple(terms(table(x)) for x in found)

    def equation(self, equation: Equation, values: Sequence[Any], shape: Shape | None = None) -> tuple[Any, ...]:
        """Apply one operation."""
        full = equation.operands(values, lambda literal: known(literal[0]))
        if equation.row.moves and equation.multiple:
            return tuple(elements(full[0], part) for part in evaluate(equation, [numbers_of(full[0])]))
        if shape is None:
            shape = tuple(jax.eval_shape(equation, *(abstract(v) for v in values))[0].shape)
        found = None
        if equation.name in RULES:
            found = RULES[equation.name](self, equation, full, shape)
        elif equation.row.moves and isinstance(full[0], Terms):
            found = self.rearranged(equation, full)
        if found is None and equation.row.elementwise:
            found = self._elementwise(equation, values, shape)
        if found is not None:
            return (self._noted(found, equation, values),)
        return self._meeting(equation, values)

    def _noted(self, found: Any, equation: Equation, values: Sequence[Any]) -> Any:
        """Note what a value is of the sum that it comes from, so that it can be read off a variable that holds it."""
        of = [k for k, v in enumerate(values) if isinstance(v, Terms)]
        affine = equation.row.linear is not None and not equation.row.totals
        if self.count is None or not affine or len(of) != 1:
            return found
        (k,), own = of, values[of[0]]
        if own.source is None and own.one is not None:
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
        if self.count is None or (value.source is None and value.one is not None):
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
            return self.product(*(self._spread(v, shape) for v in full))
        return self.scaled(full, shape, operator.mul)

    def _div(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        linear = isinstance(full[0], Terms) and not isinstance(full[1], Terms)
        linear = linear and jnp.issubdtype(abstract(full[0]).dtype, jnp.floating)  # whole numbers lose their rest
        return self.scaled(full, shape, operator.truediv) if linear else None

    def scaled(self, full: Sequence[Any], shape: Shape, function: Any) -> Any:
        """Multiply or divide each summand by what depends on nothing."""
        value, other = full if isinstance(full[0], Terms) else (full[1], full[0])
        value, other = self._spread(value, shape), broadcast(other, shape)
        return Terms(shape, tuple(p.map(lambda x, p=p: function(x, behind(other, p, shape))) for p in value.parts))

    def product(self, left: Terms, right: Terms) -> Terms:
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
        which, parts = broadcast(which, shape), []
        for number, case in enumerate(cases):
            for p in self._spread(case, shape).parts:
                here = behind(which.astype(np.int32) == number, p, shape)
                parts.append(p.map(lambda x, here=here: kept_where(here, x)))
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

    # Rearranging operations take elements by their numbers.

    def rearranged(self, equation: Equation, full: Sequence[Any]) -> Any:
        """Take elements at an index that is known; None where it is not."""
        value, others = full[0], full[1:]
        if any(isinstance(x, Terms) or isinstance(x, jax.core.Tracer) for x in others):
            return None
        (ids,) = evaluate(equation.bare, [numbers_of(value), *others])
        if ids.size and (ids.min() < 0 or ids.max() >= max(math.prod(value.shape), 1)):
            return None
        return elements(value, ids)

    def _concatenate(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        (axis,) = equation.axes
        return self._joined(full, axis, shape)

    def _stack(self, equation: Equation, full: Sequence[Any], shape: Shape) -> Any:
        (axis,) = equation.axes
        own = (*shape[:axis], 1, *shape[axis + 1 :])
        return self._joined([elements(x, np.arange(math.prod(own)).reshape(own)) for x in full], axis, shape)

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

    # Everything else.

    def _elementwise(self, equation: Equation, values: Sequence[Any], shape: Shape) -> Any:
        tables = [self.single(self._spread(v, shape)) if isinstance(v, Terms) else None for v in values]
        arrays, scopes = aligned([t for t in tables if t is not None], self.budget)
        states = tuple(max(a.shape[k] for a in arrays) for k in range(scopes.shape[-1]))
        lifted = iter(arrays)
        operands = [
            broadcast(next(lifted) if t is not None else broadcast(v, shape), (*states, *shape))
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
        found = applied(Each(equation, tuple(None if t is None else 0 for t in tables)), operands)
        return tuple(
            terms(Table(x.reshape((*sizes, *x.shape[1:])), np.broadcast_to(variables, (*x.shape[1:], len(variables)))))
            for x in found
        )

    def _spread(self, value: Any, shape: tuple[int, ...]) -> Terms:
        """Give a value the shape of a result: scalars are repeated."""
        if not isinstance(value, Terms):
            return terms(plain(broadcast(value, shape)))
        if value.shape == shape:
            return value
        return terms(self.single(value).spread(shape))


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
    "dot_general": contracted,
    "concatenate": Lifting._concatenate,
    "stack": Lifting._stack,
    "gather": gathered,
    "scatter-add": scattered,
    **{f"reduce_{name}": reduced for name in ("max", "min", "prod", "and", "or", "xor")},
    "cholesky": by_matrices,
    "triangular_solve": by_matrices,
}
