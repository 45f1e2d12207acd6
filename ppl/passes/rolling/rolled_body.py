"""Rolled body: one run of equal steps written as the body of a loop.

Law: what later steps read is carried, with the values that the first steps read as its start; what comes from outside
is a constant where all steps read the same value, and scanned where each reads its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...form import Det, Form, Node, Var
from ...form.fingerprint import array_key
from ...form.operations.stacks import Pick, Window, Windows, literals, opened, tuples
from ...form.rewriting import with_operands
from .match_steps import Before, Outside, Steps, Within
from .write_loops import Roller


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
