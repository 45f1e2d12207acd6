"""Write loops: a form is written anew with its runs of steps as loops.

Law: every value that is read outside a run is read from the loop's results, and is the same. A sum or a concatenation
of many results of steps becomes one operation on the stacked results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...form import Det, Form, Node, Var
from ...form.builder import Block, Tupled, add
from ...form.operations.stacks import Join, Row, of_a_stack, total_of_rows
from ...form.rewriting import with_operands


class Roller:
    """One form being written anew."""

    def __init__(self, form: Form, least: int) -> None:
        """Start before the first node."""
        self.form, self.least = form, least
        self.block = Block()
        self.arrays = dict(form.constants)
        self.rows: dict[Var, tuple[Var, int]] = {}  # a value that a stack holds: the stack, and the row
        self.names: dict[Var, Var] = {}
        self.stacks: dict[tuple[Var, ...], Var] = {}
        self.pools = _pools(form.inputs, least)

    def close(self) -> Form:
        """Return the new form, without the constants that nothing reads any more."""
        outputs = tuple(map(self.read, self.form.outputs))
        used = {*outputs, *(v for node in self.block.nodes for v in node.ins)}
        self.block.constants = [(v, self.arrays[v]) for v in self.arrays if v in used]
        return self.block.form(self.form.inputs, outputs, in_tree=self.form.in_tree, out_tree=self.form.out_tree)

    def keep(self, node: Node) -> None:
        """Write a node that stands in no run."""
        if isinstance(node, Det) and len(node.ins) >= self.least and self.reduce(node):
            return
        self.block.nodes.append(with_operands(node, tuple(map(self.read, node.ins))))

    def read(self, value: Var) -> Var:
        """Return the value of the new form for a value of the old one."""
        if value not in self.names and value in self.rows:
            stack, index = self.rows[value]
            self.names[value] = self.append(Row(index), (stack,), value.shape, value, "step")
        return self.names.get(value, value)

    def append(self, function: Any, ins: Sequence[Var], shape: Sequence[int], like: Var, label: str) -> Var:
        """Append an operation with one result of a given shape, of the type and the plates of another value."""
        out = Var(tuple(shape), like.dtype, like.plates)
        self.block.nodes.append(Det(function, tuple(ins), (out,), label, like.plates))
        return out

    def array(self, values: Any) -> Var:
        """Add a constant; it stays an array of NumPy, since the caller may be tracing."""
        array = np.asarray(values)
        value = Var(array.shape, array.dtype)
        self.arrays[value] = array
        return value

    def known(self, values: Sequence[Var]) -> list[np.ndarray] | None:
        """Return the values as arrays of NumPy where all are constants that can be read."""
        arrays = [self.arrays.get(v) for v in values]
        if all(_readable(array) for array in arrays):
            return [np.asarray(array, v.dtype) for array, v in zip(arrays, values, strict=True)]
        return None

    def stack(self, values: Sequence[Var]) -> Var:
        """Return the stack of values of one type along a new first axis."""
        key = tuple(values)
        if key not in self.stacks:
            known = self.known(key)
            self.stacks[key] = self._join(key) if known is None else self.array(np.stack(known))
        return self.stacks[key]

    def _join(self, values: tuple[Var, ...]) -> Var:
        self._pool(values)
        parts: list[list[int]] = []  # no rows for a value alone
        ins: list[Var] = []
        for value in values:
            stack, index = self.rows.get(value, (None, 0))
            if stack is None:
                parts.append([])
                ins.append(self.read(value))
            elif ins and ins[-1] is stack:
                parts[-1].append(index)
            else:
                parts.append([index])
                ins.append(stack)
        if len(ins) == 1 and parts[0] == list(range(ins[0].shape[0])):
            return ins[0]
        return self.append(
            Join(tuple(tuple(part) or None for part in parts)), ins, (len(values), *values[0].shape), values[0], "stack"
        )

    def _pool(self, values: Sequence[Var]) -> None:
        """Stack all inputs of one type where many of them are wanted: another stack of them is then a part of it."""
        for pool in {id(p): p for v in values if v not in self.rows and (p := self.pools.get(v))}.values():
            if sum(self.pools.get(v) is pool for v in values) >= self.least:
                out = self.append(Join((None,) * len(pool)), pool, (len(pool), *pool[0].shape), pool[0], "stack")
                self.rows |= {v: (out, k) for k, v in enumerate(pool)}
                self.names |= {v: v for v in pool}

    def reduce(self, node: Det) -> bool:
        """Write a sum or a concatenation of results of steps as one operation on their stack; tell whether it was."""
        function, first = node.function, node.ins[0]
        held = [v for v in dict.fromkeys(node.ins) if v in self.rows and v.plates == node.plates]
        if len(held) < self.least or any((v.shape, v.dtype) != (first.shape, first.dtype) for v in node.ins):
            return False
        if isinstance(function, Tupled) and function.function is add and len(set(node.ins)) == len(node.ins):
            known = set(held)
            rest = [self.read(v) for v in node.ins if v not in known]
            whole = self.append(Tupled(total_of_rows), (self.stack(held),), first.shape, held[0], "sum")
            if rest:
                self.block.nodes.append(replace(node, ins=(*rest, whole)))
            else:
                self.names[node.outs[0]] = whole
            return True
        if any(v.plates != node.plates for v in node.ins):
            return False
        if isinstance(function, Join) and function.parts == (None,) * len(node.ins):
            self.names[node.outs[0]] = self.stack(node.ins)
            return True
        stacked = of_a_stack(function)
        if stacked is not None:
            self.block.nodes.append(replace(node, function=stacked, ins=(self.stack(node.ins),)))
        return stacked is not None


def joins(node: Node, least: int) -> bool:
    """Tell whether a node is one that `Roller.reduce` writes as one operation on a stack."""
    if not isinstance(node, Det) or len(node.ins) < least:
        return False
    function = node.function
    return (
        of_a_stack(function) is not None
        or isinstance(function, Join)
        or (isinstance(function, Tupled) and function.function is add)
    )


def _pools(inputs: Sequence[Var], least: int) -> dict[Var, tuple[Var, ...]]:
    """Group the inputs of one type; a group has at least `least` of them."""
    groups: dict[Any, list[Var]] = {}
    for value in inputs:
        groups.setdefault((value.shape, value.dtype, value.plates), []).append(value)
    return {v: pool for group in groups.values() if len(group) >= least for pool in [tuple(group)] for v in group}


def _readable(array: Any) -> bool:
    if isinstance(array, jax.core.Tracer) or not isinstance(array, np.ndarray | np.generic | jax.Array):
        return False
    return not jnp.issubdtype(array.dtype, jax.dtypes.extended)
