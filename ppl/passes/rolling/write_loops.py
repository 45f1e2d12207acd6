"""Write loops: a form is written anew with its runs of steps as loops.

Law: every value that is read outside a run is read from the loop's results, and is the same. In the body, what later
steps read is carried, with the values that the first steps read as its start; what comes from outside is a constant
where all steps read the same value, and scanned where each reads its own. A sum or a concatenation of many results of
steps becomes one operation on the stacked results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...form import Det, Form, Node, Var
from ...form.builder import Block, Tupled, add
from ...form.fingerprint import array_key
from ...form.operations.stacks import (
    Join,
    Pick,
    Row,
    Window,
    Windows,
    literals,
    of_a_stack,
    opened,
    total_of_rows,
    tuples,
)  # fmt: skip
from ...form.rewriting import with_operands
from .match_steps import Before, Outside, Steps, Within


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


@dataclass
class Register:
    """A result of a step that later steps read: its place, and its values before the first step, the latest first."""

    place: tuple[int, int]
    first: dict[int, Var]  # steps back from the first step (1, 2, ...) -> value
    inner: list[Var] = field(default_factory=list)  # the carried values inside the body, the latest first

    def takes(self, wanted: dict[int, Var]) -> bool:
        """Tell whether it can also start with other values."""
        return all(self.first.get(back, value) is value for back, value in wanted.items())


class Body:
    """The body of one loop being written."""

    def __init__(self, roller: Roller, steps: Steps) -> None:
        """Start empty."""
        self.roller, self.steps = roller, steps
        self.constants: dict[Var, Var] = {}  # outside -> inside
        self.scanned: dict[Var, Var] = {}  # stack outside -> inside
        self.registers: list[Register] = []
        self.results: dict[tuple[int, int], Var] = {}  # place in the step -> value inside
        self.nodes: list[Node] = []

    def write(self) -> None:
        """Append the loop, and note where the results of its steps are."""
        steps, roller = self.steps, self.roller
        self.carry()
        for j, node in enumerate(steps.nodes[: steps.period]):
            self.node(j, node)
        carried = [out for r in self.registers for out in (self.results[r.place], *r.inner[:-1])]
        wanted = self.wanted()
        inputs = (*self.constants.values(), *(v for r in self.registers for v in r.inner), *self.scanned.values())
        outputs = (*carried, *(self.results[place] for place in wanted))
        body = Form(inputs, tuple(self.nodes), outputs)
        init = [roller.read(r.first[back + 1]) for r in self.registers for back in range(len(r.inner))]
        carry, stacks = roller.block.loop(
            body, steps.length, tuple(self.constants), init, tuple(self.scanned), addresses=steps.addresses
        )
        for place, stack in zip(wanted, stacks, strict=True):
            for k in range(steps.length):
                roller.rows[self.outside(place, k)] = stack, k
        start = 0
        for register in self.registers:
            roller.names.setdefault(self.outside(register.place, steps.length - 1), carry[start])
            start += len(register.inner)

    def outside(self, place: tuple[int, int], step: int) -> Var:
        """Return the value of the old form that a step makes."""
        node, result = place
        return self.steps.nodes[step * self.steps.period + node].outs[result]

    def wanted(self) -> list[tuple[int, int]]:
        """List the results that something after the run reads; the last value of a carry needs no stack."""
        steps, form = self.steps, self.roller.form
        read = {v for node in form.nodes[steps.stop :] for v in node.ins} | set(form.outputs)
        carried = {r.place for r in self.registers}
        found = []
        for j, node in enumerate(steps.nodes[: steps.period]):
            for result in range(len(node.outs)):
                used = [self.outside((j, result), k) in read for k in range(steps.length)]
                if any(used[:-1]) or (used[-1] and (j, result) not in carried):
                    found.append((j, result))
        return found

    def carry(self) -> None:
        """Make a register for each result that later steps read."""
        for origins in self.steps.origins:
            for origin in origins:
                if isinstance(origin, Before):
                    self.register(origin)
        for register in self.registers:
            like = self.outside(register.place, 0)
            register.inner = [like.like() for _ in range(max(register.first))]

    def register(self, origin: Before) -> Register:
        """Find or make the register of an operand."""
        wanted = {origin.delay - k: value for k, value in enumerate(origin.first)}
        for register in self.registers:
            if register.place == (origin.node, origin.result) and register.takes(wanted):
                register.first |= wanted
                return register
        self.registers.append(Register((origin.node, origin.result), wanted))
        return self.registers[-1]

    def node(self, j: int, node: Node) -> None:
        """Write one node of the body."""
        origins = self.steps.origins[j]
        if isinstance(node, Det):
            held = self.literals(j)
            function = opened(node.function) if held else node.function
            if isinstance(function, Pick | Window) and isinstance(origins[0], Outside) and _same(origins[0].values):
                self.windows(j, node, function, origins[0].values[0], held[1])
                return
            rest = iter([self.operand(origin) for origin in origins])
            count = len(origins) + len(held)
            ins = tuple(self.scan(self.roller.array(held[i])) if i in held else next(rest) for i in range(count))
            node = replace(node, function=function, ins=ins)
        else:
            node = with_operands(node, tuple(self.operand(origin) for origin in origins))
        fresh = tuple(v.like() for v in node.outs)
        self.results |= {(j, result): v for result, v in enumerate(fresh)}
        self.nodes.append(node.with_outs(tuple(fresh)))

    def literals(self, j: int) -> dict[int, np.ndarray]:
        """Return the literals of a node that differ between the steps, stacked, by their position; all or none."""
        columns = [
            literals(node.function) for node in self.steps.nodes[j :: self.steps.period] if isinstance(node, Det)
        ]
        if not columns[0] or all(_equal(column, columns[0]) for column in columns[1:]):
            return {}
        return {i: np.stack([column[i] for column in columns]) for i in columns[0]}

    def windows(self, j: int, node: Det, window: Pick | Window, array: Var, starts: np.ndarray) -> None:
        """Cut the windows of all steps before the loop."""
        outer, out = self.roller, node.outs[0]
        cut = Windows(window, tuples(starts))
        stack = outer.append(cut, (outer.read(array),), (self.steps.length, *out.shape), out, "slices")
        self.results[j, 0] = self.scan(stack)

    def operand(self, origin: Within | Before | Outside) -> Var:
        """Return the value inside the body for an operand."""
        if isinstance(origin, Within):
            return self.results[origin.node, origin.result]
        if isinstance(origin, Before):
            return self.register(origin).inner[origin.delay - 1]
        if _same(origin.values) or self.equal(origin.values):
            value = self.roller.read(origin.values[0])
            return self.constants.setdefault(value, value.like())
        return self.scan(self.roller.stack(origin.values))

    def equal(self, values: Sequence[Var]) -> bool:
        """Tell whether all values are constants of equal content."""
        known = self.roller.known(values)
        return known is not None and all(array_key(array) == array_key(known[0]) for array in known[1:])

    def scan(self, stack: Var) -> Var:
        """Return the value inside the body for a stack with one row per step."""
        if stack not in self.scanned:
            self.scanned[stack] = Var(stack.shape[1:], stack.dtype, stack.plates)
        return self.scanned[stack]


def _same(values: Sequence[Var]) -> bool:
    return all(v is values[0] for v in values)


def _equal(first: dict[int, Any], second: dict[int, Any]) -> bool:
    return all(array_key(first[i]) == array_key(second[i]) for i in first)


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
