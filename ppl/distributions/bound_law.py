"""Bound law: a law with its parameters, in the place of a distribution.

Law: it draws, scores and lists what the law does with these parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class BoundLaw:
    """A law with its parameters: what an eager run of a Form announces as the distribution of a site."""

    law: Any
    parameters: tuple[Any, ...]

    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        return self.law.shape

    def sample(self, key: jax.Array) -> jax.Array:
        """Draw one value."""
        return self.law.draw(key, *self.parameters)

    def log_prob(self, value: Any) -> Any:
        """Score one value."""
        return self.law.log_prob(jnp.asarray(value), *map(jnp.asarray, self.parameters))

    def support(self, value: Any) -> Any:
        """Algorithm sites never reject a value by its support."""
        return np.ones((), bool)

    def finite_elements(self, site_of: Callable[[Any], Any]) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
        """List the independent elements of a finite value with their probabilities, and how they make up the value.

        Args: site_of: lists the elements of a part, as an enumerator knows them.
        """
        own = getattr(self.law, "finite_elements", None)
        if own is not None:
            return own(site_of, *self.parameters)
        arrays = [np.asarray(p) for p in self.parameters]
        return [_listed(self.law, tuple((x.tobytes(), x.dtype.str, x.shape) for x in arrays))], _first


def _first(values: Sequence[Any]) -> Any:
    return values[0]


@functools.lru_cache(maxsize=4096)
def _listed(law: Any, coded: tuple[tuple[bytes, str, tuple[int, ...]], ...]) -> tuple[list[Any], list[float]]:
    """List the values of positive mass; an enumeration asks for the same law with the same parameters many times."""
    parameters = [np.frombuffer(raw, kind).reshape(shape) for raw, kind, shape in coded]
    values, masses = _listing(law)(*parameters)
    masses = np.asarray(masses, dtype=np.float64)
    kept = np.flatnonzero(masses > -np.inf)
    return list(np.asarray(values)[kept]), np.exp(masses[kept]).tolist()


@functools.lru_cache(maxsize=256)
def _listing(law: Any) -> Callable[..., Any]:
    return jax.jit(law.enumerate)
