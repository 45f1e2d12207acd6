"""Population checks: what runs of a population method say against themselves.

Law: runs that died are counted, and left out of the other checks; evidence is judged over all runs that live. Of a
particle filter the evidence, the parameters and the last state are judged; old states of its paths are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lawful.form import Form
from lawful.record import choices_of

from .chain_checks import r_hat_findings
from .diagnostics import r_hat_of, variables_of
from .evidence import kish_ess
from .findings import Finding, Limits
from .last_values import ALL, FIRST, NONE, last_values

ENOUGH = 2000  # draws a run that the comparison of runs looks at


def population_findings(
    limits: Limits,
    log_evidence: Any,
    log_weight: Any,
    posterior: Mapping[str, Any],
    stats: Mapping[str, Any],
    form: Form | None = None,
) -> Iterator[Finding]:
    """Check runs of a population method.

    Args:
        limits: of the checks.
        log_evidence: (run,).
        log_weight: (run, particle), the last weights.
        posterior: equal-weight draws in random order, of the runs that live.
        stats: as of `from_population`.
        form: the program, which tells the values that a filter is judged by; None where it is not known.
    """
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
    total = _together(ess)
    if ess.min() >= limits.ess_fraction * particles and total < limits.ess_per_chain:
        yield Finding(
            "LOW_ESS",
            f"the last weights of all {len(alive)} runs are worth {total:.0f} draws (limit {limits.ess_per_chain:g}): "
            "use more particles.",
            value=total,
            limit=limits.ess_per_chain,
        )
    if form is not None:
        yield from _copied(limits, form, posterior, stats, total)
    elif "root_share" in stats:
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
        worst = r_hat_of(limits, variables_of(judged_draws(posterior, stats, form)), limits.ess_per_chain)
        yield from r_hat_findings(worst, "the runs disagree; use more particles, or move them by a kernel")


def judged_draws(posterior: Mapping[str, Any], stats: Mapping[str, Any], form: Form | None) -> dict[str, np.ndarray]:
    """Take the draws that the verdict is about: a sample of each run, and of a filter's paths the last state.

    Draws are in random order, so a few of them are a sample; r-hat sees effective sizes far below their number.
    """
    parts = _parts(form, stats)
    taken = {}
    for name, draws in posterior.items():
        part, some = parts.get(name, ALL), np.asarray(draws)[:, :ENOUGH]
        if part is not NONE:
            taken[name] = some if part is ALL else some[:, :, part]
    return taken


def _parts(form: Form | None, stats: Mapping[str, Any]) -> Mapping[str, slice]:
    """Where nothing is older than the last resampling, no run counts its roots, and all values are judged."""
    return last_values(form) if form is not None and "n_roots" in stats else {}


def _copied(
    limits: Limits, form: Form, posterior: Mapping[str, Any], stats: Mapping[str, Any], total: float
) -> Iterator[Finding]:
    """Find continuous choices whose draws are copies of a few values, judged ones and those of old steps."""
    parts, judged = _parts(form, stats), judged_draws(posterior, stats, form)
    continuous = [
        choice
        for choice in choices_of(form)
        if np.issubdtype(choice.dtype, np.floating)
        and not choice.conditional
        and not getattr(choice.law, "is_point_mass", False)
        and np.size(posterior.get(choice.name, ()))
    ]
    few, old = [], []
    for choice in continuous:
        if choice.name in judged:
            size, count = _different(judged[choice.name])
            if size < limits.ess_per_chain:
                few.append((size, count, choice.name))
        if parts.get(choice.name, ALL) is not ALL:
            end = slice(-1, None) if parts[choice.name] is FIRST else slice(0, 1)
            draws = np.asarray(posterior[choice.name])[:, :ENOUGH]
            size, count = _different(draws[:, :, end] if choice.loops else draws)
            if size < limits.ess_per_chain:
                old.append((size, count, choice.name))
    if few and total >= limits.ess_per_chain:  # else the weights are the cause, and were told
        size, count, name = min(few)
        yield Finding(
            "LOW_ESS",
            f"the draws of '{name}' are copies of {count} values, worth {size:.0f} different ones (limit "
            f"{limits.ess_per_chain:g}): use more particles, or a kernel that moves them.",
            sites=tuple(each[2] for each in few),
            value=size,
            limit=limits.ess_per_chain,
        )
    if old:
        size, count, name = min(old)
        yield Finding(
            "OLD_PATHS",
            f"the oldest draws of '{name}' are copies of {count} values, as resampling leaves few ancestors; evidence, "
            "parameters and last states do not depend on them. For whole paths: more particles, or particle_gibbs.",
            sites=tuple(each[2] for each in old),
            value=size,
            limit=limits.ess_per_chain,
        )


def _different(draws: np.ndarray) -> tuple[float, int]:
    """Count the different values of a choice in draws (run, draw, ...), and how many of equal weight they are worth.

    The chance that two draws of a run agree is estimated by their pairs; one over it is the effective number.
    """
    first = draws.reshape(*draws.shape[:2], -1)[..., 0]
    counts = [np.unique(row, return_counts=True)[1] for row in first]
    pairs = first.shape[1] * (first.shape[1] - 1)
    sizes = np.array([pairs / max(np.sum(count * (count - 1)), 1) for count in counts])
    return _together(sizes), sum(map(len, counts))


def _together(sizes: np.ndarray) -> float:
    """Return the effective number of draws of the mean over runs, all of which count equally."""
    return len(sizes) ** 2 / float(np.sum(1.0 / np.maximum(sizes, np.finfo(float).tiny)))


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
