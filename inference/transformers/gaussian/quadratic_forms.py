"""Quadratic forms: log densities that are such of standard normal noises, and what integrating them gives.

Law: where f is quadratic in the noises u, and its parts for different lanes are apart, the integral of exp(f(u)) under
u ~ N(0, I) is `exp(f(r) - r'r / 2 + sum over lanes of (g' M^-1 g - log det M) / 2)` for any r, with g = f'(r) - r and M
= I - f'', and the conditional of u is N(r + M^-1 g, M^-1), lane by lane; rounding is least where r is near that mean.
Both are proved from the operations of f, whatever a program calls its parts (see `transformers.spans` and
`summing.axes`). A scale of zero is an ordinary point: there M is I.

Where finite sites were summed before, the density is a sum over their values, each with a quadratic form of its own; it
is integrated world by world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.distributions.short_roots import log_diagonal, root_of, solved

from ...summing.axes import SUM, Mixed, flow
from ..spans import span

POWERS = frozenset({Fraction(0), Fraction(1), Fraction(2)})

type Shape = tuple[int, ...]


class Conditional(NamedTuple):
    """What integrating noises gives.

    Attributes:
        log_mass: log of the integral for each lane, beside f(r) - r'r / 2 of a point r; +inf where it is infinite
            (worlds, *lanes).
        log_volume: of that, -log det M / 2.
        mean: of the noises of a lane (worlds, *lanes, b).
        root: lower triangular, the precision is `root @ root.T` (worlds, *lanes, b, b).
    """

    log_mass: jax.Array
    log_volume: jax.Array
    mean: jax.Array
    root: jax.Array


@dataclass(frozen=True)
class Noises:
    """Noises of some sites, in lanes that are apart: all shapes begin with the lanes."""

    shapes: tuple[Shape, ...]
    lanes: Shape

    @property
    def sizes(self) -> list[int]:
        """Numbers of each site in a lane."""
        return [math.prod(shape[len(self.lanes) :]) for shape in self.shapes]

    @property
    def block(self) -> int:
        """Numbers in a lane."""
        return sum(self.sizes)

    def split(self, block: jax.Array) -> list[jax.Array]:
        """Cut (*lanes, b) into the noises."""
        found, start = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            found.append(block[..., start : start + size].reshape(shape))
            start += size
        return found


def is_quadratic(function: Callable[..., jax.Array], shapes: Sequence[Shape], operands: Sequence[Any]) -> bool:
    """Tell whether an array is seen to be a quadratic form of noises; see `has_powers`."""
    return has_powers(function, shapes, operands, POWERS)


def has_powers(
    function: Callable[..., jax.Array], shapes: Sequence[Shape], operands: Sequence[Any], powers: Set[Fraction]
) -> bool:
    """Tell whether an array is seen to be made of given powers of noises.

    Args:
        function: of the noises, then the operands.
        shapes: of the noises.
        operands: their shapes and types.
        powers: of all of them together.
    """
    whole = Noises(tuple((1, *shape) for shape in shapes), (1,))

    def flat(vector: jax.Array, *rest: jax.Array) -> jax.Array:
        parts = whole.split(vector[None])
        return function(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)), *rest)

    vector = jax.ShapeDtypeStruct((whole.block,), jnp.result_type(float))
    terms = span(flat, 0, [vector, *operands], polynomial=True)
    return terms is not None and terms <= powers


def lanes_of(function: Callable[..., jax.Array], shapes: Sequence[Shape], operands: Sequence[Any]) -> tuple[Shape, str]:
    """Find the finest lanes that noises are seen to fall into in a scalar, and why there are no finer ones.

    Args:
        function: of the noises, then the operands.
        shapes: of the noises.
        operands: their shapes and types.
    """
    depth = min(map(len, shapes), default=0)
    axes = zip(*(shape[:depth] for shape in shapes), strict=True)
    shared = [sizes[0] for sizes in takewhile(lambda sizes: len(set(sizes)) == 1, axes)]
    why = "their shapes begin apart"
    for count in range(len(shared), 0, -1):
        try:
            found = moved(function, shapes, operands, count)
        except Mixed as error:
            why = str(error)
            continue
        if found in (SUM, None):
            return tuple(shared[:count]), why
    return (), why


def moved(function: Callable[..., jax.Array], shapes: Sequence[Shape], operands: Sequence[Any], lanes: int) -> Any:
    """Follow the leading axes of noises through a function with one result.

    Raises: Mixed.
    """
    if any(len(shape) < lanes for shape in shapes):
        raise Mixed("one of them is shared by the lanes")
    every = [*(jax.ShapeDtypeStruct(shape, jnp.result_type(float)) for shape in shapes), *operands]
    flows = [tuple(range(lanes))] * len(shapes) + [None] * len(operands)
    return flow(_Listed(function), [tuple(x.shape) for x in every], flows, every)[0]


@dataclass(frozen=True)
class _Listed:
    function: Callable[..., Any]

    def __call__(self, *operands: Any) -> list[Any]:
        return [self.function(*operands)]


def integrated(function: Callable[..., jax.Array], noises: Noises, worlds: int) -> Conditional:
    """Integrate noises out of quadratic forms, as seen from zero.

    Args:
        function: from the noises to the log density of each world, summed over the lanes (worlds,).
        noises: their shapes and lanes.
        worlds: number of worlds.

    >>> found = integrated(lambda u: jnp.sum(-0.5 * (2.0 * u - 1.0) ** 2)[None], Noises(((3,),), (3,)), 1)
    >>> [round(x, 6) for x in found.mean[0, :, 0].tolist()], (found.root[0, :, 0, 0] ** 2).round(6).tolist()
    ([0.4, 0.4, 0.4], [5.0, 5.0, 5.0])
    """
    zero = jnp.zeros((*noises.lanes, noises.block), jnp.result_type(float))

    def of(world: jax.Array) -> tuple[jax.Array, jax.Array]:
        def column(unit: jax.Array) -> tuple[jax.Array, jax.Array]:
            slope = _slope(function, noises, world)
            return jax.jvp(slope, (zero,), (jnp.broadcast_to(unit, zero.shape),))

        first, second = jax.vmap(column, out_axes=(None, -1))(jnp.eye(noises.block, dtype=zero.dtype))
        return first, second

    slopes, curvature = _by_world(of, worlds, zero.dtype)
    precision = jnp.broadcast_to(jnp.eye(noises.block, dtype=zero.dtype), curvature.shape) - curvature
    root = root_of(precision)
    volume = -log_diagonal(root)
    infinite = jnp.isnan(volume) & jnp.all(jnp.isfinite(precision), axis=(-2, -1))  # a square that grows faster
    return _solved(slopes, zero, root, jnp.where(infinite, jnp.inf, volume))


def seen_from(point: jax.Array, found: Conditional, function: Callable[..., jax.Array], noises: Noises) -> Conditional:
    """See integrals from another point: the same but for rounding, which is least where the point is near the mean.

    Args:
        point: of the noises, the same in all worlds (*lanes, b).
        found: the integrals as seen from zero.
        function: from the noises to the log density of each world, summed over the lanes (worlds,).
        noises: their shapes and lanes.

    >>> def function(u): return jnp.sum(-0.5 * (2.0 * u - 1.0) ** 2)[None]
    >>> noises = Noises(((3,),), (3,))
    >>> there = seen_from(jnp.full((3, 1), 0.4), integrated(function, noises, 1), function, noises)
    >>> [round(x, 6) for x in there.mean[0, :, 0].tolist()], jnp.exp(-2 * there.log_mass[0]).round(6).tolist()
    ([0.4, 0.4, 0.4], [5.0, 5.0, 5.0])
    """
    slopes = _by_world(lambda world: _slope(function, noises, world)(point), len(found.root), point.dtype)
    return _solved(slopes - point, point, found.root, found.log_volume)


def _slope(function: Callable[..., jax.Array], noises: Noises, world: jax.Array) -> Callable[[jax.Array], jax.Array]:
    return jax.grad(lambda block: jnp.sum(function(*noises.split(block)) * world))


def _by_world(of: Callable[[jax.Array], Any], worlds: int, dtype: Any) -> Any:
    if worlds == 1:
        return jax.tree.map(lambda x: x[None], of(jnp.ones(1, dtype)))
    return jax.vmap(of)(jnp.eye(worlds, dtype=dtype))


def _solved(slopes: jax.Array, point: jax.Array, root: jax.Array, volume: jax.Array) -> Conditional:
    half = solved(root, slopes)
    mean = point + solved(root, half, transposed=True)
    square = 0.5 * jnp.sum(half**2, axis=-1)
    return Conditional(jnp.where(jnp.isposinf(volume), jnp.inf, square + volume), volume, mean, root)


def placed(noise: jax.Array, mean: jax.Array, root: jax.Array) -> jax.Array:
    """Give the noises of a lane from standard normals (*lanes, b) and their conditional."""
    return mean + solved(root, noise, transposed=True)
