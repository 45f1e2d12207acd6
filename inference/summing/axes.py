"""Axes: where the elements of a summed site stand in a value, followed through the operations of a program.

Law: where axes are given for a value, its part at an element depends on the site through that element alone. What no
rule proves is refused (`Mixed`), so a sum over elements one by one is never taken where elements meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from lawful.form import Det, Form, Var
from lawful.form.liveness import without_dead_code
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import unfold

type Shape = tuple[int, ...]
type Axes = tuple[int, ...]  # for each axis of the site, its place in the value
type Flow = Axes | None  # None: the value does not depend on the site

SUM: Axes = (-1,)  # a scalar that is a sum over the elements


class Mixed(Exception):
    """Elements of a site meet in an operation."""


def flow(function: Any, shapes: Sequence[Shape], flows: Sequence[Flow], operands: Sequence[Any]) -> list[Flow]:
    """Follow one site through a function.

    Args:
        function: the function of a Det.
        shapes: shape of each operand.
        flows: axes of each operand.
        operands: a value of the right type for each operand, abstract or not.

    Raises: Mixed.
    """
    if all(own is None for own in flows):
        return [None] * _outputs(function, operands)
    if isinstance(function, Equation) and not function.is_call:
        return _through(function, shapes, flows, operands)
    return flow_form(unfold(function, *operands), flows)


def flow_form(form: Form, flows: Sequence[Flow]) -> list[Flow]:
    """Follow one site through an unfolded function."""
    form = without_dead_code(form)  # elements may meet in what is not read, as the values that a gradient leaves behind
    known: dict[Var, Flow] = dict(zip(form.inputs, flows, strict=True))
    known |= {variable: None for variable, _ in form.constants}
    for node in form.nodes:
        if not isinstance(node, Det):
            raise Mixed("a statement of the language stands inside a function")
        own = [known[v] for v in node.ins]
        if all(part is None for part in own):
            known |= dict.fromkeys(node.outs)
            continue
        found = flow(node.function, [v.shape for v in node.ins], own, [_abstract(v) for v in node.ins])
        known |= dict(zip(node.outs, found, strict=True))
    return [known[v] for v in form.outputs]


def _abstract(value: Var) -> Any:
    return jax.ShapeDtypeStruct(value.shape, value.dtype)


def _outputs(function: Any, operands: Sequence[Any]) -> int:
    out = jax.eval_shape(function, *operands)
    return len(out) if isinstance(out, tuple | list) else 1


def _through(equation: Equation, shapes: Sequence[Shape], flows: Sequence[Flow], operands: Sequence[Any]) -> list[Flow]:
    """Follow one site through an operation; numbers written into the program depend on nothing."""
    full, own = equation.operands(shapes, lambda literal: ()), equation.operands(flows, lambda literal: None)
    outs = [tuple(x.shape) for x in jax.eval_shape(equation, *operands)]
    if SUM in own:
        if outs == [()] and equation.linear([axes is not None for axes in own]):
            return [SUM]
        raise Mixed(f"'{equation.name}' reads a sum over the elements")
    if equation.row.totals and outs == [()]:
        return [SUM]
    return [moved(equation, full, own, out) for out in outs]


def moved(equation: Equation, shapes: Sequence[Shape], flows: Sequence[Flow], out: Shape) -> Axes:
    """Find the axes of a result along which each element reads one element of the site alone."""
    read = [equation.axes_read(shapes, out, axis) or [None] * len(shapes) for axis in range(len(out))]
    found = set()
    for place, own in enumerate(flows):
        if own is not None:
            to = [next((new for new, old in enumerate(read) if old[place] == axis), None) for axis in own]
            if None in to or equation.row.axes is None:
                raise Mixed(f"'{equation.name}' may let them meet")
            found.add(tuple(axis for axis in to if axis is not None))
    if len(found) != 1:
        raise Mixed(f"'{equation.name}' reads them at two different places")
    return found.pop()
