"""From jaxpr: a traced program of JAX read as nodes of a form.

Law: the nodes compute what the traced program computes. Scans and choices become loops and branches, and calls are
opened, where they are to be; every other operation is a node of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from ...messages import Source, first_line
from ..builder import Block, renamed
from ..cached import keeps
from ..nodes import Branch, Det, Form, Loop, Node, Var
from .equation import Equation, body_of, equation_of, is_call, literal_array, parts_of, scan_counts
from .jax_extension import Literal


class Reader:
    """The walk over a traced program; it keeps no state between programs.

    Args:
        opens: tells which calls are opened.
        loops: whether scans and choices become loops and branches, instead of one operation each.
    """

    def __init__(self, opens: Callable[[Any], bool], loops: bool = False) -> None:
        """Begin."""
        self.opens, self.loops = opens, loops

    def form(self, closed: Any, *, in_tree: Any = None, out_tree: Any = None) -> Form:
        """Read a traced program as a form."""
        jaxpr, consts = parts_of(closed)
        values: dict[Any, Var] = {}
        constants: list[tuple[Var, Any]] = []
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            values[variable] = _new(variable)
            constants.append((values[variable], array))
        inputs = tuple(values.setdefault(v, _new(v)) for v in jaxpr.invars)
        frame = Frame(values, constants, [])
        self.equations(jaxpr.eqns, frame)
        outputs = tuple(map(frame.read, jaxpr.outvars))
        return Form(inputs, tuple(frame.nodes), outputs, tuple(constants), in_tree, out_tree)

    def equations(self, equations: Sequence[Any], frame: Frame) -> None:
        """Read operations in their order."""
        for equation in equations:
            self.equation(equation, frame)

    def equation(self, eqn: Any, frame: Frame) -> None:
        """Read an operation."""
        if not self.open(eqn, frame):
            self.det(eqn, frame)

    def open(self, eqn: Any, frame: Frame) -> bool:
        """Read what an operation calls, if it is one that is opened."""
        name = eqn.primitive.name
        if name == "scan" and self.loops:
            self.loop(eqn, frame)
        elif name == "cond" and self.loops:
            self.branch(eqn, frame)
        elif self.opens(eqn):
            outs = self.opened_call(eqn, frame.operands(eqn), frame)
            frame.values.update(zip(eqn.outvars, outs, strict=True))
        else:
            return False
        return True

    def det(self, eqn: Any, frame: Frame) -> None:
        """Read an operation as one node."""
        function = equation_of(eqn)
        ins = tuple([frame.read(v) for v in eqn.invars if not isinstance(v, Literal)])
        place = _line_of(eqn) if function.draws else Source("<algorithm>", 0)
        frame.nodes.append(Det(function, ins, frame.results(eqn), function.label, source=place))

    def loop(self, eqn: Any, frame: Frame) -> None:
        """Read a scan as a loop."""
        consts, carry = scan_counts(eqn.params, eqn.invars)
        body = self.form(eqn.params["jaxpr"])
        operands, outs = frame.operands(eqn), frame.results(eqn)
        frame.nodes.append(
            Loop(
                body,
                int(eqn.params["length"]),
                operands[:consts],
                operands[consts : consts + carry],
                operands[consts + carry :],
                outs[:carry],
                outs[carry:],
                bool(eqn.params["reverse"]),
            )
        )

    def branch(self, eqn: Any, frame: Frame) -> None:
        """Read a choice as a branch."""
        forms = tuple(self.form(arm) for arm in eqn.params["branches"])
        index, *operands = frame.operands(eqn)
        frame.nodes.append(Branch(index, forms, tuple(operands), frame.results(eqn)))

    def while_loop(self, eqn: Any) -> tuple[Form, Form, tuple[int, int]] | None:
        """Read the condition and the body of a loop without a bound, and how many operands each reads as they are."""
        if eqn.primitive.name != "while":
            return None
        counts = int(eqn.params["cond_nconsts"]), int(eqn.params["body_nconsts"])
        return self.form(eqn.params["cond_jaxpr"]), self.form(eqn.params["body_jaxpr"]), counts

    def opened_call(self, operation: Any, operands: Sequence[Var], frame: Frame) -> list[Var]:
        """Append the operations of a call; gives its results."""
        jaxpr, consts = parts_of(body_of(operation))
        values: dict[Any, Var] = {}
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            values[variable] = frame.constant(_new(variable), array)
        values |= zip(jaxpr.invars, operands, strict=True)
        called = Frame(values, frame.constants, frame.nodes)
        self.equations(jaxpr.eqns, called)
        return [called.read(v) for v in jaxpr.outvars]


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

    def operands(self, eqn: Any) -> tuple[Var, ...]:
        """Give the operands of an operation, numbers that the program wrote included."""
        return tuple([self.read(v) for v in eqn.invars])

    def results(self, eqn: Any) -> tuple[Var, ...]:
        """Make values for the results of an operation."""
        return tuple([self.values.setdefault(v, _new(v)) for v in eqn.outvars])

    def constant(self, value: Var, array: Any) -> Var:
        """Append a constant."""
        self.constants.append((value, array))
        return value


def _new(variable: Any) -> Var:
    return Var(tuple(variable.aval.shape), variable.aval.dtype)


def _line_of(eqn: Any) -> Source:
    """Find the line of the user's program that an operation comes from."""
    traceback = getattr(eqn.source_info, "traceback", None)
    frames = [] if traceback is None else traceback.frames
    return first_line((frame.file_name, frame.line_num) for frame in frames)


def unfold(
    function: Callable[..., Any], *args: Any, opened: bool | Callable[[Any], bool] = True, loops: bool = False
) -> Form:
    """Write a pure function of arrays as a Form of single operations.

    Args:
        function: a pure function.
        args: arrays, or their shapes and types.
        opened: whether calls inside it are opened; or which.
        loops: whether scans and choices become loops and branches of the Form, instead of one operation each.

    >>> form = unfold(jax.jit(lambda x: jax.nn.softplus(2 * x)), 1.0)
    >>> form.nodes[0].label
    'mul'
    """
    opens = opened if callable(opened) else is_call if opened else _none
    return Reader(opens, loops).form(jax.make_jaxpr(lambda *xs: jax.tree.leaves(function(*xs)))(*args))


def _none(operation: Any) -> bool:
    return False


def called(call: Equation) -> Form:
    """Write the function that an operation calls as a Form; calls inside it stay as they are."""
    return Reader(_none).form(body_of(call))


def operations(form: Form) -> Iterator[Any]:
    """Give the operations of a traced function, which is made of nothing else."""
    return (node for node in form.nodes if isinstance(node, Det))


@keeps("the outputs and the weight")
def inlined(form: Form) -> Form:
    """Open the calls of a form and of the bodies of its loops; the inputs stay the same values.

    Arms of branches are left as they are.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: jax.jit(lambda x: 2 * x + 1)(lawful.sample("x", dist.Normal(0.0, 1.0))))
    >>> len(form.nodes), len(inlined(form).nodes)
    (2, 3)
    """
    block, reader = Block(), Reader(is_call)
    block.constants.extend(form.constants)
    names: dict[Var, Var] = {v: v for v in (*form.inputs, *(v for v, _ in form.constants))}
    for node in form.nodes:
        if isinstance(node, Det) and _is_opened(node):
            call: Any = node.function
            frame = Frame({}, block.constants, block.nodes)
            operands = call.operands([names[v] for v in node.ins], lambda literal: _number(frame, literal))
            names |= zip(node.outs, reader.opened_call(call, operands, frame), strict=True)
            continue
        if isinstance(node, Loop):
            node = replace(node, body=inlined(node.body))
        block.nodes.append(renamed(node, names))
    outputs = [names[v] for v in form.outputs]
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _is_opened(node: Det) -> bool:
    """Tell whether a node is a call that can be opened: a named value keeps its node."""
    plain = not node.plates and node.address is None
    return plain and isinstance(node.function, Equation) and node.function.is_call


def _number(frame: Frame, literal: Any) -> Var:
    array = np.asarray(*literal)
    return frame.constant(Var(array.shape, array.dtype), array)
