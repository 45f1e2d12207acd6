"""Laws of the sites that resampling on islands adds: ancestors within islands, and whole islands.

Law: the draw and the list of all values describe one distribution, so that a population of islands is a program that
can be enumerated, on one device as on many. Island p of G has the particles [p M, (p + 1) M), M = N / G.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lawful.distributions.protocol import product_grid

from ..laws.resampling_schemes import AncestorsLaw, Scheme


@dataclass(frozen=True)
class _Ancestors(AncestorsLaw):
    """What both have in common: a value is the ancestor of each particle."""

    islands: int
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """One ancestor per particle."""
        return (self.size,)

    @property
    def each(self) -> int:
        """Particles of one island."""
        return self.size // self.islands


@dataclass(frozen=True)
class WithinLaw(_Ancestors):
    """Ancestors where every island resamples its own particles by a scheme."""

    scheme: Scheme

    @property
    def atoms(self) -> int:
        """Cells of all islands together."""
        return int(self.scheme.cells(self.each, self.each) ** self.islands)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.scheme} in {self.islands} islands"

    def draw(self, key: jax.Array, weights: jax.Array) -> jax.Array:
        """Draw each island's ancestors with its number folded into the key."""
        own = jax.vmap(lambda p, w: self.scheme.draw(jax.random.fold_in(key, p), w, self.each))(
            jnp.arange(self.islands), weights.reshape(self.islands, self.each)
        )
        return self._whole(own)

    def enumerate(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the product of the islands' cells."""
        ancestors, masses = jax.vmap(lambda w: self.scheme.enumerate(w, self.each))(
            weights.reshape(self.islands, self.each)
        )
        which = jnp.arange(self.islands)
        grid = jnp.asarray(product_grid(masses.shape[1], self.islands))
        return self._whole(ancestors[which, grid]), jnp.sum(masses[which, grid], axis=1)

    def _whole(self, own: jax.Array) -> jax.Array:
        first = jnp.arange(self.islands, dtype=jnp.int32)[:, None] * self.each
        whole = own.astype(jnp.int32) + first
        return whole.reshape((*own.shape[:-2], self.size))


@dataclass(frozen=True)
class WholeLaw(_Ancestors):
    """Ancestors where whole islands are resampled by a scheme; all particles of one have one weight."""

    scheme: Scheme

    @property
    def atoms(self) -> int:
        """Cells of the islands."""
        return int(self.scheme.cells(self.islands, self.islands))

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.scheme} of {self.islands} islands"

    def draw(self, key: jax.Array, weights: jax.Array) -> jax.Array:
        """Draw islands."""
        return self._whole(self.scheme.draw(key, weights[:: self.each], self.islands))

    def enumerate(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the cells of the islands."""
        islands, masses = self.scheme.enumerate(weights[:: self.each], self.islands)
        return self._whole(islands), masses

    def _whole(self, islands: jax.Array) -> jax.Array:
        inside = jnp.arange(self.each, dtype=jnp.int32)
        return (islands.astype(jnp.int32)[..., None] * self.each + inside).reshape((*islands.shape[:-1], self.size))
