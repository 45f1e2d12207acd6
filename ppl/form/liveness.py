"""Liveness: what the outputs and the weight of a form read, and dead code, which they do not.

Law: removing dead code keeps the measure on the outputs: sites that nothing reads integrate to one, factors and
observations stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .fold import Fold, Visitor
from .nodes import Branch, Det, Factor, Form, Loop, Node, Site, Var, walk, within
from .pipeline import keeps
from .rewriting import with_nodes


def _weighs(node: Node) -> bool:
    return isinstance(node, Factor) or (isinstance(node, Site) and node.observed is not None)


def _draws(node: Node) -> bool:
    return isinstance(node, Site) and node.observed is None


def has_weight(form: Form) -> bool:
    """Tell whether a form holds factors or observations."""
    return any(map(_weighs, [*walk(form)]))


def is_random(node: Node) -> bool:
    """Tell whether a node draws, or holds a node that draws."""
    return any(map(_draws, within(node)))


def makes(node: Node) -> tuple[Var, ...]:
    """Return what the values of a node are made of: an observed site gives back what was observed, whatever its law."""
    return (node.observed,) if isinstance(node, Site) and node.observed is not None else node.ins


@keeps("the outputs and the weight")
def without_dead_code(form: Form, *, keep_sites: bool = False) -> Form:
    """Drop what neither the outputs nor the weights read, also unused carries and stacked outputs of loops.

    Args:
        form: the form.
        keep_sites: keep random sites and named values that nothing reads, as the record of a program needs.
    """
    return _Pruned({*form.outputs}, keep_sites).form(form)


@dataclass(frozen=True)
class _Pruned(Visitor):
    """A form that is read from its end: `live` are the values that something reads."""

    live: set[Var]
    keep_sites: bool

    def form(self, form: Form) -> Form:
        nodes: list[Node] = []
        for node in reversed(form.nodes):
            if not self.live.isdisjoint(node.outs) or any(map(self.stays, [*within(node)])):
                nodes.append(self.node(node))
                self.live.update(nodes[-1].ins)
        small, constants = with_nodes(form, nodes[::-1]), tuple(c for c in form.constants if c[0] in self.live)
        return small if len(constants) == len(form.constants) else replace(small, constants=constants)

    def stays(self, node: Node) -> bool:
        named = isinstance(node, Det | Site) and node.address is not None and not node.droppable
        return _weighs(node) or (self.keep_sites and named)  # the record of a program lists what draws or is named

    def det(self, node: Node) -> Node:
        return node

    site = factor = det

    def branch(self, node: Branch) -> Branch:
        kept = [i for i, out in enumerate(node.outs) if out in self.live]
        arms, used = [], set[int]()
        for arm in node.forms:
            inner = _Pruned({arm.outputs[i] for i in kept}, self.keep_sites)
            arms.append(inner.form(replace(arm, outputs=_picked(arm.outputs, kept))))
            used.update(i for i, v in enumerate(arm.inputs) if v in inner.live)
        read = sorted(used)
        forms = tuple(replace(arm, inputs=_picked(arm.inputs, read)) for arm in arms)
        return replace(node, forms=forms, operands=_picked(node.operands, read), outs=_picked(node.outs, kept))

    def loop(self, node: Loop) -> Loop:
        (constants, carry, xs), (after, ys) = node.split(node.body.inputs), node.split_out(node.body.outputs)
        kept, given = ([i for i, v in enumerate(outs) if v in self.live] for outs in (node.carry_out, node.ys))
        while True:
            inner = _Pruned({*_picked(after, kept), *_picked(ys, given)}, self.keep_sites)
            body = inner.form(node.body)
            grown = [i for i, v in enumerate(carry) if i in kept or v in inner.live]
            if grown == kept:
                break
            kept = grown
        held, rows = ([i for i, v in enumerate(values) if v in inner.live] for values in (constants, xs))
        inputs = (*_picked(constants, held), *_picked(carry, kept), *_picked(xs, rows))
        body = replace(body, inputs=inputs, outputs=(*_picked(after, kept), *_picked(ys, given)))
        return replace(
            node,
            body=body,
            constants=_picked(node.constants, held),
            init=_picked(node.init, kept),
            xs=_picked(node.xs, rows),
            carry_out=_picked(node.carry_out, kept),
            ys=_picked(node.ys, given),
        )


def _picked(values: Sequence[Var], which: Iterable[int]) -> tuple[Var, ...]:
    return tuple(values[i] for i in which)


def dependents(form: Form, start: Iterable[Var]) -> set[Var]:
    """Return every value at the top level of a form that depends on one of the given values, themselves included."""
    reached = set(start)
    for node in form.nodes:
        if any(v in reached for v in makes(node)):
            reached.update(node.outs)
    return reached


def random_values(form: Form, start: Iterable[Var] = ()) -> set[Var]:
    """Return every top-level value that depends on a random choice of the form, or on the given values."""
    drawn = (v for node in form.nodes if is_random(node) for v in node.outs)
    return dependents(form, (*start, *drawn))


def moved_operands(form: Form) -> dict[Site, set[Var]]:
    """Give each site of a form, also inside loops and branches, with those of its operands that choices can move.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("y", dist.Normal(lawful.sample("m", dist.Normal(0.0, 1.0)), 1.0)))
    >>> [len(moved) for moved in moved_operands(form).values()]
    [0, 1]
    """
    walk = Moved()
    walk(form, [False] * len(form.inputs))
    return walk.sites


class Moved(Fold[bool]):
    """Whether choices can move a value, of whether they move the inputs."""

    def __init__(self) -> None:
        self.sites: dict[Site, set[Var]] = {}

    def constant(self, variable: Var, array: Any) -> bool:
        """They do not."""
        return False

    def det(self, node: Det, ins: list[bool]) -> Sequence[bool]:
        """Where they move an operand."""
        return [any(ins)] * len(node.outs)

    def site(self, node: Site, ins: list[bool]) -> bool:
        """Note which operands they move."""
        self.sites[node] = {v for v, moves in zip(node.ins, ins, strict=True) if moves}
        return node.observed is None or ins[-1]

    def join(self, meanings: Sequence[bool]) -> bool:
        """Where they move one of them."""
        return any(meanings)
