"""`python -m benchmarks.studies.papers.known_noise`: what noisy data are worth, by exact information and by fits.

Two components with equal weights, weights and means unknown, standard deviation 1 within a component. Lines: the
exchange rates of the card; the published headline "a tenth of the data clean is near all clean" in numbers; errors of
fits against the expected information; and four ways to fit one data set.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats

from lawful import inference
from lawful.inference import kernels
from lawful.models.papers.known_noise import exchange_rates, known_noise, standard_errors

from .bars import judge

SEEDS = range(100, 105)
SETS = 10  # data sets for each seed, size and share
EQUAL = np.array([0.5, 0.5])
RATES = {
    (2, 1): (4.6, 4.0), (2, 2): (45, 20), (2, 3): (291, 51),
    (4, 1): (3.0, 2.7), (4, 2): (18, 8.9), (4, 3): (88, 20),
    (6, 1): (2.3, 2.2), (6, 2): (9.6, 7.2), (6, 3): (38, 16),
}  # fmt: skip
HEADLINE = {1: (1.4, 1.8), 2: (2.2, 2.8), 3: (2.7, 3.0)}  # errors with a tenth clean, in those of all clean, by noise
GAP, NOISE = 4.0, 3.0
MEANS = np.array([-GAP / 2, GAP / 2])


def data_set(seed: int, n: int, clean: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw data and the standard deviations of their errors, clean ones first."""
    rng = np.random.default_rng(seed)
    noise = np.where(np.arange(n) < round(clean * n), 0.0, NOISE)
    return rng.choice(MEANS, n) + rng.normal(size=n) * np.sqrt(1 + noise**2), noise


def near(rate: float, printed: float) -> bool:
    """Say whether a rate is within half a unit, and a tenth of that, of the last digit printed."""
    return abs(rate - printed) < (0.055 if printed < 10 else 0.55)


def exact() -> int:
    """Compare rates and relative errors with the card."""
    missed = 0
    for (gap, noise), (alone, beside) in RATES.items():
        rates = exchange_rates(EQUAL, [-gap / 2, gap / 2], noise)
        found = rates.alone[0], rates.beside[0]
        reached = near(found[0], alone) and near(found[1], beside)
        measured = f"{found[0]:.2f}, {found[1]:.2f}"
        missed += judge(f"gap {gap}, noise {noise}: rate alone, beside", f"{alone}, {beside}", measured, reached)
    for noise, (low, high) in HEADLINE.items():
        found = [relative_error(gap, noise, 0.1) for gap in (2, 4, 6)]
        reached = abs(min(found) - low) < 0.055 and abs(max(found) - high) < 0.055
        measured = ", ".join(f"{x:.2f}" for x in found) + " at gaps 2, 4, 6"
        missed += judge(
            f"noise {noise}: a tenth clean, errors in those of all clean", f"{low} to {high}", measured, reached
        )
    print(f"       the tenth alone has {np.sqrt(10):.2f}, so the headline (near 1) does not hold here")
    return missed


def relative_error(gap: float, noise: float, clean: float) -> float:
    """Give the standard error of a mean with a share of clean data, in that with all clean."""
    mu, mixed = [-gap / 2, gap / 2], np.where(np.arange(100) < 100 * clean, 0.0, noise)
    return float(standard_errors(EQUAL, mu, mixed)[0] / standard_errors(EQUAL, mu, np.zeros(100))[0])


def fits() -> int:
    """Compare the errors of maxima with the expected information, and their slope in the number of data."""
    missed, ratios = 0, {}
    start = {"weights": jnp.array(EQUAL), "mu": jnp.array(MEANS)}
    plan = inference.maximise(known_noise, starts=1, enumerate=["z"], init=start)
    for n in (3_000, 30_000):
        for clean in (0.0, 0.1):
            squares = np.array([squared_error(plan, 1_000 * seed + k, n, clean) for seed in SEEDS for k in range(SETS)])
            expected = standard_errors(EQUAL, MEANS, data_set(0, n, clean)[1])[0]
            ratio = ratios[clean, n] = float(np.sqrt(squares.mean()) / expected)
            error = ratio / 2 * float(squares.std() / squares.mean() / np.sqrt(len(squares)))
            name, measured = f"n {n}, {clean:.0%} clean: error of fits over expected", f"{ratio:.3f} +- {error:.3f}"
            if n < 30_000:
                print(f"       {name}: {measured}")
            else:
                missed += judge(name, "1 within 3 se", measured, abs(ratio - 1) < 3 * error)
    slope = {clean: -0.5 + np.log10(ratios[clean, 30_000] / ratios[clean, 3_000]) for clean in (0.0, 0.1)}
    reached = abs(slope[0.1] + 0.5) < 0.1
    missed += judge("slope of log error in log n, 10% clean", "-0.5 within 0.1", f"{slope[0.1]:.3f}", reached)
    print(f"       the same with noisy data alone: {slope[0.0]:.3f}")
    return missed


def squared_error(plan: Any, seed: int, n: int, clean: float) -> float:
    """Draw data, fit them and give the mean squared error of the means."""
    result = plan(jax.random.key(seed), *data_set(seed, n, clean), MEANS)
    return float(np.mean(np.square(result.optima[0].values["mu"] - MEANS)))


def ways(n: int = 300, clean: float = 0.1, spread: float = 1.0) -> int:
    """Compare two searches of one maximum, and two samplers of one posterior."""
    start = {"weights": jnp.array(EQUAL), "mu": jnp.array(MEANS)}
    up, em = (
        inference.maximise(known_noise, starts=1, steps=5_000, enumerate=["z"], init=start, method=method)
        for method in ("lbfgs", "em")
    )
    nuts = inference.mcmc(known_noise, kernels.nuts(), enumerate=["z"], chains=4, warmup=500, draws=1_000)
    smc = inference.ibis(known_noise, block=30, particles=1_000, runs=4, enumerate=["z"])
    gaps, scores, modes = [], [], []
    for seed in SEEDS:
        args = (*data_set(seed, n, clean), MEANS, spread)
        best = [np.asarray(plan(jax.random.key(seed), *args).optima[0].values["mu"]) for plan in (up, em)]
        gaps.append(np.max(np.abs(best[0] - best[1])))
        chains, runs = (np.asarray(plan(jax.random.key(seed), *args).posterior["mu"]) for plan in (nuts, smc))
        for k in (0, 1):
            own = float(array_stats.mcse(chains[..., k], chain_axis=0, draw_axis=1, method="mean"))
            other = runs[..., k].mean(1)
            error = np.hypot(own, other.std(ddof=1) / np.sqrt(len(other)))
            scores.append(float((chains[..., k].mean() - other.mean()) / error))
            modes.append(float(abs(best[1][k] - chains[..., k].mean()) / chains[..., k].std()))
    missed = judge("EM against L-BFGS: means apart", "1e-4", f"{max(gaps):.1e}", max(gaps) < 1e-4)
    worst = max(map(abs, scores))
    missed += judge("NUTS against data-annealed SMC: means apart, in se", "4 (10 of them)", f"{worst:.2f}", worst < 4)
    print(f"       the maximum is up to {max(modes):.2f} posterior standard deviations from the mean")
    return missed


def main() -> int:
    """Print all lines; give the number of bars missed."""
    jax.config.update("jax_enable_x64", True)
    return exact() + ways() + fits()


if __name__ == "__main__":
    sys.exit(main())
