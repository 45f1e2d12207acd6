"""Laws of the sites that resampling on islands adds: ancestors within islands, whole islands, and pairs of islands.

Law: the draw and the list of all values describe one distribution, so that a population of islands is a program that
can be enumerated, on one device as on many. Island p of G has the particles [p M, (p + 1) M), M = N / G.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.distributions.protocol import product_grid

from ..laws.picks import AncestorsLaw
from ..laws.scheme import Scheme
from .butterfly import lower_share, takes_lower, uniforms


@dataclass(frozen=True)
class _Ancestors(AncestorsLaw):
    """What the three have in common: a value is the ancestor of each particle."""

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


@dataclass(frozen=True)
class PairLaw(_Ancestors):
    """Ancestors in one stage of a butterfly: at each position one of the pair of islands `distance` apart.

    The parameter is the log weight of each particle, all of an island the same.
    """

    distance: int

    @property
    def atoms(self) -> int:
        """Four cells of the uniform of each position of each pair: both islands read it."""
        return int(4 ** (self.size // 2))

    @property
    def label(self) -> str:
        """Name for people."""
        return f"pairs of islands {self.distance} apart"

    def draw(self, key: jax.Array, log_weights: jax.Array) -> jax.Array:
        """Draw one uniform for each position of a pair."""
        low, upper, share = self._pairs(log_weights)
        u = jax.vmap(lambda p: uniforms(jax.random.fold_in(key, p), self.each, log_weights.dtype))(low)
        return self._whole(takes_lower(u, share[:, None], upper[:, None]), low)

    def enumerate(self, log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the cells between the points where either island of a pair turns."""
        low, upper, share = self._pairs(log_weights)
        own = share[~_upper(self.islands, self.distance)]
        turned = jnp.where(own < 0.5, own + 0.5, own - 0.5)
        ends = jnp.stack([jnp.zeros_like(own), jnp.full_like(own, 0.5), own, turned, jnp.ones_like(own)], axis=1)
        ends = jnp.sort(ends, axis=1)
        lengths, middles = jnp.diff(ends, axis=1), (ends[:, 1:] + ends[:, :-1]) / 2
        grid = jnp.asarray(product_grid(4, self.size // 2)).reshape(-1, self.islands // 2, self.each)
        pair = jnp.arange(self.islands // 2)[:, None]
        u = middles[pair, grid]  # (cells, pairs, positions)
        place = jnp.cumsum(~_upper(self.islands, self.distance)) - 1  # the pair of a lower island
        u = u[:, jnp.asarray(place)[low]]
        masses = jnp.where(lengths > 0, jnp.log(jnp.where(lengths > 0, lengths, 1)), -jnp.inf)
        whole = self._whole(takes_lower(u, share[:, None], upper[:, None]), low)
        return whole, jnp.sum(masses[pair, grid], axis=(1, 2))

    def _pairs(self, log_weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Give for each island the lower one of its pair, whether it is the upper one, and the lower one's share."""
        levels, island = log_weights[:: self.each], jnp.arange(self.islands)
        low = island & ~self.distance
        return low, (island & self.distance) != 0, lower_share(levels[low], levels[low | self.distance])

    def _whole(self, lower: jax.Array, low: jax.Array) -> jax.Array:
        islands = jnp.where(lower, low[:, None], (low | self.distance)[:, None]).astype(jnp.int32)
        inside = jnp.arange(self.each, dtype=jnp.int32)
        return (islands * self.each + inside).reshape((*lower.shape[:-2], self.size))


def _upper(islands: int, distance: int) -> np.ndarray:
    return (np.arange(islands) & distance) != 0
