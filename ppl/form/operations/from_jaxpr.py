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
from ..nodes import Branch, Det, Form, Loop, Node, Var
from ..pipeline import keeps
from .equation import Equation, body_of, equation_of, is_call, literal_array, parts_of, scan_counts
from .jax_extension import Literal


class Reader:
    """The walk over a traced program; it keeps no state between programs.

    Args:
        opens: tells which calls are opened.
        loops: whether scans and choices become loops and branches, instead of one operation each.
    """

    def __init__(self, opens: Callable[[Any], bool], loops: bool = False) -> None:
        self.opens, self.loops = opens, loops

    def form(self, closed: Any, *, out_tree: Any = None) -> Form:
        """Read a traced program as a form."""
        frame, inputs = Frame({}, [], []), tuple(map(_new, parts_of(closed)[0].invars))
        outputs = self.opened(closed, inputs, frame)
        return Form(inputs, tuple(frame.nodes), outputs, tuple(frame.constants), out_tree=out_tree)

    def opened(self, closed: Any, inputs: Sequence[Var], frame: Frame) -> tuple[Var, ...]:
        """Append the operations of a traced function; gives its outputs."""
        jaxpr, consts = parts_of(closed)
        called = Frame(dict(zip(jaxpr.invars, inputs, strict=True)), frame.constants, frame.nodes)
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            called.values[variable] = called.constant(_new(variable), array)
        for eqn in jaxpr.eqns:
            self.equation(eqn, called)
        return tuple(map(called.read, jaxpr.outvars))

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
            frame.values |= zip(eqn.outvars, self.opened(body_of(eqn), frame.operands(eqn), frame), strict=True)
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
        body, operands, outs = self.form(eqn.params["jaxpr"]), frame.operands(eqn), frame.results(eqn)
        parts = operands[:consts], operands[consts : consts + carry], operands[consts + carry :]
        length, reverse = int(eqn.params["length"]), bool(eqn.params["reverse"])
        frame.nodes.append(Loop(body, length, *parts, outs[:carry], outs[carry:], reverse))

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


@dataclass(eq=False)
class Frame:
    """What is known inside a traced function: its values, and the form that is written."""

    values: dict[Any, Var]
    constants: list[tuple[Var, Any]]
    nodes: list[Node]
    numbers: dict[Any, Var] = field(default_factory=dict)  # a number that many operations read is one value

    def read(self, variable: Any) -> Var:
        """Give the value of a variable, or of a number that the program wrote."""
        return self.number(literal_array(variable)) if isinstance(variable, Literal) else self.values[variable]

    def number(self, array: np.ndarray) -> Var:
        """Give a number that the program wrote."""
        key = array.dtype, array.shape, array.tobytes()
        if key not in self.numbers:
            self.numbers[key] = self.constant(Var(array.shape, array.dtype), array)
        return self.numbers[key]

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
    opens = opened if callable(opened) else lambda operation: bool(opened) and is_call(operation)
    return Reader(opens, loops).form(jax.make_jaxpr(lambda *xs: jax.tree.leaves(function(*xs)))(*args))


def called(call: Equation) -> Form:
    """Write the function that an operation calls as a Form; calls inside it stay as they are."""
    return Reader(lambda operation: False).form(body_of(call))


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
        call: Any = node.function if isinstance(node, Det) and not node.plates and node.address is None else None
        if isinstance(call, Equation) and call.is_call:
            frame = Frame({}, block.constants, block.nodes)
            operands = call.operands([names[v] for v in node.ins], lambda held: frame.number(np.asarray(*held)))
            names |= zip(node.outs, reader.opened(body_of(call), operands, frame), strict=True)
            continue
        if isinstance(node, Loop):
            node = replace(node, body=inlined(node.body))
        block.nodes.append(renamed(node, names))
    outputs = [names[v] for v in form.outputs]
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
