"""Data, exact evidences and published times of MB, the models that monad-bayes is timed on; NumPy alone.

Law: the data are drawn by `default_rng(0)`, independent of the models, as in the benchmark of monad-bayes: x uniform on
(-1, 1) and labels by a fair coin (LR), observations uniform on {0, 1, 2} (HMM), words uniform on four (LDA). The exact
evidences are those of the forward recursion (HMM) and of quadrature (LR); LDA has none at these sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np

DOCUMENTS, VOCABULARY = 5, 4
TRANSITION = np.array(((0.1, 0.4, 0.5), (0.2, 0.6, 0.2), (0.15, 0.7, 0.15)))
MEANS = np.array((-1.0, 1.0, 0.0))

# Seconds of one run, criterion means on the authors' machines: of pull request 132 (April 2022), and of a table in the
# history of the repository (June 2022). Lengths of LDA are words of a document, of which there are five.
PUBLISHED: Mapping[tuple[str, int, str], tuple[float | None, float]] = {
    ("LR", 500, "MH100"): (0.274, 0.321),
    ("LR", 500, "SMC100"): (0.116, 0.264),
    ("LR", 1000, "MH100"): (None, 0.717),
    ("LR", 1000, "SMC100"): (None, 0.444),
    ("HMM", 500, "MH100"): (0.418, 0.638),
    ("HMM", 500, "SMC100"): (0.0935, 0.180),
    ("HMM", 800, "MH100"): (0.685, 1.185),
    ("HMM", 800, "SMC100"): (0.146, 0.391),
    ("HMM", 1000, "MH100"): (None, 1.214),
    ("HMM", 1000, "SMC100"): (None, 0.371),
    ("LDA", 50, "MH100"): (None, 0.162),
    ("LDA", 50, "SMC100"): (None, 0.117),
    ("LDA", 500, "MH100"): (None, 2.634),
    ("LDA", 500, "SMC100"): (None, 0.984),
}


def factors(model: str, length: int) -> int:
    """How many factors a model has: one for each observation or word."""
    return DOCUMENTS * length if model == "LDA" else length


@cache
def data(model: str, length: int) -> tuple[np.ndarray, ...]:
    """The data of a model: (x, label), (y,), or (document, word).

    >>> data("HMM", 5)[0].tolist()
    [2.0, 1.0, 1.0, 0.0, 0.0]
    """
    rng = np.random.default_rng(0)
    if model == "LR":
        return rng.uniform(-1.0, 1.0, length), rng.integers(0, 2, length)
    if model == "HMM":
        return (rng.integers(0, 3, length).astype(float),)
    return np.repeat(np.arange(DOCUMENTS), length), rng.integers(0, VOCABULARY, DOCUMENTS * length)


def hidden_markov_evidence(y: np.ndarray) -> float:
    """Log evidence of HMM by the forward recursion.

    >>> round(hidden_markov_evidence(data("HMM", 10)[0]), 7)
    -13.8107473
    """
    mass, log_evidence = np.full(3, 1 / 3), 0.0
    for value in y:
        mass = mass @ TRANSITION * np.exp(-0.5 * (value - MEANS) ** 2) / math.sqrt(2 * math.pi)
        log_evidence += math.log(mass.sum())
        mass = mass / mass.sum()
    return log_evidence


def line_evidence(x: np.ndarray, label: np.ndarray, points: int = 31, nodes: int = 30) -> float:
    """Log evidence of LR: sums over slope, intercept and the logarithm of the noise, and over each score.

    The labels of the benchmark say little, so the integrand is smooth: 31 and 45 points agree to 1e-5.
    """
    places = np.linspace(-6.0, 6.0, points)
    log_sigma = np.linspace(-12.0, 3.5, points)
    m, b, s = (grid.ravel() for grid in np.meshgrid(places, places, log_sigma, indexing="ij"))
    sigma = np.exp(s)
    cell = 2 * math.log(places[1] - places[0]) + math.log(log_sigma[1] - log_sigma[0])
    log_mass = -0.5 * (m**2 + b**2) - math.log(2 * math.pi) - sigma + s + cell
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    spread, weight = sigma[:, None] * z, weight / weight.sum()
    for place, is_true in zip(x, label):
        t = (m * place + b)[:, None] + spread
        log_mass += np.log((1 / (1 + np.exp(-t if is_true else t))) @ weight)
    return float(np.logaddexp.reduce(log_mass))


@cache
def exact_answers(model: str, length: int, algorithm: str) -> dict[str, float]:
    """Exact answers by the name of the output: the log evidence, of algorithms that estimate it."""
    if algorithm.startswith("MH") or model == "LDA":
        return {}
    exact = {"LR": line_evidence, "HMM": hidden_markov_evidence}[model]
    return {"log_evidence": exact(*data(model, length))}
