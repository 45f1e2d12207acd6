"""Views: forms that only read arrays anew, as `y[3]` or the rows of a table, evaluated on the host.

Law: the values are those of the compiled form, bit for bit. Data mostly reach their sites so, and are then checked
without compiling anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...form import Det, Form, Loop, Node, Var
from ...form.operations.stacks import Windows


def _slice(x: np.ndarray, lead: int, params: dict[str, Any]) -> np.ndarray:
    starts, limits = params["start_indices"], params["limit_indices"]
    own = map(slice, starts, limits, params["strides"] or (1,) * len(starts))
    return x[(*(slice(None),) * lead, *own)]


# Operations behind a number of leading axes, which stay as they are.
VIEWS: dict[str, Callable[[np.ndarray, int, dict[str, Any]], np.ndarray]] = {
    "slice": _slice,
    "squeeze": lambda x, lead, params: np.squeeze(x, tuple(lead + axis for axis in params["dimensions"])),
    "reshape": lambda x, lead, params: x.reshape((*x.shape[:lead], *params["new_sizes"])),
    "transpose": lambda x, lead, params: x.transpose(*range(lead), *(lead + axis for axis in params["permutation"])),
}


def is_view(form: Form) -> bool:
    """Tell whether a form does nothing but read its inputs and constants anew, in loops too.

    >>> import lawful
    >>> is_view(lawful.trace(lambda y: (y[1], y.T), np.ones((2, 3)))), is_view(lawful.trace(lambda y: -y, 1.0))
    (True, False)
    """
    return all(_reads_anew(node, in_loop=False) for node in form.nodes)


def _reads_anew(node: Node, in_loop: bool) -> bool:
    if isinstance(node, Loop):
        return not node.init and all(_reads_anew(inner, in_loop=True) for inner in node.body.nodes)
    if not isinstance(node, Det) or node.plates:
        return False
    if isinstance(node.function, Windows):
        return not in_loop
    params, name = getattr(node.function, "params", {}), getattr(getattr(node.function, "primitive", None), "name", "")
    return len(node.ins) == 1 and name in VIEWS and not (name == "reshape" and params["dimensions"])


def view(form: Form, inputs: Sequence[Any]) -> list[np.ndarray]:
    """Evaluate a form that only reads arrays anew.

    >>> import lawful
    >>> view(lawful.trace(lambda y: (y[1], y.T[0]), np.ones((2, 3))), [np.arange(6.0).reshape(2, 3)])[1].tolist()
    [0.0, 3.0]
    """
    read = {v for node in form.nodes for v in node.ins} | set(form.outputs)
    return _view(form, [np.asarray(x) if v in read else x for v, x in zip(form.inputs, inputs, strict=True)], ())


def _view(form: Form, inputs: Sequence[Any], steps: tuple[int, ...]) -> list[np.ndarray]:
    """Evaluate a body at all steps of the loops around it: each value has one leading axis for each of them."""
    lead = len(steps)
    values: dict[Var, Any] = dict(zip(form.inputs, inputs, strict=True))
    for variable, constant in form.constants:
        values[variable] = np.broadcast_to(np.asarray(constant), (*steps, *variable.shape))
    for node in form.nodes:
        if isinstance(node, Loop):
            held = [
                np.broadcast_to(np.expand_dims(values[v], lead), (*steps, node.length, *v.shape))
                for v in node.constants
            ]
            ys = _view(node.body, [*held, *(values[v] for v in node.xs)], (*steps, node.length))
            values |= zip(node.ys, ys, strict=True)
        else:
            assert isinstance(node, Det)
            (source,), (out,) = node.ins, node.outs
            function: Any = node.function
            if isinstance(function, Windows):
                values[out] = function.on_host(values[source])
            else:
                values[out] = VIEWS[function.primitive.name](values[source], lead, function.params)
    return [values[v] for v in form.outputs]
