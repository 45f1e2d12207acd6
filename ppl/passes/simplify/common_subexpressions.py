"""Common subexpressions: equal operations on equal operands are done once.

Law: every value is what it was, bit for bit, or to rounding where two operands change places; sites, factors and named
values stay, each for itself. A loop or a branch reads what was computed around it in place of computing it again.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from ...form import Branch, Det, Factor, Form, Loop, Node, Site, Var
from ...form.fingerprint import Describer
from ...form.fold import Visitor
from ...form.operations.equation import Equation, identity
from ...form.operations.sums import SAME
from ...form.rewriting import with_nodes, with_operands
from .symmetry import exchangeable


def common(form: Form) -> Form:
    """Merge equal operations.

    >>> import jax.numpy as jnp, lawful
    >>> form = lawful.trace(lambda x: jnp.exp(x) * (1.0 + jnp.exp(x)), 0.5)
    >>> len(form.nodes), len(common(form).nodes)
    (4, 3)
    """
    return _Scope(Describer(), itertools.count()).form(form)


class _Scope(Visitor):
    """One form being read: equal values have one number.

    Attributes:
        describe: describes operations and arrays.
        fresh: numbers that no value has.
        around: the scope in which the form stands; None for a whole program.
        numbers: the number of each value.
        names: which value is read in place of another.
        made: the results of an operation by what it does to which numbers.
        brought: values from around that the form reads, by their name there.
    """

    def __init__(self, describe: Describer, fresh: Iterator[int], around: _Scope | None = None) -> None:
        self.describe, self.fresh, self.around = describe, fresh, around
        self.numbers: dict[Var, Hashable] = {}
        self.names: dict[Var, Var] = {}
        self.made: dict[Hashable, tuple[Var, ...]] = {}
        self.brought: dict[Var, Var] = {}

    def form(self, form: Form) -> Form:
        """Write the form with each operation once; numbers of inputs that are known are already given."""
        self.share(form.inputs)
        for value, array in form.constants:
            self.numbers[value] = "constant", value.type, self.describe.content(array)
        self.share([value for value, _ in form.constants])
        nodes: list[Node] = []
        for node in form.nodes:
            nodes += self.node(with_operands(node, self.read(node.ins)))
        outputs = self.read(form.outputs)
        small = with_nodes(form, nodes)
        if small is form and all(new is old for new, old in zip(outputs, form.outputs, strict=True)):
            return form
        constants = tuple((value, array) for value, array in form.constants if value not in self.names)
        return replace(small, outputs=outputs, constants=constants)

    def share(self, values: Sequence[Var]) -> None:
        """Read the first of several values of one number in place of all."""
        first: dict[Hashable, Var] = {}
        for value in values:
            other = first.setdefault(self.number(value), value)
            if other is not value:
                self.names[value] = other

    def number(self, value: Var) -> Hashable:
        if value not in self.numbers:
            self.numbers[value] = next(self.fresh)
        return self.numbers[value]

    def read(self, values: Sequence[Var]) -> tuple[Var, ...]:
        return tuple([self.names.get(v, v) for v in values])

    def known(self, node: Det) -> bool:
        if node.address is not None or (isinstance(node.function, Equation) and node.function.acts):
            return False
        copies = len(node.ins) == 1 and (node.function is identity or node.function == SAME)
        if copies and node.ins[0].type == node.outs[0].type:
            found: tuple[Var, ...] | None = node.ins
        else:
            key = self.describe.signature(node), self.describe.literals(node), self.operands(node)
            found = self.find(key)
            self.made.setdefault(key, node.outs)
        if found is None:
            return False
        self.names.update(zip(node.outs, found, strict=True))
        return True

    def operands(self, node: Det) -> Hashable:
        """Return the numbers of the operands, those that can change places as a set."""
        numbers = [self.number(v) for v in node.ins]
        pair = exchangeable(node)
        if pair is None:
            return tuple(numbers)
        rest = tuple([number for position, number in enumerate(numbers) if position not in pair])
        return frozenset(numbers[position] for position in pair), rest

    def find(self, key: Hashable) -> tuple[Var, ...] | None:
        if key not in self.made and self.around is not None:
            outside = self.around.find(key)
            if outside is not None:
                self.made[key] = tuple([self.bring(v) for v in outside])
        return self.made.get(key)

    def bring(self, outside: Var) -> Var:
        assert self.around is not None
        if outside not in self.brought:
            self.brought[outside] = outside.like()
            self.numbers[self.brought[outside]] = self.around.number(outside)
        return self.brought[outside]

    def inside(self, inputs: Sequence[Var], given: Sequence[Var]) -> _Scope:
        """Open a form some of whose inputs are values of this one."""
        scope = _Scope(self.describe, self.fresh, self)
        for own, outside in zip(inputs, given, strict=True):
            if own.type == outside.type:
                scope.numbers[own] = self.number(outside)
        return scope

    def det(self, node: Det) -> Sequence[Node]:
        return () if self.known(node) else (node,)

    def site(self, node: Site | Factor) -> Sequence[Node]:
        return (node,)

    factor = site

    def loop(self, node: Loop) -> Sequence[Node]:
        """Read a loop; its steps see the values around it as constants."""
        count = len(node.constants)
        scope = self.inside(node.body.inputs[:count], node.constants)
        first = count + len(node.init)
        rows = next(self.fresh)
        for own, outside in zip(node.body.inputs[first:], node.xs, strict=True):
            scope.numbers[own] = rows, own.type, self.number(outside)
        body = scope.form(node.body)
        if scope.brought:
            body = replace(body, inputs=(*body.inputs[:count], *scope.brought.values(), *body.inputs[count:]))
        elif body is node.body:
            return (node,)
        return (replace(node, body=body, constants=(*node.constants, *scope.brought)),)

    def branch(self, node: Branch) -> Sequence[Node]:
        """Read the arms of a branch; they see the values around it as operands."""
        scopes = [self.inside(arm.inputs, node.operands) for arm in node.forms]
        forms = [scope.form(arm) for scope, arm in zip(scopes, node.forms, strict=True)]
        brought = list(dict.fromkeys(v for scope in scopes for v in scope.brought))
        if not brought and all(new is old for new, old in zip(forms, node.forms, strict=True)):
            return (node,)
        arms = tuple(
            replace(form, inputs=(*form.inputs, *(scope.brought.get(v) or v.like() for v in brought)))
            for scope, form in zip(scopes, forms, strict=True)
        )
        return (replace(node, forms=arms, operands=(*node.operands, *brought)),)
