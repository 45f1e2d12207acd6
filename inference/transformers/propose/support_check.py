"""Support check: whether a proposal reaches all values of a site, as far as that can be known before it draws.

Law: a proposal that misses values of positive density gives a smaller measure; what is refused here would do so, or has
another kind of value. Bounds that are computed from choices or inputs are numbers, so they leave out a part of what has
no bound, and that is refused too; whether one of them lies beyond another, only the run can tell.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from lawful.addresses import Address, names_of, show_address
from lawful.distributions.bijections import fixed_support, shown_supports
from lawful.distributions.constraints import of_elements
from lawful.distributions.law import law_of
from lawful.distributions.protocol import BoundLaw
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.messages import Source


def require_cover(own: Any, proposed: Any, address: Address, source: Source) -> jax.Array | None:
    """Refuse to draw a site from a distribution that cannot stand for its own.

    Args:
        own: the distribution of the site.
        proposed: the distribution that it is drawn from.
        address: names the site.
        source: where the site stands.

    Returns: whether the proposal misses values of the site, where only the run can tell; None where it misses none.

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
    reason: str | None
    if other.is_point_mass and not law.is_point_mass:
        reason, missed = "it is a point mass", None
    else:
        reason, missed = missed_support(_support(own), _support(proposed))
        reason = reason or _missed_mass(own, proposed)
    if reason is not None:
        raise LawfulError(
            f"propose: {site}: the proposal {other.label} cannot reach all values of {law.label}: {reason}. Their mass "
            "would be lost. Fix: propose from a distribution on the whole support of the site.",
            site=address,
        )
    return missed


def _kind(dtype: Any) -> str:
    return "real" if jnp.issubdtype(dtype, jnp.floating) else "discrete"


def require_way_back(program: Form, forward: Form, backward: Form, name: str) -> None:
    """Refuse a program that moves particles where some could have come only from where it does not lead.

    A window around the old value reaches what the same window leads back to; it does not where the way back is wider.

    Args:
        program: the program whose choices are moved.
        forward: moves them.
        backward: says where they came from.
        name: of the move, for the error.

    Raises: LawfulError.
    """
    wanted, reached, back = (shown_supports(form) for form in (program, forward, backward))
    for address, support in reached.items():
        own, came = wanted.get(address), back.get(address)
        if constraints.dependent in (own, support, came) or own is None or came is None:
            continue
        reason = missed_support(own, support)[0]
        if reason is not None and (_fixed(support) or missed_support(came, support)[0] is not None):
            raise LawfulError(
                f"{name}: site '{show_address(address)}': the move forth cannot reach all values of the site that the "
                f"move back comes from: {reason}. Their mass would be lost. Fix: draw the move forth from a "
                "distribution on the whole support of the site, or the move back from one as narrow.",
                site=address,
            )


def _fixed(support: Any) -> bool:
    return all(map(_known, box_of(of_elements(support)) or ()))


def missed_support(wanted: Any, reached: Any) -> tuple[str | None, jax.Array | None]:
    """Say what of a set is not reached; where only the run can tell, give a flag that is true where something is not.

    Args:
        wanted: a constraint of numpyro, whose bounds may be traced; None for what is not known.
        reached: the same, of what the values are drawn from.
    """
    if wanted is None or reached is None:
        return None, None
    wanted, reached = of_elements(wanted), of_elements(reached)
    inner, outer = box_of(wanted), box_of(reached)
    told = f"its support is {shown_support(reached)}, that of the site {shown_support(wanted)}"
    if inner is None or outer is None:
        return (None if type(wanted) is type(reached) or isinstance(reached, _EVERYWHERE) else told), None
    flags = []
    for have, want, sign in ((outer[0], inner[0], 1), (outer[1], inner[1], -1)):
        if have is want:
            continue
        if _known(have) and _known(want):
            if np.any(sign * np.asarray(have) > sign * np.asarray(want)):
                return told, None
        elif _known(want) and np.all(np.isinf(want)):  # a number that the run computes is finite
            return told, None
        elif not (_known(have) and np.all(np.isinf(have))):
            flags.append(_beyond(sign * have, sign * want))
    return None, functools.reduce(jnp.logical_or, flags) if flags else None


def moves(distribution: Any) -> bool:
    """Tell whether parameters of a distribution bound its support.

    >>> import numpyro.distributions as dist
    >>> moves(dist.Uniform(0.0, 1.0)), moves(dist.Normal(0.0, 1.0))
    (True, False)
    """
    law, parameters = law_of(distribution)
    if law.numbered is None:
        return False
    return fixed_support(law, tuple(jax.ShapeDtypeStruct(p.shape, p.dtype) for p in parameters)) is None


def _beyond(have: Any, want: Any) -> jax.Array:
    """Tell whether a lower bound lies above another one, by more than they are rounded."""
    have, want = jnp.asarray(have), jnp.asarray(want)
    slack = 100 * jnp.finfo(jnp.result_type(have, want, jnp.float32)).eps
    return jnp.any(have > want + slack * jnp.maximum(jnp.abs(have), jnp.abs(want)))


def _support(distribution: Any) -> Any:
    """Return the support of a distribution, or of a law that has one; None for a law of an algorithm."""
    if not isinstance(distribution, BoundLaw):
        return distribution.support
    law, parameters = law_of(distribution)
    return None if law.numbered is None else law.bound(parameters).support


_EVERYWHERE = (type(constraints.real), type(constraints.dependent))


def box_of(support: Any) -> tuple[Any, Any] | None:
    """Return the bounds of a product of intervals; None for another set.

    >>> box_of(constraints.positive)
    (0.0, inf)
    """
    if support is constraints.real:
        return -np.inf, np.inf
    if support is constraints.boolean:
        return 0, 1
    lower, upper = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if lower is None and upper is None:
        return None
    return (-np.inf if lower is None else lower), (np.inf if upper is None else upper)


def _known(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer) and not np.any(np.isnan(value))


def shown_support(support: Any) -> str:
    """Write a set for people.

    >>> shown_support(constraints.unit_interval), shown_support(constraints.simplex)
    ('[0, 1]', 'simplex')
    """
    box = box_of(support)
    if box is None or any(_known(bound) and np.ndim(bound) for bound in box):
        return type(support).__name__.lstrip("_").lower()
    return f"[{', '.join(f'{float(bound):g}' if _known(bound) else 'a computed number' for bound in box)}]"


def _missed_mass(own: Any, proposed: Any) -> str | None:
    """Compare finite laws value by value, where their parameters are known."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((own, proposed))):
        return None
    with jax.ensure_compile_time_eval():
        (law, parameters), (other, other_parameters) = law_of(own), law_of(proposed)
        if law.element_values is None or other.element_values is None:
            return None
        values, table = law.element_table(*parameters)
        others, reached = other.element_table(*other_parameters)
    if not np.array_equal(values, others):
        return None
    missed = np.argwhere((np.asarray(table) > -np.inf) & ~(np.asarray(reached) > -np.inf))
    return f"it gives probability zero to {np.asarray(values)[missed[0][0]]}" if len(missed) else None
