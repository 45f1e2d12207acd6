"""Covering: whether a proposal reaches all values of a site, as far as that can be known before it draws.

Law: a proposal that misses values of positive density gives a smaller measure; what is refused here would do so, or has
another kind of value. Bounds that are computed from choices or inputs have no value yet and are not checked.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from lawful.addresses import Address, names_of, show_address
from lawful.errors import LawfulError
from lawful.laws import BoundLaw, DistributionLaw, law_of
from lawful.messages import Source


def require_cover(own: Any, proposed: Any, address: Address, source: Source) -> None:
    """Refuse to draw a site from a distribution that cannot stand for its own.

    Args:
        own: the distribution of the site.
        proposed: the distribution that it is drawn from.
        address: names the site.
        source: where the site stands.

    Raises: LawfulError for another shape or kind of value, and for values that the proposal cannot reach.
    """
    site = f"site '{show_address(names_of(address))}' ({source})"
    law, other = law_of(own)[0], law_of(proposed)[0]
    if tuple(law.shape) != tuple(other.shape):
        raise LawfulError(
            f"propose: {site} has shape {tuple(law.shape)}, and the proposal {other.label} draws {tuple(other.shape)}. "
            "Fix: write the site's plates in the proposal, or give parameters of that shape.",
            site=address,
        )
    if _kind(law.dtype) != _kind(other.dtype):
        raise LawfulError(
            f"propose: {site}, {law.label}, has values of type {law.dtype}, and the proposal {other.label} draws "
            f"{other.dtype}. Fix: propose from a distribution on the same kind of values.",
            site=address,
        )
    if isinstance(own, BoundLaw) or isinstance(proposed, BoundLaw):
        return
    reason = _missed_support(law, own, other, proposed) or _missed_mass(own, proposed)
    if reason is not None:
        raise LawfulError(
            f"propose: {site}: the proposal {other.label} cannot reach all values of {law.label}: {reason}. Their mass "
            "would be lost. Fix: propose from a distribution on the whole support of the site.",
            site=address,
        )


def _kind(dtype: Any) -> str:
    return "real" if jnp.issubdtype(dtype, jnp.floating) else "discrete"


def _missed_support(law: Any, own: Any, other: Any, proposed: Any) -> str | None:
    if getattr(other, "is_point_mass", False) and not getattr(law, "is_point_mass", False):
        return "it is a point mass"
    wanted, reached = _unwrapped(own.support), _unwrapped(proposed.support)
    inner, outer = _box(wanted), _box(reached)
    if inner is None or outer is None:
        same = type(wanted) is type(reached) or isinstance(reached, _EVERYWHERE)
        return None if same else f"its support is {_shown(reached)}, that of the site {_shown(wanted)}"
    for have, want, misses in ((outer[0], inner[0], np.greater), (outer[1], inner[1], np.less)):
        if _known(have) and _known(want) and bool(np.any(misses(np.asarray(have), np.asarray(want)))):
            return f"its support is {_shown(reached)}, that of the site {_shown(wanted)}"
    return None


_EVERYWHERE = (type(constraints.real), type(constraints.dependent))


def _unwrapped(support: Any) -> Any:
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _box(support: Any) -> tuple[Any, Any] | None:
    """Return the bounds of a product of intervals; None for another set."""
    if support is constraints.real:
        return -np.inf, np.inf
    if support is constraints.boolean:
        return 0, 1
    lower, upper = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if lower is None and upper is None:
        return None
    return (-np.inf if lower is None else lower), (np.inf if upper is None else upper)


def _known(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer)


def _shown(support: Any) -> str:
    box = _box(support)
    if box is None or not all(_known(bound) and np.ndim(bound) == 0 for bound in box):
        return type(support).__name__.lstrip("_").lower()
    return f"[{', '.join(f'{float(bound):g}' for bound in box)}]"


def _missed_mass(own: Any, proposed: Any) -> str | None:
    """Compare finite laws value by value, where their parameters are known."""
    if not all(map(_known, jax.tree.leaves((own, proposed)))):
        return None
    with jax.ensure_compile_time_eval():
        (law, parameters), (other, other_parameters) = law_of(own), law_of(proposed)
        if any(not isinstance(one, DistributionLaw) or one.support_table is None for one in (law, other)):
            return None
        values, table = law.element_table(*parameters)
        others, reached = other.element_table(*other_parameters)
    if not np.array_equal(values, others):
        return None
    missed = np.argwhere((np.asarray(table) > -np.inf) & ~(np.asarray(reached) > -np.inf))
    return f"it gives probability zero to {np.asarray(values)[missed[0][0]]}" if len(missed) else None
