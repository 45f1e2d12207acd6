"""Reach: chains that begin at weighed draws of a guide, and how much their draws would weigh as draws of it.

Law: Hamiltonian moves keep the posterior whatever their steps are, so chains that begin at draws of it stay draws of
it, and where the guide comes everywhere that they go, none of them has a weight far above all that its own draws have.
Weights alone do not see what a guide leaves out; chains walk there where it hangs together with the rest.

Steps are drawn anew for each move, over a factor of 16, so that no tuning is needed: short ones serve narrow places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...kernels.base.acceptance import acceptance
from ...kernels.base.frame import Frame
from ...kernels.gradient.trajectories import Phase, energy, flow
from .paths import Coordinates

CHAINS, MOVES, LEAPFROGS = 256, 40, 8
TOGETHER = 64  # chains that move at once
FIRST = 2 * CHAINS  # draws of the guide, of which chains begin at some by their weights
STEPS = (0.05, 0.8)  # shortest and longest, in units of the draws
DENSE = 128  # coordinates whose covariance is worth a product of matrix and vector for each leapfrog


def begun(key: jax.Array, drawn: jax.Array, log_weight: jax.Array) -> jax.Array:
    """Choose where chains begin, (chains, size), among draws (draws, size) by their weights."""
    log_weight = jnp.where(log_weight < jnp.inf, log_weight, -jnp.inf)
    log_weight = jnp.where(jnp.any(log_weight > -jnp.inf), log_weight, 0.0)
    return drawn[dist.Categorical(logits=log_weight).sample(key, (CHAINS,))]


def walked(key: jax.Array, frame: Frame, inputs: Sequence[Any], drawn: jax.Array, starts: jax.Array) -> Phase:
    """Give where chains end, all with the chains as their first axis.

    Args:
        key: of the moves.
        frame: the program in one vector of coordinates.
        inputs: of the program.
        drawn: draws that tell the units of the steps (draws, size).
        starts: where the chains begin (chains, size).
    """
    size, dtype = drawn.shape[1], drawn.dtype
    away = drawn - jnp.mean(drawn, axis=0)
    root = jnp.std(drawn, axis=0)
    if size <= DENSE:
        factor = jnp.linalg.cholesky(away.T @ away / len(drawn))
        root = jnp.where(jnp.all(jnp.isfinite(factor)), factor, jnp.diag(root))
    target = partial(Coordinates(frame).value_and_grad, tuple(inputs))
    low, high = map(math.log, STEPS)

    def move(now: Phase, key: jax.Array) -> tuple[Phase, None]:
        momentum, step, coin = jax.random.split(key, 3)
        begun = now._replace(momentum=dist.Normal(jnp.zeros(size, dtype), 1.0).sample(momentum))
        length = jnp.exp(dist.Uniform(jnp.asarray(low, dtype), high).sample(step))
        ended, _ = flow(target, root, length, begun, LEAPFROGS)
        odds = acceptance(energy(begun) - energy(ended))
        taken = dist.Uniform(jnp.zeros((), dtype), 1.0).sample(coin) < odds
        return jax.tree.map(partial(jnp.where, taken), ended, begun), None

    def chain(given: tuple[jax.Array, jax.Array]) -> Phase:
        key, start = given
        phase = Phase(start, jnp.zeros(size, dtype), *target(start))
        return jax.lax.scan(move, phase, jax.random.split(key, MOVES))[0]

    return jax.lax.map(chain, (jax.random.split(key, len(starts)), starts), batch_size=TOGETHER)
