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
LEAST = 0.001  # share of the evidence that another mode may hold
FAR = 5.0  # nats by which the weights there are above those of the posterior's draws: the guide does not come there
WALKED = 0.02  # share of chains from the guide's draws that may end where its own draws do not come
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


def acceptance(log_weight: Any) -> np.ndarray:
    """Give by run what share of moves of an independence sampler from the guide would be accepted, at the posterior.

    It is the mean of min(1, w'/w) over pairs of draws, the first by its weight: the sum of the lesser weight of each
    pair, which sorted weights give in one pass (Liu 1996).

    >>> acceptance(np.log([[1.0, 1.0], [1.0, 3.0]])).tolist()
    [1.0, 0.5]
    """
    log_w = np.sort(np.asarray(log_weight, float), axis=1)
    count, highest = log_w.shape[1], log_w[:, -1:]
    weight = np.exp(log_w - np.where(np.isfinite(highest), highest, 0.0))
    total = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
    if count == 1:
        return np.full(len(log_w), np.nan)
    return 2 * (weight @ np.arange(count - 1, -1, -1.0)) / total / (count - 1)


def missed(log_weight: np.ndarray, elbo: Any, beyond: Any) -> Iterator[Finding]:
    """Tell of modes that searches saw, and that the guide does not reach.

    Args:
        log_weight: of draws from the guide (run, draw).
        elbo: of the law on each path.
        beyond: the mean log weight of draws from this law, for the guide.
    """
    log_z = float(np.logaddexp.reduce(log_weight, axis=None)) - np.log(log_weight.size)
    high = float(np.max(bounds(log_weight)[1]))
    share = np.exp(np.minimum(np.where(np.asarray(beyond) > high + FAR, np.asarray(elbo), -np.inf) - log_z, 0.0))
    if np.isfinite(log_z) and (worst := float(np.max(share, initial=0.0))) > LEAST:
        yield Finding(
            "MISSED_MODE",
            f"searches ended at {np.sum(share > LEAST)} places that draws from the guide do not reach, and of which "
            f"one holds a share of {worst:.2g} of the evidence or more (limit {LEAST}). Fix: "
            "inference.tempered_smc(model) or inference.parallel_tempering(model), which go from mode to mode; "
            "family='pathfinder', a mixture over all searches; or a prior that tells the modes apart.",
            value=worst, limit=LEAST,
        )  # fmt: skip


def unreached(log_weight: np.ndarray, chains: Any) -> Iterator[Finding]:
    """Tell of what hangs together with the draws of a guide, and where it does not come.

    Args:
        log_weight: of draws from the guide (run, draw).
        chains: log weights, for the guide, of where chains ended that began at its draws.
    """
    high = float(np.max(log_weight, initial=-np.inf)) + np.log(2.0)
    share = float(np.mean(np.asarray(chains, float) > high)) if len(chains) and np.isfinite(high) else 0.0
    if share > WALKED:
        yield Finding(
            "UNREACHED",
            f"{share:.2g} of the chains that began at weighed draws of the guide ended where they would weigh more "
            f"than twice as much as any draw of it (limit {WALKED}): the guide hardly comes there. Fix: "
            "inference.mcmc(model), which can start from the draws; or "
            "inference.tempered_smc(inference.start_from(result.guide)(model)), which starts from the guide.",
            value=share, limit=WALKED,
        )  # fmt: skip


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
