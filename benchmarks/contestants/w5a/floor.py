"""The floor of W5a: the sweep by hand in JAX, neighbours by shifts; log odds for two states, logs otherwise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contestants.potts import PottsRun
from benchmarks.workloads import COUPLING, potts_scores

PACKAGES = ("jax", "jaxlib")
DTYPE = "float32"


def binary(scores: jax.Array, sweeps: int) -> jax.Array:
    """Probabilities after some sweeps (L, L, 2)."""
    own = scores[..., 1] - scores[..., 0]
    pull = jnp.exp(jnp.asarray(COUPLING, own.dtype))

    def sent(total: jax.Array, back: jax.Array) -> jax.Array:
        odds = jnp.exp(jnp.clip(total - back, -80.0, 80.0))
        return jnp.log((pull * odds + 1) / (odds + pull))

    def sweep(_: int, messages: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        down, up, right, left = messages  # down[i, j] goes to (i + 1, j), up[i, j] to (i, j), and so on
        total = _gathered(own, messages)
        new = (
            sent(total[:-1], up), sent(total[1:], down), sent(total[:, :-1], left), sent(total[:, 1:], right),
        )  # fmt: skip
        return tuple(0.5 * (a + b) for a, b in zip(new, messages, strict=True))

    zero = (jnp.zeros_like(own[1:]),) * 2 + (jnp.zeros_like(own[:, 1:]),) * 2
    one = jax.nn.sigmoid(_gathered(own, lax.fori_loop(0, sweeps, sweep, zero)))
    return jnp.stack([1 - one, one], axis=-1)


def _gathered(own: jax.Array, messages: tuple[jax.Array, ...]) -> jax.Array:
    down, up, right, left = messages
    pad = [((1, 0), (0, 0)), ((0, 1), (0, 0)), ((0, 0), (1, 0)), ((0, 0), (0, 1))]
    return own + sum(jnp.pad(m, p) for m, p in zip((down, up, right, left), pad, strict=True))


def several(scores: jax.Array, sweeps: int) -> jax.Array:
    """Probabilities after some sweeps (L, L, K), by Potts messages: log(sum e^q + (e^c - 1) e^q_j)."""
    own = jnp.moveaxis(scores, -1, 0)
    more = jnp.exp(jnp.asarray(COUPLING, own.dtype)) - 1

    def sent(total: jax.Array, back: jax.Array) -> jax.Array:
        q = total - back
        weight = jnp.exp(q - jnp.max(q, axis=0))
        out = jnp.log(jnp.sum(weight, axis=0) + more * weight)
        return out - jnp.max(out, axis=0)

    def gathered(messages: tuple[jax.Array, ...]) -> jax.Array:
        pads = [((0, 0), (1, 0), (0, 0)), ((0, 0), (0, 1), (0, 0)), ((0, 0), (0, 0), (1, 0)), ((0, 0), (0, 0), (0, 1))]
        return own + sum(jnp.pad(m, p) for m, p in zip(messages, pads, strict=True))

    def sweep(_: int, messages: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        down, up, right, left = messages
        total = gathered(messages)
        above, below, before, behind = total[:, :-1], total[:, 1:], total[:, :, :-1], total[:, :, 1:]
        new = sent(above, up), sent(below, down), sent(before, left), sent(behind, right)
        return tuple(0.5 * (a + b) for a, b in zip(new, messages, strict=True))

    zero = (jnp.zeros_like(own[:, 1:]),) * 2 + (jnp.zeros_like(own[:, :, 1:]),) * 2
    return jnp.moveaxis(jax.nn.softmax(gathered(lax.fori_loop(0, sweeps, sweep, zero)), axis=0), 0, -1)


def build(settings: dict[str, Any]) -> PottsRun:
    """The contestant for one variant."""
    scores = jnp.asarray(potts_scores(settings["side"], settings["states"]))
    function = binary if settings["states"] == 2 else several
    run = jax.jit(function, static_argnums=1)
    return PottsRun(lambda: run(scores, settings["sweeps"]), settings)
