"""Weighting: what a mask and a scale make of the density of a statement.

Law: under a scale s and a mask m, element by element of its batch, a site has the density p ** (s m) on the support of
p, and a factor the weight w ** (s m). An observed site keeps its place, with a law that weighs its elements; a choice
keeps its law, and a factor beside it adds (s m - 1) log p. Data that are masked out are replaced before they are
scored, so they have no influence on value or gradient, whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address, show_address
from ..errors import LawfulError
from ..messages import Source
from .bound_law import BoundLaw
from .law import law_of
from .observed_law import ObservedLaw


@dataclass(frozen=True)
class WeightedLaw(ObservedLaw):
    """The law of an observed site whose elements are weighed.

    Its parameters are the mask where `masked`, the scale where `scaled`, then those of the base. `incomplete` where the
    mask says which data are missing.
    """

    base: Any
    masked: bool
    scaled: bool
    incomplete: bool = False

    def own(self, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the parameters of the base."""
        return self.split(parameters)[2]

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each element, weighed."""
        mask, scale, own = self.split(parameters)
        if mask is not None:
            value = jnp.where(self._elements(mask), value, self._filling(value, own))
        scores = self.base.log_prob_units(value, *own)
        if scale is not None:
            scores = scores * scale
        return scores if mask is None else jnp.where(mask, scores, 0.0)

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each element whether it counts and its parameters make no law."""
        mask, _, own = self.split(parameters)
        broken = self.base.flaws(*own)
        return broken if broken is None or mask is None else broken & mask

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each element whether it lies in the support or is masked out."""
        mask, _, own = self.split(parameters)
        inside = self.base.inside(value, *own)
        return inside if mask is None else inside | ~mask

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number of the value whether it is NaN where data are wanted."""
        mask, _, own = self.split(parameters)
        asked = getattr(self.base, "broken", None)
        broken = jnp.isnan(value) if asked is None else asked(value, *own)
        return broken & (True if mask is None else self._elements(mask))

    def split(self, parameters: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        """Return mask, scale (None where there is none) and the parameters of the base."""
        rest = iter(parameters)
        mask = next(rest) if self.masked else None
        scale = next(rest) if self.scaled else None
        return mask, scale, tuple(rest)

    def _elements(self, mask: jax.Array) -> jax.Array:
        mask = jnp.broadcast_to(mask, self.units)
        return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (len(self.shape) - mask.ndim)), self.shape)

    def _filling(self, value: jax.Array, own: tuple[Any, ...]) -> jax.Array:
        support = self.base.distribution(*own).support
        return jnp.broadcast_to(support.feasible_like(value), self.shape).astype(value.dtype)


def weighed(
    distribution: Any, mask: Any, scale: Any, address: Address, source: Source, incomplete: bool = False
) -> Any:
    """Return the distribution of an observed site under a mask, of data that are missing or not, and a scale."""
    if mask is None and scale is None:
        return distribution
    law, parameters = law_of(distribution)
    if mask is not None and not hasattr(law, "distribution"):
        raise LawfulError(
            f"site '{show_address(address)}' ({source}): a masked site needs a distribution of numpyro.", site=address
        )
    ours = [jnp.asarray(x) for x in (mask, scale) if x is not None]
    return BoundLaw(WeightedLaw(law, mask is not None, scale is not None, incomplete), (*ours, *parameters))


def correction(law: Any, value: Any, parameters: tuple[Any, ...], mask: Any, scale: Any) -> jax.Array:
    """Return what has to be added to log p to weigh a choice; nothing outside the support, which stays impossible."""
    scorer: Callable[..., Any] = getattr(law, "log_prob_units", law.log_prob)
    scores = scorer(jnp.asarray(value), *parameters)
    power = jnp.asarray(1.0 if scale is None else scale, scores.dtype)
    if mask is not None:
        power = jnp.where(mask, power, 0.0)
    possible = scores > -jnp.inf
    return jnp.sum(jnp.where(possible, (power - 1.0) * jnp.where(possible, scores, 0.0), 0.0))


def weighed_factor(log_weight: Any, mask: Any, scale: Any, name: str, source: Source) -> Any:
    """Weigh the elements of a factor."""
    for what, array in (("mask", mask), ("scale", scale)):
        if array is not None:
            _refuse_shape(f"factor '{name}' ({source})", what, np.shape(array), np.shape(log_weight), "its weights")
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


def refuse_shapes(law: Any, mask: Any, scale: Any, address: Address, source: Source) -> None:
    """Refuse a mask or a scale that does not fit the batch of a site."""
    units = tuple(getattr(law, "units", ()))
    for what, array in (("mask", mask), ("scale", scale)):
        if array is not None:
            site = f"site '{show_address(address)}' ({source})"
            _refuse_shape(site, what, np.shape(array), units, "its batch shape")


def _refuse_shape(where: str, what: str, given: tuple[int, ...], expected: tuple[int, ...], of: str) -> None:
    try:
        fits = np.broadcast_shapes(given, expected) == expected
    except ValueError:
        fits = False
    if not fits:
        raise LawfulError(
            f"{where}: a {what} of shape {given} does not fit {of}, {expected}. Fix: give a scalar or an array of that "
            "shape, or put the statement in a plate of that size.",
            given=given,
            expected=expected,
        )
