"""Filtering: each state given the scores up to its step, and predictions of states to come.

Law: forward[t] = P(x_t | scores up to t), and increments[t] = log Z of the first t + 1 steps less that of the first
t, so their sum is log Z. The fast pass carries a second row of weights, all that floors have added so far and where
it went: the share of that row is a bound of the error of each filtered law, which the bound of the two passes
(`linear`) would not be.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lawful.errors import LawfulError

from ...laws.log_sum import safe_log
from . import associative, linear, logs
from .chain import Chain, chain
from .smoothing import where_certified
from .sums import total


class Filtered(NamedTuple):
    """Filtered laws.

    Attributes:
        log_z: log of the sum of gamma over all paths; -inf where no path is feasible.
        remainder: what `log_z` lacks by rounding.
        increments: of log Z by each step (T,); their sum is log Z. 0 at steps that are masked out.
        log_law: log P(x_t = i | scores up to t), (T, K); minus infinity from the step on where no path is feasible. The
            probabilities are right to rounding beside 1; to have the logs of tiny ones right too, ask for "logs".
    """

    log_z: Float[Array, ""]
    remainder: Float[Array, ""]
    increments: Float[Array, " T"]
    log_law: Float[Array, "T K"]


def filtered(given: Chain, method: str = "auto") -> Filtered:
    """Filter a chain. The laws can be differentiated, log Z and its increments not: use `log_z`.

    >>> found = filtered(chain(jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.2]])), jnp.log(jnp.full((2, 2), 0.5))))
    >>> [f"{x:.4f}" for x in jnp.exp(found.increments)], [f"{p:.4f}" for p in jnp.exp(found.log_law[1])]
    (['1.0000', '0.5500'], ['0.8182', '0.1818'])
    """
    return _filtered(given, given.method(method))


def predict(
    log_law: Float[Array, " K"], transition: Float[Array, "*S K K"], steps: int, method: str = "auto"
) -> Float[Array, "S K"]:
    """Laws of the states to come: k-step prediction from a filtered law, for k = 1, ..., steps.

    Args:
        log_law: log weights of the state now (K,), such as the last row of `Filtered.log_law`.
        transition: log scores of the moves (K, K), or (steps, K, K).
        steps: number of steps.
        method: as of `log_z`.

    Returns: log P(x_{t+k} = i | scores up to t), normalised at each step, (steps, K).

    >>> jnp.exp(predict(jnp.log(jnp.array([1.0, 0.0])), jnp.log(jnp.array([[0.5, 0.5], [0.0, 1.0]])), 2)).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    if steps < 0:
        raise LawfulError(f"predict: steps: expected 0 or more, got {steps}.", given=steps)
    ahead = chain(jnp.zeros((steps + 1, log_law.shape[0]), log_law.dtype), transition, initial=log_law)
    return filtered(ahead, method).log_law[1:]


@partial(jax.jit, static_argnames="method")
def _filtered(given: Chain, method: str) -> Filtered:
    if not given.steps:
        zero = jnp.zeros((), given.node.dtype)
        return Filtered(zero, zero, jnp.zeros(0, zero.dtype), given.node)
    if method == "logs":
        return _in_logs(given)
    if method == "associative":
        forward = associative.exact_forward(given)
        found = associative.with_terms(given, forward, forward)
        return Filtered(*total(found.terms), found.terms, found.forward)
    fast, bounds = _linear(given)
    return where_certified(jnp.max(bounds.of_step) <= bounds.rounding, fast, lambda: _in_logs(given))


@jax.jit
def last_law(given: Chain) -> Float[Array, " K"]:
    """Log weights of the last state given all scores, right to rounding for each state, not only beside 1."""
    fast, bounds = _linear(given)
    certified = jnp.max(bounds.of_last) <= bounds.rounding
    return where_certified(certified, fast.log_law[-1], lambda: logs.forward_logs(given)[0][-1])


def _in_logs(given: Chain) -> Filtered:
    forward, terms = logs.forward_logs(given)
    return Filtered(*total(terms), terms, forward)


class _Bounds(NamedTuple):
    """Bounds of the relative error by floors: of each filtered law (T,), and of each weight of the last one (K,)."""

    of_step: jax.Array
    of_last: jax.Array
    rounding: float


def _linear(given: Chain) -> tuple[Filtered, _Bounds]:
    moves, evidence = linear.products(given), linear.evidence_of(given)
    floor = linear.floor_for(given.node.dtype, given.states)
    live = None if given.live is None else given.live[1:]

    def step(both: jax.Array, step: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        weight, here, scores = step
        reached, totals = moves.forward(both, scores)
        scale = linear.divisor(totals[0])
        held, out = linear.held(reached[0] / scale, weight, floor), linear.kept(reached[0] / scale, weight)
        added = jnp.where(held > 0, reached[1] / scale * weight + 2 * floor, 0)  # by this floor, by that of the matrix
        after = jnp.stack([held, lax.stop_gradient(added)])
        if here is not None:
            after, out = jnp.where(here, after, both / scale), jnp.where(here, out, both[0] / scale)
        return after, (out, totals)

    free, weight = jnp.ones_like(evidence.weight[0]), evidence.weight[0]
    first = linear.held(free, weight, floor)
    start = jnp.stack([first, jnp.where(first > 0, floor, 0)])
    last, (v, totals) = lax.scan(step, start, (evidence.weight[1:], live, moves.inputs))
    v, totals = jnp.concatenate([linear.kept(free, weight)[None], v]), jnp.concatenate([totals, last.sum(1)[None]])
    total_of_step = linear.divisor(totals[:, 0])
    of_last = last[1] / linear.divisor(last[0])
    bounds = _Bounds(totals[:, 1] / total_of_step, of_last, linear.rounding_for(v.dtype))
    terms = linear.terms_of(given, moves, evidence, totals[:, 0])
    law = safe_log(v) - jnp.log(jnp.where(totals[:, 0] == 0, 1, totals[:, 0]))[:, None]
    increments = (terms[0] + terms[1]).at[1:].add(terms[2])
    return Filtered(*total(jnp.concatenate(terms)), increments, law), bounds
