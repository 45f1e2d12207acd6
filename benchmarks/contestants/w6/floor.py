"""The floor of W6: EM by hand in JAX, for this workload and nothing else.

One pass over the rows in chunks, each of which adds to three products: weights times products of columns, weights times
columns, and weights. No step is judged, so that nothing is computed twice.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.contestants.experts import ExpertsRun
from benchmarks.workloads import EXPERT_ITERATIONS, EXPERT_RIDGE, EXPERTS, GATE_RIDGE, experts, experts_start

PACKAGES = ("jax", "jaxlib")
DTYPE = "float64"
CHUNK = 4000

LEFT, RIGHT = np.triu_indices(EXPERTS - 1)
PAIR = np.zeros((EXPERTS - 1, EXPERTS - 1), int)
PAIR[LEFT, RIGHT] = PAIR[RIGHT, LEFT] = np.arange(len(LEFT))


def em(x: jax.Array, y: jax.Array, gate: jax.Array, lines: jax.Array, variances: jax.Array) -> jax.Array:
    """Log likelihoods of twenty E-steps; x (chunks, p, c), y (chunks, c), gate and lines (K, p)."""
    p = x.shape[1]
    one, other = np.triu_indices(p)
    square = np.zeros((p, p), int)
    square[one, other] = square[other, one] = np.arange(len(one))
    eye = jnp.eye(p, dtype=x.dtype)

    def iteration(state: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], jax.Array]:
        gate, lines, variances = state

        def chunk(sums: tuple[jax.Array, ...], data: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            x, y = data
            log_w = jax.nn.log_softmax(gate @ x, axis=0)
            error = y[None] - lines @ x
            term = log_w - 0.5 * (error**2 / variances[:, None] + jnp.log(2 * jnp.pi * variances)[:, None])
            top = jnp.max(term, axis=0)
            raw = jnp.exp(term - top[None])
            total = jnp.sum(raw, axis=0)
            r, w = raw / total[None], jnp.exp(log_w)[:-1]
            bend = jnp.where((LEFT == RIGHT)[:, None], w[LEFT], 0.0) - w[LEFT] * w[RIGHT]
            added = (
                jnp.sum(jnp.log(total) + top),
                jnp.concatenate([r, bend]) @ (x[one] * x[other]).T,
                jnp.concatenate([r * error, r[:-1] - w]) @ x.T,
                jnp.sum(r * error**2, axis=1),
            )
            return jax.tree.map(jnp.add, sums, added), None

        k = EXPERTS
        zero = (
            jnp.zeros((), x.dtype),
            jnp.zeros((k + len(LEFT), len(one)), x.dtype),
            jnp.zeros((2 * k - 1, p), x.dtype),
            jnp.zeros(k, x.dtype),
        )
        (value, second, first, squares), _ = lax.scan(chunk, zero, (x, y))
        second = second[:, square]
        gram, curvature = second[:k], second[k:][PAIR].swapaxes(1, 2).reshape((k - 1) * p, (k - 1) * p)
        step = jnp.linalg.solve(gram + EXPERT_RIDGE * eye, (first[:k] - EXPERT_RIDGE * lines)[..., None])[..., 0]
        less = jnp.sum(step * (2 * first[:k] - jnp.einsum("kij,kj->ki", gram, step)), axis=1)
        turn = jnp.linalg.solve(
            curvature + GATE_RIDGE * jnp.eye(len(curvature), dtype=x.dtype), first[k:].reshape(-1)
        ).reshape(k - 1, p)
        mass = second[:k, 0, 0]  # the first column is ones
        return (gate.at[:-1].add(turn), lines + step, (squares - less) / mass), value

    return lax.scan(iteration, (gate, lines, variances), None, length=EXPERT_ITERATIONS)[1]


def build(settings: dict[str, Any]) -> ExpertsRun:
    """The contestant for one variant."""
    jax.config.update("jax_enable_x64", True)
    (x, y), start = experts(), experts_start()
    data = x.T.reshape(x.shape[1], -1, CHUNK).swapaxes(0, 1), y.reshape(-1, CHUNK)
    return ExpertsRun(
        em, tuple(jnp.asarray(a, DTYPE) for a in (*data, start.gate.T, start.lines.T, start.deviations**2))
    )
