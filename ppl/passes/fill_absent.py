"""Fill absent: a form whose absent elements follow their law again, as those that are there.

Law: the measure on the outputs stays, since what is absent is read as a fixed number whatever its value is, and its law
integrates to one. It is the form for algorithms that propose values by laws of their own, and for masks that choices
move: there every element needs a law that integrates to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax

from ..distributions.absent import is_guarded, without_guard
from ..distributions.law import law_of, split
from ..form import Form, Node, Site
from ..form.rewriting import with_nodes, with_subforms


def unguarded(form: Form, wanted: Callable[[Site], bool] = lambda site: True) -> Form:
    """Take the guards off the choices of a form, also inside loops and branches.

    Args:
        form: the form.
        wanted: tells of a guarded choice whether its guard is taken off; default: all.

    Returns: the form; itself where nothing changes.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def steps(present):
    ...     def step(carry, _):
    ...         with lawful.plate("lane", 2):
    ...             lawful.sample("x", dist.Normal(0.0, 1.0))
    ...         return carry, None
    ...     lawful.scan(step, jnp.zeros(2), None, length=1, mask=present)
    >>> present, x = jnp.array([[True, False]]), {"x": jnp.zeros((1, 2))}
    >>> form = lawful.trace(steps, present)
    >>> [round(float(f.log_density(x, present)), 4) for f in (form, unguarded(form))]
    [-0.9189, -1.8379]
    """

    def filled(node: Node) -> Node:
        if not isinstance(node, Site):
            return with_subforms(node, lambda inner: unguarded(inner, wanted))
        taken = node.observed is None and is_guarded(node.law) and wanted(node)
        return _without_guard(node) if taken else node

    return with_nodes(form, list(map(filled, form.nodes)))


def guarded_choices(form: Form) -> list[Site]:
    """List the choices of a form some of whose elements may be absent."""
    return [site for site in form.sites() if site.observed is None and is_guarded(site.law)]


def _without_guard(site: Site) -> Site:
    """Give a site the law that was guarded, and its parameters among the given ones."""
    found: list[Any] = []

    def read(*values: Any) -> None:
        found.append(law_of(without_guard(site.law.distribution(*values)))[0])

    jax.eval_shape(read, *(jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in site.parameters))
    _, places = split(without_guard(site.law.numbered))
    (base,) = found
    if base.support_table is None:  # known values bound it when the program was traced
        base = replace(base, support_table=site.law.support_table)
    return replace(site, law=base, parameters=tuple(site.parameters[place] for place in places))
