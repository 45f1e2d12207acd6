"""Axes: where the elements of a summed site stand in a value, followed through the operations of a program.

Law: where axes are given for a value, its part at an element depends on the site through that element alone. What no
rule proves is refused (`Mixed`), so a sum over elements one by one is never taken where elements meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lawful.form import Det, Form, Var
from lawful.form.from_jaxpr import unfold
from lawful.form.liveness import without_dead_code
from lawful.form.operations.equation import CALLS, Equation

type Shape = tuple[int, ...]
type Axes = tuple[int, ...]  # for each axis of the site, its place in the value
type Flow = Axes | None  # None: the value does not depend on the site
type Rule = Callable[[dict[str, Any], Sequence[Shape], Sequence[Flow], Sequence[Shape]], Axes]

SUM: Axes = (-1,)  # a scalar that is a sum over the elements
UNCHANGED = ("copy", "reshape", "squeeze", "broadcast_in_dim", "reduce_sum")  # of a scalar, to a scalar
ADDITIVE = ("add", "add_any", "sub", "neg", "mul", "div", "convert_element_type", "select_n", *UNCHANGED)


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
    if isinstance(function, Equation) and function.primitive.name not in CALLS:
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
    """Apply the rule of one operation; numbers written into the program are operands that depend on nothing."""
    rest = iter(zip(shapes, flows, strict=True))
    full = [next(rest) if literal is None else ((), None) for literal in equation.literals]
    outs = [tuple(x.shape) for x in jax.eval_shape(equation, *operands)]
    name = equation.primitive.name
    if any(own == SUM for _, own in full):
        if name in ADDITIVE and outs == [()] and _is_linear(name, [own for _, own in full]):
            return [SUM]
        raise Mixed(f"'{name}' reads a sum over the elements")
    if name in ELEMENTWISE:
        axes = _elementwise({}, [s for s, _ in full], [a for _, a in full], outs)
    elif name in RULES:
        axes = RULES[name](equation.params, [s for s, _ in full], [a for _, a in full], outs)
    else:
        raise Mixed(f"'{name}' may let them meet")
    return [axes] * len(outs)


def _is_linear(name: str, flows: Sequence[Flow]) -> bool:
    if name == "mul":
        return sum(own is not None for own in flows) == 1
    if name == "div":
        return flows[1] is None
    return name != "select_n" or flows[0] is None


def _one(found: set[Axes], name: str) -> Axes:
    if len(found) != 1:
        raise Mixed(f"'{name}' reads them at two different places")
    return found.pop()


def _elementwise(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    for shape, own in zip(shapes, flows, strict=True):
        if own is not None and (len(shape) != len(outs[0]) or any(shape[a] != outs[0][a] for a in own)):
            raise Mixed("an operand is spread over other elements")  # along axes without elements it may be
    return _one({own for own in flows if own is not None}, "an elementwise operation")


def _broadcast(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    own = flows[0]
    if own is None or any(f is not None for f in flows[1:]):
        raise Mixed("a shape depends on them")
    moved = tuple(int(params["broadcast_dimensions"][a]) for a in own)
    if any(outs[0][new] != shapes[0][old] for new, old in zip(moved, own, strict=True)):
        raise Mixed("an element is spread over others")
    return moved


def _reshape(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    own, before, after = flows[0], shapes[0], outs[0]
    assert own is not None
    if params.get("dimensions") is not None or 0 in before:
        raise Mixed("a reshape")
    moved = []
    for a in own:
        at = math.prod(before[:a])
        places = [
            b for b in range(len(after)) if after[b] == before[a] and math.prod(after[:b]) == at and b not in moved
        ]
        if not places:
            raise Mixed("a reshape puts them into one axis with others")
        moved.append(places[0])
    return tuple(moved)


def _without(own: Axes, dropped: Sequence[int], name: str) -> Axes:
    if any(a in dropped for a in own):
        raise Mixed(f"'{name}' runs over them")
    return tuple(a - sum(d < a for d in dropped) for a in own)


def _dropping(key: str) -> Rule:
    def rule(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
        own = _one({f for f in flows if f is not None}, "a reduction")
        return _without(own, [int(d) for d in params[key]], "a reduction")

    return rule


def _reduce_sum(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    own = flows[0]
    assert own is not None
    dropped = [int(d) for d in params["axes"]]
    if outs[0] == () and all(a in dropped for a in own):
        return SUM
    return _without(own, dropped, "a sum")


def _along(key: str) -> Rule:
    """Operations that run along one axis and keep it."""

    def rule(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
        own = _one({f for f in flows if f is not None}, "an operation along an axis")
        axes = params[key]
        if any(a in own for a in (axes if isinstance(axes, tuple | list) else (axes,))):
            raise Mixed("an operation runs along them")
        return own

    return rule


def _stack(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    own = _one({f for f in flows if f is not None}, "a stack")
    return tuple(a + (a >= params["axis"]) for a in own)


def _unstack(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    assert flows[0] is not None
    return _without(flows[0], [int(params["axis"])], "'unstack'")


def _transpose(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    assert flows[0] is not None
    order = list(params["permutation"])
    return tuple(order.index(a) for a in flows[0])


def _slice(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    """Slices and paddings: the axes of the elements stay whole."""
    own = flows[0]
    if own is None or any(f is not None for f in flows[1:]) or any(outs[0][a] != shapes[0][a] for a in own):
        raise Mixed("a slice takes some of them")
    config = params.get("padding_config")
    if config is not None and any(tuple(config[a]) != (0, 0, 0) for a in own):
        raise Mixed("a padding moves them")
    strides = params.get("strides")
    if strides is not None and any(strides[a] != 1 for a in own):
        raise Mixed("a slice takes some of them")
    return own


def _gather(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    operand, index = flows
    offset = tuple(numbers.offset_dims)
    batch = [d for d in range(len(outs[0])) if d not in offset]
    batched = tuple(getattr(numbers, "operand_batching_dims", ()) or ())
    beside = tuple(getattr(numbers, "start_indices_batching_dims", ()) or ())
    found: set[Axes] = set()
    if index is not None:
        if len(shapes[1]) - 1 in index:
            raise Mixed("they index one value together")
        found.add(tuple(batch[a] for a in index))
    if operand is not None:
        kept = [d for d in range(len(shapes[0])) if d not in numbers.collapsed_slice_dims and d not in batched]
        places = []
        for a in operand:
            if a in batched:
                places.append(batch[beside[batched.index(a)]])
            elif a in kept and sizes[a] == shapes[0][a]:
                places.append(offset[kept.index(a)])
            else:
                raise Mixed("an index picks among them")
        found.add(tuple(places))
    return _one(found, "an index")


def _dot(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    contracted, batch = params["dimension_numbers"]
    first_free = len(shapes[0]) - len(contracted[0]) - len(batch[0])
    found: set[Axes] = set()
    for side, own in enumerate(flows):
        if own is None:
            continue
        shared = list(batch[side])
        free = [d for d in range(len(shapes[side])) if d not in shared and d not in contracted[side]]
        if any(a in contracted[side] for a in own):
            raise Mixed("a product of matrices sums over them")
        start = len(shared) + (first_free if side else 0)
        found.add(tuple(shared.index(a) if a in shared else start + free.index(a) for a in own))
    return _one(found, "a product of matrices")


def _by_matrices(params: dict[str, Any], shapes: Sequence[Shape], flows: Sequence[Flow], outs: Sequence[Shape]) -> Axes:
    """Operations on the matrices in the last two axes."""
    own = _one({f for f in flows if f is not None}, "an operation on matrices")
    if any(a >= len(outs[0]) - 2 for a in own):
        raise Mixed("an operation on matrices runs over them")
    return own


ELEMENTWISE = frozenset(
    """abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp
    convert_element_type copy cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac
    integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or polygamma population_count
    pow real reduce_precision regularized_incomplete_beta rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta""".split()
)
RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _dropping("dimensions"),
    "reduce_sum": _reduce_sum,
    **{f"reduce_{name}": _dropping("axes") for name in ("max", "min", "prod", "and", "or", "xor")},
    "argmax": _dropping("axes"),
    "argmin": _dropping("axes"),
    **{name: _along("axis") for name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "split")},
    "concatenate": _along("dimension"),
    "sort": _along("dimension"),
    "stack": _stack,
    "unstack": _unstack,
    "rev": _along("dimensions"),
    "transpose": _transpose,
    "slice": _slice,
    "dynamic_slice": _slice,
    "pad": _slice,
    "gather": _gather,
    "dot_general": _dot,
    "cholesky": _by_matrices,
    "triangular_solve": _by_matrices,
}
