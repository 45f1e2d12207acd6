"""The two passes in logs: slower by an exponential for each move, and nothing is ever lost.

Law: forward messages are logs of filtered laws (their sum is 1), backward messages have largest entry 0; minus
infinity is exact. Feasible states keep a finite message however unlikely they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...laws.log_sum import log_sum
from .chain import Chain


def lowered(scores: jax.Array, by: jax.Array) -> jax.Array:
    """Subtract a constant, unless it is minus infinity."""
    return scores - lax.stop_gradient(jnp.where(by == -jnp.inf, 0, by))


class Messages(NamedTuple):
    """Log messages.

    Attributes:
        forward: log filtered laws (T, K), up to a constant for each step.
        backward: log weights of the scores after each step (T, K), up to a constant for each step.
        terms: the increments of log Z (T,), as constants in derivatives.
    """

    forward: Float[Array, "T K"]
    backward: Float[Array, "T K"]
    terms: Float[Array, " T"]


def forward_logs(given: Chain) -> tuple[Float[Array, "T K"], Float[Array, " T"]]:
    """Log filtered laws and increments of log Z; a chain has one step at least."""
    evidence, live = given.evidence(), None if given.live is None else given.live[1:]
    scores = None if given.shared else given.transition

    def normalised(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
        term = log_sum(raw)
        return lowered(raw, term), lax.stop_gradient(term)

    def step(a: jax.Array, step: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        score, here, own = step
        raw = log_sum(a[:, None] + (given.transition if own is None else own), axis=0) + score
        after, term = normalised(raw)
        if here is not None:
            after, term = jnp.where(here, after, a), jnp.where(here, term, 0)
        return after, (after, term)

    first, term = normalised(evidence[0])
    _, (rest, terms) = lax.scan(step, first, (evidence[1:], live, scores))
    return jnp.concatenate([first[None], rest]), jnp.concatenate([term[None], terms])


def backward_logs(given: Chain) -> Float[Array, "T K"]:
    """Log weights of the scores after each step, largest 0; a chain has one step at least."""
    evidence, live = given.evidence(), None if given.live is None else given.live[1:]
    scores = None if given.shared else given.transition

    def step(b: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        score, here, own = step
        raw = log_sum((given.transition if own is None else own) + (score + b)[None], axis=1)
        before = lowered(raw, jnp.max(raw))
        return (before if here is None else jnp.where(here, before, b)), b

    first, rest = lax.scan(step, jnp.zeros_like(evidence[0]), (evidence[1:], live, scores), reverse=True)
    return jnp.concatenate([first[None], rest])


def messages(given: Chain) -> Messages:
    """Both passes."""
    forward, terms = forward_logs(given)
    return Messages(forward, backward_logs(given), terms)
