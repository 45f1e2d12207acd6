"""Ascent: many searches uphill side by side, by L-BFGS with a line search (optax), each until nothing is gained.

Law: no accepted step of a search lowers its value beyond rounding, and a search that rests stays where it is, to the
last bit. A step of all searches is a function of their state alone, so it does not matter how steps are divided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError

from .target import Target

MEMORY = 20  # pairs of steps and changes of the gradient
TRIALS = 20  # evaluations of a step
STALLED = 5  # steps of little gain after which a search rests
LITTLE = 0.75  # power of the rounding of a value that a step has to gain, or it counts as one of little gain


class Search(NamedTuple):
    """A search: where it is, what is there, what it learnt, its steps and evaluations, and whether it rests.

    All have the searches as their first axis. `stalled` counts the last steps without gain.
    """

    vector: jax.Array
    value: jax.Array
    gradient: jax.Array
    learnt: Any
    steps: jax.Array
    evaluations: jax.Array
    stalled: jax.Array
    rests: jax.Array


def converged(value: Any, gradient: Any) -> Any:
    """Tell whether a gradient is small next to a value: a Newton step from there is exact to rounding."""
    small = jnp.finfo(gradient.dtype).eps ** 0.5
    return jnp.max(jnp.abs(gradient), initial=0.0) <= small * (1 + jnp.abs(value))


def begun(target: Target, vectors: jax.Array) -> Search:
    """Begin searches at some vectors; their first step is the evaluation there."""
    count, dtype = len(vectors), vectors.dtype
    none = jnp.zeros(count, jnp.int32)
    learnt = jax.vmap(_solver(target.frame.size).init)(vectors)
    return Search(
        vectors, jnp.full(count, -jnp.inf, dtype), jnp.zeros_like(vectors), learnt, none, none, none, none > 0
    )


def climbed(target: Target, inputs: Sequence[Any], searches: Search, steps: jax.Array) -> Search:
    """Take some steps of all searches, fewer where all of them rest."""
    step = jax.vmap(partial(_step, target, inputs))

    def goes(carry: tuple[jax.Array, Search]) -> jax.Array:
        return (carry[0] < steps) & ~jnp.all(carry[1].rests)

    def go(carry: tuple[jax.Array, Search]) -> tuple[jax.Array, Search]:
        return carry[0] + 1, step(carry[1])

    return jax.lax.while_loop(goes, go, (jnp.zeros((), jnp.int32), searches))[1]


def _step(target: Target, inputs: Sequence[Any], now: Search) -> Search:
    """Take a step of one search; what it learnt is forgotten where that led to no gain.

    The first one has no direction, so that it evaluates the start; a search without a finite density there rests.
    """
    solver, loss = _solver(target.frame.size), _loss(target, inputs)
    change, learnt = solver.update(
        -now.gradient, now.learnt, now.vector, value=-now.value, grad=-now.gradient, value_fn=loss
    )
    line = learnt[-1]
    vector = now.vector + change
    better = jnp.isfinite(line.value) & jnp.all(jnp.isfinite(vector))
    value = jnp.where(better, -line.value, now.value)
    gradient = jnp.where(better, -line.grad, now.gradient)
    vector = jnp.where(better, vector, now.vector)
    first = now.steps == 0
    gain, eps = (value - now.value) / (1 + jnp.abs(value)), jnp.finfo(value.dtype).eps
    fresh, gained = solver.init(vector), (gain > 4 * eps) & ~first
    stalled = jnp.where(gain > eps**LITTLE, 0, now.stalled + 1)
    taken = Search(
        vector,
        value,
        gradient,
        jax.tree.map(lambda new, old: jnp.where(gained, new, old), learnt, fresh),
        now.steps + 1,
        now.evaluations + line.info.num_linesearch_steps.astype(jnp.int32),
        stalled,
        converged(value, gradient) | (stalled >= STALLED) | ~jnp.isfinite(value),
    )
    return jax.tree.map(lambda new, old: jnp.where(now.rests, old, new), taken, now)


def _loss(target: Target, inputs: Sequence[Any]) -> Callable[[jax.Array], jax.Array]:
    """Give the function that optax makes small, whose gradient is finite wherever the function is."""

    @jax.custom_vjp
    def loss(vector: jax.Array) -> jax.Array:
        return -target.value_and_grad(inputs, vector)[0]

    def forth(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, gradient = target.value_and_grad(inputs, vector)
        return -value, -gradient

    loss.defvjp(forth, lambda gradient, weight: (weight * gradient,))
    return loss


def _solver(size: int) -> Any:
    optax = _optax()
    line = optax.scale_by_zoom_linesearch(max_linesearch_steps=TRIALS, initial_guess_strategy="one")
    return optax.lbfgs(memory_size=max(1, min(size, MEMORY)), linesearch=line)


def _optax() -> Any:
    try:
        import optax
    except ImportError as error:
        raise LawfulError(
            "maximise: the search is that of optax, which is not installed. Fix: pip install 'lawful[maximise]'.",
            module="optax",
        ) from error
    return optax
