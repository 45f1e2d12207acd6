"""Primitive rows: what is known of each primitive of JAX, in one row, and of nothing but its row.

Law: a row says what holds for all operands; what it does not say is not known, and nothing is concluded from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import axis_rules as axes
from . import numpy_rules as numpy
from .axis_rules import Rule

type Among = Callable[[Sequence[bool]], bool]  # asked for each operand whether it varies


@dataclass(frozen=True)
class Notation:
    """How an operation is written.

    Attributes:
        pattern: with the operands by their numbers, and with parameters by their names.
        strength: how strongly it binds.
        within: operands that bind no stronger than this are put into brackets.
    """

    pattern: str
    strength: int = 4
    within: tuple[int, ...] = (-1,) * 3


def infix(sign: str, strength: int) -> Notation:
    """Write a sign between two operands."""
    return Notation(f"{{0}} {sign} {{1}}", strength, (strength - 1, strength))


SILENT = Notation("{0}", within=(-1,))  # as the operand is


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one primitive."""

    axes: Rule | None = None  # which axis of a result comes from which axes of the operands
    sizes: str = ""  # the parameter that holds the shape of the result, or of the windows of its operand
    numpy: Callable[..., Any] | None = None  # what it means to NumPy
    notation: Notation | None = None  # how it is written, if not as a function
    signs: tuple[int, ...] | None = None  # of the operands, where it adds them up
    totals: bool = False  # it adds up the elements along axes
    commutes: bool = False  # its two operands can change places
    linear: Among | None = None  # of floats: it is linear in some operands together, the others being given
    moves: bool = False  # each element of a result is one of its first operand, as it is
    power: float | str = ""  # the power of the operand that the result is, or the parameter that holds it
    bound: Callable[..., int] | None = None  # of the size of a whole number, from the sizes of the operands
    keeps_nan: bool = False  # every result is NaN where an operand is
    flat: bool = False  # its derivative is zero or missing
    factorises: bool = False  # it gives a matrix whose square is its operand
    draws: bool = False  # it makes random numbers
    counts: bool = False  # it counts along an axis
    body: str = ""  # the parameter that holds the function that it calls, if it does nothing else than call it
    brings: str = ""  # what it knows of that function besides: a derivative, or a rule for lanes

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result is made of the same element of each operand."""
        return self.axes is axes.elementwise

    @property
    def compares(self) -> bool:
        """Whether it compares its two operands."""
        return self.bound is true


def true(*sizes: int) -> int:
    """Bound a truth value, as that of a comparison."""
    return 1


def _first(sizes: Sequence[bool]) -> bool:
    return not any(sizes[1:])


def _each(function: Callable[..., Any] | None = None, **facts: Any) -> Row:
    return Row(axes=axes.elementwise, numpy=function and (lambda x, p: function(*x)), **facts)


def _smooth(function: Callable[..., Any], **facts: Any) -> Row:
    return _each(function, keeps_nan=True, **facts)


def _added(function: Callable[..., Any] | None, *signs: int, **facts: Any) -> Row:
    return _each(function, signs=signs, linear=any, bound=lambda *sizes: sum(sizes), **facts)


def _compared(function: Callable[..., Any], sign: str, **facts: Any) -> Row:
    return _each(function, notation=infix(sign, 0), bound=true, **facts)


def _moved(rule: Any, meaning: Any, **facts: Any) -> Row:
    return Row(axes=rule, numpy=meaning, moves=True, linear=_first, **facts)


def _reduced(function: Callable[..., Any] | None = None, **facts: Any) -> Row:
    return Row(axes=axes.dropping("axes"), numpy=function and numpy.reduction(function), **facts)


_OTHERS = (
    "acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt clz cosh digamma erf erf_inv erfc exp2 igamma "
    "igammac lgamma polygamma population_count real reduce_precision regularized_incomplete_beta shift_left "
    "shift_right_arithmetic shift_right_logical sinh tan zeta"
)
_SAME = Row(axes=axes.elementwise, numpy=lambda x, p: x[0], notation=SILENT, moves=True, linear=any, bound=abs)

ROWS: dict[str, Row] = {
    # Element by element.
    **dict.fromkeys(_OTHERS.split(), _each()),
    "add": _added(np.add, 1, 1, commutes=True, keeps_nan=True, notation=infix("+", 1)),
    "add_any": _added(np.add, 1, 1, commutes=True),
    "sub": _added(np.subtract, 1, -1, keeps_nan=True, notation=infix("-", 1)),
    "neg": _added(np.negative, -1, keeps_nan=True, notation=Notation("-{0}", 2, (2,))),
    "mul": _smooth(np.multiply, commutes=True, notation=infix("*", 2), linear=lambda of: sum(of) == 1,
                   bound=lambda a, b: a * b),
    "div": Row(axes=axes.elementwise, numpy=numpy.div, keeps_nan=True, notation=infix("/", 2), linear=_first),
    "rem": Row(axes=axes.elementwise, numpy=lambda x, p: np.fmod(*x) if x[1].all() else NotImplemented,
               notation=infix("%", 2)),
    "max": _each(np.maximum, commutes=True, bound=max),
    "min": _each(np.minimum, commutes=True, bound=max),
    "abs": _each(np.abs, bound=abs),
    "eq": _compared(np.equal, "==", commutes=True),
    "ne": _compared(np.not_equal, "!=", commutes=True),
    "lt": _compared(np.less, "<"), "le": _compared(np.less_equal, "<="),
    "gt": _compared(np.greater, ">"), "ge": _compared(np.greater_equal, ">="),
    "and": _each(np.bitwise_and, commutes=True, notation=infix("&", 0)),
    "or": _each(np.bitwise_or, commutes=True, notation=infix("|", 0)),
    "xor": _each(np.bitwise_xor, commutes=True), "not": _each(np.invert), "is_finite": _each(np.isfinite),
    "exp": _smooth(np.exp), "log": _smooth(np.log), "expm1": _smooth(np.expm1),
    "log1p": _smooth(np.log1p), "logistic": _each(keeps_nan=True), "tanh": _each(np.tanh, keeps_nan=True),
    "sin": _smooth(np.sin), "cos": _smooth(np.cos), "pow": _each(),
    "sqrt": _smooth(np.sqrt, power=0.5), "rsqrt": _each(power=-0.5), "square": _smooth(np.square, power=2.0),
    "integer_pow": Row(axes=axes.elementwise, numpy=lambda x, p: x[0] ** p["y"] if p["y"] >= 0 else NotImplemented,
                       keeps_nan=True, power="y", notation=Notation("{0}**{y}", 3, (3,))),
    "floor": _each(np.floor, flat=True), "ceil": _each(np.ceil, flat=True), "round": _each(flat=True),
    "sign": _each(np.sign, flat=True), "nextafter": _each(flat=True),
    "clamp": Row(axes=axes.elementwise, numpy=lambda x, p: np.minimum(np.maximum(x[1], x[0]), x[2])),
    "select_n": Row(axes=axes.elementwise, numpy=numpy.select, notation=Notation("where({0}, {2}, {1})"),
                    linear=lambda of: not of[0]),
    "convert_element_type": replace(_SAME, numpy=numpy.convert, moves=False, keeps_nan=True),
    "copy": _SAME,
    "stop_gradient": replace(_SAME, moves=False, linear=None, bound=None, flat=True),
    "bitcast_convert_type": Row(axes=lambda p, of, shape, axis: (axis,) if of[0] == shape else None),
    # Elements, put elsewhere.
    "broadcast_in_dim": _moved(axes.broadcast, numpy.broadcast, sizes="shape", notation=SILENT, keeps_nan=True),
    "reshape": _moved(axes.reshape,
                      lambda x, p: x[0].reshape(p["new_sizes"]) if p.get("dimensions") is None else NotImplemented,
                      sizes="new_sizes", notation=SILENT, keeps_nan=True),
    "squeeze": _moved(axes.dropping("dimensions"), lambda x, p: np.squeeze(x[0], tuple(p["dimensions"])),
                      notation=SILENT, keeps_nan=True),
    "transpose": _moved(lambda p, of, shape, axis: (p["permutation"][axis],),
                        lambda x, p: np.transpose(x[0], p["permutation"])),
    "rev": _moved(axes.along("dimensions"), lambda x, p: np.flip(x[0], tuple(p["dimensions"]))),
    "slice": _moved(axes.sliced, numpy.sliced, sizes="limit_indices"),
    "dynamic_slice": _moved(axes.window, numpy.dynamic_slice, sizes="slice_sizes"),
    "split": _moved(axes.along("axis"), lambda x, p: np.split(x[0], np.cumsum(p["sizes"])[:-1], axis=p["axis"])),
    "unstack": _moved(axes.dropping("axis"), lambda x, p: list(np.moveaxis(x[0], p["axis"], 0))),
    "gather": Row(axes=axes.gather, numpy=numpy.gather, sizes="slice_sizes", linear=_first),
    "concatenate": Row(axes=axes.along("dimension"), numpy=lambda x, p: np.concatenate(x, axis=p["dimension"])),
    "stack": Row(axes=axes.stack, numpy=lambda x, p: np.stack(x, axis=p["axis"])),
    "pad": Row(axes=lambda p, of, shape, axis: (axis, None) if tuple(p["padding_config"][axis]) == (0, 0, 0) else None,
               numpy=numpy.pad),
    "iota": Row(axes=lambda p, of, shape, axis: None if p["dimension"] == axis or of else (), numpy=numpy.iota,
                sizes="shape", counts=True),
    "scatter": Row(numpy=numpy.scatter(np.ndarray.__setitem__)), "scatter-add": Row(numpy=numpy.scatter(np.add.at)),
    "sort": Row(axes=axes.along("dimension"), numpy=numpy.sort),
    "optimization_barrier": Row(axes=axes.elementwise, numpy=lambda x, p: x),
    # Along axes.
    "reduce_sum": _reduced(np.sum, totals=True, linear=any), "reduce_prod": _reduced(), "reduce_xor": _reduced(),
    "reduce_max": _reduced(np.max), "reduce_min": _reduced(np.min), "reduce_and": _reduced(np.all),
    "reduce_or": _reduced(np.any), "argmin": _reduced(),
    "argmax": replace(_reduced(), numpy=lambda x, p: np.argmax(x[0], p["axes"][0]).astype(p["index_dtype"])),
    "cumsum": Row(axes=axes.along("axis"), numpy=lambda x, p: np.cumsum(x[0], p["axis"], x[0].dtype)
                  if not p["reverse"] else NotImplemented, totals=True),
    **dict.fromkeys("cumprod cummax cummin cumlogsumexp".split(), Row(axes=axes.along("axis"))),
    "dot_general": Row(axes=axes.dot_general, numpy=numpy.dot_general),
    "cholesky": Row(axes=axes.by_matrices, factorises=True), "triangular_solve": Row(axes=axes.by_matrices),
    # Random numbers.
    "random_bits": Row(axes=lambda p, of, shape, axis: (None,) if of[0] == () else None, sizes="shape", draws=True),
    "random_gamma": Row(axes=lambda p, of, shape, axis: (None, axis) if of[0] == () else None, draws=True),
    # Calls.
    **dict.fromkeys("jit remat remat2 checkpoint".split(), Row(body="jaxpr")),
    **dict.fromkeys("closed_call core_call".split(), Row(body="call_jaxpr")),
    **dict.fromkeys("custom_jvp_call custom_vjp_call".split(), Row(body="call_jaxpr", brings="derivative")),
    "custom_vmap_call": Row(body="call", brings="lanes"),
    **dict.fromkeys("while pure_callback io_callback".split(), Row(flat=True)),
}  # fmt: skip

NOTHING = Row()


def row_of(name: str) -> Row:
    """What is known of the primitive of a name."""
    return ROWS.get(name, NOTHING)
