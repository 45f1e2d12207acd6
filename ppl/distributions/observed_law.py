"""Observed law: the law of an observed site that says which data count there; and laws that are made of another one.

Law: values have the shape and the type of the law beneath, the field `base`. What data are observed of, and so what is
drawn and listed, stays the law of the base.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp


class DerivedLaw:
    """A law on the values of another one, the field `base` of the law."""

    base: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the base."""
        return tuple(self.base.shape)

    @property
    def dtype(self) -> Any:
        """Type of the base."""
        return self.base.dtype

    @property
    def atoms(self) -> int | None:
        """Number of values that the base lists; how much mass each has is up to the law."""
        return self.base.atoms


class ObservedLaw(DerivedLaw, abc.ABC):
    """The law of an observed site: its parameters are what is known of the data, then those of the base."""

    @abc.abstractmethod
    def own(self, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the parameters of the base."""

    @abc.abstractmethod
    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each part of the data."""

    @property
    def label(self) -> str:
        """Name for people."""
        return str(self.base.label)

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the parts that are scored apart."""
        return tuple(self.base.units)

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw from the base: what is known of the data belongs to them alone."""
        return self.base.draw(key, *self.own(parameters))

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of the base."""
        return self.base.enumerate(*self.own(parameters))

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell of each part whether the parameters of the base make no law."""
        return self.base.flaws(*self.own(parameters), drawn=drawn)

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score all parts."""
        return jnp.sum(self.log_prob_units(value, *parameters))
