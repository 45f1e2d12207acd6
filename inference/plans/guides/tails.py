"""Tails: how heavy those of a fitted normal law are made before its draws are weighed.

Law: whatever is chosen is a law that reaches all coordinates, so the weights correct it; the draws that choose are
others than those that are weighed. Among t laws about the fitted one, normal ones with them, that is taken whose
weights have the least estimated second moment, by draws from all of them together, the heaviest included: what a normal
law would not see of the tails of a posterior, its rivals do.

Reference: Veach and Guibas (1995) for weights by the mixture of all candidates (the balance heuristic).
"""

from __future__ import annotations

from itertools import product

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...laws.tailed import Tailed

HALVES = (2, 4, 8, 0)  # of the degrees of freedom; 0 for normal tails
FACTORS = (1.0, 1.25)  # of the scales: fits by the ELBO are narrow where the family lacks a correlation
EACH = 64  # draws from a candidate


def pilot(normal: dist.Distribution, key: jax.Array) -> jax.Array:
    """Draw from all candidates about a fitted law (draws, size)."""
    halves, factors = _pairs()
    keys = jax.random.split(key, len(halves))
    drawn = jax.vmap(lambda key, half, factor: Tailed(normal, half, factor).sample(key, (EACH,)))(keys, halves, factors)
    return drawn.reshape(-1, drawn.shape[-1])


def tailed(normal: dist.Distribution, drawn: jax.Array, log_p: jax.Array) -> Tailed:
    """Choose tails.

    Args:
        normal: the fitted law of a vector.
        drawn: draws of `pilot`.
        log_p: log densities of the program there (draws,), to a constant.
    """
    halves, factors = _pairs()
    log_q = jax.vmap(lambda half, factor: Tailed(normal, half, factor).log_prob(drawn))(halves, factors)
    log_p = jnp.where(jnp.isnan(log_p), -jnp.inf, log_p)
    second = jax.nn.logsumexp(2 * log_p - log_q - jax.nn.logsumexp(log_q, axis=0), axis=1)
    best = jnp.argmin(jnp.where(jnp.isnan(second), jnp.inf, second))
    return Tailed(normal, halves[best], factors[best])


def _pairs() -> tuple[jax.Array, jax.Array]:
    pairs = [*product(HALVES, FACTORS)]
    return jnp.array([half for half, _ in pairs]), jnp.array([factor for _, factor in pairs])
