"""Alike: what is the same at all elements of a summed site is computed at one of them, and spread over the others.

Law: a value that is said to be alike is the same at each element. The list of the values of a site is alike at all of
them, and so is what is computed of nothing else; what an operation reads for one element is told by its row
(`Equation.axes_read`), and where that is not known nothing is alike.

Why: `means[z]`, for all labels at all rows, is then the array itself, spread over the rows, where an index for each row
and label cost a lookup each, and a scattered sum each in the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from lawful.form import Plate, Var
from lawful.form.operations.equation import Equation

from .axes import Axes
from .records import Walker


def listed_once(walk: Walker, values: Var, own: Sequence[int]) -> Var:
    """Give the list of the values of a site, whose elements stand in axes `own`, as alike."""
    ones = tuple(1 if a in own else n for a, n in enumerate(values.shape))
    one = walk.block.det(lambda x: x[tuple(map(slice, ones))], values, label="one", plates=values.plates)
    return _spread(walk, one, values.shape, walk.axes[values])


def computed_once(
    walk: Walker, equation: Equation, values: Sequence[Var], axes: Mapping[Plate, Axes | None]
) -> Var | None:
    """Compute an operation at one element, where what it reads at each of them is alike; else give None.

    Args:
        walk: the walk that writes it.
        equation: the operation.
        values: its operands.
        axes: where the elements of each site stand in the result; None where it does not depend on them.
    """
    if equation.multiple or None in axes.values() or not any(v in walk.one for v in values):
        return None
    places = sorted({a for own in axes.values() for a in own or ()})
    (out,) = jax.eval_shape(equation, *(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in values))
    shapes = equation.operands([v.shape for v in values], lambda literal: ())
    read = [equation.axes_read(shapes, out.shape, a) for a in places]
    known = [r for r in read if r is not None]
    if not places or len(known) < len(read):
        return None
    operands = []
    for number, value in zip((i for i, x in enumerate(equation.literals) if x is None), values, strict=True):
        own = [axis for r in known if (axis := r[number]) is not None]
        if own and (value not in walk.one or any(walk.one[value].shape[axis] != 1 for axis in own)):
            return None
        operands.append(walk.one[value] if own else value)
    (one,) = walk.block.det(
        equation.smaller(places, known), *operands, label=equation.label, plates=walk.plates(values)
    )
    return _spread(walk, one, out.shape, {p: own or () for p, own in axes.items()})


def _spread(walk: Walker, one: Var, shape: tuple[int, ...], axes: dict[Plate, Axes]) -> Var:
    whole: Var = walk.block.det(lambda x: jnp.broadcast_to(x, shape), one, label="spread", plates=one.plates)
    walk.one[whole], walk.axes[whole] = one, axes
    return whole
