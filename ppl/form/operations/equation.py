"""Equations: an operation of JAX as a function, what is asked of it, and how functions that it calls are found.

Law: an equation gives what the operation gives for the operands that are no literals of the program. What is known of
its primitive is a row of `primitive_rows`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .axis_rules import Axes, Shape, axes_of
from .compensated_sum import COMPENSATED_SUM
from .jax_extension import STANDARD_NORMAL, Literal, is_key
from .primitive_rows import ROWS, SILENT, Row, row_of


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Equation:
    """One JAX operation as a function of its non-literal operands."""

    primitive: Any
    params: dict[str, Any]
    literals: tuple[Any, ...]
    multiple: bool

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Apply the operation; always a tuple."""
        operands = self.operands(values, lambda literal: literal[0])
        bind = getattr(self.primitive, "get_bind_params", None)
        bound = self.params if bind is None else bind(self.params)
        functions, params = ((), bound) if isinstance(bound, dict) else bound
        out = self.primitive.bind(*functions, *operands, **params)
        return tuple(out) if self.multiple else (out,)

    def operands(self, values: Iterable[Any], written: Callable[[tuple[Any, ...]], Any]) -> list[Any]:
        """List all operands, with what is made of the numbers that the program wrote (number, type) in their places."""
        rest = iter(values)
        return [next(rest) if literal is None else written(literal) for literal in self.literals]

    @property
    def bare(self) -> Equation:
        """The same with the numbers that the program wrote as operands."""
        return Equation(self.primitive, self.params, (None,) * len(self.literals), self.multiple)

    # What it is.

    @property
    def name(self) -> str:
        """The name of its primitive."""
        name: str = self.primitive.name
        return name

    @property
    def label(self) -> str:
        """The name of what it calls, else of its primitive."""
        return str(self.params.get("name", self.name))

    @property
    def row(self) -> Row:
        """What is known of its primitive."""
        return row_of(self.name)

    @property
    def parts(self) -> tuple[str, dict[str, Any], tuple[Any, ...]]:
        """What it is made of: the name of its primitive, the parameters, and the numbers that the program wrote."""
        return self.name, self.params, self.literals

    @property
    def calls(self) -> bool:
        """Whether it calls a traced function of its own."""
        return bool(jaxprs_in(self.params))

    @property
    def is_call(self) -> bool:
        """Whether it calls a function, and does nothing else."""
        return is_call(self)

    @property
    def draws(self) -> bool:
        """Whether it makes random numbers."""
        return self.row.draws or (self.calls and any(row_of(e.primitive.name).draws for e in inside(self)))

    @property
    def handles_keys(self) -> bool:
        """Whether random keys are made, or read, in functions that it calls."""
        return any(is_key(v.aval) for e in inside(self) for v in (*e.invars, *e.outvars))

    @property
    def is_standard_normal(self) -> bool:
        """Whether it is the function of JAX that draws standard normals by a key; it is known by its name."""
        return self.is_call and self.label == STANDARD_NORMAL and self.literals == (None,)

    @property
    def is_compensated_sum(self) -> bool:
        """Whether it is a compensated sum, which is linear in its terms; it is known by its name."""
        return self.is_call and self.label == COMPENSATED_SUM

    @property
    def acts(self) -> bool:
        """Whether it does more than give its results, as a callback may."""
        return "callback" in self.name or any(jaxpr.effects for jaxpr in jaxprs_in(self.params))

    @property
    def reads_windows(self) -> bool:
        """Whether it reads parts of its first operand, at places that the others tell."""
        return self.row.sizes == "slice_sizes"

    @property
    def is_exp(self) -> bool:
        """Whether it is the exponential."""
        return self.row is ROWS["exp"]

    @property
    def is_log(self) -> bool:
        """Whether it is the logarithm."""
        return self.row is ROWS["log"]

    @property
    def is_silent(self) -> bool:
        """Whether it is written as its operand: it changes shape or type alone."""
        return row_of(self.label).notation is SILENT or self.params.get("axes") == ()

    def written(self, operands: Sequence[Any]) -> tuple[str, int] | None:
        """Write it, and say how strongly that binds; None for one that is written as a function.

        Operands are texts, to be put `within` an operation of a given strength.
        """
        notation = row_of(self.label).notation  # a function of JAX that is named like a primitive is written like it
        if notation is None or len(operands) != len(notation.within):
            return None
        texts = [x.within(strength) for x, strength in zip(operands, notation.within, strict=True)]
        return notation.pattern.format(*texts, **self.params), notation.strength

    @property
    def power(self) -> float | None:
        """The power of its operand that it is, if it is one."""
        power = self.row.power
        return (float(self.params[power]) if isinstance(power, str) else power) if power else None

    def linear(self, varies: Sequence[bool]) -> bool:
        """Whether it is linear in some of its operands together; what makes whole numbers of others is not."""
        kept = self.new_dtype is None or jnp.issubdtype(self.new_dtype, jnp.floating)
        return self.row.linear is not None and kept and self.row.linear(varies)

    def bound(self, sizes: Sequence[int]) -> int | None:
        """Bound the size of a whole number that it gives, by those of its operands; None where that is not known."""
        if self.row.bound is not None:
            return self.row.bound(*sizes)
        power = self.power
        return sizes[0] ** int(power) if power is not None and power >= 0 and power == int(power) else None

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which it goes: it reduces them, joins along one, or adds one."""
        return next((axes_of(self.params, key) for key in ("axes", "dimension", "axis") if key in self.params), ())

    @property
    def new_dtype(self) -> Any:
        """The type that it changes a value to; None where it does something else."""
        return self.params.get("new_dtype")

    @property
    def contraction(self) -> Any:
        """Of a product of arrays, for each of the two: the axes that are summed over, and those side by side."""
        return self.params["dimension_numbers"] if self.row is ROWS["dot_general"] else None

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies its two operands, element by element."""
        return self.row is ROWS["mul"]

    @property
    def chooses(self) -> bool:
        """Whether it chooses among the operands after its first."""
        return self.row is ROWS["select_n"]

    @property
    def stands(self) -> bool:
        """Whether it gives its operand as it is, whatever it says of its derivative or of when it is computed."""
        return self.name in ("optimization_barrier", "stop_gradient")

    @property
    def joins(self) -> bool:
        """Whether it puts its operands one after the other along an axis, a new one if it `stacks`."""
        return self.stacks or self.row is ROWS["concatenate"]

    @property
    def stacks(self) -> bool:
        """Whether it puts its operands one after the other along a new axis."""
        return self.row is ROWS["stack"]

    @property
    def ranges(self) -> list[dict[int, range]] | None:
        """Of a slice, or a cut into slices, for each result which places along some axes it has; else None."""
        if self.row is ROWS["slice"]:
            begins, ends = self.params["start_indices"], self.params["limit_indices"]
            steps = self.params["strides"] or (1,) * len(begins)
            return [{axis: range(*along) for axis, along in enumerate(zip(begins, ends, steps, strict=True))}]
        if self.row is ROWS["split"]:
            ends = list(itertools.accumulate(self.params["sizes"], initial=0))
            return [{self.axes[0]: range(*pair)} for pair in itertools.pairwise(ends)]
        return None

    def without_sum(self, pair: int) -> Equation:
        """Give the product of arrays without its sum over a pair of axes, which is the first axis of the result."""
        (left, right), (left_batch, right_batch) = self.contraction
        sums = tuple(tuple(axis for i, axis in enumerate(own) if i != pair) for own in (left, right))
        numbers = sums, ((left[pair], *left_batch), (right[pair], *right_batch))
        return replace(self, params={**self.params, "dimension_numbers": numbers})

    @property
    def places(self) -> Any:
        """Of a read or a write at an index: which axes the index counts along."""
        return self.params["dimension_numbers"]

    # What it reads.

    def axes_read(self, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
        """Say for each operand along which axis element i of `axis` of the result reads element i alone.

        Args:
            operands: shapes of all its operands, written numbers included.
            shape: the shape of a result.
            axis: an axis of the result.

        Returns: one axis for each operand, None where it is read whole; None in all where nothing is known.
        """
        rule = self.row.axes
        return None if rule is None else rule(self.params, operands, shape, axis)

    def smaller(self, axes: Collection[int], read: Sequence[Axes]) -> Equation:
        """Give the operation on slices: `axes` of the result, and what `axes_read` says for each of them."""
        sizes = self.row.sizes
        ones = [r[0] for r in read if r[0] is not None] if sizes == "slice_sizes" else axes
        return self.resized(lambda whole: tuple(1 if i in ones else n for i, n in enumerate(whole)))

    def resized(self, change: Callable[[Any], Any]) -> Equation:
        """Give the operation with another shape of its result, where a parameter holds that."""
        sizes = self.row.sizes
        return replace(self, params={**self.params, sizes: change(self.params[sizes])}) if sizes else self


def equation_of(eqn: Any) -> Equation:
    """Read an operation of a traced program."""
    literals = tuple([(v.val, getattr(v.aval, "dtype")) if isinstance(v, Literal) else None for v in eqn.invars])
    return Equation(eqn.primitive, eqn.params, literals, eqn.primitive.multiple_results)


def literal_array(literal: Any) -> np.ndarray:
    """Read a number that the program wrote as an array of the type it was traced with."""
    return np.asarray(literal.val, literal.aval.dtype)


def identity(value: Any) -> tuple[Any]:
    """Return a value as it is: the operation of a named value."""
    return (value,)


def scan_counts(params: dict[str, Any], operands: Sequence[Any]) -> tuple[int, int]:
    """Number of constants and carries among the operands of a scan; the parameters changed in jax 0.11."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].update(tuple(operands)).unpack()
    return len(list(consts)), len(list(carry))


def is_call(operation: Any) -> bool:
    """Tell whether an operation calls a function and does nothing else, whose rule for lanes is that of its body."""
    row = row_of(operation.primitive.name)
    return row.body in operation.params and row.brings != "lanes"


def is_plain_call(operation: Any) -> bool:
    """Tell whether an operation calls a function whose derivative, too, is that of its body."""
    return is_call(operation) and not row_of(operation.primitive.name).brings


def body_of(operation: Any) -> Any:
    """Give the function that an operation calls, where it does nothing else; None for others."""
    return operation.params.get(row_of(operation.primitive.name).body)


def parts_of(function: Any) -> tuple[Any, Sequence[Any]]:
    """Take a traced function apart into its operations and the constants that they read."""
    return getattr(function, "jaxpr", function), getattr(function, "consts", ())


def jaxprs_in(params: dict[str, Any]) -> list[Any]:
    """List the traced functions among the parameters of an operation."""
    found = []
    for value in params.values():
        if value is None or isinstance(value, int | str):
            continue
        for item in value if isinstance(value, tuple | list) else (value,):
            if item is None or isinstance(item, int):
                continue
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def inside(operation: Any) -> Iterator[Any]:
    """Give the operations of the functions that an operation calls, each followed by those inside it."""
    for jaxpr in jaxprs_in(operation.params):
        yield from _operations(jaxpr)


def operations_of(function: Callable[..., Any], *args: Any) -> Iterator[Any]:
    """Trace a function on arguments of given shapes, and give its operations, each followed by those inside it."""
    return _operations(jax.make_jaxpr(function)(*args).jaxpr)


def _operations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        yield from inside(eqn)


def traced_parts(value: Any) -> tuple[Any, ...] | None:
    """Take a traced function apart: constants, types, operations and how they are wired; None for anything else."""
    jaxpr = getattr(value, "jaxpr", value)
    if not hasattr(jaxpr, "eqns"):
        return None
    numbers: dict[Any, int] = {}

    def wired(variables: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            ("literal", literal_array(v)) if isinstance(v, Literal) else numbers.setdefault(v, len(numbers))
            for v in variables
        )

    heads = wired(jaxpr.constvars), wired(jaxpr.invars)
    shapes = tuple((v.aval.shape, v.aval.dtype) for v in jaxpr.invars)
    steps = tuple((eqn.primitive, eqn.params, wired(eqn.invars), wired(eqn.outvars)) for eqn in jaxpr.eqns)
    return tuple(getattr(value, "consts", ())), heads, shapes, steps, wired(jaxpr.outvars)
