"""Data on a curve: a law without a density, fitted by a likelihood after noise is added, and freed of it again.

Where data lie on a set of smaller dimension the likelihood of a smooth map with a noise has no maximum: it grows
without bound as the noise goes to 0 along the set. With a known noise added to the data it has one, and the law is
that of the map alone.

Law: the density of a datum is the mean over the curve of a normal density about its points; on data of the curve the
likelihood grows as noise^-(d - 1), for each datum, as the noise goes to 0.

Reference: Chae, Kim, Kim, Lin (2023), A likelihood approach to nonparametric estimation of a singular distribution
using deep generative models, JMLR 24, arXiv:2105.04046.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError

__all__ = ["closed_curve", "perturbed", "points_of", "sliced_wasserstein"]


def closed_curve(x: Any, noise: Any, terms: int = 8, nodes: int = 200, size: float = 3.0) -> jax.Array:
    """Observe noisy points of a closed curve, whose coordinates are Fourier series of one uniform coordinate.

    coefficients of the sines and cosines of j turns ~ N(0, (size / j)^2), t_i uniform over the nodes,
    x_i ~ N(curve(t_i), noise^2 I).

    Args:
        x: (n, d), the data, their mean near 0.
        noise: standard deviation of what was added to the data.
        terms: J, turns of the fastest sine.
        nodes: places of the curve that stand for all; their distances should be below the noise.
        size: prior standard deviation of the coefficients of the slowest terms.

    Returns: (nodes, d), the curve.

    Raises: LawfulError where the data are no table, or a count is below 1.

    >>> from lawful import inference
    >>> x = jnp.array([[1.0, 0.1], [0.1, 1.0], [-1.1, 0.0], [0.0, -0.9]])
    >>> fit = inference.maximise(closed_curve, starts=2, enumerate=["t"])(jax.random.key(0), x, 0.2, 1, 20)
    >>> fit.optima[0].values["coefficient"].shape
    (2, 1, 2)
    """
    shape = jnp.shape(x)
    if len(shape) != 2 or 0 in shape:
        raise LawfulError(f"closed_curve: x has shape {shape}; wanted a table (n, d), a row a datum.")
    for name, count in (("terms", terms), ("nodes", nodes)):
        if count < 1:
            raise LawfulError(f"closed_curve: {name} is {count}; wanted 1 or more.")
    scale = jnp.broadcast_to(size / jnp.arange(1, terms + 1)[:, None], (2, terms, shape[1]))
    curve = points_of(lawful.sample("coefficient", dist.Normal(0.0, scale).to_event(3)), nodes)
    with lawful.plate("datum", shape[0]):
        t = lawful.sample("t", dist.Categorical(probs=jnp.full(nodes, 1 / nodes)))
        lawful.sample("x", dist.Normal(curve[t], noise).to_event(1), obs=x)
    return curve


def points_of(coefficient: Any, nodes: int) -> jax.Array:
    """Give places of a curve that are equally far apart in its coordinate: the law that is left without the noise.

    Args:
        coefficient: (2, J, d), of cosines and of sines of 1 to J turns.
        nodes: how many places.

    Returns: (nodes, d).

    >>> ellipse = points_of([[[2.0, 0.0]], [[0.0, 1.0]]], 4)
    >>> bool(jnp.allclose(ellipse, jnp.array([[2, 0], [0, 1], [-2, 0], [0, -1]]), atol=1e-6))
    True
    """
    coefficient = jnp.asarray(coefficient)
    terms = coefficient.shape[1]
    angle = 2 * jnp.pi * jnp.outer(jnp.arange(nodes) / nodes, jnp.arange(1, terms + 1))
    return jnp.einsum("snj,sjd->nd", jnp.stack([jnp.cos(angle), jnp.sin(angle)]), coefficient)


def perturbed(key: jax.Array, x: Any, noise: float) -> jax.Array:
    """Add a normal noise to data, so that their law has a density.

    Args:
        key: of the noise.
        x: (n, d), the data.
        noise: its standard deviation.

    Returns: (n, d).

    >>> perturbed(jax.random.key(0), jnp.zeros((2, 3)), 0.1).shape
    (2, 3)
    """
    return jnp.asarray(x) + noise * jax.random.normal(key, jnp.shape(x), jnp.result_type(float))


def sliced_wasserstein(a: Any, b: Any, directions: int = 100, seed: int = 0) -> float:
    """Give the mean distance of two samples of one size on random lines: each pairs them there in order.

    Args:
        a: (n, d).
        b: (n, d).
        directions: number of lines.
        seed: of the lines.

    Returns: the sliced Wasserstein distance of order 1, in units of the data.

    Raises: LawfulError where the samples differ in shape.

    >>> round(sliced_wasserstein([[0.0], [1.0]], [[1.5], [0.5]]), 6)
    0.5
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 2:
        raise LawfulError(f"sliced_wasserstein: samples have shapes {a.shape} and {b.shape}; wanted the same (n, d).")
    lines = np.random.default_rng(seed).normal(size=(a.shape[1], directions))
    lines /= np.linalg.norm(lines, axis=0)
    return float(np.mean(np.abs(np.sort(a @ lines, 0) - np.sort(b @ lines, 0))))
