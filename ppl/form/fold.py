"""Fold: what a form means, by what each kind of node makes of the meaning of its operands.

Law: the nodes are met in the order of evaluation, each after those that it reads. The meaning of a value may be an
array, its copies in all joint values of the choices, the set of sites that it depends on, a text: an interpreter says
what a node makes of meanings, and nothing else of it walks.

    class Sizes(Fold[int]):
        def det(self, node, ins): return [max(ins)] * len(node.outs)
        ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from .nodes import Branch, Det, Factor, Form, Loop, Node, Site, Var

V = TypeVar("V")


class Fold(ABC, Generic[V]):  # noqa: UP046  (the checks of types at run time do not read the short form)
    """An interpreter: a subclass gives the meaning of constants and of each kind of node.

    Where the meanings of a loop or a branch are not given, they are those of an analysis: the steps of a loop are met
    until what is carried does not change, and the arms of a branch one after another.
    """

    def __call__(self, form: Form, inputs: Iterable[V]) -> list[V]:
        """Give the meaning of the outputs of a form, of that of its inputs."""
        values: dict[Var, V] = dict(zip(form.inputs, inputs, strict=True))
        values.update(self.constants(form))
        self.through(form.nodes, values)
        return [values[v] for v in form.outputs]

    def through(self, nodes: Iterable[Node], values: dict[Var, V]) -> None:
        """Meet some nodes in order, and add what they give to the values."""
        for node in nodes:
            values.update(zip(node.outs, self.node(node, [values[v] for v in node.ins]), strict=True))

    def node(self, node: Node, ins: list[V]) -> Sequence[V]:
        """Give the meaning of the results of a node."""
        if isinstance(node, Det):
            return self.det(node, ins)
        if isinstance(node, Site):
            return (self.site(node, ins),)
        if isinstance(node, Factor):
            self.factor(node, ins[0])
            return ()
        if isinstance(node, Loop):
            return self.loop(node, ins)
        return self.branch(node, ins[0], ins[1:])

    def constants(self, form: Form) -> Mapping[Var, V]:
        """Give the meaning of the closed-over arrays of a form."""
        return {variable: self.constant(variable, array) for variable, array in form.constants}

    def constant(self, variable: Var, array: Any) -> V:
        """Give the meaning of a closed-over array; by default the array itself."""
        return array

    @abstractmethod
    def det(self, node: Det, ins: list[V]) -> Sequence[V]:
        """Give the meaning of the results of an operation."""

    @abstractmethod
    def site(self, node: Site, ins: list[V]) -> V:
        """Give the meaning of the value of a site, of that of its parameters and, last, of what was observed."""

    def factor(self, node: Factor, term: V) -> None:
        """Meet a factor."""

    def loop(self, node: Loop, ins: list[V]) -> Sequence[V]:
        """Give the meaning of what a loop carries on and of what it stacks."""
        constants, carry, xs = node.split(ins)
        xs = [self.row(node, x) for x in xs]
        while True:
            outs = self(node.body, [*constants, *carry, *xs])
            after, ys = outs[: len(carry)], outs[len(carry) :]
            grown = [self.join([before, now]) for before, now in zip(carry, after, strict=True)]
            if grown == carry:
                return [*carry, *(self.stack(node, y) for y in ys)]
            carry = grown

    def row(self, node: Loop, stacked: V) -> V:
        """Give the meaning at one step of what a loop reads step by step."""
        return stacked

    def stack(self, node: Loop, row: V) -> V:
        """Give the meaning of what a loop stacks, of that at one step."""
        return row

    def branch(self, node: Branch, index: V, operands: list[V]) -> Sequence[V]:
        """Give the meaning of the results of a branch."""
        arms = [self(form, operands) for form in node.forms]
        return [self.join([index, *column]) for column in zip(*arms, strict=True)]

    def join(self, meanings: Sequence[V]) -> V:
        """Give the meaning of a value that is one of several, which an analysis of loops and branches has to say."""
        raise NotImplementedError(
            f"{type(self).__name__} gives no meaning to a value that is one of several: define join"
        )


class Visitor:
    """Does something of its own for each kind of node, by methods named after the kinds."""

    def node(self, node: Node) -> Any:
        """Meet a node: `self.det(node)` for an operation, and so on."""
        return getattr(self, type(node).__name__.lower())(node)


@dataclass(frozen=True)
class Around:
    """What stands around a node: loops, the outermost first, and whether it stands in an arm of a branch."""

    loops: tuple[Loop, ...] = ()
    arm: bool = False

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of the loops."""
        return tuple(loop.length for loop in self.loops)


def placed(form: Form, around: Around = Around()) -> Iterator[tuple[Det | Site | Factor, Around]]:
    """Walk the operations, sites and factors of a form in the order of evaluation, with what stands around each.

    >>> import numpyro.distributions as dist, lawful
    >>> walk = lambda: lawful.scan(lambda x, _: (lawful.sample("x", dist.Normal(x, 1.0)), None), 0.0, None, length=3)[0]
    >>> [(node.address, around.lengths) for node, around in placed(lawful.trace(walk)) if isinstance(node, Site)]
    [(('x',), (3,))]
    """
    for node in form.nodes:
        if isinstance(node, Loop):
            yield from placed(node.body, replace(around, loops=(*around.loops, node)))
        elif isinstance(node, Branch):
            for arm in node.forms:
                yield from placed(arm, replace(around, arm=True))
        else:
            yield node, around
