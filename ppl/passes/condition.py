"""Condition: a form some of whose choices are observed, at values that are inputs of their own.

Law: at any values the density of the conditioned form is that of the form at all choices together, so its posterior is
the form's, given those choices. A choice whose arm does not run is not scored, whatever its value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import ClassVar

from ..addresses import Address
from ..form import Det, Factor, Form, Node, Site, Var
from ..form.choices import Choice, choices_of, kind_of
from ..form.operations.equation import identity
from .thread_sites import Rule, Threaded, Walk, threaded


def conditioned(form: Form, addresses: Collection[Address], terms: Collection[Address] | None = None) -> Threaded:
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
            return (Det(identity, (observed,), (node.out,), "given"),)
        return (node if given is None else replace(node, observed=given),)

    return fed(form, addresses, observe)


def fed(
    form: Form,
    addresses: Collection[Address],
    rule: Callable[[Site | Factor, Var | None], tuple[Node, ...]],
    kind: Callable[[Choice], Var] = lambda choice: Var(choice.shape, choice.dtype),
) -> Threaded:
    """Bring one array for each of some choices to its site, through loops and branches.

    Args:
        form: the form.
        addresses: the choices; what is brought to them becomes inputs, with the steps of loops as first axes.
        rule: what a site or factor becomes, given what was brought to it, or None.
        kind: shape and type of what is brought to one run of a choice; default: those of its value.
    """
    return threaded(form, _Fed(addresses, rule, kind))


@dataclass(frozen=True)
class _Fed(Rule):
    flags: ClassVar[bool] = False
    addresses: Collection[Address]
    rule: Callable[[Site | Factor, Var | None], tuple[Node, ...]]
    kind: Callable[[Choice], Var]

    def places(self, form: Form) -> tuple[Choice, ...]:
        return choices_of(form, among=self.addresses)

    def inputs(self, place: Choice) -> list[Var]:
        return [self.kind(place)]

    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        if isinstance(node, Det):
            walk.block.nodes.append(node)
            return
        given = walk.given.get(node.address) if kind_of(node) == "sample" else None
        walk.block.nodes.extend(self.rule(node, given[0] if given else None))
