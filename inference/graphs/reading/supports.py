"""Supports: which sites of a program become variables, with which states, and what of their laws lies outside.

Law: every latent site is a variable or has a value. A site with finitely many values has a state for each. One with
infinitely many is restricted to a range where that was asked for, its masses as they are, so the measure lacks what
lies outside; elsewhere it is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.distributions.families import core_of
from lawful.errors import LawfulError, UnboundedSupport, UnsupportedProgramError
from lawful.form import Form, Node, Site
from lawful.form.choices import Choice, choices_of
from lawful.form.rewriting import with_subforms

from ...summing.summed_form import finite_sites
from .lifted import known

type Ranges = Mapping[Any, tuple[int, int]]


def chosen_sites(form: Form, sites: Collection[str | Address] | None) -> dict[Address, Choice]:
    """Find the finite sites that become variables: those of some names, or all.

    Raises: LawfulError for a name that is no finite site; UnboundedSupport where it has infinitely many values.
    """
    finite = {c.address: c for c in finite_sites(form)}
    if sites is None:
        return finite
    names = {as_address(name) for name in sites}
    missing = names - set(finite)
    refuse_unbounded(form, missing)
    if missing:
        raise LawfulError(
            f"to_factor_graph: {', '.join(map(show_address, sorted(missing)))}: no finite site of the program. "
            f"The finite sites are: {', '.join(c.name for c in finite.values()) or 'none'}."
        )
    return {address: c for address, c in finite.items() if address in names}


def fixed_sites(form: Form, chosen: Collection[Address], given: Mapping[str, Any]) -> dict[Address, Any]:
    """Find the values of the sites that are no variables.

    Raises: LawfulError for a name that is no such site, and for one without a value.
    """
    values = {as_address(name): value for name, value in given.items()}
    rest = [c for c in choices_of(form) if c.address not in chosen]
    unknown = set(values) - {c.address for c in rest}
    if unknown:
        raise LawfulError(
            f"to_factor_graph: given: {', '.join(map(show_address, sorted(unknown)))}: no latent site beside the "
            f"variables. These are: {', '.join(c.name for c in rest) or 'none'}.",
            sites=tuple(unknown),
        )
    missing = [c.name for c in rest if c.address not in values]
    if missing:
        refuse_unbounded(form, {c.address for c in rest} - set(values))
        raise LawfulError(
            f"to_factor_graph: {', '.join(missing)}: neither a variable of the graph nor given. Fix: pass values of "
            "all other latent sites as given={'name': value}.",
            sites=tuple(missing),
        )
    return {c.address: known(jnp.asarray(values[c.address], c.dtype)) for c in rest}


def support(choice: Choice, laws: Sequence[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Find the values of the states of a site (S,), and their names, None where these are 0, 1, ...

    Args:
        choice: the site.
        laws: its laws, more than one where several arms of a branch draw it.

    Raises: UnsupportedProgramError for a law without independent finite elements, and for laws of different values.
    """
    for law in laws:
        if law.element_values is None:
            raise UnsupportedProgramError(
                f"site '{choice.name}': its law {law.label} has no independent finite elements. Fix: leave it out "
                "of sites=[...], and give its value.",
                site=choice.address,
            )
    found = [law.element_values.astype(choice.dtype) for law in laws]
    values = found[0]
    if not all(np.array_equal(values, other) for other in found):
        raise UnsupportedProgramError(
            f"site '{choice.name}' ({choice.source}): arms of a branch draw it with {found[0].tolist()} and with other "
            "values, so that it is no variable of a factor graph. Fix: give it another name in one of them, or use "
            "inference.enumerate or enumerate_sites().",
            site=choice.address,
        )
    return values, None if np.array_equal(values, np.arange(len(values))) else [str(v) for v in values.tolist()]


def restricted(form: Form, ranges: Ranges, most: int) -> Form:
    """Restrict sites to ranges of whole numbers.

    Args:
        form: the form.
        ranges: site -> (lowest, highest) of what is kept.
        most: largest number of states.

    Raises: LawfulError for a name that is no latent site of whole numbers, and for a range that is none.
    """
    given = {as_address(name): (int(low), int(high)) for name, (low, high) in ranges.items()}
    countable = {c.address: c for c in choices_of(form) if is_countable(c.law)}
    for address, (low, high) in given.items():
        if address not in countable:
            raise LawfulError(
                f"truncate: {show_address(address)}: no latent site of whole numbers. These are: "
                f"{', '.join(c.name for c in countable.values()) or 'none'}.",
                site=address,
            )
        if not 0 <= high - low < most:
            raise LawfulError(
                f"truncate: {show_address(address)}: expected (lowest, highest), at most {most} values, got "
                f"{(low, high)}.",
                site=address,
            )

    def rule(node: Node) -> Node:
        if isinstance(node, Site) and node.observed is None and node.address in given:
            return replace(node, law=node.law.within(*given[node.address]))
        return with_subforms(node, inside)

    def inside(inner: Form) -> Form:
        return replace(inner, nodes=tuple(map(rule, inner.nodes)))

    return inside(form) if given else form


def refuse_unbounded(form: Form, free: Collection[Any]) -> None:
    """Refuse sites, of some by address, whose values are infinitely many whole numbers.

    Raises: UnboundedSupport.
    """
    for choice in choices_of(form):
        if choice.address in free and is_countable(choice.law) and choice.law.element_values is None:
            raise UnboundedSupport(
                f"site '{choice.name}' ({choice.source}): {choice.law.label} has infinitely many values, or as many as "
                f"other values say. Fix: keep some of them, as truncate={{'{choice.name}': (0, 50)}}, or give its "
                "value by given=.",
                site=choice.address,
            )


def outside(log_masses: Any) -> float | None:
    """Give the largest share of a law that its states (S, ...) lack; None where it is traced.

    >>> outside(np.log(np.array([[0.5, 0.25], [0.5, 0.5]])))
    0.25
    """
    if isinstance(log_masses, jax.core.Tracer):
        return None
    kept = np.exp(np.asarray(log_masses, np.float64)).sum(axis=0)
    return float(np.maximum(1 - kept, 0).max(initial=0.0))


def is_countable(law: Any) -> bool:
    """Tell whether a law is one of whole numbers, element by element."""
    if law.numbered is None or law.is_point_mass:
        return False
    if law.element_values is not None:
        return True
    core = core_of(law.numbered)
    return not core.event_shape and bool(getattr(core.support, "is_discrete", False))
