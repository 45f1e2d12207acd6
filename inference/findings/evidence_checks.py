"""Evidence checks: whether runs, or the chains within a run, agree about the evidence, and what to change if not.

Law: runs that died are left out; the spread of the others, and the error of the estimate that they give together, are
each compared with a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .evidence import pooled_evidence
from .findings import Finding, Limits

ENOUGH_RUNS = 4  # with fewer the error is wide since runs are few, whatever the particles do
STAYS = 0.8  # share of what chains did not forget in a stage that stays in the next one
UNMOVED = 0.25  # largest share of the chains of a stage that never move
ONE_RUN = "one run: no error bar for the evidence; ask for runs=4 or more."


def evidence_findings(limits: Limits, log_evidence: Any, particles: int, stats: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the evidence (run,) of the runs of a population method; for their numbers see `evidence_sd`."""
    log_z = np.asarray(log_evidence, dtype=float)
    if len(log_z) == 1:
        yield Finding("ONE_RUN", ONE_RUN, value=1, limit=2)
    alive = log_z[np.isfinite(log_z)]
    if not len(alive):
        return
    sd, error = evidence_sd(log_z, particles, stats), pooled_evidence(log_z)[1]
    between = float(np.std(alive, ddof=1)) if len(alive) > 1 else 0.0
    limit = limits.log_evidence_sd if len(alive) > 1 else limits.log_evidence_error  # of one run it is the error
    remedy = _remedy(sd, particles, stats)
    if sd > limit:
        seen = "chains within a run disagree about the evidence"
        if between == sd:
            seen = f"runs disagree about the evidence: its log is {alive.min():.2f} to {alive.max():.2f}"
        yield Finding(
            "EVIDENCE_SPREAD",
            f"{seen}, a standard deviation of {sd:.3g} (limit {limit:g}), so few particles carry the estimate, which "
            f"is too low by {sd**2 / 2:.2g} or so. {remedy}",
            value=sd,
            limit=limit,
        )
    elif len(alive) >= ENOUGH_RUNS and error > limits.log_evidence_error:
        yield Finding(
            "EVIDENCE_SPREAD",
            f"the log evidence is known to +- {error:.2g} (limit {limits.log_evidence_error:g}) by {len(alive)} runs "
            f"with a standard deviation of {between:.2g}. {remedy}",
            value=error,
            limit=limits.log_evidence_error,
        )
    unmoved = float(np.nanmax(np.asarray(stats.get("unmoved_chains", 0.0), dtype=float), initial=0.0))
    if unmoved > UNMOVED:
        yield Finding(
            "NEVER_MOVED",
            f"{unmoved:.0%} of the chains of a stage never moved (limit {UNMOVED:.0%}), so its particles are copies of "
            f"few. {remedy}",
            value=unmoved,
            limit=UNMOVED,
        )


def evidence_sd(log_evidence: Any, particles: int, stats: Mapping[str, Any]) -> float:
    """Give the standard deviation of the log evidence of a run: over runs, of few runs also by the chains within them.

    Waste-free moves note at each stage the variance of the log of its mean weight by how much their chains disagree,
    `evidence_variance` (run, stage). Independent particles would have 1 / ess - 1 / particles. What goes beyond twice
    that comes from what the chains forget slowly, so some of it stays in the next stage.

    >>> stats = {"evidence_variance": np.array([[0.01, 0.04, np.nan]]), "ess": np.array([[50.0, 50.0, np.nan]])}
    >>> evidence_sd([-1.0, -1.0], 100, {}), round(evidence_sd([-1.0], 100, stats), 3)
    (0.0, 0.224)
    """
    log_z = np.asarray(log_evidence, dtype=float)
    alive = np.isfinite(log_z)
    between = float(np.std(log_z[alive], ddof=1)) if alive.sum() > 1 else 0.0
    if "evidence_variance" not in stats or not alive.any() or alive.sum() >= ENOUGH_RUNS:
        return between
    noted, ess = (np.nan_to_num(np.asarray(stats[name], dtype=float)[alive]) for name in ("evidence_variance", "ess"))
    apart = np.fmax(1.0 / np.fmax(ess, 1.0) - 1.0 / particles, 0.0)
    more = np.where(noted > 2.0 * apart, noted - apart, 0.0)
    stage = np.arange(noted.shape[1])
    kept, root = STAYS ** np.abs(stage[:, None] - stage), np.sqrt(more)
    variance = np.sum(noted - more, axis=1) + np.einsum("rs,st,rt->r", root, kept, root)
    return max(between, float(np.sqrt(variance.mean())))


def _remedy(sd: float, particles: int, stats: Mapping[str, Any]) -> str:
    """Say what makes runs agree; the variance falls as 1 / particles where it is not large."""
    wanted = particles * max(2.0, (2.0 * sd) ** 2)
    more = f"particles={float(f'{wanted:.1g}'):.0f}" if sd < 5.0 else "many times the particles"
    if "beta" not in stats:
        return f"Fix: more particles ({more}), a better proposal, or tempering (inference.tempered_smc)."
    return (
        f"Fix: more particles ({more}), which makes longer chains; moves along gradients "
        "(kernel=inference.population_hmc()); coordinates that depend less on each other (inference.noncentred); or "
        "smaller steps (ladder=inference.by_ess(0.8))."
    )
