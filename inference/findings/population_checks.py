"""Population checks: what runs of a population method say against themselves.

Law: runs that died are counted, and left out of the other checks; evidence is judged over all runs that live, by
`evidence_checks`. Of a particle filter the evidence, the parameters and the last state are judged; old states of its
paths are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lawful.distributions.absent import is_guarded
from lawful.form import Form
from lawful.form.choices import choices_of

from .chain_checks import r_hat_findings
from .diagnostics import Variable, r_hat_of, variables_of
from .evidence import kish_ess
from .evidence_checks import evidence_findings
from .findings import Finding, Limits
from .last_values import ALL, FIRST, LAST, NONE, last_values

ENOUGH = 2000  # draws a run that the comparison of runs looks at


class Copies(NamedTuple):
    """How many different values the draws of a choice have: as good as `size` of equal weight."""

    size: float
    values: int
    name: str


def population_findings(
    limits: Limits,
    log_evidence: Any,
    log_weight: Any,
    posterior: Mapping[str, Any],
    stats: Mapping[str, Any],
    form: Form | None = None,
) -> Iterator[Finding]:
    """Check runs of a population method: evidence (run,), last log weights (run, particle), draws of runs that live.

    The form tells the values that a filter is judged by; None where it is not known.
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
    particles = log_w.shape[1]
    yield from evidence_findings(limits, np.where(dead_at < 0, log_z, -np.inf), particles, stats)
    alive = np.flatnonzero(dead_at < 0)
    if not len(alive):
        return
    ess = kish_ess(log_w[alive])
    if ess.min() < limits.ess_fraction * particles:
        yield Finding(
            "LOW_ESS",
            f"run {alive[ess.argmin()]}: the last weights have an effective size of {ess.min():.1f} of {particles} "
            f"particles (limit {limits.ess_fraction:.0%}); use more particles, a better proposal or tempering.",
            value=float(ess.min()),
            limit=limits.ess_fraction * particles,
        )
    total = together(ess)
    if ess.min() >= limits.ess_fraction * particles and total < limits.ess_per_chain:
        yield Finding(
            "LOW_ESS",
            f"the last weights of all {len(alive)} runs are worth {total:.0f} draws (limit {limits.ess_per_chain:g}): "
            "use more particles.",
            value=total,
            limit=limits.ess_per_chain,
        )
    if form is not None:
        judged, old = copies_of(posterior, stats, form)
        yield from _copied(limits, judged if total >= limits.ess_per_chain else (), old)  # else it is the weights
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
    if len(alive) > 1:
        worst = r_hat_of(limits, judged_variables(posterior, stats, form), limits.ess_per_chain)
        yield from r_hat_findings(worst, "the runs disagree; use more particles, or move them by a kernel")


def judged_variables(posterior: Mapping[str, Any], stats: Mapping[str, Any], form: Form | None) -> list[Variable]:
    """Take the draws that the verdict is about: a sample of each run, and of a filter's paths the last state.

    Draws are in random order, so a few of them are a sample; r-hat sees effective sizes far below their number.
    """
    parts = _parts(form, stats)
    taken = {name: np.asarray(x)[:, :ENOUGH] for name, x in posterior.items() if parts.get(name, ALL) is not NONE}
    return variables_of(taken, {name: part for name, part in parts.items() if part is not ALL})


def copies_of(
    posterior: Mapping[str, Any], stats: Mapping[str, Any], form: Form | None
) -> tuple[list[Copies], list[Copies]]:
    """Count the different values among the draws of continuous choices: of those judged, and of the oldest others."""
    judged: list[Copies] = []
    old: list[Copies] = []
    parts = _parts(form, stats)
    for choice in () if form is None else choices_of(form):
        discrete = not np.issubdtype(choice.dtype, np.floating) or choice.law.is_point_mass
        if discrete or choice.conditional or not np.size(posterior.get(choice.name, ())):
            continue
        draws, part = np.asarray(posterior[choice.name])[:, :ENOUGH], parts.get(choice.name, ALL)
        if is_guarded(choice.law) and not _varying(draws).any():
            continue  # elements that are absent have a fixed value
        if part is not NONE:
            judged.append(_copies(choice.name, draws if part is ALL else draws[:, :, part]))
        if part is not ALL:
            first = LAST if part is FIRST else FIRST
            old.append(_copies(choice.name, draws[:, :, first] if choice.loops else draws))
    return judged, old


def together(sizes: np.ndarray) -> float:
    """Return the effective number of draws of the mean over runs, all of which count equally."""
    return len(sizes) ** 2 / float(np.sum(1.0 / sizes)) if np.all(sizes > 0) else 0.0


def _parts(form: Form | None, stats: Mapping[str, Any]) -> Mapping[str, slice]:
    """Where nothing is older than the last resampling, no run counts its roots, and all values are judged."""
    return last_values(form) if form is not None and "n_roots" in stats else {}


def _copies(name: str, draws: np.ndarray) -> Copies:
    """Count in draws (run, draw, ...): one over the chance that two draws of a run agree is their effective number."""
    first = draws.reshape(*draws.shape[:2], -1)[..., _varying(draws).argmax()]
    counts = [np.unique(row, return_counts=True)[1] for row in first]
    pairs = first.shape[1] * (first.shape[1] - 1)
    sizes = [pairs / max(int(np.sum(count * (count - 1))), 1) for count in counts]
    return Copies(together(np.array(sizes)), sum(map(len, counts)), name)


def _varying(draws: np.ndarray) -> np.ndarray:
    """Tell of each element of draws (run, draw, ...) whether it has two values in any run."""
    flat = draws.reshape(*draws.shape[:2], -1)
    return np.any(flat != flat[:, :1], axis=(0, 1))


def _copied(limits: Limits, judged: Sequence[Copies], old: Sequence[Copies]) -> Iterator[Finding]:
    """Say where draws are copies of few values."""
    few = [each for each in judged if each.size < limits.ess_per_chain]
    if few:
        size, count, name = min(few)
        yield Finding(
            "LOW_ESS",
            f"the draws of '{name}' are copies of {count} values, worth {size:.0f} different ones (limit "
            f"{limits.ess_per_chain:g}): use more particles, or a kernel that moves them.",
            sites=tuple(each.name for each in few),
            value=size,
            limit=limits.ess_per_chain,
        )
    past = [each for each in old if each.size < limits.ess_per_chain]
    if past:
        size, count, name = min(past)
        yield Finding(
            "OLD_PATHS",
            f"the oldest draws of '{name}' are copies of {count} values, as resampling leaves few ancestors; evidence, "
            "parameters and last states do not depend on them. For whole paths: more particles, or particle_gibbs.",
            sites=tuple(each.name for each in past),
            value=size,
            limit=limits.ess_per_chain,
        )


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
