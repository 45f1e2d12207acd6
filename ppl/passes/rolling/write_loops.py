"""Write loops: a form is written anew with its runs of steps as loops.

Law: every value that is read outside a run is read from the loop's results, and is the same. In the body, what later
steps read is carried, with the values that the first steps read as its start; what comes from outside is a constant
where all steps read the same value, and scanned where each reads its own. A sum or a concatenation of many results of
steps becomes one operation on the stacked results.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...form import Det, Form, Node, Var
from ...form.builder import Block
from ...form.fingerprint import array_key, is_readable
from ...form.operations.stacks import TOTAL, Join, Pick, Row, Window, Windows, of_a_stack, opened
from ...form.rewriting import with_operands, with_results
from .match_steps import Made, Origin, Steps

type Place = tuple[int, int]  # node of a step, result of the node


class Roller:
    """One form being written anew."""

    def __init__(self, form: Form, least: int) -> None:
        self.form, self.least = form, least
        self.block = Block()
        self.arrays = dict(form.constants)
        self.rows: dict[Var, tuple[Var, int]] = {}  # a value that a stack holds: the stack, and the row
        self.names: dict[Var, Var] = {}
        self.stacks: dict[tuple[Var, ...], Var] = {}
        pools: dict[Any, list[Var]] = {}  # the inputs of one type
        for value in form.inputs:
            pools.setdefault(value.type, []).append(value)
        self.pools = {v: pool for pool in pools.values() if len(pool) >= least for v in pool}

    def close(self) -> Form:
        """Return the new form, without the constants that nothing reads any more."""
        outputs = tuple(map(self.read, self.form.outputs))
        used = {*outputs, *(v for node in self.block.nodes for v in node.ins)}
        self.block.constants = [(v, self.arrays[v]) for v in self.arrays if v in used]
        return self.block.form(self.form.inputs, outputs, in_tree=self.form.in_tree, out_tree=self.form.out_tree)

    def keep(self, nodes: Iterable[Node]) -> None:
        """Write nodes that stand in no run."""
        for node in nodes:
            self.block.nodes.append(self.reduced(node) or with_operands(node, tuple(map(self.read, node.ins))))

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

    def array(self, array: np.ndarray) -> Var:
        """Add a constant; it stays an array of NumPy, since the caller may be tracing."""
        value = Var(array.shape, array.dtype)
        self.arrays[value] = array
        return value

    def known(self, values: Sequence[Var]) -> list[np.ndarray] | None:
        """Return the values as arrays of NumPy where all are constants that can be read."""
        arrays = [self.arrays.get(v) for v in values]
        if any(array is None or not is_readable(array) for array in arrays):
            return None
        return [np.asarray(array, v.dtype) for array, v in zip(arrays, values, strict=True)]

    def stack(self, values: Sequence[Var]) -> Var:
        """Return the stack of values of one type along a new first axis."""
        key = tuple(values)
        if key not in self.stacks:
            known = self.known(key)
            self.stacks[key] = self._join(key) if known is None else self.array(np.stack(known))
        return self.stacks[key]

    def _join(self, values: tuple[Var, ...]) -> Var:
        for pool in {id(p): p for v in values if v not in self.rows and (p := self.pools.get(v))}.values():
            if sum(self.pools.get(v) is pool for v in values) >= self.least:  # then another stack is a part of this one
                out = self.append(Join((None,) * len(pool)), pool, (len(pool), *pool[0].shape), pool[0], "stack")
                self.rows |= {v: (out, k) for k, v in enumerate(pool)}
                self.names |= {v: v for v in pool}
        ins: list[Var] = []
        parts: list[list[int]] = []  # no rows for a value alone
        for value in values:
            stack, *row = self.rows.get(value, (None,))
            if stack is not None and ins and ins[-1] is stack:
                parts[-1] += row
            else:
                ins.append(self.read(value) if stack is None else stack)
                parts.append(row)
        if len(ins) == 1 and parts[0] == list(range(ins[0].shape[0])):
            return ins[0]
        join = Join(tuple(tuple(part) or None for part in parts))
        return self.append(join, ins, (len(values), *values[0].shape), values[0], "stack")

    def reduced(self, node: Node) -> Node | None:
        """Write a sum or a concatenation of results of steps as one operation on their stack; None for other nodes."""
        function = of_a_stack(node.function) if isinstance(node, Det) and len(node.ins) >= self.least else None
        if not isinstance(node, Det) or function is None or len({(v.shape, v.dtype) for v in node.ins}) > 1:
            return None
        held = {v: None for v in node.ins if v in self.rows and v.plates == node.plates}
        if len(held) < self.least:
            return None
        if function == TOTAL:
            if len(set(node.ins)) < len(node.ins):
                return None
            rest, first = [self.read(v) for v in node.ins if v not in held], node.ins[0]
            whole = self.append(function, (self.stack([*held]),), first.shape, next(iter(held)), "sum")
            return replace(node, ins=(*rest, whole))
        if any(v.plates != node.plates for v in node.ins):
            return None
        return replace(node, function=function, ins=(self.stack(node.ins),))


@dataclass
class _Register:
    """A result of a step that later steps read: its place, and its values before the first step, the latest first."""

    place: Place
    first: dict[int, Var]  # steps back from the first step (1, 2, ...) -> value
    inner: list[Var] = field(default_factory=list)  # the carried values inside the body, the latest first


class Body:
    """The body of one loop being written."""

    def __init__(self, roller: Roller, steps: Steps) -> None:
        self.roller, self.steps = roller, steps
        self.constants: dict[Var, Var] = {}  # outside -> inside
        self.scanned: dict[Var, Var] = {}  # stack outside -> inside
        self.registers: list[_Register] = []
        self.results: dict[Place, Var] = {}  # place in the step -> value inside
        self.nodes: list[Node] = []
        for origin in itertools.chain(*steps.origins):
            if isinstance(origin, Made) and origin.delay:
                self.register(origin)
        for register in self.registers:
            register.inner = [self.outside(register.place, 0).like() for _ in range(max(register.first))]

    def write(self) -> None:
        """Append the loop, and note where the results of its steps are."""
        steps, roller = self.steps, self.roller
        for j, node in enumerate(steps.nodes[: steps.period]):
            self.node(j, node)
        carried = [out for r in self.registers for out in (self.results[r.place], *r.inner[:-1])]
        wanted = self.wanted()
        inputs = (*self.constants.values(), *(v for r in self.registers for v in r.inner), *self.scanned.values())
        body = Form(inputs, tuple(self.nodes), (*carried, *(self.results[place] for place in wanted)))
        init = [roller.read(r.first[back + 1]) for r in self.registers for back in range(len(r.inner))]
        carry, stacks = roller.block.loop(
            body, steps.length, tuple(self.constants), init, tuple(self.scanned), addresses=steps.addresses
        )
        for place, stack in zip(wanted, stacks, strict=True):
            roller.rows |= {self.outside(place, k): (stack, k) for k in range(steps.length)}
        last = iter(carry)
        for register in self.registers:
            latest, *_ = itertools.islice(last, len(register.inner))
            roller.names.setdefault(self.outside(register.place, steps.length - 1), latest)

    def outside(self, place: Place, step: int) -> Var:
        """Return the value of the old form that a step makes."""
        node, result = place
        return self.steps.nodes[step * self.steps.period + node].outs[result]

    def wanted(self) -> list[Place]:
        """List the results that something after the run reads; the last value of a carry needs no stack."""
        steps, form = self.steps, self.roller.form
        read = {v for node in form.nodes[steps.stop :] for v in node.ins} | set(form.outputs)
        carried = {r.place for r in self.registers}
        found = []
        for place in self.results:
            used = [self.outside(place, k) in read for k in range(steps.length)]
            if any(used[:-1]) or (used[-1] and place not in carried):
                found.append(place)
        return found

    def register(self, origin: Made) -> _Register:
        """Find or make the register of an operand: one that can also start with its values."""
        place, wanted = (origin.node, origin.result), {origin.delay - k: v for k, v in enumerate(origin.first)}
        for register in self.registers:
            if register.place == place and all(register.first.get(back, v) is v for back, v in wanted.items()):
                register.first |= wanted
                return register
        self.registers.append(_Register(place, wanted))
        return self.registers[-1]

    def node(self, j: int, node: Node) -> None:
        """Write one node of the body; windows of an array are cut for all steps before the loop."""
        origins, (function, held) = self.steps.origins[j], self.literals(j)
        fresh = tuple(v.like() for v in node.outs)
        if isinstance(node, Det) and held:
            array = origins[0] if isinstance(function, Pick | Window) else ()
            if not isinstance(array, Made) and len(set(array)) == 1:
                starts = held[1].tolist()
                cut = Windows(function, tuple(starts if held[1].ndim == 1 else map(tuple, starts)))
                shape = (self.steps.length, *fresh[0].shape)
                stack = self.roller.append(cut, (self.roller.read(array[0]),), shape, fresh[0], "slices")
                self.results[j, 0] = self.scan(stack)
                return
            rest = iter([self.operand(origin) for origin in origins])
            count = len(origins) + len(held)
            ins = tuple(self.scan(self.roller.array(held[i])) if i in held else next(rest) for i in range(count))
            node = replace(node, function=function, ins=ins)
        else:
            node = with_operands(node, tuple(map(self.operand, origins)))
        self.results |= {(j, result): v for result, v in enumerate(fresh)}
        self.nodes.append(with_results(node, fresh))

    def literals(self, j: int) -> tuple[Any, dict[int, np.ndarray]]:
        """Open a node whose literals differ between the steps; gives all of them, stacked, by their position."""
        nodes = self.steps.nodes[j :: self.steps.period]
        columns = [opened(node.function) for node in nodes if isinstance(node, Det)]
        if not columns or all(_alike([held[i] for _, held in columns]) for i in columns[0][1]):
            return None, {}
        return columns[0][0], {i: np.stack([held[i] for _, held in columns]) for i in columns[0][1]}

    def operand(self, origin: Origin) -> Var:
        """Return the value inside the body for an operand."""
        if isinstance(origin, Made):
            if origin.delay:
                return self.register(origin).inner[origin.delay - 1]
            return self.results[origin.node, origin.result]
        if len(set(origin)) == 1 or _alike(self.roller.known(origin)):
            value = self.roller.read(origin[0])
            return self.constants.setdefault(value, value.like())
        return self.scan(self.roller.stack(origin))

    def scan(self, stack: Var) -> Var:
        """Return the value inside the body for a stack with one row per step."""
        return self.scanned.setdefault(stack, Var(stack.shape[1:], stack.dtype, stack.plates))


def _alike(arrays: Sequence[Any] | None) -> bool:
    """Tell whether all are equal in type and content; values that are not known are not."""
    return arrays is not None and all(array_key(array) == array_key(arrays[0]) for array in arrays[1:])
