"""Thresholds: how far the diagnostics of a perfect sampler stray by chance, among so many numbers.

Law: chains that draw from the posterior, with the effective sizes that `Limits` asks for or more, are called bad in at
most `Limits.false_alarm` of the runs, whatever the number of elements. What is beyond has a cause.

Each element gives five numbers: r-hat of its ranks and of their distances from the middle, a bulk and two tail
effective sizes. Each may raise a false alarm with probability false_alarm / (5 elements) (Bonferroni).

- r-hat. Means of M half-chains, of e effective draws each, scatter around the posterior's mean with a variance 1/e of
  its own, so e (r-hat^2 - 1) is the ratio of two estimates of one variance. e is estimated as well, from the draws
  within half-chains, where a disagreement between them does not enter: the ratio has about an F distribution with M - 1
  and e degrees of freedom. Measured on autoregressive chains, of effective size 200 to 4,000 in all: the tail
  probabilities 1e-2 to 2e-4 are kept within a factor of 1.5 for four chains, and of 2.5 for two.
- effective sizes. The logarithm of an estimate has a variance of about c / size, and a long left tail; c = 16 for the
  bulk and c = 30 for a tail cover the quantiles that were measured on the same chains from an effective size of 280 in
  all on, where 400 are asked for.

References: Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Rank-normalization, folding, and localization: an
improved R-hat; Gelman and Rubin (1992), Inference from iterative simulation using multiple sequences.
"""

from __future__ import annotations

import math

from lawful.late import scipy_stats

PER_ELEMENT = 5  # numbers that are compared with a limit, of each element
NOISE = {"bulk": 16.0, "tail": 30.0}  # variance of the log of an estimated effective size, times the size
LEAST = {"bulk": 2 / 5, "tail": 1 / 4}  # of the size asked for: an estimate below is no accident of a run to rely on


def r_hat_limit(groups: int, size: float | int, elements: int, false_alarm: float) -> float:
    """Return how large the r-hat of one of many elements becomes by chance.

    Half-chains or independent runs are compared, each of the effective size; `false_alarm` is that of all elements.

    >>> [round(r_hat_limit(8, 50.0, elements, 0.01), 3) for elements in (1, 30, 1000)]
    [1.038, 1.056, 1.076]
    >>> round(r_hat_limit(8, 500.0, 1000, 0.01), 3)
    1.006
    """
    ratio = float(scipy_stats.f.isf(false_alarm / (PER_ELEMENT * max(elements, 1)), groups - 1, size))
    return math.sqrt(1.0 + ratio / size)


def ess_limit(kind: str, size: float | int, elements: int, false_alarm: float) -> float:
    """Return how small the estimate of one of many effective sizes, "bulk" or "tail", becomes by chance.

    `size` is what is asked for; `false_alarm` is that of all elements.

    >>> [[round(ess_limit(kind, 400.0, elements, 0.01)) for elements in (1, 1000)] for kind in ("bulk", "tail")]
    [[225, 160], [182, 113]]
    """
    strays = float(scipy_stats.norm.isf(false_alarm / (PER_ELEMENT * max(elements, 1)))) * math.sqrt(NOISE[kind] / size)
    return size * max(LEAST[kind], math.exp(-strays))
