"""Paths: normal laws along the way of searches uphill, of which the one nearest to the program is kept.

Law: the curvature that a search has learnt is that of L-BFGS, so each point on its way has a normal law, whose ELBO is
the mean of log p - log q over its own draws; a search keeps the law with the greatest, and goes on. Where a density has
no maximum, as that of a funnel, the best law lies on the way there.

Reference: Zhang, Carpenter, Gelman and Vehtari (2022), Pathfinder: parallel quasi-Newton variational inference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...kernels.base.frame import Frame
from ..searches.ascent import LBFGS, Search

LOOKS = 10  # draws of a law on the way, which tell its ELBO


class Normal(NamedTuple):
    """A normal law: its mean and the lower root of its covariance."""

    loc: jax.Array
    root: jax.Array


class Path(NamedTuple):
    """A search uphill, and the best law on its way with its ELBO; all have the searches as their first axis."""

    search: Search
    normal: Normal
    elbo: jax.Array


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The log density of a program in coordinates without bounds, Jacobian included, as a search asks for it."""

    frame: Frame

    def value_and_grad(self, inputs: Sequence[Any], vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score coordinates, and give the gradient; -inf, with the gradient 0, where one of them is not finite."""
        value, gradient = self.frame.value_and_grad(tuple(inputs), vector)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        return jnp.where(finite, value, -jnp.inf), jnp.where(finite, gradient, 0.0)


@dataclass(frozen=True, eq=False)
class Paths:
    """Searches that keep the best law on their way."""

    frame: Frame

    @property
    def way(self) -> LBFGS:
        """How the searches go."""
        target: Any = Coordinates(self.frame)
        return LBFGS(target)

    def begin(self, vectors: jax.Array) -> Path:
        """Begin at some vectors, with the standard normal law there, whose ELBO is not known."""
        count, size = vectors.shape
        root = jnp.broadcast_to(jnp.eye(size, dtype=vectors.dtype), (count, size, size))
        return Path(self.way.begin(vectors), Normal(vectors, root), jnp.full(count, -jnp.inf, vectors.dtype))

    def go(self, key: jax.Array, inputs: Sequence[Any], paths: Path, steps: jax.Array) -> Path:
        """Take some steps of all searches, fewer of those that come to rest."""
        last = jnp.max(paths.search.steps) + steps
        look = jax.vmap(partial(self._round, inputs, last), (0, 0))
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(paths.elbo)))

        def more(now: Path) -> jax.Array:
            return jnp.any(~now.search.rests & (now.search.steps < last))

        return jax.lax.while_loop(more, lambda now: look(keys, now), paths)

    def _round(self, inputs: Sequence[Any], last: jax.Array, key: jax.Array, now: Path) -> Path:
        """Look at the next point of a line, and where a step ended there, at the law of the point."""
        search = self.way.round(inputs, last, now.search)
        ended = (search.steps > now.search.steps) & jnp.isfinite(search.value)
        normal = Normal(search.vector, root_of(search))
        elbo = self._elbo(jax.random.fold_in(key, search.steps), inputs, normal)
        better = ended & (elbo > now.elbo)
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), normal, now.normal)
        return Path(search, kept, jnp.where(better, elbo, now.elbo))

    def _elbo(self, key: jax.Array, inputs: Sequence[Any], normal: Normal) -> jax.Array:
        """Estimate the ELBO of a normal law; -inf where it has none."""
        noise = dist.Normal(jnp.zeros_like(normal.loc), 1.0).sample(key, (LOOKS,))
        log_p = jax.vmap(partial(self.frame.log_density, tuple(inputs)))(normal.loc + noise @ normal.root.T)
        log_q = -0.5 * jnp.sum(noise**2, 1) - jnp.sum(jnp.log(jnp.diag(normal.root)))  # less d log sqrt(2 pi)
        found = jnp.mean(log_p - log_q) + 0.5 * len(normal.loc) * math.log(2 * math.pi)
        return jnp.where(jnp.isfinite(found), found, -jnp.inf)


def draws_on(paths: Path, key: jax.Array) -> jax.Array:
    """Draw from the laws of all paths (paths, draws, size)."""
    loc, root = paths.normal
    noise = dist.Normal(jnp.zeros_like(loc), 1.0).sample(key, (LOOKS,))
    return loc[:, None] + jnp.einsum("pij,npj->pni", root, noise)


def root_of(search: Search) -> jax.Array:
    """Give the lower root of the covariance that a search has learnt, by the two loops of L-BFGS on unit vectors."""
    size = search.vector.shape[0]
    covariance = jax.vmap(partial(_two_loops, search.learnt))(jnp.eye(size, dtype=search.vector.dtype))
    root = jnp.linalg.cholesky(0.5 * (covariance + covariance.T))
    return jnp.where(jnp.all(jnp.isfinite(root)), root, jnp.eye(size, dtype=root.dtype))


def _two_loops(learnt: Any, vector: jax.Array) -> jax.Array:
    """Multiply a vector by the inverse of the curvature that the pairs of a search tell (Nocedal and Wright, 7.4)."""
    steps, changes, weights = learnt.diff_params_memory, learnt.diff_updates_memory, learnt.weights_memory
    newest_first = (learnt.count - 2 - jnp.arange(len(weights))) % len(weights)  # the count runs one ahead

    def down(vector: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        part = weights[i] * jnp.vdot(steps[i], vector)
        return vector - part * changes[i], part

    vector, parts = jax.lax.scan(down, vector, newest_first)
    last = newest_first[0]
    size = jnp.vdot(changes[last], changes[last])
    scale = jnp.where(size > 0, jnp.vdot(steps[last], changes[last]) / jnp.where(size > 0, size, 1.0), 1.0)

    def up(vector: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        i, part = given
        return vector + steps[i] * (part - weights[i] * jnp.vdot(changes[i], vector)), None

    return jax.lax.scan(up, scale * vector, (newest_first[::-1], parts[::-1]))[0]
