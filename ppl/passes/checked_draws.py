"""Checked draws: a choice whose parameters make no law weighs NaN, wherever the program is run by drawing it.

Law: the measure stays where every law has parameters inside their constraints; elsewhere it is no number, as it is
where the program is scored or enumerated. Arms that do not run, elements that are absent, and draws after a weight of
zero have no say.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import indices_of, names_of, show_address
from ..distributions.constraints import DRAWN, limits, parameters_of
from ..form import CHECK, Det, Factor, Form, Site, Var
from ..form.builder import Block
from ..form.operations.primitive_rows import row_of
from ..form.rewriting import insides, with_nodes, with_subforms
from .probe import Probe


def with_checked_draws(form: Form) -> Form:
    """Put after each choice a factor by its parameters; constants were looked at when the program was traced.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda sd: lawful.sample("x", dist.Normal(0.0, sd)), 1.0)
    >>> [type(node).__name__ for node in with_checked_draws(form).nodes]
    ['Site', 'Det', 'Factor']
    """
    sites = {*checked_draws(form)}

    def checked(form: Form) -> Form:
        block = Block()
        for node in form.nodes:
            block.nodes.append(with_subforms(node, checked))
            if isinstance(node, Site) and node in sites:
                label = f"law of {show_address(node.address)}?"
                term = block.det(_Weight(node.law), node.out, *node.parameters, label=label)
                address = (*names_of(node.address), CHECK, *indices_of(node.address))
                block.nodes.append(Factor(address, term, source=node.source, role=CHECK))
        return with_nodes(form, block.nodes)

    return checked(form)


def checked_draws(form: Form, constant: Collection[Var] = ()) -> Iterator[Site]:
    """Walk the choices that get such a factor; some inputs may be known to be constants."""
    known = {*constant, *(v for v, _ in form.constants)}
    for node in form.nodes:
        if isinstance(node, Site) and _is_checked(node, form, known):
            yield node
        for inner, same, _ in insides(node):
            yield from checked_draws(inner, {v for v, outer in same.items() if outer in known})


def question(node: Site | Factor) -> Iterable[Probe]:
    """Ask a site, as a probe, whether its parameters make no law."""
    if isinstance(node, Site) and has_flaws(node):
        yield Probe("invalid", NoLaw(node.law), node.parameters)


def has_flaws(site: Site) -> bool:
    """Tell whether the parameters of a site can make no law."""
    if site.plates or not site.parameters:
        return False
    return _can_be_none(site.law, tuple((v.full_shape, v.dtype) for v in site.parameters))


@functools.lru_cache(maxsize=1024)
def _can_be_none(law: Any, kinds: tuple[tuple[tuple[int, ...], Any], ...]) -> bool:
    shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in kinds]
    return jax.eval_shape(law.flaws, *shapes) is not None


def constraints_of(law: Any) -> list[tuple[str, Any]]:
    """Name the parameters of a law that have a constraint, with the constraints."""
    numbered = law.innermost.numbered
    return [] if numbered is None else [(name, constraint) for name, constraint, _ in parameters_of(numbered)]


def allowed(law: Any) -> str:
    """Write which parameters a law takes.

    >>> import numpyro.distributions as dist
    >>> from lawful.distributions.law import law_of
    >>> allowed(law_of(dist.Bernoulli(0.5))[0])
    "Bernoulli takes 'probs' in the unit interval"
    """
    told = dict.fromkeys(f"'{name}' {limits(constraint)}" for name, constraint in constraints_of(law))
    return f"{law.label} takes {' and '.join(told)}"


@dataclass(frozen=True)
class NoLaw:
    """Whether some parameters make no law."""

    law: Any

    def __call__(self, *parameters: jax.Array) -> jax.Array:
        """Look at them."""
        return jnp.any(self.law.flaws(*parameters))


@dataclass(frozen=True)
class _Weight:
    """The log weight of a draw by the parameters of its law: 0, or NaN. The draw is at hand, and shows some of them."""

    law: Any

    def __call__(self, drawn: jax.Array, *parameters: jax.Array) -> jax.Array:
        broken = jnp.any(self.law.flaws(*parameters, drawn=drawn))
        return jnp.where(broken, jnp.nan, jnp.zeros((), jnp.result_type(float)))


def _is_checked(site: Site, form: Form, known: Collection[Var]) -> bool:
    """Tell whether a choice may have parameters that make no law, which nothing else weighs."""
    if site.observed is not None or site.law.numbered is None or not has_flaws(site):
        return False
    parts = parameters_of(site.law.bound(site.parameters))
    read = {name: [value, *vars(constraint).values()] for name, constraint, value in parts}
    open_ones = {name for name, of in read.items() if any(isinstance(v, Var) and v not in known for v in of)}
    shown = open_ones <= {*DRAWN} and jnp.issubdtype(site.out.dtype, jnp.floating)
    return bool(open_ones) and not (shown and _is_weighed(site.out, form))


def _is_weighed(value: Var, form: Form) -> bool:
    """Tell whether a factor or an observation is NaN in the form wherever a value is, by arithmetic alone."""
    reached = {value}
    for node in form.nodes:
        if isinstance(node, Det) and row_of(node.label).keeps_nan and not reached.isdisjoint(node.ins):
            reached.update(node.outs)
        observed = isinstance(node, Site) and node.observed is not None and node.law.numbered is not None
        if (observed or isinstance(node, Factor)) and not reached.isdisjoint(node.ins):
            return True
    return False
