"""Rewriting: nodes and forms with other operands, other forms inside them, or other operations.

Law: where a rule changes nothing the node or form itself is returned, so what is known of it stays known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import is_

from ..addresses import Address
from .nodes import Branch, Det, Factor, Form, Loop, Node, Site, Var, subforms


def with_operands(node: Node, ins: tuple[Var, ...]) -> Node:
    """Return a node with other operands; where they are its own it is returned itself."""
    if all(map(is_, ins, node.ins)):
        return node
    match node:
        case Det():
            return replace(node, ins=ins)
        case Site():
            parameters, observed = ins[: len(node.parameters)], ins[len(node.parameters) :]
            return replace(node, parameters=parameters, observed=observed[0] if observed else None)
        case Factor():
            return replace(node, term=ins[0])
        case Loop():
            constants, init, xs = map(tuple, node.split(ins))
            return replace(node, constants=constants, init=init, xs=xs)
        case Branch():
            return replace(node, index=ins[0], operands=ins[1:])


def with_results(node: Node, outs: tuple[Var, ...]) -> Node:
    """Return a node with other results."""
    match node:
        case Site():
            return replace(node, out=outs[0])
        case Factor():
            return node
        case Loop():
            carry_out, ys = map(tuple, node.split_out(outs))
            return replace(node, carry_out=carry_out, ys=ys)
        case _:
            return replace(node, outs=outs)


def insides(node: Node) -> Iterator[tuple[Form, dict[Var, Var], dict[Var, Var]]]:
    """Give the Forms inside a node, with the values of outside that their inputs are, and those that they begin as.

    The second are what the steps of a loop hand on, and the rows of stacked values.
    """
    for form in subforms(node):
        pairs = list(zip(form.inputs, node.operands if isinstance(node, Branch) else node.ins, strict=True))
        same = len(node.constants) if isinstance(node, Loop) else len(pairs)
        yield form, dict(pairs[:same]), dict(pairs[same:])


def with_subforms(node: Node, rule: Callable[[Form], Form]) -> Node:
    """Apply a rule to the Forms inside a node; where it changes none of them the node is returned itself."""
    old = subforms(node)
    new = tuple(map(rule, old))
    if not old or all(after is before for after, before in zip(new, old, strict=True)):
        return node
    if isinstance(node, Loop):
        return replace(node, body=new[0])
    return replace(node, forms=new) if isinstance(node, Branch) else node


def with_addresses(form: Form, rule: Callable[[Address], Address]) -> Form:
    """Return a Form with other addresses, also in the Forms inside it."""

    def moved(node: Node) -> Node:
        if isinstance(node, Site | Factor | Det):
            return node if node.address is None else replace(node, address=rule(node.address))
        return with_subforms(node, lambda inner: with_addresses(inner, rule))

    return replace(form, nodes=tuple(map(moved, form.nodes)))


def with_nodes(form: Form, nodes: Sequence[Node]) -> Form:
    """Return a Form with other nodes; where they are its own it is returned itself."""
    same = len(nodes) == len(form.nodes) and all(map(is_, nodes, form.nodes))
    return form if same else replace(form, nodes=tuple(nodes))


def with_operations(form: Form, rule: Callable[[Det, Mapping[Var, Det]], Det]) -> Form:
    """Apply a rule to each operation, given the operations before it by their results, also inside loops and branches.

    Where the rule changes none of them the form is returned itself.
    """
    made: dict[Var, Det] = {}
    nodes: list[Node] = []
    for node in form.nodes:
        if isinstance(node, Det):
            node = rule(node, made)
            made.update(dict.fromkeys(node.outs, node))
        nodes.append(with_subforms(node, lambda inner: with_operations(inner, rule)))
    return with_nodes(form, nodes)


def unnamed(form: Form) -> Form:
    """Drop the names of values, which then are no part of the record of a program."""
    return with_operations(form, lambda node, _: replace(node, address=None) if node.address else node)
