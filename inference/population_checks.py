"""Population checks: what runs of a population method say against themselves.

Law: runs that died are counted, and left out of the other checks; evidence is judged over all runs that live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .chain_checks import r_hat_findings
from .evidence import kish_ess
from .findings import Finding, Limits

ENOUGH = 2000  # draws a run that the comparison of runs looks at


def population_findings(
    limits: Limits, log_evidence: Any, log_weight: Any, posterior: Mapping[str, Any], stats: Mapping[str, Any]
) -> Iterator[Finding]:
    """Check runs of a population method; runs that died are left out of the other checks."""
    log_z, log_w = np.asarray(log_evidence, dtype=float), np.asarray(log_weight)
    dead_at = np.asarray(stats.get("dead_at", np.full(len(log_z), -1)))
    for run in np.flatnonzero((dead_at >= 0) & ~np.isnan(log_z)):
        yield Finding(
            "DEAD",
            f"run {run}: every particle has weight zero at stage {dead_at[run]}, so its evidence estimate is 0; check "
            "the observations of that stage against the model, or use more particles or a better proposal.",
            value=int(dead_at[run]),
        )
    alive = np.flatnonzero(dead_at < 0)
    if len(log_z) == 1:
        yield Finding("ONE_RUN", "one run: no error bar for the evidence; ask for runs=4 or more.", value=1, limit=2)
    if not len(alive):
        return
    particles = log_w.shape[1]
    ess = kish_ess(log_w[alive])
    if ess.min() < limits.ess_fraction * particles:
        yield Finding(
            "LOW_ESS",
            f"run {alive[ess.argmin()]}: the last weights have an effective size of {ess.min():.1f} of {particles} "
            f"particles (limit {limits.ess_fraction:.0%}); use more particles, a better proposal or tempering.",
            value=float(ess.min()),
            limit=limits.ess_fraction * particles,
        )
    if "root_share" in stats:
        share = np.asarray(stats["root_share"])[alive]
        if share.max() > limits.root_share:
            yield Finding(
                "ONE_ANCESTOR",
                f"run {alive[share.argmax()]}: {share.max():.0%} of the last particles descend from one particle at "
                f"the start (limit {limits.root_share:.0%}), so early values and parameters rest on few draws; use "
                "more particles, or move them by a kernel.",
                value=float(share.max()),
                limit=limits.root_share,
            )
    spread = float(np.std(log_z[alive], ddof=1)) if len(alive) > 1 else 0.0
    if not spread <= limits.log_evidence_sd:
        yield Finding(
            "EVIDENCE_SPREAD",
            f"the log evidence has a standard deviation of {spread:.2f} over runs (limit {limits.log_evidence_sd:g}), "
            "so a few runs carry the estimate; use more particles.",
            value=spread,
            limit=limits.log_evidence_sd,
        )
    if len(alive) > 1:
        # Draws are in random order, so a few of them are a sample; r-hat sees effective sizes far below this number.
        some = {name: draws[:, :ENOUGH] for name, draws in posterior.items()}
        yield from r_hat_findings(limits, some, "use more particles, or move them by a kernel")


def outside_findings(limits: Limits, counts: Mapping[str, Any], particles: int) -> Iterator[Finding]:
    """Check for how many particles an observation lies outside its support."""
    for name, by_run in counts.items():
        count = int(np.sum(by_run))
        if np.max(by_run, initial=0) > limits.out_of_support * particles:
            yield Finding(
                "OUT_OF_SUPPORT",
                f"the observation of '{name}' lies outside its support, so has density zero, for {count} of "
                f"{particles * np.size(by_run)} particles (limit {limits.out_of_support:.0%} of a run): check the "
                "datum against the bounds that the choices put on it, or let a proposal respect it.",
                sites=(name,),
                value=count,
                limit=limits.out_of_support * particles,
            )
