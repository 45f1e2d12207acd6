"""Verdict: what the weights of draws from a guide say of it, and of the answer that they correct.

Law: ELBO <= log Z <= EUBO in the mean over draws. A corrected answer is ok where its weights have a tail that a mean of
so many draws can bear, or are nearly equal, so that their tail has no weight; a raw one is never better than the
weights say that the guide is.

Reference: Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, for the limit of the
tail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...findings.evidence import kish_ess
from ...findings.findings import Finding
from ...results.datatree.statistics import pareto_k

TAIL = 0.7  # of the Pareto law of the largest weights: beyond it, means of any affordable number of draws are off
EVEN = 0.5  # share of the draws that weights are worth from which their tail does not matter
GAP = 0.1  # EUBO - ELBO, in nats, up to which raw draws pass for those of the posterior


def bounds(log_weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give ELBO and EUBO by run from log weights (run, draw), up to the log of their mean.

    >>> low, high = bounds(np.log([[1.0, 3.0]]))
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.5493, 0.824)
    """
    log_w = np.asarray(log_weight, float)
    dead = np.isneginf(log_w)
    highest = np.max(log_w, axis=1, keepdims=True)
    weight = np.exp(log_w - np.where(np.isfinite(highest), highest, 0.0))
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return log_w.mean(axis=1), np.sum(weight * np.where(dead, 0.0, log_w), axis=1)


def verdict(log_weight: np.ndarray, corrected: bool, settled: bool) -> Iterator[Finding]:
    """Tell what log weights (run, draw) say of a guide, and whether its fit was done."""
    worst, share = float(pareto_k(log_weight.reshape(1, -1))[0]), kish_ess(log_weight).min() / log_weight.shape[1]
    if worst > TAIL and share < EVEN:
        yield Finding(
            "HEAVY_TAIL",
            f"the largest weights of draws from the guide have a tail of Pareto k = {worst:.2f} (limit {TAIL}), so few "
            "draws carry the answer, and more of the same kind may change it. Fix: another family, as 'lowrank' or "
            "'pathfinder'; inference.tempered_smc(inference.start_from(result.guide)(model)), which starts from the "
            "guide; or inference.mcmc(model).",
            value=worst, limit=TAIL,
        )  # fmt: skip
    gap = float(np.mean(np.subtract(*bounds(log_weight)[::-1])))
    if not corrected and not gap <= GAP:
        yield Finding(
            "BIASED_GUIDE",
            f"draws are those of the guide itself, whose ELBO lies {gap:.3g} nats below the EUBO (limit {GAP}), so it "
            "is another law than the posterior. Fix: corrected=True, the default.",
            value=gap, limit=GAP,
        )  # fmt: skip
    elif not corrected:
        yield Finding("UNCORRECTED", "draws are those of the guide itself, not of the posterior.", value=gap, limit=GAP)
    if not settled:
        yield Finding(
            "UNSETTLED",
            "the fit of the guide still gained when its steps were done; draws are weighed for what it is. Fix: more "
            "steps.",
        )
