"""Condition: a form some of whose choices are observed, at values that are inputs of their own.

Law: at any values the density of the conditioned form is that of the form at all choices together, so its posterior is
the form's, given those choices. A choice whose arm does not run is not scored, whatever its value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..addresses import Address
from ..form import Branch, Det, Factor, Form, Loop, Node, Site, Var
from ..form.choices import Choice, choices_of

type Rule = Callable[[Site | Factor, Var | None], tuple[Node, ...]]
type Kind = Callable[[Choice], Var]


@dataclass(frozen=True)
class Conditioned:
    """A form whose inputs are the source's, then one value for each fixed choice."""

    form: Form
    fixed: tuple[Choice, ...]


def conditioned(form: Form, addresses: Collection[Address], terms: Collection[Address] | None = None) -> Conditioned:
    """Observe choices at values that become inputs.

    Args:
        form: the form.
        addresses: the choices to fix.
        terms: the sites, observations and factors to weigh by; the others are left out. Default: all.

    >>> import numpyro.distributions as dist, lawful
    >>> def pair():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(x, 1.0))
    >>> conditioned(lawful.trace(pair), {("x",)}).form
    Form(1 inputs, 1 latent sites, 1 observed, 2 nodes)
    """

    def observe(node: Site | Factor, given: Var | None) -> tuple[Node, ...]:
        left_out = terms is not None and node.address not in terms
        if isinstance(node, Factor):
            return () if left_out else (node,)
        observed = node.observed if given is None else given
        if observed is not None and left_out:
            return (Det(_same, (observed,), (node.out,), "given"),)
        return (replace(node, observed=observed),)

    return fed(form, addresses, observe)


def own_value(choice: Choice) -> Var:
    """What is brought to a choice by default: a value of its own."""
    return Var(choice.shape, choice.dtype)


def fed(form: Form, addresses: Collection[Address], rule: Rule, kind: Kind = own_value) -> Conditioned:
    """Bring one array for each of some choices to its site, through loops and branches.

    Args:
        form: the form.
        addresses: the choices; what is brought to them becomes inputs, with the steps of loops as first axes.
        rule: what a site or factor becomes, given what was brought to it, or None.
        kind: shape and type of what is brought to one run of a choice; default: those of its value.
    """
    fixed = tuple(c for c in choices_of(form) if c.address in addresses)
    given = {c.address: _stacked(c, kind) for c in fixed}
    nodes = tuple(found for node in form.nodes for found in _fed(node, given, rule, kind))
    return Conditioned(replace(form, inputs=(*form.inputs, *given.values()), nodes=nodes), fixed)


def _stacked(choice: Choice, kind: Kind) -> Var:
    one = kind(choice)
    return Var((*choice.loops, *one.shape), one.dtype)


def _fed(node: Node, given: Mapping[Address, Var], rule: Rule, kind: Kind) -> tuple[Node, ...]:
    if isinstance(node, Site | Factor):
        latent = isinstance(node, Site) and node.observed is None
        return rule(node, given.get(node.address) if latent else None)
    if isinstance(node, Loop):
        inner = fed(node.body, given, rule, kind)
        return (replace(node, body=inner.form, xs=(*node.xs, *(given[c.address] for c in inner.fixed))),)
    if isinstance(node, Branch):
        wanted = {c.address: c for arm in node.forms for c in choices_of(arm) if c.address in given}
        forms = tuple(_arm(arm, wanted, rule, kind) for arm in node.forms)
        return (replace(node, forms=forms, operands=(*node.operands, *(given[a] for a in wanted))),)
    return (node,)


def _arm(arm: Form, wanted: Mapping[Address, Choice], rule: Rule, kind: Kind) -> Form:
    """Give an arm the inputs of all arms' choices."""
    inner = fed(arm, wanted, rule, kind)
    own = dict(zip((c.address for c in inner.fixed), inner.form.inputs[len(arm.inputs) :], strict=True))
    given = [own[a] if a in own else _stacked(c, kind) for a, c in wanted.items()]
    return replace(inner.form, inputs=(*arm.inputs, *given))


def _same(value: Any) -> tuple[Any]:
    return (value,)
