"""Stages: the moments at which a population is weighed: at the start, at every pause, and at the end.

Law: the log evidence of a run is the sum of its increments over the stages, and of the factors that no particle can
move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lawful.addresses import show_address
from lawful.errors import NonFiniteError
from lawful.form import Factor, Form, Site, walk
from lawful.passes.checked_draws import checked_draws

from ...findings.findings import Finding
from ...findings.move_statistics import LOST, NO_SLOPE, move_findings
from ...representations.sequential import Sequential
from ...results.invalid_draws import REMEDY, InvalidDraws
from ...transformers.propose.propose import proposed_sites


@dataclass(frozen=True)
class Place:
    """Where a stage stands in a program: in words, its step of the loop or None, and the sites that weigh it."""

    words: str
    step: int | None
    sites: tuple[str, ...]


def place_of(cut: Sequential, stage: int) -> Place:
    """Find the place of a stage of a particle filter.

    >>> import jax.numpy as jnp, lawful
    >>> from lawful.inference import sequential
    >>> form = lawful.trace(lambda y: lawful.scan(lambda c, y: (c, lawful.factor("f", y)), 0.0, y), jnp.zeros(3))
    >>> place_of(sequential(form), 2)
    Place(words='at step 1 of the loop', step=1, sites=('f',))
    """
    if not stage:
        return Place("before the loop" if cut.loops else "", None, weighing_sites(cut.prefix))
    left, number = stage - 1, 0
    for segment in cut.segments[1:-1]:
        loop, sites = segment.loop, weighing_sites(segment.form)
        number += loop is not None
        if left < segment.stages:
            if loop is None:
                return Place("", None, sites)
            step = loop.length - 1 - left if loop.reverse else left
            name = f"loop {number}" if len(cut.loops) > 1 else "the loop"
            return Place(f"at step {step} of {name}", step, sites)
        left -= segment.stages
    return Place("after the loop" if cut.loops else "", None, weighing_sites(cut.suffix))


def weighing_sites(form: Form) -> tuple[str, ...]:
    """Name the factors and observations of a form."""
    nodes = (n for n in walk(form) if isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None))
    return tuple(dict.fromkeys(show_address(node.address) for node in nodes))


def drawing_sites(form: Form) -> tuple[str, ...]:
    """Name the choices whose parameters can make no law, which weigh NaN there."""
    return tuple(dict.fromkeys(show_address(site.address) for site in checked_draws(form)))


def joined(stats: Mapping[tuple[int, str], np.ndarray]) -> dict[str, np.ndarray]:
    """Join what was noted at the stages, by (part of the program, name), in order: arrays (run, stage).

    What is not noted at a stage, as whether it resampled, is NaN there.

    >>> {name: array.tolist() for name, array in joined({(0, "ess"): np.ones(1), (1, "ess"): np.ones((1, 2))}).items()}
    {'ess': [[1.0, 1.0, 1.0]]}
    """
    parts: dict[int, dict[str, np.ndarray]] = {}
    for (part, name), array in stats.items():
        parts.setdefault(part, {})[name] = array.reshape(len(array), int(np.prod(array.shape[1:])))
    joined_stats: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(name for _, name in stats):
        columns = []
        for noted in parts.values():
            other = next(iter(noted.values()))
            columns.append(noted.get(name, np.full(other.shape, np.nan)))
        joined_stats[name] = np.concatenate(columns, axis=1)
    return joined_stats


def weight_findings(
    form: Form,
    subject: Form,
    log_evidence: np.ndarray,
    stats: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
    cut: Sequential | None,
    gaps: Callable[[Sequence[str]], str],
    invalid: Callable[[], Sequence[InvalidDraws] | None],
) -> tuple[Finding, ...]:
    """Check the weights of all runs for NaN and +inf, and whether resampling could have an effect.

    Args:
        form: the program that was run.
        subject: the user's, whose sites are named; it is the same, but where an inference wrote a program around it.
        log_evidence: (run,).
        stats: numbers by stage, from `joined`.
        settings: those of `smc`: `nonfinite` and `on_fault`.
        cut: the program where the population pauses; None where it does not.
        gaps: says of some sites where arguments that they read hold NaN.
        invalid: looks for sites that drew from no law, which is a reason for NaN; None where it cannot look.

    Raises: NonFiniteError for +inf, and for NaN unless the policy is "flag"; for neither where faults are flagged.
    """
    increments = stats["log_evidence_increment"]
    # A weight that the arguments fix is no particle's: it shows in the evidence alone.
    numbers = np.concatenate([increments, log_evidence[:, None]], axis=1)
    broken = np.isposinf(numbers) | np.isnan(numbers)
    stages = broken.argmax(axis=1)  # what follows in a run is made of its first
    first = np.where(broken.any(axis=1), numbers[np.arange(len(numbers)), stages], 0.0)
    found = []
    for bad, word in ((np.isposinf(first), "+inf"), (np.isnan(first), "NaN")):
        if bad.any():
            stage = int(stages[bad.argmax()])
            at_once = stage == increments.shape[1]
            place = Place("in all particles at once" if at_once else "", None, weighing_sites(form))
            if cut is not None and not at_once:
                place = place_of(cut, stage)
            reasons = invalid() if word == "NaN" else ()
            drawn = drawing_sites(subject) if reasons is None else ()
            proposed = tuple(sorted(map(show_address, proposed_sites(form))))
            own = place.sites if form is subject else (*weighing_sites(subject), *proposed)
            place = replace(place, sites=tuple(dict.fromkeys((*own, *drawn))))
            found.append(_nonfinite(place, word, bad, stage, settings, proposed, gaps(place.sites), reasons or ()))
    if found:
        return tuple(found)
    count = int(np.nansum(stats.get("n_nonfinite", 0)))
    if count:
        reasons = invalid()
        drawn = drawing_sites(subject) if reasons is None else ()
        code, sites, words = _blamed(reasons or (), (*weighing_sites(subject), *drawn))
        message = f"{count} weights were NaN ({words}) and were read as zero: the target is restricted to the rest."
        found.append(Finding(code, message, sites, count, 0))
    if LOST in stats or NO_SLOPE in stats:
        found += move_findings(stats)
    if cut is not None and cut.weighings < 2 and not found:
        weighed = "weighed once" if cut.weighings else "never weighed"
        message = f"the program is {weighed}, so resampling had no effect: importance sampling gives the same."
        found.append(Finding("IDLE_RESAMPLING", message))
    return tuple(found)


def _nonfinite(
    place: Place,
    word: str,
    bad: np.ndarray,
    stage: int,
    settings: Mapping[str, Any],
    proposed: tuple[str, ...],
    gaps: str,
    invalid: Sequence[InvalidDraws],
) -> Finding:
    """Raise or report weights that are not finite, whichever the policy says; `bad` are the runs that have one."""
    run, *others = (int(i) for i in np.flatnonzero(bad))
    where = f" {place.words}" if place.words else ""
    more = f", and others in {len(others)} more of {len(bad)} runs" if others else ""
    code, sites, words = _blamed(invalid, place.sites)
    remedy = REMEDY if invalid else "check the parameters of that site at values its parents can take"
    message = f"a weight is {word}{where} in run {run} ({words}){more}.{gaps} Fix: {remedy}"
    if word == "NaN" and proposed:
        message += f", and that the support of the proposal of {_either(proposed)} holds all of the site's there"
    if word == "NaN":
        message += "; nonfinite='dead' reads NaN as weight zero and counts it, nonfinite='flag' flags the result"
    reported = settings.get("on_fault", "raise") == "flag" or (word == "NaN" and settings["nonfinite"] == "flag")
    if not reported:
        raise NonFiniteError(f"{message}.", sites=sites, stage=stage, step=place.step, run=run, value=word)
    return Finding(code, f"{message}.", sites, word, None)


def _blamed(invalid: Sequence[InvalidDraws], others: tuple[str, ...]) -> tuple[str, tuple[str, ...], str]:
    """Give the code of a finding on weights, its sites, and words: sites that drew from no law, else all others."""
    if not invalid:
        return "NONFINITE_WEIGHT", others, f"site {_either(others)}"
    names = tuple(show_address(one.site) for one in invalid)
    return "INVALID_PARAMETER", names, "; ".join(one.words for one in invalid)


def _either(sites: tuple[str, ...]) -> str:
    return " or ".join(f"'{site}'" for site in sites)
