"""The Hellinger distance of conditional densities, averaged over the covariates, by quadrature.

h(x)^2 = 1/2 int (sqrt p(y | x) - sqrt q(y | x))^2 dy; the average is that of h.

Law: 0 for equal densities and at most 1; a distance. The sum over a regular grid of y that reaches ten standard
deviations beyond every mean converges faster than any power of its step; masses P and Q of the two laws beyond the grid
count as (sqrt P - sqrt Q)^2, which is least for them, and all of it where one of them has none there.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr

from lawful.errors import LawfulError, ObservationError

from .density import Mixture, log_terms
from .gates import log_weights
from .reading import columns_of

__all__ = ["answers_grid", "hellinger", "covariates_of", "root_densities", "unit_nodes"]

NODES, POINTS, REACH = 120, 4001, 10.0


def unit_nodes(nodes: int = NODES) -> tuple[np.ndarray, np.ndarray]:
    """Give nodes (m, 1) and weights (m,) of Gauss and Legendre for one covariate that is uniform on [0, 1].

    >>> [value.ravel().round(4).tolist() for value in unit_nodes(2)]
    [[0.2113, 0.7887], [0.5, 0.5]]
    """
    x, w = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (x[:, None] + 1), 0.5 * w


def covariates_of(mixture: Mixture, X: Any = None) -> tuple[Any, np.ndarray]:
    """Give covariates (n, d) to average over, and their weights (n,): those of the user, or of [0, 1] by default."""
    d = mixture.parameters.a.shape[1]
    if X is None and d != 1:
        raise LawfulError(
            f"X is None for a mixture of {d} covariates. Fix: give the covariates to average over, (n, {d})."
        )
    if X is None:
        return unit_nodes()
    x = columns_of(X, d).T
    if len(x) == 0:
        raise ObservationError("X has no rows. Fix: give the covariates to average over.")
    return x, np.full(len(x), 1 / len(x))


def answers_grid(mixture: Mixture, x: Any, points: int = POINTS) -> np.ndarray:
    """Give a regular grid of answers that reaches ten of the largest standard deviations beyond every mean."""
    means = np.asarray(x) @ np.asarray(mixture.parameters.a).T + np.asarray(mixture.parameters.b)
    reach = REACH * float(np.sqrt(np.max(mixture.parameters.nu)))
    return np.linspace(means.min() - reach, means.max() + reach, points)


def hellinger(fit: Mixture, truth: Mixture, X: Any = None, grid: Any = None, roots: Any = None) -> jax.Array:
    """Average the Hellinger distance of p(y | x) over covariates.

    Args:
        fit: one mixture.
        truth: the other; the grid of answers is made for it.
        X: covariates to average over (n, d); by default one covariate that is uniform on [0, 1], by 120 nodes.
        grid: answers, equally spaced; by default 4001, which is needed inside of jit.
        roots: `root_densities` of the truth at the same covariates and answers, where many fits are compared with it.

    >>> from .gates import Gate
    >>> from .parameters import Parameters
    >>> one = Mixture(Gate(), Parameters.of([0.0], [0.0], [0.0], [0.0], [1.0]))
    >>> other = Mixture(Gate(), Parameters.of([0.0], [0.0], [0.0], [1.0], [1.0]))
    >>> round(float(hellinger(one, other)), 6), round(float(np.sqrt(1 - np.exp(-1 / 8))), 6)
    (0.342787, 0.342787)
    """
    x, weight = covariates_of(truth, X)
    grid = jnp.asarray(answers_grid(truth, x) if grid is None else grid)
    half_step = 0.5 * (grid[1] - grid[0])

    def distance(place: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        at, root = place
        root = _root(truth, at, grid) if root is None else root
        inside = half_step * jnp.sum((_root(fit, at, grid) - root) ** 2)
        ours, theirs = (jnp.sqrt(_beyond(each, at, grid)) for each in (fit, truth))
        return jnp.sqrt(inside + 0.5 * (ours - theirs) ** 2)

    return jnp.asarray(weight) @ lax.map(distance, (jnp.asarray(x), roots))


def root_densities(mixture: Mixture, X: Any, grid: Any) -> jax.Array:
    """Give the square roots of p(y | x), (n, points), for covariates (n, d) and answers (points,)."""
    return lax.map(lambda at: _root(mixture, at, jnp.asarray(grid)), jnp.asarray(X))


def _root(mixture: Mixture, at: jax.Array, grid: jax.Array) -> jax.Array:
    terms = log_terms(mixture.gate, mixture.parameters, at[:, None], grid)
    return jnp.exp(0.5 * jax.nn.logsumexp(terms, axis=0))


def _beyond(mixture: Mixture, at: jax.Array, grid: jax.Array) -> jax.Array:
    """Give the mass of p(y | x) below and above the grid."""
    p = mixture.parameters
    means, deviations = p.a @ at + p.b, jnp.sqrt(p.nu)
    each = ndtr((grid[0] - means) / deviations) + ndtr((means - grid[-1]) / deviations)
    return jnp.exp(log_weights(mixture.gate, p, at[:, None]))[:, 0] @ each
