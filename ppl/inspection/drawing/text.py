"""Text of a Form: one line per meaning, not one per operation.

Law: equal Forms give equal text in every process: values are numbered in the order in which they are shown. Short
formulas are written out; a longer run of operations becomes one line that says what it reads.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...addresses import Address, show_address
from ...form import Branch, Det, Factor, Form, Loop, Plate, Site, Var
from ...form.fold import Visitor
from .formulas import Formula, formula, number_text

SHORT = 6  # operations that are written out
INDICES = "tsrqp"


def show_form(form: Form) -> str:
    """Write a form as text.

    A line `x[t] ~ Normal(c0, 1)` is a site of a loop at step t, `plate[school 8]` an axis of independent elements,
    `in0` the first input, `v0`, `v1`, ... are values of longer formulas and of branches, `c0`, ... are carried from
    step to step, and `s0`, ... are stacked over the steps.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(2 * x, 0.5), obs=1.5)
    ...     return x
    >>> print(show_form(lawful.trace(chain)))
    form
      x ~ Normal(0, 1)
      y ~ Normal(2 * x, 0.5)  observed 1.5
      return x
    """
    writer = _Writer({show_address(site.address) for site in form.sites()})
    values = {v: Formula.name(f"in{i}") for i, v in enumerate(form.inputs)}
    writer.line(0, "form")
    for v in form.inputs:
        writer.line(1, f"{values[v].text}{_type(v, scalar=True)}")
    outputs = writer.form(form, values, 1, ())
    writer.line(1, f"return {', '.join(out.text for out in outputs) or 'nothing'}")
    return "\n".join(writer.lines)


class _Writer:
    def __init__(self, taken: set[str]) -> None:
        self.lines: list[str] = []
        self.taken = taken
        self.numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)

    def line(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)

    def fresh(self, letter: str) -> str:
        """Make the next name of a kind that no site has."""
        names = (f"{letter}{number}" for number in self.numbers[letter])
        return next(name for name in names if name not in self.taken)

    def form(self, form: Form, values: dict[Var, Formula], depth: int, loops: tuple[str, ...]) -> list[Formula]:
        """Write the nodes of a form; `values` holds the formulas of its inputs. Returns those of its outputs."""
        scope = _Scope(self, values, depth, loops)
        for variable, array in form.constants:
            values[variable] = self.constant(variable, array, depth)
        for node in form.nodes:
            scope.node(node)
        return [scope.known(v) for v in form.outputs]

    def constant(self, variable: Var, array: Any, depth: int) -> Formula:
        if not hasattr(array, "dtype") or np.ndim(array) == 0 or np.size(array) <= 3:
            return Formula.name(number_text(array))
        name = self.fresh("k")
        self.line(depth, f"{name}{_type(variable)}  constant")
        return Formula.name(name)


@dataclass
class _Scope(Visitor):
    """The names that are known at one place of the text."""

    writer: _Writer
    values: dict[Var, Formula]
    depth: int
    loops: tuple[str, ...]

    def line(self, text: str, deeper: int = 0) -> None:
        self.writer.line(self.depth + deeper, text)

    def known(self, value: Var) -> Formula:
        """Return the formula of a value; a long one gets a line and a name first."""
        found = self.values[value]
        if len(found.used) > SHORT:
            name = self.writer.fresh("v")
            self.line(f"{name} = {found.summary()}{_type(value)}{_plates(value.plates)}")
            found = self.values[value] = Formula.name(name)
        return found

    def read(self, value: Var) -> str:
        """Return the text of a value."""
        return self.known(value).text

    def det(self, node: Det) -> None:
        formulas = formula(node, [self.values[v] for v in node.ins])
        if formulas is None:
            operands = ", ".join(self.read(v) for v in node.ins)
            names = [self.writer.fresh("v") for _ in node.outs]
            shape = _type(node.outs[0]) + _plates(node.plates)
            self.line(f"{', '.join(names)} = {node.label}{f' of {operands}' if operands else ''}{shape}")
            formulas = [Formula.name(name) for name in names]
        self.values |= dict(zip(node.outs, formulas, strict=True))
        if node.address is not None:
            out, name = node.outs[0], _at(node.address, self.loops)
            self.line(f"{name} = {self.read(out)}{_type(out)}  deterministic{_plates(node.plates)}")
            self.values[out] = Formula.name(name)

    def site(self, node: Site) -> None:
        name = _at(node.address, self.loops)
        law = node.law.text([self.read(v) for v in node.parameters])
        observed = "" if node.observed is None else f"  observed {self.read(node.observed)}"
        observed += self.mode(node)
        frames = "".join(f"  plate[{f.name} {f.size}]" for f in node.frames)
        self.line(f"{name} ~ {law}{_type(node.out)}{observed}{frames}{_plates(node.plates)}")
        self.values[node.out] = Formula.name(name)

    def mode(self, node: Site) -> str:
        """Say what becomes of the part of an observation that was not observed."""
        part = node.law.unobserved
        if node.observed is None or part is None:
            return ""
        own = show_address((*node.address, part))
        return f"  {part} {f'imputed as {own}' if own in self.writer.taken else 'marginalised'}"

    def factor(self, node: Factor) -> None:
        self.line(f"factor {_at(node.address, self.loops)} = {self.read(node.term)}{_plates(node.plates)}")

    def loop(self, node: Loop) -> None:
        depth = len(self.loops)
        index = INDICES[depth] if depth < len(INDICES) else f"t{depth}"
        constants = [self.known(v) for v in node.constants]
        starts = [self.read(v) for v in node.init]
        xs = [self.known(v) for v in node.xs]
        rows = [index if x.text.startswith("arange(") else f"{x.within(3)}[{index}]" for x in xs]
        carry = [self.writer.fresh("c") for _ in node.init]
        steps = f"{index} = 0..{node.length - 1}" if node.length else "of no steps"
        self.line(f"loop {steps}{'  backwards' if node.reverse else ''}{_plates(node.plates)}")
        for name, start, v in zip(carry, starts, node.carry_out, strict=True):
            self.line(f"carry {name} = {start}{_type(v)}{_plates(v.plates)}", 1)
        inside = dict(zip(node.body.inputs, [*constants, *map(Formula.name, (*carry, *rows))], strict=True))
        outputs = self.writer.form(node.body, inside, self.depth + 1, (*self.loops, index))
        for name, out in zip(carry, outputs, strict=False):
            if out.text != name:
                self.line(f"next {name} = {out.text}", 1)
        for v, name in zip(node.carry_out, carry, strict=True):
            self.values[v] = Formula.name(f"{name}[last]")
        for v, out in zip(node.ys, outputs[len(carry) :], strict=True):
            self.values[v] = Formula.name(self.stacked(out, index))

    def stacked(self, step: Formula, index: str) -> str:
        """Name what a loop stacks: a site of the loop keeps its name."""
        if step.read == (step.text,) and step.text.endswith(f"[{index}]"):
            return step.text.removesuffix(f"[{index}]")
        name = self.writer.fresh("s")
        self.line(f"stack {name} = {step.text}", 1)
        return name

    def branch(self, node: Branch) -> None:
        index = self.read(node.index)
        operands = [self.known(v) for v in node.operands]
        names = [self.writer.fresh("v") for _ in node.outs]
        self.line(f"{', '.join(names)}{' = ' if names else ''}branch on {index}{_plates(node.plates)}")
        for number, arm in enumerate(node.forms):
            self.line(f"arm {number}", 1)
            outputs = self.writer.form(arm, dict(zip(arm.inputs, operands, strict=True)), self.depth + 2, self.loops)
            if outputs:
                self.line(f"give {', '.join(out.text for out in outputs)}", 2)
        self.values |= {v: Formula.name(name) for v, name in zip(node.outs, names, strict=True)}


def _at(address: Address, loops: tuple[str, ...]) -> str:
    return show_address(address) + "".join(f"[{index}]" for index in loops)


def _type(value: Var, *, scalar: bool = False) -> str:
    if value.shape == () and not scalar:
        return ""
    return f": {value.dtype}{list(value.shape)}" if scalar else f"  {value.dtype}{list(value.shape)}"


def _plates(plates: tuple[Plate, ...]) -> str:
    return "".join(f"  plate[{p.name} {p.size}]" for p in plates)
