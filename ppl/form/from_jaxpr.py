"""From jaxpr: a traced program of JAX read as nodes of a form.

Law: the nodes compute what the traced program computes. Scans and choices become loops and branches, and calls are
opened, where they are to be; every other operation is a node of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from ..messages import Source, first_line
from .builder import Block, renamed
from .cached import per_form
from .nodes import Branch, Det, Form, Loop, Node, Var
from .operations.equation import BODIES, CALLS, Equation, literal_array, scan_counts
from .operations.jax_extension import Literal


class Reader:
    """The walk over a traced program; it keeps no state between programs.

    Args:
        opened: names of the operations that are opened: calls, "scan" and "cond".
    """

    def __init__(self, opened: Sequence[str] = ()) -> None:
        """Begin."""
        self.opened = opened

    def form(self, closed: Any, *, in_tree: Any = None, out_tree: Any = None) -> Form:
        """Read a traced program as a form."""
        jaxpr, consts = _parts(closed)
        values: dict[Any, Var] = {}
        constants: list[tuple[Var, Any]] = []
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            values[variable] = _new(variable)
            constants.append((values[variable], array))
        inputs = tuple(values.setdefault(v, _new(v)) for v in jaxpr.invars)
        nodes: list[Node] = []
        frame = Frame(values, constants, nodes)
        self.equations(jaxpr.eqns, frame)
        outputs = tuple(frame.read(v) for v in jaxpr.outvars)
        return Form(inputs, tuple(nodes), outputs, tuple(constants), in_tree, out_tree)

    def equations(self, equations: Sequence[Any], frame: Frame) -> None:
        """Read operations in their order."""
        for equation in equations:
            self.equation(equation, frame)

    def equation(self, eqn: Any, frame: Frame) -> None:
        """Read an operation."""
        name = eqn.primitive.name
        if name not in self.opened:
            self.det(eqn, frame)
        elif name == "scan":
            self.loop(eqn, frame)
        elif name == "cond":
            self.branch(eqn, frame)
        else:
            self.call(eqn, frame)

    def det(self, eqn: Any, frame: Frame) -> None:
        """Read an operation as one node."""
        literals = tuple([(v.val, getattr(v.aval, "dtype")) if isinstance(v, Literal) else None for v in eqn.invars])
        ins = tuple([frame.read(v) for v in eqn.invars if not isinstance(v, Literal)])
        outs = tuple([frame.new(v) for v in eqn.outvars])
        label = eqn.params.get("name", eqn.primitive.name)
        function = Equation(eqn.primitive, dict(eqn.params), literals, eqn.primitive.multiple_results)
        place = _line_of(eqn) if function.draws else Source("<algorithm>", 0)
        frame.nodes.append(Det(function, ins, outs, str(label), source=place))

    def loop(self, eqn: Any, frame: Frame) -> None:
        """Read a scan as a loop."""
        consts, carry = scan_counts(eqn.params, eqn.invars)
        body = self.form(eqn.params["jaxpr"])
        operands = [frame.read(v) for v in eqn.invars]
        outs = [frame.new(v) for v in eqn.outvars]
        frame.nodes.append(
            Loop(
                body,
                int(eqn.params["length"]),
                tuple(operands[:consts]),
                tuple(operands[consts : consts + carry]),
                tuple(operands[consts + carry :]),
                tuple(outs[:carry]),
                tuple(outs[carry:]),
                bool(eqn.params["reverse"]),
            )
        )

    def branch(self, eqn: Any, frame: Frame) -> None:
        """Read a choice as a branch."""
        forms = tuple(self.form(arm) for arm in eqn.params["branches"])
        index, *operands = (frame.read(v) for v in eqn.invars)
        outs = tuple(frame.new(v) for v in eqn.outvars)
        frame.nodes.append(Branch(index, forms, tuple(operands), outs))

    def call(self, eqn: Any, frame: Frame) -> None:
        """Read what a call calls."""
        outs = self.opened_call(eqn.params, [frame.read(v) for v in eqn.invars], frame)
        frame.values.update(zip(eqn.outvars, outs, strict=True))

    def opened_call(self, params: Mapping[str, Any], operands: Sequence[Var], frame: Frame) -> list[Var]:
        """Append the operations of a call; gives its results."""
        jaxpr, consts = _parts(next(params[key] for key in BODIES if key in params))
        values: dict[Any, Var] = {}
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            values[variable] = frame.constant(_new(variable), array)
        values |= zip(jaxpr.invars, operands, strict=True)
        inside = Frame(values, frame.constants, frame.nodes)
        self.equations(jaxpr.eqns, inside)
        return [inside.read(v) for v in jaxpr.outvars]


@dataclass(eq=False)
class Frame:
    """What is known inside a traced function: its values, and the form that is written."""

    values: dict[Any, Var]
    constants: list[tuple[Var, Any]]
    nodes: list[Node]
    numbers: dict[Any, Var] = field(default_factory=dict)  # a number that many operations read is one value

    def read(self, variable: Any) -> Var:
        """Give the value of a variable, or of a number that the program wrote."""
        if isinstance(variable, Literal):
            array = literal_array(variable)
            number = array.dtype, array.shape, array.tobytes()
            if number not in self.numbers:
                self.numbers[number] = self.constant(_new(variable), array)
            return self.numbers[number]
        return self.values[variable]

    def new(self, variable: Any) -> Var:
        """Make a value for a variable."""
        self.values[variable] = _new(variable)
        return self.values[variable]

    def constant(self, value: Var, array: Any) -> Var:
        """Append a constant."""
        self.constants.append((value, array))
        return value


def _parts(closed: Any) -> tuple[Any, tuple[Any, ...]]:
    return getattr(closed, "jaxpr", closed), tuple(getattr(closed, "consts", ()))


def _new(variable: Any) -> Var:
    return Var(tuple(variable.aval.shape), variable.aval.dtype)


def _line_of(eqn: Any) -> Source:
    """Find the line of the user's program that an operation comes from."""
    traceback = getattr(eqn.source_info, "traceback", None)
    frames = [] if traceback is None else traceback.frames
    return first_line((frame.file_name, frame.line_num) for frame in frames)


def unfold(function: Callable[..., Any], *args: Any, opened: bool = True, loops: bool = False) -> Form:
    """Write a pure function of arrays as a Form of single operations.

    Args:
        function: a pure function.
        args: arrays, or their shapes and types.
        opened: whether calls inside it are opened.
        loops: whether scans and choices become loops and branches of the Form, instead of one operation each.

    >>> form = unfold(jax.jit(lambda x: jax.nn.softplus(2 * x)), 1.0)
    >>> form.nodes[0].label
    'mul'
    """
    reader = Reader((*(CALLS if opened else ()), *(("scan", "cond") if loops else ())))
    return reader.form(jax.make_jaxpr(lambda *xs: jax.tree.leaves(function(*xs)))(*args))


@per_form
def inlined(form: Form) -> Form:
    """Open the calls of a form and of the bodies of its loops; the inputs stay the same values.

    Arms of branches are left as they are.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: jax.jit(lambda x: 2 * x + 1)(lawful.sample("x", dist.Normal(0.0, 1.0))))
    >>> len(form.nodes), len(inlined(form).nodes)
    (2, 3)
    """
    block, reader = Block(), Reader(CALLS)
    block.constants.extend(form.constants)
    names: dict[Var, Var] = {v: v for v in (*form.inputs, *(v for v, _ in form.constants))}
    for node in form.nodes:
        if isinstance(node, Det) and _is_call(node):
            call: Any = node.function
            frame = Frame({}, block.constants, block.nodes)
            rest = iter(node.ins)
            operands = [names[next(rest)] if x is None else _number(frame, x) for x in call.literals]
            names |= zip(node.outs, reader.opened_call(call.params, operands, frame), strict=True)
            continue
        if isinstance(node, Loop):
            node = replace(node, body=inlined(node.body))
        block.nodes.append(renamed(node, names))
    outputs = [names[v] for v in form.outputs]
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _is_call(node: Det) -> bool:
    """Tell whether a node is a call that can be opened: a named value keeps its node."""
    function = node.function
    if not isinstance(function, Equation) or node.plates or node.address is not None:
        return False
    return function.primitive.name in CALLS and any(key in function.params for key in BODIES)


def _number(frame: Frame, literal: Any) -> Var:
    array = np.asarray(*literal)
    return frame.constant(Var(array.shape, array.dtype), array)
