"""Liveness: what the outputs and the weight of a form read, and dead code, which they do not.

Law: removing dead code keeps the measure on the outputs: sites that nothing reads integrate to one, factors and
observations stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import is_
from typing import Any

from .cached import keeps
from .fold import Fold, Visitor
from .nodes import Branch, Det, Factor, Form, Loop, Node, Site, Var, subforms, walk


def has_weight(form: Form) -> bool:
    """Tell whether a form holds factors or observations."""
    return any(isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None) for n in walk(form))


def is_random(node: Node) -> bool:
    """Tell whether a node draws, or holds a node that draws."""
    if isinstance(node, Site):
        return node.observed is None
    return any(site.observed is None for form in subforms(node) for site in form.sites())


def makes(node: Node) -> tuple[Var, ...]:
    """Return what the values of a node are made of: an observed site gives back what was observed, whatever its law."""
    return (node.observed,) if isinstance(node, Site) and node.observed is not None else node.ins


def _is_recorded(node: Node) -> bool:
    """Tell whether a node draws or names a value, or holds such a node: what the record of a program lists."""
    inner = (n for form in subforms(node) for n in walk(form))
    return any(
        (isinstance(n, Site) and n.observed is None and not n.droppable)
        or (isinstance(n, Det) and n.address is not None)
        for n in (node, *inner)
    )


def _weighs(node: Node) -> bool:
    if isinstance(node, Factor):
        return True
    if isinstance(node, Site):
        return node.observed is not None
    return any(map(has_weight, subforms(node)))


@keeps("the outputs and the weight")
def without_dead_code(form: Form, *, keep_sites: bool = False) -> Form:
    """Drop what neither the outputs nor the weights read, also unused carries and stacked outputs of loops.

    Args:
        form: the form.
        keep_sites: keep random sites and named values that nothing reads, as the record of a program needs.
    """
    return _prune(form, set(form.outputs), keep_sites)[0]


def _prune(form: Form, live: set[Var], keep_sites: bool) -> tuple[Form, set[Var]]:
    nodes: list[Node] = []
    live = set(live)
    shrink = _Shrink(live, keep_sites)
    for node in reversed(form.nodes):
        unread = live.isdisjoint(node.outs)
        if unread and not _weighs(node) and not (keep_sites and _is_recorded(node)):
            continue
        node = shrink.node(node)
        nodes.append(node)
        live.update(node.ins)
    nodes.reverse()
    constants = tuple((v, a) for v, a in form.constants if v in live)
    if len(constants) == len(form.constants) and len(nodes) == len(form.nodes) and all(map(is_, nodes, form.nodes)):
        return form, live
    return replace(form, nodes=tuple(nodes), constants=constants), live


@dataclass(frozen=True)
class _Shrink(Visitor):
    """Writes a node without the parts of it that nothing reads."""

    live: set[Var]
    keep_sites: bool

    def det(self, node: Node) -> Node:
        return node

    site = factor = det

    def loop(self, node: Loop) -> Loop:
        return _shrink_loop(node, self.live, self.keep_sites)

    def branch(self, node: Branch) -> Branch:
        return _shrink_branch(node, self.live, self.keep_sites)


def _shrink_branch(node: Branch, live: set[Var], keep_sites: bool) -> Branch:
    kept = [i for i, out in enumerate(node.outs) if out in live]
    forms = []
    used = [False] * len(node.operands)
    pruned = []
    for arm in node.forms:
        small = replace(arm, outputs=tuple(arm.outputs[i] for i in kept))
        small, inside = _prune(small, set(small.outputs), keep_sites)
        pruned.append(small)
        used = [u or v in inside for u, v in zip(used, arm.inputs, strict=True)]
    for small in pruned:
        forms.append(replace(small, inputs=tuple(v for v, u in zip(small.inputs, used, strict=True) if u)))
    operands = tuple(v for v, u in zip(node.operands, used, strict=True) if u)
    return replace(node, forms=tuple(forms), operands=operands, outs=tuple(node.outs[i] for i in kept))


def _shrink_loop(node: Loop, live: set[Var], keep_sites: bool) -> Loop:
    body = node.body
    n_const, n_carry = len(node.constants), len(node.init)
    consts, carry_in = body.inputs[:n_const], body.inputs[n_const : n_const + n_carry]
    xs_in = body.inputs[n_const + n_carry :]
    carry_body, ys_body = body.outputs[:n_carry], body.outputs[n_carry:]
    live_y = [i for i, y in enumerate(node.ys) if y in live]
    live_carry = {i for i, c in enumerate(node.carry_out) if c in live}
    while True:
        wanted = {carry_body[i] for i in live_carry} | {ys_body[i] for i in live_y}
        small, inside = _prune(body, wanted, keep_sites)
        grown = live_carry | {i for i, v in enumerate(carry_in) if v in inside}
        if grown == live_carry:
            break
        live_carry = grown
    kept = sorted(live_carry)
    used_const = [i for i, v in enumerate(consts) if v in inside]
    used_xs = [i for i, v in enumerate(xs_in) if v in inside]
    small = replace(
        small,
        inputs=(
            *(consts[i] for i in used_const),
            *(carry_in[i] for i in kept),
            *(xs_in[i] for i in used_xs),
        ),
        outputs=(*(carry_body[i] for i in kept), *(ys_body[i] for i in live_y)),
    )
    return replace(
        node,
        body=small,
        constants=tuple(node.constants[i] for i in used_const),
        init=tuple(node.init[i] for i in kept),
        xs=tuple(node.xs[i] for i in used_xs),
        carry_out=tuple(node.carry_out[i] for i in kept),
        ys=tuple(node.ys[i] for i in live_y),
    )


def dependents(form: Form, start: Iterable[Var]) -> set[Var]:
    """Return every value at the top level of a form that depends on one of the given values, themselves included."""
    reached = set(start)
    for node in form.nodes:
        if any(v in reached for v in makes(node)):
            reached.update(node.outs)
    return reached


def random_values(form: Form, start: Iterable[Var] = ()) -> set[Var]:
    """Return every top-level value that depends on a random choice of the form, or on the given values."""
    reached = set(start)
    for node in form.nodes:
        if is_random(node) or any(v in reached for v in makes(node)):
            reached.update(node.outs)
    return reached


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
        """Meet no site yet."""
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
