"""Scales of a population: weighted standard deviations of its coordinates, also where elements may change names.

`PopulationRoot` gives the root of their covariance where few coordinates depend on each other.

Law: scales do not depend on the order of the particles; with exchangeable elements, neither on the names of the
elements in any particle, and elements have one scale in common, so that a kernel with these scales treats them alike.

The posterior of a mixture has a mode for each naming of its classes. The spread over all of them is no guide within
one, so coordinates of exchangeable elements are sorted within each particle before their variances are taken: apart,
they are those of one mode; mixed up, a little less than those of one element.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError
from lawful.form import Var

from ...laws.invalid_weights import cleaned
from ...representations.exchangeable import elements_of, sums_to_zero
from ...representations.tempered import Point
from ..base.frame import Frame


def weighed(on: Point, name: str) -> tuple[tuple[Var, ...], Var]:
    """Give the particles as they were weighed at a point of a path, and their log weights."""
    if on.weighed is None:
        raise LawfulError(f"{name}: the population was not weighed yet. Fix: move after Advance.")
    return on.weighed.state, on.weighed.log_weight


def unfitted(name: str) -> NoReturn:
    """Refuse to build a kernel that nothing fits."""
    raise LawfulError(
        f"{name}: no particles fit its scales here. Fix: use it in inference.tempered_smc(model, kernel=...) or after "
        "temper(); for chains, kernels.nuts() or kernels.random_walk(scale)."
    )


@dataclass(frozen=True)
class Exchangeable:
    """Coordinates of one choice that change names together.

    Attributes:
        start: where the coordinates of the choice begin in the vector.
        shape: their shape.
        axis: that of the elements; None where the choice sums to zero over elements, whose values are sorted then.
        choice: number of the choice.
    """

    start: int
    shape: tuple[int, ...]
    axis: int | None
    choice: int

    @property
    def stop(self) -> int:
        """Where they end."""
        return self.start + math.prod(self.shape)


def exchangeable_parts(frame: Frame, plate: str, name: str) -> tuple[Exchangeable, ...]:
    """Find the choices whose elements are exchangeable: those in a plate, and those that sum to zero over it.

    Args:
        frame: the program.
        plate: name of the plate.
        name: the kernel that asks, for messages.

    Raises: LawfulError where the program has no such plate.
    """
    elements = elements_of(frame.choices, plate, f"{name}: exchangeable={plate!r}")
    found, start = list[Exchangeable](), 0
    for number, (choice, shape) in enumerate(zip(frame.choices, frame.shapes, strict=True)):
        if number in elements.own:
            found.append(Exchangeable(start, shape, elements.own[number], number))
        elif number in elements.joint and sums_to_zero(choice.law):
            found.append(Exchangeable(start, shape, None, number))
        start += math.prod(shape)
    return tuple(found)


@dataclass(frozen=True)
class PopulationScales:
    """Weighted standard deviations of coordinates; one in which all particles agree has the scale 1."""

    parts: tuple[Exchangeable, ...] = ()

    def __call__(self, log_weight: jax.Array, points: jax.Array, *values: jax.Array) -> jax.Array:
        """Compute them.

        Args:
            log_weight: of the particles (N,); NaN and -inf are no weight.
            points: their coordinates (N, d).
            values: of the choices that sum to zero (N, ...), in the order of `parts`.

        >>> two = Exchangeable(0, (2,), 0, 0)  # a mixture with names at random
        >>> points = jnp.array([[3.1, -3.0], [-3.0, 2.9], [2.9, -3.0], [-3.0, 3.1]])
        >>> [round(scale, 3) for scale in PopulationScales((two,))(jnp.zeros(4), points).tolist()]
        [0.071, 0.071]
        """
        share = shares(log_weight)
        points = points.astype(share.dtype)
        variance = _variance(share, points)
        rest = list(values)
        for part in self.parts:
            own = _pooled(share, points, part) if part.axis is not None else _centred(share, rest.pop(0), part)
            variance = variance.at[part.start : part.stop].set(own.reshape(-1).astype(variance.dtype))
        return jnp.where(variance > 0, jnp.sqrt(variance), 1.0)

    @property
    def extra(self) -> tuple[int, ...]:
        """Numbers of the choices whose values are wanted, too."""
        return tuple(part.choice for part in self.parts if part.axis is None)


@dataclass(frozen=True)
class PopulationRoot:
    """The root L of the weighted covariance of the coordinates, drawn towards its diagonal as far as it is noise.

    Correlations of n independent points differ from the true ones by (1 - r^2) / sqrt(n); the share of that among the
    squares of all correlations is the share by which they are reduced (Schaefer and Strimmer 2005), n being Kish's
    size of the weights. A coordinate in which all particles agree is alone, with the scale 1.
    """

    def __call__(self, log_weight: jax.Array, points: jax.Array) -> jax.Array:
        """Compute it (d, d), lower triangular, from log weights (N,) and coordinates (N, d).

        >>> points = jax.random.normal(jax.random.key(0), (4000, 2)) @ jnp.array([[1.0, 0.8], [0.0, 0.6]])
        >>> root = PopulationRoot()(jnp.zeros(4000), points)
        >>> (root @ root.T).round(1).tolist()
        [[1.0, 0.8], [0.8, 1.0]]
        """
        share = shares(log_weight)
        column = share[:, None]
        safe = jnp.where(column > 0, points.astype(share.dtype), 0.0)
        centred = jnp.where(column > 0, safe - jnp.sum(column * safe, axis=0), 0.0)
        covariance = (column * centred).T @ centred
        variance = jnp.diagonal(covariance)
        scale = jnp.where(variance > 0, jnp.sqrt(variance), 1.0)
        unit = jnp.eye(len(scale), dtype=share.dtype)
        apart = jnp.clip(covariance / (scale[:, None] * scale), -1.0, 1.0) * (1.0 - unit)
        squares, size = jnp.sum(apart**2), 1.0 / jnp.maximum(jnp.sum(share**2), 1e-30)
        noise = jnp.sum(((1.0 - apart**2) * (1.0 - unit)) ** 2) / jnp.maximum(size, 1.0)
        kept = jnp.where(squares > 0, jnp.clip(1.0 - noise / squares, 0.0, 1.0 - 1e-3), 0.0)
        root = jnp.linalg.cholesky(unit + kept * apart)
        return scale[:, None] * jnp.where(jnp.all(jnp.isfinite(root)), root, unit)


def shares(log_weight: jax.Array) -> jax.Array:
    """Give weights that sum to one; NaN, +inf and -inf are no weight, and zero are all where none has any.

    >>> shares(jnp.array([0.0, 0.0, jnp.nan])).tolist()
    [0.5, 0.5, 0.0]
    """
    log_weight, _ = cleaned(log_weight)
    top = jnp.max(log_weight)
    weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0.0))
    total = jnp.sum(weight)
    return weight / jnp.where(total > 0, total, 1.0)


def _variance(share: jax.Array, points: jax.Array) -> jax.Array:
    """Weighted variances over the first axis; a particle of weight 0 may lie at infinity."""
    share = share.reshape(-1, *(1,) * (points.ndim - 1))
    safe = jnp.where(share > 0, points, 0.0)
    mean = jnp.sum(share * safe, axis=0, keepdims=True)
    return jnp.sum(share * (safe - mean) ** 2, axis=0)


def _pooled(share: jax.Array, points: jax.Array, part: Exchangeable) -> jax.Array:
    """One variance for all elements: the mean of those of the sorted ones."""
    assert part.axis is not None
    columns = points[:, part.start : part.stop].reshape(-1, *part.shape)
    each = _variance(share, jnp.sort(columns, axis=part.axis + 1))
    return jnp.broadcast_to(jnp.mean(each, axis=part.axis, keepdims=True), part.shape)


def _centred(share: jax.Array, values: jax.Array, part: Exchangeable) -> jax.Array:
    """One variance for the coordinates of values that sum to zero, which are fewer by one, at the same distances."""
    each = _variance(share, jnp.sort(values, axis=-1))
    return jnp.broadcast_to(jnp.sum(each, axis=-1, keepdims=True) / max(part.shape[-1], 1), part.shape)
