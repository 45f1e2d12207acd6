"""`python -m benchmarks.studies.papers.divergence_free_drift`: what a current beside the score changes, and what not.

Lines: the defect of an allowed drift; the check of the step without a coin on allowed and other drifts; effective draws
that a current gains, exact for the step without a coin, measured for the step with one at the same length and at the
best length of each.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference
from lawful.inference import check
from lawful.models.papers.divergence_free_drift import both_ways, current, defect, euler, lifted

from .bars import judge

SEEDS = range(100, 105)
TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])
SHORT, LONG = np.array([3.0, 1.0]), np.array([10.0, 1.0])  # standard deviations of two normal targets


def normal(sds: np.ndarray) -> Any:
    """Give the log density of independent normals."""
    return lambda x: -0.5 * jnp.sum((x / sds) ** 2)


def banana(x: jax.Array) -> jax.Array:
    """Give the log density of a normal that is bent."""
    return -0.5 * x[0] ** 2 - 2.0 * (x[1] - 0.5 * x[0] ** 2) ** 2


def two_places(x: jax.Array) -> jax.Array:
    """Give the log density of two normals of different width."""
    return jax.nn.logsumexp(jnp.stack([-0.5 * jnp.sum((x - 1.5) ** 2), -jnp.sum((x + 1.5) ** 2)]))


def target(sds: np.ndarray) -> Any:
    """Give independent normals as a program."""

    def scales() -> None:
        lawful.sample("x", dist.Normal(jnp.zeros(len(sds)), sds).to_event(1))

    return scales


def defects() -> int:
    """Evaluate the condition at drawn points."""
    worst = 0.0
    for seed in SEEDS:
        points = 2.0 * np.random.default_rng(seed).normal(size=(1000, 2))
        for density in (normal(SHORT), banana, two_places):
            worst = max(worst, float(jnp.abs(defect(density, current(density, 2.0 * TURN), points)).max()))
    return judge("defect of a skew current, three targets", "<= 1e-10", f"{worst:.1e}", worst <= 1e-10)


def checks() -> int:
    """Check the step without a coin."""
    missed = 0
    for name, field, bar in (
        ("a skew current", lambda density: current(density, 2.0 * TURN), "passed"),
        ("a symmetric matrix", lambda density: current(density, 0.5 * np.abs(TURN)), "failed"),
        ("a turn without divergence", lambda density: lambda x: TURN @ x, "failed"),
    ):
        kernel = euler(field, 0.02)
        found = [
            check.invariant(
                kernel, target(SHORT), level="statistical", n=4000, steps=(10,), key=jax.random.key(s)
            ).status
            for s in SEEDS
        ]
        count = found.count(bar)
        missed += judge(f"the check of a step with {name}", f"5 of 5 {bar}", f"{count} of 5", count == 5)
    return missed


def exact_times(sds: np.ndarray, skew: np.ndarray, step: float) -> tuple[float, float]:
    """Give the variance of the first coordinate in the step without a coin, and its time of correlation in draws."""
    move = np.eye(2) - step * (np.eye(2) + skew) @ np.diag(sds**-2.0)
    both = np.kron(move, move)
    cov = np.linalg.solve(np.eye(4) - both, 2.0 * step * np.eye(2).ravel()).reshape(2, 2)
    later = np.linalg.solve(np.eye(2) - move, move @ cov)
    return float(cov[0, 0]), float((cov + later + later.T)[0, 0] / sds[0] ** 2)


def without_a_coin() -> int:
    """Compare the exact gain of the Euler step with its closed form, and with paths."""
    missed, step = 0, 0.1
    for size in (1.0, 2.0):
        still, moved = (exact_times(SHORT, g * TURN, step)[1] for g in (0.0, size))
        error = abs(still / moved - (1 + size**2))
        name = f"gain of a current {size:.0f} in effective draws, without a coin"
        missed += judge(f"{name}, exact", f"{1 + size**2:.0f} to 1e-10", f"off by {error:.0e}", error <= 1e-10)
    bias = exact_times(SHORT, 2.0 * TURN, step)[0] / SHORT[0] ** 2 - 1
    print(f"       its price: the variance of the slow coordinate is {bias:.1%} too large at step {step}")
    return missed


def measured_time(sds: np.ndarray, size: float, step: float, draws: int = 3000, chains: int = 40) -> float:
    """Measure how many draws of the corrected step make an effective one of the first coordinate's mean."""
    density = normal(sds)
    kernel = lifted(density, current(density, size * TURN), step)
    plan = inference.mcmc(both_ways(target(sds)), kernel, chains=chains, warmup=0, draws=draws)
    means = [np.asarray(plan(jax.random.key(seed)).posterior["x"])[..., 0].mean(1) for seed in SEEDS]
    return float(draws * np.mean(np.square(means)) / sds[0] ** 2)


def with_a_coin() -> int:
    """Measure the gain of the corrected step; chains start in the target, so the mean of a chain has no bias."""
    times = {size: measured_time(SHORT, size, 0.1) for size in (0.0, 2.0)}
    gain = times[0.0] / times[2.0]
    missed = judge("gain of a current 2 with a coin, same step 0.1", ">= 2", f"{gain:.2f}", gain >= 2.0)
    for sds, size, still, moved in (
        (SHORT, 2.0, (1.5, 2.0, 2.5), (0.6, 1.0, 1.5)),
        (LONG, 4.0, (1.2, 1.6, 2.2), (0.4, 0.8, 1.2)),
    ):
        plain = min((measured_time(sds, 0.0, step), step) for step in still)
        turned = min((measured_time(sds, size, step), step) for step in moved)
        gain = plain[0] / turned[0]
        name = f"scales {sds[0]:.0f} to 1: gain of a current {size:.0f} with a coin, each at its best step"
        found = f"{gain:.2f} ({plain[0]:.1f} draws at {plain[1]}, {turned[0]:.1f} at {turned[1]})"
        missed += judge(name, ">= 1", found, gain >= 1.0)
    return missed


def main() -> int:
    """Print all lines."""
    jax.config.update("jax_enable_x64", True)
    return defects() + without_a_coin() + with_a_coin() + checks()


if __name__ == "__main__":
    sys.exit(main())
