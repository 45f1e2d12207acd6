"""Observed law: the law of an observed site by what is known of its data; and laws that are made of another one.

Law: values have the shape and the type of the law beneath, the field `base`. What data are observed of, and so what is
drawn and listed, stays the law of the base. Under a scale s the site has the density p ** s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .law import law_of
from .protocol import ALL, BoundLaw, Known, Law, of_base


@of_base("shape", "dtype", "label", "atoms")
class DerivedLaw(Law):
    """A law on the values of another one, the field `base` of the law; how much mass each has is up to the law."""

    base: Any


@of_base("units", "innermost")
@dataclass(frozen=True)
class ObservedLaw(DerivedLaw):
    """The law of an observed site: its parameters are the arrays of what is known, a scale if any, and the base's."""

    base: Any
    known: Known = ALL
    scaled: bool = False

    @classmethod
    def of(cls, distribution: Any, known: Known, arrays: Sequence[Any], scale: Any) -> BoundLaw:
        """Make the law of data of a distribution, with its parameters."""
        law, parameters = law_of(distribution)
        if isinstance(law, ObservedLaw):  # what is known already stays, under one more scale
            known, (arrays, own, parameters) = law.known, law.split(parameters)
            law, scale = law.base, scale if own is None else own * scale
        ours = [jnp.asarray(x) for x in (*arrays, *(() if scale is None else (scale,)))]
        return BoundLaw(cls(law, known, scale is not None), (*ours, *parameters))

    def split(self, parameters: Sequence[Any]) -> tuple[Sequence[Any], Any, tuple[Any, ...]]:
        """Return the arrays of what is known, the scale or None, and the parameters of the base."""
        n = self.known.arrays
        return parameters[:n], parameters[n] if self.scaled else None, tuple(parameters[n + self.scaled :])

    def own(self, parameters: Sequence[Any]) -> tuple[Any, ...]:
        """Return the parameters of the innermost law."""
        return self.base.own(self.split(parameters)[2])

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw from the base: what is known of the data belongs to them alone."""
        return self.base.draw(key, *self.split(parameters)[2])

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of the base."""
        return self.base.enumerate(*self.split(parameters)[2])

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each unit of the data."""
        known, scale, own = self.split(parameters)
        scores = self.known.scores(self.base, value, known, own)
        if scale is not None:
            scores = scores * scale
        return jnp.where(known[0], scores, 0.0) if self.known.masked else scores

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each unit whether what counts of it lies in the support."""
        known, _, own = self.split(parameters)
        return self.known.inside(self.base, value, known, own)

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number of the value whether it is none where data are wanted."""
        known, _, own = self.split(parameters)
        return self.known.broken(self.base, value, known, own)

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each unit whether it counts and the parameters of the base make no law."""
        known, _, own = self.split(parameters)
        broken = self.base.flaws(*own)
        return broken & known[0] if self.known.masked and broken is not None else broken

    def text(self, parameters: Sequence[str]) -> str:
        """Write the law of the base, the scale, and what is known."""
        known, scale, own = self.split(parameters)
        power = "" if scale is None else f" to the power {scale}"
        return f"{self.base.text(own)}{power}{self.known.text(known)}"
