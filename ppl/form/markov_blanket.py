"""Markov blanket: the terms of a density that can change when some choices change, and how much work these terms are.

Law: log p(new) - log p(old) is the sum, over the terms of the blanket, of what they are now minus what they were,
whatever the new values, also where other arms of a branch run: a site depends on what decides whether it runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from ..addresses import Address
from .choices import choices_of
from .dependence import dependence
from .nodes import Det, Form, Site, subforms
from .pipeline import per_form


@dataclass(frozen=True)
class Blanket:
    """What a change of some choices reaches.

    Attributes:
        moved: the choices that change.
        switched: further choices that may begin or stop to run.
        terms: the sites, observations and factors whose term can change.
    """

    moved: frozenset[Address]
    switched: frozenset[Address]
    terms: frozenset[Address]


def reached(form: Form, moved: Collection[Address]) -> Blanket:
    """Find what a change of choices reaches: themselves, their children, and those of the sites switched on or off.

    >>> import numpyro.distributions as dist, lawful
    >>> def switch():
    ...     b = lawful.sample("b", dist.Bernoulli(0.5))
    ...     v = lawful.cond(b == 1, lambda: lawful.sample("v", dist.Normal(0.0, 1.0)), lambda: 0.0)
    ...     lawful.sample("y", dist.Normal(v, 1.0), obs=0.0)
    >>> found = reached(lawful.trace(switch), [("b",)])
    >>> sorted(found.switched), sorted(found.terms)
    ([('v',)], [('b',), ('v',), ('y',)])
    """
    children, conditional = _children(form), {c.address for c in choices_of(form) if c.conditional}
    switched = frozenset[Address]()
    while True:
        changed = switched.union(moved)
        terms = changed.union(*(children.get(address, ()) for address in changed))
        if (terms & conditional).difference(moved) <= switched:
            return Blanket(frozenset(moved), switched, terms)
        switched |= (terms & conditional).difference(moved)


def all_terms(form: Form) -> frozenset[Address]:
    """Every site, observation and factor."""
    return frozenset(dependence(form).vertices)


@per_form
def _children(form: Form) -> dict[Address, frozenset[Address]]:
    found: dict[Address, set[Address]] = {}
    for tail, head in dependence(form).edges:
        found.setdefault(tail, set()).add(head)
    return {address: frozenset(heads) for address, heads in found.items()}


def work(form: Form) -> int:
    """Estimate the operations of one run: the elements that all its operations make.

    >>> import numpyro.distributions as dist, lawful
    >>> work(lawful.trace(lambda: 2 * lawful.sample("x", dist.Normal(0.0, 1.0).expand([3]))))
    6
    """
    total = 0
    for node in form.nodes:
        total += getattr(node, "length", 1) * max(map(work, subforms(node)), default=0)
        if isinstance(node, Det):
            total += max((math.prod(v.full_shape) for v in (*node.ins, *node.outs)), default=1)
        elif isinstance(node, Site):
            total += math.prod(node.out.full_shape)
    return total
