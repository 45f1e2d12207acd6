"""Unrolled: the steps of a program's loops written one after the other, as a Python loop would write them.

Law: the unrolled form has the outputs and the measure of the form; only the addresses differ, which get the step. It is
what rolling is checked on: [[rolled(unrolled(p))]] = [[p]].
"""

from __future__ import annotations

from collections.abc import Sequence

from lawful.form import Det, Form, Loop, Var
from lawful.form.builder import Block
from lawful.form.operations.stacks import Join, Row
from lawful.form.rewriting import with_addresses, with_operands
from lawful.passes.rolling.roll import rolled

from ...contract import PRESERVES, Transformer


def unrolled(form: Form) -> Form:
    """Write the steps of the outermost loops of a form one by one.

    >>> import lawful, numpyro.distributions as dist
    >>> def walk():
    ...     return lawful.scan(lambda x, _: (lawful.sample("x", dist.Normal(x, 1.0)), None), 0.0, length=3)[0]
    >>> [site.address for site in unrolled(lawful.trace(walk)).sites()]
    [('x', '0'), ('x', '1'), ('x', '2')]
    """
    block = Block()
    block.constants.extend(form.constants)
    names: dict[Var, Var] = {}
    for node in form.nodes:
        ins = tuple(names.get(v, v) for v in node.ins)
        moved = with_operands(node, ins)
        if isinstance(moved, Loop) and moved.length > 0:
            names |= _steps(block, moved)
        else:
            block.nodes.append(moved)
    outputs = tuple(names.get(v, v) for v in form.outputs)
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _steps(block: Block, loop: Loop) -> dict[Var, Var]:
    """Append the steps of a loop; returns its results by the names that they had."""
    carry: Sequence[Var] = loop.init
    stacked: dict[int, Sequence[Var]] = {}
    for k in range(loop.length - 1, -1, -1) if loop.reverse else range(loop.length):
        xs = []
        for stack in loop.xs:
            xs.append(Var(stack.shape[1:], stack.dtype, stack.plates))
            block.nodes.append(Det(Row(k), (stack,), (xs[-1],), "step", stack.plates))
        outputs = block.splice(_at(loop.body, k), [*loop.constants, *carry, *xs])
        carry, stacked[k] = outputs[: len(carry)], outputs[len(carry) :]
    found = dict(zip(loop.carry_out, carry, strict=True))
    for i, y in enumerate(loop.ys):
        found[y] = y.like()
        parts = tuple(stacked[k][i] for k in range(loop.length))
        block.nodes.append(Det(Join((None,) * loop.length), parts, (found[y],), "stack", y.plates))
    return found


def _at(body: Form, step: int) -> Form:
    """Give the addresses of a body the step as their last name."""
    return with_addresses(body, lambda address: (*address, str(step)))


Roll = Transformer("roll . unroll", lambda form: rolled(unrolled(form), 2, always=True), PRESERVES)
