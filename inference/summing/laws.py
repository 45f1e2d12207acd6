"""Laws of the sites that a sum leaves behind: the values drawn back, and choices whose law was a mixture.

Law: `IndexLaw` is the conditional of a summed site; `MixtureLaw` is the law of a choice whose parameters depended on
summed sites, averaged over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.distributions.protocol import Law, product_grid
from lawful.distributions.sampling.categorical import sample_categorical

from ..laws.log_sum import log_sum


@dataclass(frozen=True)
class IndexLaw(Law):
    """One index below `size` for each element of an array, by log weights (size, *units).

    An element all of whose weights are zero takes the index 0.
    """

    size: int
    units: tuple[int, ...] = ()
    dtype = jnp.dtype("int32")
    label = "conditional"

    @property
    def shape(self) -> tuple[int, ...]:
        """One index an element."""
        return self.units

    @property
    def atoms(self) -> int:
        """Values of the whole array."""
        return self.size ** math.prod(self.units)

    def log_masses(self, logits: jax.Array) -> jax.Array:
        """Normalised log masses (size, *units)."""
        first = jnp.where(jnp.arange(self.size) == 0, 0.0, -jnp.inf).reshape((-1,) + (1,) * len(self.units))
        whole = log_sum(logits)
        return jnp.where(jnp.isneginf(whole), first, logits - jnp.where(jnp.isneginf(whole), 0.0, whole))

    def draw(self, key: jax.Array, logits: jax.Array) -> jax.Array:
        """Draw by exact sums."""
        drawn = sample_categorical(key, jnp.moveaxis(logits, 0, -1))
        return jnp.maximum(drawn, 0).astype(jnp.int32)

    def log_prob_units(self, value: jax.Array, logits: jax.Array) -> jax.Array:
        """Log mass of each element's index."""
        return jnp.take_along_axis(self.log_masses(logits), value[None], axis=0)[0]

    def enumerate(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the product over the elements."""
        elements = math.prod(self.units)
        grid = jnp.asarray(product_grid(self.size, elements))
        masses = self.log_masses(logits).reshape(self.size, elements)
        values = grid.reshape((len(grid), *self.units)).astype(jnp.int32)
        return values, jnp.sum(masses[grid, jnp.arange(elements)], axis=1)


@dataclass(frozen=True)
class MixtureLaw(Law):
    """A law averaged over worlds.

    Its parameters are log weights (worlds, *parts), on any scale, then those of a component; `many[i]` says whether
    parameter i has the worlds as its leading axis. With `parts`, each independent part of the value has weights of its
    own.
    """

    component: Any
    worlds: int
    many: tuple[bool, ...]
    parts: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a component."""
        return tuple(self.component.shape)

    @property
    def dtype(self) -> Any:
        """That of a component."""
        return self.component.dtype

    @property
    def atoms(self) -> int | None:
        """Those of a component."""
        return self.component.atoms

    @property
    def label(self) -> str:
        """Name for people."""
        return f"mixture of {self.worlds} {self.component.label}"

    @property
    def units(self) -> tuple[int, ...]:
        """Those of a component."""
        return tuple(self.component.units)

    @property
    def averaged(self) -> Any:
        """A component."""
        return self.component

    def of_one(self, parameters: Sequence[Any]) -> list[Any]:
        """Give the parameters of one component, that of the first world."""
        return [p[0] if many else p for p, many in zip(parameters[1:], self.many, strict=True)]

    def each(self, function: Any, parameters: tuple[jax.Array, ...]) -> Any:
        """Apply a function of a component's parameters in every world."""
        axes = tuple(0 if many else None for many in self.many)
        if not any(self.many):
            return jax.tree.map(lambda x: jnp.broadcast_to(x, (self.worlds, *x.shape)), function(*parameters))
        return jax.vmap(function, in_axes=axes, axis_size=self.worlds)(*parameters)

    def draw(self, key: jax.Array, log_weights: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw the world, then the value; with parts, the world of each."""
        first, second = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        world = IndexLaw(self.worlds, self.parts).draw(first, log_weights)
        if not self.parts:
            chosen = [p[world] if many else p for p, many in zip(parameters, self.many, strict=True)]
            return self.component.draw(second, *chosen)
        drawn = self.each(lambda *own: self.component.draw(second, *own), parameters)
        index = world.reshape((1, *self.parts) + (1,) * (len(self.shape) - len(self.parts)))
        return jnp.take_along_axis(drawn, jnp.broadcast_to(index, (1, *self.shape)), axis=0)[0]

    def log_prob_units(self, value: jax.Array, log_weights: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each part by the average of its densities; without parts the value as a whole."""
        masses = IndexLaw(self.worlds, self.parts).log_masses(log_weights)
        score = self.component.log_prob_units if self.parts else self.component.log_prob
        terms = self.each(lambda *own: score(value, *own), parameters)
        return log_sum(masses + terms)

    def enumerate(self, log_weights: jax.Array, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of a component with their average masses."""
        values, _ = self.component.enumerate(*self.of_one((log_weights, *parameters)))
        return values, jax.vmap(lambda value: self.log_prob(value, log_weights, *parameters))(values)
