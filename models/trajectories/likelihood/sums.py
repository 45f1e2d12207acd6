"""Sums over waves: all that the density of a class wants to know of a person's outcomes.

Law: with loadings L of a shape g, and residuals r = y - L a, they are L'L, L'r and r'r. Their derivatives by g and a
are sums over waves too, of L' L_g and L_g'r, so that no pass backwards visits a wave or keeps a number for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..model.curves import Curve
from ..model.panels import Panel

__all__ = ["Sums", "summed", "wave_sums"]


class Sums(NamedTuple):
    """What is summed over waves, each (n,): L'L (its upper triangle by rows), L'r (q,) and r'r."""

    gram: tuple[jax.Array, ...]
    reached: tuple[jax.Array, ...]
    square: jax.Array


def summed(columns: list[jax.Array], r: jax.Array) -> Sums:
    """Sum products of loadings and residuals, each (J, n), over waves."""
    size = len(columns)
    gram = tuple(jnp.sum(columns[c] * columns[d], axis=0) for c in range(size) for d in range(c, size))
    return Sums(gram, tuple(jnp.sum(column * r, axis=0) for column in columns), jnp.sum(r * r, axis=0))


def wave_sums(form: Curve, shape: jax.Array, mean: list[jax.Array], panel: Panel, width: Any) -> Sums:
    """Give the sums of a class whose loadings depend on its shape alone.

    Args:
        form: the curve.
        shape: the shape of each person (n,).
        mean: what the growth factors are expected to be, for each of the q (n,).
        panel: the persons, by which nothing is derived here.
        width: of the smoothing of kinks, in units of time; the same.
    """
    given = panel.y, panel.t, panel.mask, jnp.asarray(width, panel.t.dtype)
    return _rule(form)(shape, tuple(mean), *map(jax.lax.stop_gradient, given))


@lru_cache(maxsize=64)
def _rule(form: Curve) -> Any:
    """Make the function of a curve, with its derivative."""

    def loaded(shape: Any, t: Any, mask: Any, width: Any) -> tuple[jax.Array, ...]:
        columns = form.basis(t, shape[None], width)
        return tuple(jnp.broadcast_to(column, t.shape) * mask for column in columns)

    def less(y: Any, columns: Any, mean: Any) -> jax.Array:
        return y - (sum(columns[c] * mean[c] for c in range(1, form.q)) + columns[0] * mean[0])

    def tied(shape: Any, sums: Sums) -> Sums:
        """Let every sum follow the shapes: mapped over classes, value and derivative must be mapped alike."""
        return jax.tree.map(lambda each: each + jnp.where(jnp.isfinite(shape), 0.0, 0.0).astype(each.dtype), sums)

    def plain(shape: Any, mean: Any, y: Any, t: Any, mask: Any, width: Any) -> Sums:
        columns = loaded(shape, t, mask, width)
        return tied(shape, summed([*columns], less(y, columns, mean)))

    def derived(primals: Any, tangents: Any) -> tuple[Sums, Sums]:
        shape, mean, y, t, mask, width = primals
        by_shape, by_mean, *_ = tangents
        q, places = form.q, range(form.q)
        columns = loaded(shape, t, mask, width)
        r = less(y, columns, mean)
        found = tied(shape, summed([*columns], r))
        gram = dict(zip([(c, d) for c in places for d in range(c, q)], found.gram, strict=True))
        reached = [-sum(gram[min(c, d), max(c, d)] * by_mean[d] for d in places) for c in places]
        square = -2.0 * sum(found.reached[d] * by_mean[d] for d in places)
        if form.shape is None:
            return found, Sums(tuple(0.0 * each for each in found.gram), tuple(reached), square)
        turned = jax.jvp(lambda g: loaded(g, t, mask, width), (shape,), (jnp.ones_like(shape),))[1]
        # The first loading is 1 whatever the shape.
        cross = {(c, d): jnp.sum(turned[c] * columns[d], axis=0) for c in range(1, q) for d in places}
        onto = {c: jnp.sum(turned[c] * r, axis=0) for c in range(1, q)}
        change = [sum(cross[d, c] * mean[d] for d in range(1, q)) for c in places]  # L' L_g a
        gram_by = tuple(by_shape * (cross.get((c, d), 0.0) + cross.get((d, c), 0.0)) for c, d in gram)
        reached = [each + by_shape * (onto.get(c, 0.0) - change[c]) for c, each in enumerate(reached)]
        square = square - 2.0 * by_shape * sum(onto[d] * mean[d] for d in range(1, q))
        return found, Sums(gram_by, tuple(reached), square)

    rule = jax.custom_jvp(plain)
    rule.defjvp(derived)
    return rule
