"""Spans: which powers of a value, and its logarithm, a log density is made of: a proof that a conditional has a family.

Law: where the span of a function of s is a set of terms, the function is a linear combination of them, with weights
that do not depend on s, wherever s lies in its support. What is not understood has no span, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from lawful.form import Branch, Det, Loop, Site, Var
from lawful.form.builder import Tupled
from lawful.form.fold import Fold
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import unfold
from lawful.form.operations.on_numpy import evaluate

LOG = "log"
type Term = Fraction | str


@dataclass(frozen=True)
class Span:
    """A set of powers of s, and perhaps its logarithm.

    Attributes:
        terms: exponents, and "log".
        mixed: whether one number may depend on several elements of s.
        own: whether the numbers are elements of s as they are.
        never: whether it is -inf or NaN wherever it is reached.
        guard: whether it is a truth value that holds all over the support of s.
        value: the number that all elements of a constant are, where it is known.
    """

    terms: frozenset[Term]
    mixed: bool = False
    own: bool = False
    never: bool = False
    guard: bool = False
    value: float | None = None

    @property
    def constant(self) -> bool:
        """Whether s does not enter."""
        return self.terms <= {Fraction(0)} and not self.guard

    @property
    def power(self) -> Fraction | None:
        """The exponent where there is one, of one element."""
        (term,) = self.terms if len(self.terms) == 1 and not self.mixed and not self.guard else (None,)
        return term if isinstance(term, Fraction) else None


CONSTANT = Span(frozenset({Fraction(0)}))
# What keeps elements, as that does which only moves them; and what adds them up, as that does which subtracts.
SAME = {"convert_element_type", "gather", "neg", "optimization_barrier", "reduce_and", "stop_gradient"}
SUMS = {"concatenate", "pad", "stack"}


def span(
    function: Callable[..., Any], place: int, arguments: Sequence[Any], *, polynomial: bool
) -> frozenset[Term] | None:
    """Find the terms of a function's single result, as a function of its argument at a place; None where it has none.

    Args:
        function: of arrays.
        place: which argument is s.
        arguments: shapes and types.
        polynomial: whether s is a vector of any numbers, whose elements may be multiplied, as those of a normal vector;
            else its elements are positive.

    >>> import jax, jax.numpy as jnp
    >>> terms = span(lambda s: jnp.log(s) - 2 * s, 0, [jax.ShapeDtypeStruct((), float)], polynomial=False)
    >>> sorted(map(str, terms))
    ['0', '1', 'log']
    >>> span(lambda s: jnp.sin(s), 0, [jax.ShapeDtypeStruct((), float)], polynomial=True) is None
    True
    """
    form = unfold(function, *arguments, loops=True)
    one = int(np.prod(arguments[place].shape)) == 1
    start = [Span(frozenset({Fraction(1)}), own=True) if i == place else CONSTANT for i in range(len(form.inputs))]
    (found,) = _Walk(polynomial, one)(form, start)
    return None if found is None or found.guard else found.terms | {Fraction(0)}


class _Walk(Fold["Span | None"]):
    """Gives values their spans; `one` says that s has a single element, so that nothing mixes."""

    def __init__(self, polynomial: bool, one: bool) -> None:
        self.polynomial, self.one = polynomial, one

    def constant(self, variable: Var, array: Any) -> Span | None:
        return _constant(array)

    def det(self, node: Det, ins: list[Span | None]) -> Sequence[Span | None]:
        return [self.equation(node, ins)] * len(node.outs)

    def site(self, node: Site, ins: list[Span | None]) -> None:
        """A site is no function of s."""

    def branch(self, node: Branch, index: Span | None, operands: list[Span | None]) -> Sequence[Span | None]:
        if index is None or not index.constant:
            return [None] * len(node.outs)
        return [self.sum(column) for column in zip(*(self(arm, operands) for arm in node.forms), strict=True)]

    def loop(self, node: Loop, ins: list[Span | None]) -> Sequence[Span | None]:
        """Widen the carry until it stays."""
        constants, carry, xs = node.split(ins)
        for _ in range(6):
            after, ys = node.split_out(self(node.body, [*constants, *carry, *xs]))
            wider = [self.sum([a, b]) for a, b in zip(carry, after, strict=True)]
            if wider == carry:
                return [*after, *ys]
            carry = wider
        return [None] * len(node.outs)

    def equation(self, node: Det, given: Sequence[Span | None]) -> Span | None:
        function: Any = node.function.function if isinstance(node.function, Tupled) else node.function
        if any(x is None for x in given):
            return None
        if not isinstance(function, Equation):
            return CONSTANT if all(x is not None and x.constant for x in given) else None
        if function.row.compares and function.row.commutes and len(node.ins) == 2 and node.ins[0] is node.ins[1]:
            return CONSTANT  # whether it is a number, which all of the support is
        if not _keeps(function) and all(x is not None and x.value is not None for x in given) and _plain(node):
            return _evaluated(node, given)
        spans = function.operands(given, lambda literal: _constant(literal[0]))
        return self.operation(function, [x for x in spans if x is not None])

    def operation(self, function: Equation, spans: Sequence[Span]) -> Span | None:
        """Give the span of one operation; None where it is not understood."""
        name, row, first = function.name, function.row, spans[0] if spans else CONSTANT
        if _keeps(function) and all(x.constant for x in spans[1:]):
            if function.new_dtype is not None and not first.constant and not _floating(function.new_dtype):
                return first if first.guard else None
            minus = name == "neg" and first.value is not None
            return replace(
                first, own=first.own and name != "neg", value=-(first.value or 0.0) if minus else first.value
            )
        if all(x.constant for x in spans):
            return CONSTANT
        if any(x.guard for x in spans):
            return self.guarded(name, spans)
        if row.compares:
            return None if self.polynomial else _bound(function, spans) or _sign(spans)
        if row.signs is not None or name in SUMS:
            return self.sum(spans)
        if row.totals:
            return replace(first, mixed=not self.one, own=False)
        if name == "select_n" and first.constant:
            return self.sum(spans[1:])
        if name in ("mul", "dot_general", "div"):
            return self.product(name, *spans)
        if name == "triangular_solve":
            return self.product("dot_general", *spans) if first.constant else self.solved(first, spans[1])
        if name == "cholesky":  # of a power of s times a constant matrix
            root = None if first.power is None or self.polynomial or not self.one else first.power / 2
            return None if root is None else Span(frozenset({root}))
        exponent = function.power
        if exponent is not None and exponent.is_integer():
            return self.raised(first, int(exponent))
        power = first.power
        if power is None or self.polynomial:  # a root of a square is no power of a number that may be negative
            return None
        if name == "abs":
            return Span(first.terms)
        if function.is_log:
            return Span(frozenset({Fraction(0), LOG}))
        if name == "pow":
            exponent = spans[1].value
        return None if exponent is None else Span(frozenset({power * Fraction(exponent).limit_denominator(1000)}))

    def solved(self, matrix: Span, right: Span) -> Span | None:
        """Give the span of a solution, where the matrix is a power of s times a constant one."""
        if not self.one or self.polynomial or matrix.power is None or LOG in right.terms:
            return None
        return Span(frozenset(t - matrix.power for t in right.terms if isinstance(t, Fraction)))

    def guarded(self, name: str, spans: Sequence[Span]) -> Span | None:
        """Combine truth values that hold on the support, and choose by them."""
        if name == "and" and all(x.guard or x.constant for x in spans):
            return next(x for x in spans if x.guard)
        if name in ("not", "or", "reduce_or"):  # what holds everywhere does not depend on s
            return CONSTANT
        if name == "select_n" and spans[0].guard and spans[1].never and not any(x.guard for x in spans[1:]):
            return replace(spans[2], own=False)
        return None

    def sum(self, spans: Sequence[Span | None]) -> Span | None:
        """Give the span of a sum, or of a choice by what s does not enter."""
        if any(x is None or x.guard for x in spans):
            return None
        several = [x for x in spans if x is not None]
        several = [x for x in several if x.value != 0.0] or several[:1]  # zeros, as above a diagonal, are no term
        moving = [x for x in several if not x.constant]
        mixed = any(x.mixed for x in several) or (len(moving) > 1 and not self.one)
        return Span(frozenset().union(*(x.terms for x in several)), mixed, never=all(x.never for x in several))

    def product(self, name: str, first: Span, second: Span) -> Span | None:
        """Give the span of a product or a quotient."""
        mixing = name == "dot_general" and not self.one
        if second.constant or (first.constant and name != "div"):
            moving = first if second.constant else second
            return replace(moving, own=False, mixed=moving.mixed or mixing, never=False)
        if LOG in first.terms | second.terms or not (self.one or self.polynomial or first.constant):
            return None
        if name == "div":
            power = second.power
            if power is None or (self.polynomial and power != 0):
                return None
            return Span(frozenset(t - power for t in first.terms if isinstance(t, Fraction)), first.mixed)
        terms = frozenset(
            a + b for a in first.terms for b in second.terms if not isinstance(a, str) and not isinstance(b, str)
        )
        return Span(terms, first.mixed or second.mixed or not self.one)

    def raised(self, base: Span, exponent: int) -> Span | None:
        """Give the span of a whole power."""
        if LOG in base.terms or (base.mixed and not self.polynomial):
            return None
        if exponent < 0:
            return None if base.power is None or self.polynomial else Span(frozenset({base.power * exponent}))
        terms = {Fraction(0)}
        for _ in range(exponent):
            terms = {a + b for a in terms for b in base.terms if not isinstance(b, str)}
        return Span(frozenset(terms), base.mixed)


def _constant(array: Any) -> Span:
    if not isinstance(getattr(array, "dtype", np.dtype(float)), np.dtype):
        return CONSTANT  # a random key, which the XLA back end makes though nothing is drawn
    if isinstance(array, jax.core.Tracer):
        return CONSTANT  # a number of the caller's own jit
    numbers = np.asarray(array)
    never = _floating(numbers.dtype) and numbers.size > 0 and bool(np.all(np.isnan(numbers) | np.isneginf(numbers)))
    same = numbers.size > 0 and numbers.dtype.kind in "iufb" and bool(np.all(numbers == numbers.flat[0]))
    return replace(CONSTANT, never=never, value=float(numbers.flat[0]) if same else None)


def _evaluated(node: Det, given: Sequence[Span | None]) -> Span:
    """Compute an operation on known numbers."""
    numbers = [0.0 if x is None or x.value is None else x.value for x in given]
    outs = evaluate(node.function, [np.full(v.full_shape, x, v.dtype) for v, x in zip(node.ins, numbers, strict=True)])
    return _constant(outs[0]) if len(outs) == 1 else CONSTANT


def _plain(node: Det) -> bool:
    """Tell whether an operation gives numbers and calls nothing."""
    function: Any = node.function.function if isinstance(node.function, Tupled) else node.function
    return not function.calls and all(isinstance(v.dtype, np.dtype) for v in node.outs)


def _floating(dtype: Any) -> bool:
    return bool(np.issubdtype(np.dtype(dtype), np.floating))


def _sign(spans: Sequence[Span]) -> Span | None:
    """Know that a power of a positive number, times any other, has one sign: how it compares with 0 is constant."""
    zeros = [x.value == 0.0 for x in spans]
    return CONSTANT if any(zeros) and all(z or x.power is not None for z, x in zip(zeros, spans, strict=True)) else None


def _keeps(function: Equation) -> bool:
    """Tell whether the elements of the result are elements of the first operand, but for their signs and their type."""
    return function.row.moves or function.name in SAME


def _bound(function: Equation, spans: Sequence[Span]) -> Span | None:
    """Know what holds for positive numbers: s > 0, or 0 < s; no other bound."""
    if function.row.commutes:
        return None
    low, high = (0, 1) if function.name in ("lt", "le") else (1, 0)
    literal = function.literals[low]
    zero = literal is not None and np.ndim(literal[0]) == 0 and float(literal[0]) == 0.0
    return Span(frozenset({Fraction(0)}), guard=True) if zero and spans[high].own else None
