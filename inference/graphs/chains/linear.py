"""The two passes in the linear domain: a rescaled product of vector and matrix a step, and a proof of what is lost.

Law: a feasible state never has weight zero, and an infeasible one always has. Weights that would vanish beside the
others of their step are held at a floor f where the pass goes on, so the passes bound the exact messages from above.
With v the forward weights, u the backward weights, and d_t = v_t . u_t, log Z and every marginal are off by at most

    3 K f sum_t 1 / d_t.

Where that is not below rounding (states that are hopeless now and forced by later evidence), `certified` is False, and
the result must come from `logs`.

Why the bound holds: no evidence, no entry of a scaled matrix and no u is above 1. So what a floor adds at step t weighs
at most f sum(u_t) <= K f (forward), f sum(prediction) <= K f (backward), or f sum(w) <= K f (an entry of the matrix, w
being evidence times u), beside a total of d_t; and exact messages are at most those that it is compared with. The floor
of one pass would be enough for this; both keep the zeros of both exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .chain import Chain

Product = Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]


def floor_for(dtype: Any, states: int) -> float:
    """Least weight of a feasible state: a product of two, divided by K, is still a normal number.

    >>> floor_for(jnp.float32, 2) ** 2 / 2 >= float(jnp.finfo(jnp.float32).tiny)
    True
    """
    return 2.0 ** -((-int(jnp.finfo(dtype).minexp) - states.bit_length()) // 2)


def rounding_for(dtype: Any) -> float:
    """Loss that no longer matters: a few units of the last place."""
    return 8 * float(jnp.finfo(dtype).eps)


def scaled(scores: Float[Array, "*S K"], axes: Any = -1) -> tuple[Float[Array, "*S K"], Array]:
    """Weights exp(score - top) and the tops over the given axes; a top that is not finite counts as zero."""
    top = lax.stop_gradient(jnp.max(scores, axis=axes, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, jnp.where(top == -jnp.inf, 0, top))
    return jnp.exp(scores - top), jnp.squeeze(top, axes)


class Products(NamedTuple):
    """The moves of a chain as products.

    Attributes:
        forward: (weights, inputs of a step) to (weights times matrix, sum of the weights).
        backward: the same for matrix times weights.
        inputs: what the products of each step need, or None.
        tops: what the log scores of each move were lowered by (T - 1,).
    """

    forward: Product
    backward: Product
    inputs: Float[Array, "S K K"] | None
    tops: Float[Array, " S"]


def matrix_of(scores: Float[Array, "K K"]) -> tuple[Float[Array, "K K"], Float[Array, ""]]:
    """Weights of one matrix of scores, largest 1, floored; and the top."""
    weights, top = scaled(scores, (0, 1))
    return jnp.where(scores > -jnp.inf, jnp.maximum(weights, floor_for(scores.dtype, scores.shape[0])), 0), top


def products(given: Chain) -> Products:
    """Prepare the products. One matrix for all steps sums the weights too, by a further column or row of ones."""
    k, moves, dtype = given.states, max(given.steps - 1, 0), given.node.dtype
    if not given.shared:

        def forward(v: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
            return v @ matrix_of(scores)[0], v.sum(-1)

        def backward(w: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
            return matrix_of(scores)[0] @ w, w.sum()

        tops = scaled(given.transition, (1, 2))[1]
        return Products(forward, backward, given.transition, tops)
    matrix, top = matrix_of(given.transition)
    right = jnp.concatenate([matrix, jnp.ones((k, 1), dtype)], axis=1)
    below = jnp.concatenate([matrix, jnp.ones((1, k), dtype)], axis=0)

    def shared_forward(v: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
        both = v @ right
        return both[..., :k], both[..., k]

    def shared_backward(w: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
        both = below @ w
        return both[:k], both[k]

    return Products(shared_forward, shared_backward, None, jnp.broadcast_to(top, (moves,)))


class Evidence(NamedTuple):
    """Node weights of each step, largest 1, with -1 for hard zeros (T, K); and the tops (T,)."""

    weight: Float[Array, "T K"]
    top: Float[Array, " T"]


def evidence_of(given: Chain) -> Evidence:
    """Scale the node scores. The sign of a weight tells a hard zero from one that underflows."""
    scores = given.evidence()
    weight, top = scaled(scores)
    return Evidence(jnp.where(scores == -jnp.inf, -1, weight), top)


def held(weight: jax.Array, evidence: jax.Array, floor: float) -> jax.Array:
    """Weights times evidence, held above the floor where both are feasible."""
    return jnp.where((weight > 0) & (evidence >= 0), jnp.maximum(weight * evidence, floor), 0)


def kept(weight: jax.Array, evidence: jax.Array) -> jax.Array:
    """The same as it is given out: held above the least normal number alone."""
    return held(weight, evidence, float(jnp.finfo(weight.dtype).tiny))


def divisor(total: jax.Array) -> jax.Array:
    """A scale to divide by: constant in derivatives, as all results are ratios; 1 for 0."""
    return lax.stop_gradient(jnp.where(total == 0, 1, total))


class Passes(NamedTuple):
    """Both passes.

    Attributes:
        forward: weights v (T, K); v_t / sum(v_t) is the filtered law of step t, up to floors.
        totals: their sums s (T,); log Z is the sum of log s, of the tops of evidence and of those of the moves.
        backward: weights u (T, K) of the scores after each step.
        dots: v_t . u_t (T,); 1 where not certified or nothing is feasible.
        certified: whether what floors add is below rounding.
    """

    forward: Float[Array, "T K"]
    totals: Float[Array, " T"]
    backward: Float[Array, "T K"]
    dots: Float[Array, " T"]
    certified: Bool[Array, ""]


def passes(given: Chain, moves: Products, evidence: Evidence) -> Passes:
    """Run forward, then backward; a chain has one step at least."""
    floor = floor_for(given.node.dtype, given.states)
    live = None if given.live is None else given.live[1:]
    steps = (evidence.weight[1:], live, moves.inputs)

    def forward(v: jax.Array, step: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        weight, here, scores = step
        reached, total = moves.forward(v, scores)
        scale = divisor(total)
        after, out = held(reached / scale, weight, floor), kept(reached / scale, weight)
        if here is not None:
            after, out = (jnp.where(here, x, v / scale) for x in (after, out))
        return after, (out, total)

    def backward(u: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        weight, here, scores = step
        seen, total = moves.backward(held(u, weight, floor), scores)
        before = seen / divisor(total)
        return (before if here is None else jnp.where(here, before, u)), u

    free, first = jnp.ones_like(evidence.weight[0]), evidence.weight[0]
    last, (v, totals) = lax.scan(forward, held(free, first, floor), steps)
    v, totals = jnp.concatenate([kept(free, first)[None], v]), jnp.concatenate([totals, last.sum()[None]])
    first, u = lax.scan(backward, free, steps, reverse=True)
    u = jnp.concatenate([first[None], u])
    dots = jnp.sum(v * u, axis=1)
    gap = 3 * given.states * floor * jnp.sum(1 / lax.stop_gradient(dots))
    certified = gap <= rounding_for(given.node.dtype)
    return Passes(v, totals, u, jnp.where(certified, dots, 1), certified | (totals[-1] == 0))


def terms_of(given: Chain, moves: Products, evidence: Evidence, totals: Float[Array, " T"]) -> tuple[jax.Array, ...]:
    """The parts of log Z: logs of the totals, tops of the evidence, tops of the moves; 0 where a step is masked out."""
    live, parts = given.live, (jnp.log(lax.stop_gradient(totals)), evidence.top, moves.tops)
    if live is None:
        return parts
    there = live.at[:1].set(True)
    return jnp.where(there, parts[0], 0), parts[1], jnp.where(live[1:], parts[2], 0)
