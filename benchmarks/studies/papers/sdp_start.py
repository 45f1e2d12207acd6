"""`python -m benchmarks.studies.papers.sdp_start`: does a semidefinite relaxation find a better start of a mixture?

Zhuang, Chen and Yang (2023), Likelihood adjusted semidefinite programs for clustering heterogeneous data,
arXiv:2209.15097. With labels as matrices Z_k = 1_k 1_k' / |k| the profiled log likelihood of a mixture of normals is a
linear function of them, up to covariances; these and the relaxed matrices are found in turns.

Lines: the share of wrong labels over sets of three clusters of unlike shapes, and the CPU seconds a set, of k-means, of
the relaxation, and of expectation maximisation from them, from ten starts, and from points at random.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from .bars import judge

SEEDS = range(100, 112)
CLUSTERS, DIMENSIONS, SIZE = 3, 4, 40
SCALES = (3.0, 0.3, 0.3, 1.0)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw clusters about the corners of a simplex, each wide along an axis of its own and thin along others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLUSTERS), SIZE)
    scale = np.array([rng.permutation(SCALES) for _ in range(CLUSTERS)])
    centre = 4.0 * np.eye(CLUSTERS, DIMENSIONS)
    return centre[labels] + scale[labels] * rng.normal(size=(len(labels), DIMENSIONS)), labels


def wrong(found: np.ndarray, truth: np.ndarray) -> float:
    """Give the share of wrong labels under the best naming."""
    return min(float(np.mean(np.array(names)[found] != truth)) for names in itertools.permutations(range(CLUSTERS)))


def relaxed(gain: np.ndarray, steps: int = 150) -> np.ndarray:
    """Maximise sum_k <gain_k, Z_k> over positive semidefinite matrices of numbers from 0 whose sum has rows of sum 1.

    Args:
        gain: (K, n, n); the trace of the sum of the matrices is the number of clusters.
        steps: of the alternating direction method of multipliers.

    Returns: (K, n, n).
    """
    count, n, _ = gain.shape
    rate = 1.0 / (n * np.abs(gain).mean())
    average = np.zeros_like(gain)
    dual = np.zeros((3, *gain.shape))
    for _ in range(steps):
        cone, positive, flat = average - dual
        values, vectors = np.linalg.eigh(cone)
        cone = (vectors * np.maximum(values, 0.0)[:, None]) @ vectors.transpose(0, 2, 1)
        positive = np.maximum(positive, 0.0)
        flat = flat + rate * gain
        total = flat.sum(0)
        rows, trace = 1.0 - total.sum(1), CLUSTERS - np.trace(total)
        shift = (trace - rows.mean()) / (n - 1)
        each = (rows - (rows.mean() - shift) / 2 - shift) / n
        flat = flat + (each[:, None] + each + shift * np.eye(n)) / count
        parts = np.stack([cone, positive, flat])
        average = (parts + dual).mean(0)
        dual = dual + parts - average
    return average


def squared(x: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Give squared distances between rows, in standard deviations."""
    shaped = np.linalg.solve(np.linalg.cholesky(covariance), x.T).T
    return np.sum((shaped[:, None] - shaped) ** 2, -1)


def by_relaxation(x: np.ndarray, turns: int = 4) -> np.ndarray:
    """Give labels: of the relaxation with one covariance, then with one for each cluster, in turns."""
    whole = relaxed(-squared(x, np.eye(x.shape[1]))[None])[0]
    vectors = np.linalg.eigh(whole)[1][:, -CLUSTERS:]
    labels = KMeans(CLUSTERS, n_init=10, random_state=0).fit_predict(vectors)
    for _ in range(turns):
        gains = []
        for k in range(CLUSTERS):
            members = x[labels == k]
            covariance = np.cov(members.T) + 1e-3 * np.eye(x.shape[1]) if len(members) > x.shape[1] else np.cov(x.T)
            gains.append(-0.5 * (np.linalg.slogdet(covariance)[1] + 0.5 * squared(x, covariance)))
        new = relaxed(np.array(gains)).sum(-1).argmax(0)
        if np.array_equal(new, labels):
            break
        labels = new
    return labels


def maximised(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Go on from labels by expectation maximisation."""
    members = [x[labels == k] if np.sum(labels == k) > 1 else x for k in range(CLUSTERS)]
    precision = [np.linalg.inv(np.cov(part.T) + 1e-3 * np.eye(x.shape[1])) for part in members]
    start = GaussianMixture(
        CLUSTERS,
        weights_init=np.array([len(part) for part in members]) / sum(map(len, members)),
        means_init=np.array([part.mean(0) for part in members]),
        precisions_init=np.array(precision),
        max_iter=500,
    )
    return np.asarray(start.fit_predict(x))


def k_means(x: np.ndarray) -> np.ndarray:
    """Give the labels of k-means."""
    return np.asarray(KMeans(CLUSTERS, n_init=10, random_state=0).fit_predict(x))


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "k-means": k_means,
    "relaxation": by_relaxation,
    "EM from k-means": lambda x: maximised(x, k_means(x)),
    "EM from the relaxation": lambda x: maximised(x, by_relaxation(x)),
    "EM, best of 10 starts": lambda x: GaussianMixture(CLUSTERS, n_init=10, max_iter=500, random_state=0).fit_predict(
        x
    ),
    "EM from points at random": lambda x: GaussianMixture(
        CLUSTERS, init_params="random_from_data", max_iter=500, random_state=0
    ).fit_predict(x),
}


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    sets, found = [drawn(seed) for seed in SEEDS], {}
    for name, way in WAYS.items():
        begun = time.process_time()
        found[name] = np.array([wrong(way(x), labels) for x, labels in sets])
        cost = (time.process_time() - begun) / len(sets)
        print(f"       {name}: {found[name].mean():.3f} wrong, {cost:.2f} CPU s a set", flush=True)
    rival = found["EM, best of 10 starts"]
    gain = rival - found["EM from the relaxation"]
    told = f"{gain.mean():.4f} +- {gain.std(ddof=1) / np.sqrt(len(gain)):.4f}"
    return judge("labels that the relaxation saves against 10 starts, a share", "0.01", told, gain.mean() >= 0.01)


if __name__ == "__main__":
    sys.exit(main())
