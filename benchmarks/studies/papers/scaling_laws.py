"""`python -m benchmarks.studies.papers.scaling_laws`: losses of larger models from smaller ones.

Law: power laws with known exponents are drawn, and 90 % intervals for a size ten times the largest cover them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from lawful import inference
from lawful.inference import kernels
from lawful.models.papers.scaling_laws import scaling_laws

from .bars import judge

SEEDS = range(100, 105)
SETS = 20  # synthetic data sets for each seed
MIXTURES, SIZES, AHEAD = 8, np.array([0.1, 0.3, 1.0, 3.0]), 30.0


def search(sites: list[str]) -> Callable[..., inference.Result]:
    """Build chains over floor and scales, with normal sites integrated."""
    away = inference.integrate_normals(sites)
    return inference.mcmc(scaling_laws, kernels.nuts(), chains=2, warmup=300, draws=300, enumerate=away)


def synthetic() -> int:
    """Draw power laws, predict ten times the largest size, and count how often the intervals hold the loss."""
    plan = search(["level", "exponent", "own_level", "own_exponent"])
    size, mixture = np.tile(SIZES, MIXTURES), np.repeat(np.arange(MIXTURES), len(SIZES))
    inside, errors, doubtful = [], [], 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        for k in range(SETS):
            floor, exponent = rng.uniform(1.0, 2.0), rng.uniform(0.15, 0.4)
            level = 0.5 + 0.3 * rng.normal(size=MIXTURES)
            own = exponent + 0.03 * rng.normal(size=MIXTURES)
            noise = np.exp(0.02 * rng.normal(size=len(size)))
            args = (size, mixture, floor + np.exp(level[mixture]) * size ** -own[mixture] * noise, MIXTURES)
            result = plan(jax.random.key(1_000 * seed + k), *args)
            doubtful += not result.ok
            ahead = np.asarray(result.predict(scaling_laws, *args, ahead=AHEAD, key=seed)["ahead"])
            low, high = np.quantile(ahead, [0.05, 0.95], axis=(0, 1))
            truth = floor + np.exp(level) * AHEAD**-own * np.exp(0.02 * rng.normal(size=MIXTURES))
            inside.append(np.mean((low < truth) & (truth < high)))
            errors.append(np.abs(np.median(ahead, axis=(0, 1)) - truth).mean())
    se = np.std(inside) / np.sqrt(len(inside))
    print(f"       {doubtful} of {len(inside)} results not ok; mean error of the median {np.mean(errors):.3f}")
    found = f"{np.mean(inside):.3f} +- {se:.3f}"
    return judge(
        "synthetic, ten times the largest size: coverage of 90 %",
        "0.85 to 0.95",
        found,
        0.85 <= np.mean(inside) <= 0.95,
    )


def main() -> int:
    """Print all lines; give the number of bars missed."""
    jax.config.update("jax_enable_x64", True)
    began = time.process_time()
    missed = synthetic()
    print(f"       {time.process_time() - began:.0f} CPU s")
    return missed


if __name__ == "__main__":
    sys.exit(main())
