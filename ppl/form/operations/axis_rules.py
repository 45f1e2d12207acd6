"""Axis rules: which part of its operands an operation reads, to give one slice of its result.

Law: an operation made smaller gives, on the slices that are read, exactly the slice of what it gives on the whole.
A slice keeps its axis, with one element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from .equation import Equation

type Shape = tuple[int, ...]
type Axes = tuple[int | None, ...]  # for each operand the axis of which one element is read; None: read whole

_ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz "
    "convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma "
    "igammac integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or polygamma "
    "population_count pow real reduce_precision regularized_incomplete_beta rem round rsqrt select_n shift_left "
    "shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta".split()
)
_ALONG_OTHERS = frozenset("cumsum cumprod cummax cummin cumlogsumexp".split())
_REDUCTIONS = frozenset(
    "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor argmax argmin".split()
)


def axes_read(equation: Equation, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Say for each operand along which axis element i of `axis` of the result reads element i alone.

    Args:
        equation: the operation.
        operands: shapes of all its operands, written numbers included.
        shape: the shape of its one result.
        axis: an axis of the result.

    Returns: one axis for each operand, None where it is read whole; None in all where nothing is known.
    """
    rule = None if equation.multiple else RULES.get(equation.primitive.name)
    return None if rule is None else rule(equation.params, operands, shape, axis)


def smaller(
    equation: Equation, operands: Sequence[Shape], shape: Shape, axes: Collection[int], read: Sequence[Axes]
) -> Equation:
    """Give the operation on slices: `axes` of the result, and what `axes_read` says for each of them."""
    params, sizes = equation.params, SIZES.get(equation.primitive.name)
    if sizes is None:
        return equation
    ones = [r[0] for r in read if r[0] is not None] if sizes == "slice_sizes" else axes
    return replace(equation, params={**params, sizes: _ones(params[sizes], ones)})


def _ones(sizes: Sequence[int], axes: Collection[int]) -> Shape:
    return tuple(1 if i in axes else n for i, n in enumerate(sizes))


def elementwise(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    """Read of each operand the same element; numbers, and axes of size one, are read whole."""
    if any(
        s and (len(s) != len(shape) or any(d not in (1, n) for d, n in zip(s, shape, strict=True))) for s in operands
    ):
        return None
    return tuple(axis if s and s[axis] == shape[axis] else None for s in operands)


def _broadcast(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    if len(operands) != 1:
        return None
    own = list(params["broadcast_dimensions"])
    if axis not in own:
        return (None,)
    source = own.index(axis)
    return (source if operands[0][source] == shape[axis] and shape[axis] != 1 else None,)


def _reshape(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    if params.get("dimensions") is not None or len(operands) != 1:
        return None
    before, size = math.prod(shape[:axis]), shape[axis]
    for source, n in enumerate(operands[0]):
        if n == size and math.prod(operands[0][:source]) == before:
            return (source,)
    return None


def _squeeze(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    gone = {d % len(operands[0]) for d in params["dimensions"]}
    return ([d for d in range(len(operands[0])) if d not in gone][axis],)


def _reduction(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    gone = set(params["axes"])
    return ([d for d in range(len(operands[0])) if d not in gone][axis],)


def _along(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return None if params["axis"] == axis else (axis,)


def _transpose(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return (params["permutation"][axis],)


def _concatenate(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return None if params["dimension"] == axis else (axis,) * len(operands)


def _iota(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return None if params["dimension"] == axis or operands else ()


def _slice(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    step = 1 if params["strides"] is None else params["strides"][axis]
    return (axis,) if shape[axis] == operands[0][axis] and step == 1 else None


def _rev(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return None if axis in params["dimensions"] else (axis,)


def _pad(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return (axis, None) if tuple(params["padding_config"][axis]) == (0, 0, 0) else None


def _dot_general(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    left = [d for d in range(len(operands[0])) if d not in (*left_sum, *left_batch)]
    right = [d for d in range(len(operands[1])) if d not in (*right_sum, *right_batch)]
    pairs = [*zip(left_batch, right_batch, strict=True), *((d, None) for d in left), *((None, d) for d in right)]
    return pairs[axis]


def _gather(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    batching = tuple(getattr(numbers, "operand_batching_dims", ()))
    index_batching = tuple(getattr(numbers, "start_indices_batching_dims", ()))
    if axis not in numbers.offset_dims:
        batch = [d for d in range(len(shape)) if d not in numbers.offset_dims].index(axis)
        return (batching[index_batching.index(batch)] if batch in index_batching else None, batch)
    kept = [d for d in range(len(operands[0])) if d not in (*numbers.collapsed_slice_dims, *batching)]
    window = kept[sorted(numbers.offset_dims).index(axis)]
    return (window, None) if sizes[window] == operands[0][window] else None


def _random_bits(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return (None,) if operands[0] == () else None


def _random_gamma(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return (None, axis) if operands[0] == () else None


def _bitcast(params: Any, operands: Sequence[Shape], shape: Shape, axis: int) -> Axes | None:
    return (axis,) if operands[0] == shape else None


# A row for each primitive: `(params, shapes of the operands, shape of the result, axis)`, as `axes_read`.
RULES: dict[str, Callable[..., Axes | None]] = {
    **dict.fromkeys(_ELEMENTWISE, elementwise), **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(_ALONG_OTHERS, _along), "bitcast_convert_type": _bitcast,
    "broadcast_in_dim": _broadcast, "concatenate": _concatenate, "dot_general": _dot_general, "gather": _gather,
    "iota": _iota, "pad": _pad, "random_bits": _random_bits, "random_gamma": _random_gamma, "reshape": _reshape,
    "rev": _rev, "slice": _slice, "squeeze": _squeeze, "transpose": _transpose,
}  # fmt: skip

# Parameters that hold the shape of the result, or of the windows of its operand.
SIZES = {
    "broadcast_in_dim": "shape", "gather": "slice_sizes", "iota": "shape", "random_bits": "shape",
    "reshape": "new_sizes", "slice": "limit_indices",
}  # fmt: skip


@dataclass(frozen=True)
class Take:
    """Read a slice: the leading axes at the first indices, which drop out, then one element of each further axis.

    Under `jax.vmap` with indices that all lanes share it stays one slice of the array of all lanes, not a gather.
    """

    drop: int
    axes: tuple[int, ...]
    lanes: int = 0

    def __call__(self, array: Any, *indices: Any) -> Any:
        """Slice an array, behind its lanes; indices are in range."""
        return _for_all_lanes(self, self.plain)(array, *indices)

    def plain(self, array: Any, *indices: Any) -> Any:
        """Slice an array."""
        starts, sizes = self.place(array.shape, indices)
        taken = jax.lax.dynamic_slice(array, starts, sizes)
        # Read once, before anything is written: else the slices are read again by all that use them, and a write in
        # place finds the array still in use and copies it.
        taken = jax.lax.optimization_barrier(taken)
        return taken.reshape((*sizes[: self.lanes], *sizes[self.lanes + self.drop :]))

    def place(self, shape: Shape, indices: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """Give the starts and the sizes of the slice of an array."""
        first = self.lanes + self.drop
        where = dict(zip((*range(self.lanes, first), *(first + a for a in self.axes)), indices, strict=True))
        zero = jnp.zeros((), jnp.int32)
        starts = [jnp.asarray(where[i], jnp.int32) if i in where else zero for i in range(len(shape))]
        return starts, [1 if i in where else n for i, n in enumerate(shape)]


@dataclass(frozen=True)
class Put:
    """Write a slice where `Take` reads it; under `jax.vmap` with shared indices it stays one update in place."""

    drop: int
    axes: tuple[int, ...]
    lanes: int = 0

    def __call__(self, array: Any, part: Any, *indices: Any) -> Any:
        """Give the array with the slice in its place."""
        return _for_all_lanes(self, self.plain)(array, part, *indices)

    def plain(self, array: Any, part: Any, *indices: Any) -> Any:
        """Write a slice."""
        starts, sizes = Take(self.drop, self.axes, self.lanes).place(array.shape, indices)
        # Written once: else a later read computes the write again, of the array as it was, which then must be copied.
        return jax.lax.optimization_barrier(jax.lax.dynamic_update_slice(array, part.reshape(sizes), starts))


def _for_all_lanes(operation: Take | Put, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Give an operation a batching rule: lanes of the arrays become leading axes, where the indices have none."""
    arrays = 1 if isinstance(operation, Take) else 2
    function = jax.custom_batching.custom_vmap(plain)

    @function.def_vmap
    def rule(size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        if any(batched[arrays:]):
            return jax.vmap(plain, tuple(0 if b else None for b in batched), axis_size=size)(*operands), True
        wide = [
            x if b else jnp.broadcast_to(x, (size, *x.shape))
            for x, b in zip(operands[:arrays], batched[:arrays], strict=True)
        ]
        return replace(operation, lanes=operation.lanes + 1)(*wide, *operands[arrays:]), True

    return function
