"""The marginal log-likelihood of all persons, one number, with its gradient in one pass, some parameters at a time.

Law: value and gradient are those of the sum of `log_likelihood_by_person`. Many parameters are visited in batches that
fit into fast memory, and no array of persons is kept for the gradient: that of the parameters is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from ..model.panels import Panel
from ..model.parameters import Model, Parameters
from .density import log_likelihood_by_person

__all__ = ["log_likelihood"]

CELLS = 1 << 15  # outcomes of a batch of parameters, in doubles a quarter of a megabyte


def log_likelihood(parameters: Parameters, panel: Panel, model: Model, width: Any = 0.0) -> jax.Array:
    """Give the log-likelihood of all persons ().

    Args:
        parameters: without an axis of persons.
        panel: the persons, in the units of the parameters.
        model: which mixture.
        width: of the smoothing of kinks, in units of time.

    Returns: the sum; it has reverse-mode derivatives by the parameters alone.

    >>> from lawful.models.trajectories import Bounds, panel, unpack
    >>> model = Model("LIN", 2)
    >>> at = unpack(jnp.zeros(model.size), model, Bounds(jnp.zeros(()), jnp.ones(())))
    >>> log_likelihood(at, panel([[0.0, 1.0]], [0.0, 1.0]), model).round(3).tolist()
    -2.338
    """
    return _rule(model, panel.y.shape)(parameters, panel, jnp.asarray(width, panel.y.dtype))


@lru_cache(maxsize=64)
def _rule(model: Model, shape: tuple[int, int]) -> Any:
    """Make the function for a model and a shape of panels, with its rules for gradients and batches."""
    batch = max(1, CELLS // max(1, shape[0] * shape[1]))

    def plain(parameters: Parameters, panel: Panel, width: Any) -> jax.Array:
        wide = jax.tree.map(lambda leaf: leaf[..., None], parameters)
        return jnp.sum(log_likelihood_by_person(wide, panel, model, width))

    value = _in_batches(plain, batch)
    both = _in_batches(jax.value_and_grad(plain), batch)

    @jax.custom_vjp
    def total(parameters: Parameters, panel: Panel, width: Any) -> jax.Array:
        return value(parameters, panel, width)

    def forward(parameters: Parameters, panel: Panel, width: Any) -> tuple[jax.Array, Any]:
        found, gradient = both(parameters, panel, width)
        return found, (gradient, panel, width)

    def backward(kept: Any, by: jax.Array) -> tuple[Any, ...]:
        gradient, panel, width = kept
        nothing = jax.tree.map(jnp.zeros_like, (panel, width))
        return (jax.tree.map(lambda leaf: by * leaf, gradient), *nothing)

    total.defvjp(forward, backward)
    return total


def _in_batches(function: Any, batch: int) -> Any:
    """Let a function visit many arguments a batch at a time, where JAX maps it."""
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten(arguments)
        flags = jax.tree.leaves(batched)
        leaves = [leaf[0] if flag and not leaf.size else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        flags = [flag and leaf.size > 0 for leaf, flag in zip(leaves, flags, strict=True)]
        shapes, out_tree = jax.tree.flatten(jax.eval_shape(function, *_one(leaves, flags, tree)))

        def one(moving: list[Any]) -> list[Any]:
            rest = iter(moving)
            whole = [next(rest) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
            return [found for found in jax.tree.leaves(function(*jax.tree.unflatten(tree, whole))) if found.size]

        moving = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
        found = iter(jax.lax.map(one, moving, batch_size=_divisor(size, batch)))  # which takes no array without entries
        outputs = [next(found) if math.prod(s.shape) else jnp.zeros((size, *s.shape), s.dtype) for s in shapes]
        return jax.tree.unflatten(out_tree, outputs), jax.tree.unflatten(out_tree, [True] * len(outputs))

    return mapped


def _divisor(size: int, most: int) -> int:
    """Give a batch that leaves no rest, which would be compiled apart; the largest one where there is none near."""
    best = max(each for each in range(1, min(size, most) + 1) if size % each == 0)
    return best if 4 * best >= min(size, most) else min(size, most)


def _one(leaves: list[Any], flags: list[bool], tree: Any) -> Any:
    """Give the first of the arguments, for their shapes."""
    return jax.tree.unflatten(tree, [leaf[0] if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)])
