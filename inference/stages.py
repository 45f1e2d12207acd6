"""Stages: the moments at which a population is weighed: before the loop, at each of its steps, and after it.

Law: the log evidence of a run is the sum of its increments over the stages, and of the factors that no particle can
move.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lawful.addresses import show_address
from lawful.analysis import has_weight
from lawful.errors import NonFiniteError
from lawful.form import Factor, Form, Site, walk

from .findings import Finding
from .representations.sequential import sequential


@dataclass(frozen=True)
class Place:
    """Where a stage stands in a program: in words, its step of the loop or None, and the sites that weigh it."""

    words: str
    step: int | None
    sites: tuple[str, ...]


def place_of(form: Form, stage: int) -> Place:
    """Find the place of a stage of a particle filter.

    >>> import jax.numpy as jnp, lawful
    >>> form = lawful.trace(lambda y: lawful.scan(lambda c, y: (c, lawful.factor("f", y)), 0.0, y), jnp.zeros(3))
    >>> place_of(form, 2)
    Place(words='at step 1 of the loop', step=1, sites=('f',))
    """
    cut = sequential(form)
    if cut.loop is None:
        return Place("", None, weighing_sites(form))
    if stage == 0:
        return Place("before the loop", None, weighing_sites(cut.prefix))
    if stage > cut.loop.length:
        return Place("after the loop", None, weighing_sites(cut.suffix))
    step = cut.loop.length - stage if cut.loop.reverse else stage - 1
    return Place(f"at step {step} of the loop", step, weighing_sites(cut.loop.body))


@functools.lru_cache(maxsize=64)
def weighings(form: Form) -> int:
    """Count the stages of a program that have a factor or an observation.

    >>> import lawful
    >>> weighings(lawful.trace(lambda: lawful.factor("once", -1.0)))
    1
    """
    cut = sequential(form)
    if cut.loop is None:
        return int(has_weight(form))
    return has_weight(cut.prefix) + cut.loop.length * has_weight(cut.loop.body) + has_weight(cut.suffix)


def weighing_sites(form: Form) -> tuple[str, ...]:
    """Name the factors and observations of a form."""
    nodes = (n for n in walk(form) if isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None))
    return tuple(dict.fromkeys(show_address(node.address) for node in nodes))


def joined(stats: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join what was noted before the loop, at each of its steps, and after it: arrays (run, stage).

    What is not noted at a stage, as whether it resampled, is NaN there.
    """
    parts = [part for part in ("initial_", "", "final_") if f"{part}log_evidence_increment" in stats]
    names = [name for name in stats if not name.startswith(("initial_", "final_"))]
    runs = len(stats["log_evidence_increment"])
    absent = np.full((runs, 1), np.nan)
    out = {}
    for name in names:
        columns = [stats.get(f"{part}{name}", absent) for part in parts]
        out[name] = np.concatenate([c.reshape(runs, -1) for c in columns], axis=1)
    return out


def weight_findings(
    form: Form, log_evidence: np.ndarray, stats: Mapping[str, np.ndarray], nonfinite: str, paused: bool
) -> tuple[Finding, ...]:
    """Check the weights of all runs for NaN and +inf, and whether resampling could have an effect.

    Args:
        form: the program.
        log_evidence: (run,).
        stats: numbers by stage, from `joined`.
        nonfinite: what a NaN weight means, as in `smc`.
        paused: whether the population pauses in the loop of the program.

    Raises: NonFiniteError for +inf, and for NaN unless the policy is "flag".
    """
    increments = stats["log_evidence_increment"]
    # A weight that the arguments fix is no particle's: it shows in the evidence alone.
    numbers = np.concatenate([increments, log_evidence[:, None]], axis=1)
    for bad, word in ((np.isposinf(numbers), "+inf"), (np.isnan(numbers), "NaN")):
        if bad.any():
            run, stage = (int(i) for i in np.argwhere(bad)[0])
            if stage == increments.shape[1]:
                place = Place("in all particles at once", None, weighing_sites(form))
            else:
                place = place_of(form, stage) if paused else Place("", None, weighing_sites(form))
            return (_nonfinite(place, word, run, stage, nonfinite),)
    count = int(np.nansum(stats.get("n_nonfinite", 0)))
    if count:
        sites = weighing_sites(form)
        message = f"{count} weights were NaN (site {_either(sites)}) and were read as zero"
        return (Finding("NONFINITE_WEIGHT", f"{message}: the target is restricted to the rest.", sites, count, 0),)
    if paused and weighings(form) < 2:
        weighed = "weighed once" if weighings(form) else "never weighed"
        message = f"the program is {weighed}, so resampling had no effect: importance sampling gives the same."
        return (Finding("IDLE_RESAMPLING", message),)
    return ()


def _nonfinite(place: Place, word: str, run: int, stage: int, policy: str) -> Finding:
    """Raise or report a weight that is not finite, whichever the policy says."""
    where = f" {place.words}" if place.words else ""
    message = (
        f"a weight is {word}{where} in run {run} (site {_either(place.sites)}). Fix: check the parameters of that site "
        "at values its parents can take"
    )
    if word == "NaN":
        message += "; nonfinite='dead' reads NaN as weight zero and counts it, nonfinite='flag' flags the result"
    if word == "+inf" or policy != "flag":
        raise NonFiniteError(f"{message}.", sites=place.sites, stage=stage, step=place.step, run=run, value=word)
    return Finding("NONFINITE_WEIGHT", f"{message}.", place.sites, word, None)


def _either(sites: tuple[str, ...]) -> str:
    return " or ".join(f"'{site}'" for site in sites)
