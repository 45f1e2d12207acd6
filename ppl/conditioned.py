"""Conditioned: a Form some of whose choices are observed, at values that are inputs of their own.

Law: at any values the density of the conditioned form is that of the form at all choices together, so its posterior is
the form's, given those choices. A choice whose arm does not run is not scored, whatever its value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .addresses import Address
from .form import Branch, Det, Factor, Form, Loop, Node, Site, Var
from .record import Choice, choices_of


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
    fixed = tuple(c for c in choices_of(form) if c.address in addresses)
    given = {c.address: Var(c.full_shape, c.dtype) for c in fixed}
    nodes = tuple(found for node in form.nodes for found in _observe(node, given, terms))
    return Conditioned(replace(form, inputs=(*form.inputs, *given.values()), nodes=nodes), fixed)


def _observe(node: Node, given: Mapping[Address, Var], terms: Collection[Address] | None) -> tuple[Node, ...]:
    left_out = terms is not None and isinstance(node, Site | Factor) and node.address not in terms
    if isinstance(node, Factor):
        return () if left_out else (node,)
    if isinstance(node, Site):
        fixed = node.observed is None and node.address in given
        observed = given[node.address] if fixed else node.observed
        if observed is not None and left_out:
            return (Det(_same, (observed,), (node.out,), "given"),)
        return (replace(node, observed=observed),)
    if isinstance(node, Loop):
        inner = conditioned(node.body, given, terms)
        return (replace(node, body=inner.form, xs=(*node.xs, *(given[c.address] for c in inner.fixed))),)
    if isinstance(node, Branch):
        wanted = {c.address: c for arm in node.forms for c in choices_of(arm) if c.address in given}
        forms = tuple(_arm(arm, wanted, terms) for arm in node.forms)
        return (replace(node, forms=forms, operands=(*node.operands, *(given[a] for a in wanted))),)
    return (node,)


def _arm(arm: Form, wanted: Mapping[Address, Choice], terms: Collection[Address] | None) -> Form:
    """Give an arm the inputs of all arms' fixed choices."""
    inner = conditioned(arm, wanted, terms)
    own = dict(zip((c.address for c in inner.fixed), inner.form.inputs[len(arm.inputs) :], strict=True))
    given = [own[a] if a in own else Var(c.full_shape, c.dtype) for a, c in wanted.items()]
    return replace(inner.form, inputs=(*arm.inputs, *given))


def _same(value: Any) -> tuple[Any]:
    return (value,)
