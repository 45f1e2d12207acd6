"""Weighting: what a mask and a scale make of the density of a statement.

Law: under a scale s and a mask m, element by element of its batch, a site has the density p ** (s m) on the support of
p, and a factor the weight w ** (s m). An observed site keeps its place, with a law that weighs its elements; a choice
keeps its law, and a factor beside it adds (s m - 1) log p. Data that are masked out are replaced before they are
scored, so they have no influence on value or gradient, whatever they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import LawfulError
from ..messages import Source, site_at
from .law import law_of
from .observed_law import ObservedLaw
from .protocol import ALL, Known, Law


@dataclass(frozen=True)
class Masked(Known):
    """A mask says which units count; where they are `incomplete`, the others were not observed."""

    incomplete: bool = False
    arrays, masked, leaves_out = 1, True, True

    @property
    def unobserved(self) -> str | None:
        """What the mask leaves out, if it was not observed."""
        return "missing" if self.incomplete else None

    def scores(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score data that are replaced where they do not count."""
        filling = law.bound(own).support.feasible_like(value)
        filling = jnp.broadcast_to(filling, law.shape).astype(value.dtype)
        return law.log_prob_units(jnp.where(_elements(law, known[0]), value, filling), *own)

    def inside(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each unit whether it lies in the support or is masked out."""
        return law.inside(value, *own) | ~known[0]

    def broken(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each number whether it counts and is NaN."""
        return law.broken(value, *own) & _elements(law, known[0])

    def text(self, known: Sequence[str]) -> str:
        """Write the mask."""
        return f" where {known[0]}"


def _elements(law: Law, mask: jax.Array) -> jax.Array:
    """Repeat a mask of units for the elements of each."""
    mask = jnp.broadcast_to(mask, law.units)
    return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (len(law.shape) - mask.ndim)), law.shape)


def weighed(distribution: Any, mask: Any, scale: Any, site: Any, incomplete: bool = False) -> Any:
    """Return the distribution of an observed site under a mask, of data that are missing or not, and a scale."""
    if mask is None:
        return distribution if scale is None else ObservedLaw.of(distribution, ALL, (), scale)
    if law_of(distribution)[0].numbered is None:
        raise LawfulError(f"{site_at(site)}: a masked site needs a distribution of numpyro.", site=site.address)
    return ObservedLaw.of(distribution, Masked(incomplete), (mask,), scale)


def correction(law: Law, value: Any, parameters: tuple[Any, ...], mask: Any, scale: Any) -> jax.Array:
    """Return what has to be added to log p to weigh a choice; nothing outside the support, which stays impossible."""
    scores = law.log_prob_units(jnp.asarray(value), *parameters)
    power = jnp.asarray(1.0 if scale is None else scale, scores.dtype)
    if mask is not None:
        power = jnp.where(mask, power, 0.0)
    possible = scores > -jnp.inf
    return jnp.sum(jnp.where(possible, (power - 1.0) * jnp.where(possible, scores, 0.0), 0.0))


def weighed_factor(log_weight: Any, mask: Any, scale: Any, name: str, source: Source) -> Any:
    """Weigh the elements of a factor."""
    refuse_shapes(f"factor '{name}' ({source})", mask, scale, np.shape(log_weight), "its weights")
    if scale is not None:
        log_weight = jnp.asarray(log_weight) * scale
    return log_weight if mask is None else jnp.where(mask, log_weight, 0.0)


def truth(mask: Any, where: str) -> Any:
    """Return a mask of truth values, or say that it is none."""
    dtype = jnp.result_type(mask)
    if not jnp.issubdtype(dtype, jnp.bool_):
        raise LawfulError(f"{where}: expected a mask of truth values, got {dtype}. Fix: write mask == 1.")
    return mask if isinstance(mask, jax.Array) else np.asarray(mask)


def both(first: Any, second: Any) -> Any:
    """Combine two masks; what is known stays known while a program is traced."""
    if first is None or second is None:
        return second if first is None else first
    return first & second if _known(first, second) else jnp.logical_and(first, second)


def times(first: Any, second: Any) -> Any:
    """Multiply two scales; what is known stays known while a program is traced."""
    return np.asarray(first) * np.asarray(second) if _known(first, second) else jnp.multiply(first, second)


def _known(*arrays: Any) -> bool:
    return all(isinstance(array, np.ndarray | np.generic | bool | int | float) for array in arrays)


def refuse_shapes(where: str, mask: Any, scale: Any, expected: tuple[int, ...], of: str = "its batch shape") -> None:
    """Refuse a mask or a scale that does not fit the batch of a statement."""
    for what, array in (("mask", mask), ("scale", scale)):
        given = np.shape(array)
        try:
            fits = array is None or np.broadcast_shapes(given, expected) == expected
        except ValueError:
            fits = False
        if not fits:
            raise LawfulError(
                f"{where}: a {what} of shape {given} does not fit {of}, {expected}. Fix: give a scalar or an array of "
                "that shape, or put the statement in a plate of that size.",
                given=given,
                expected=expected,
            )
