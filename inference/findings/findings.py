"""Findings: what a run says against itself, as status bits, machine-readable records and text for people.

Law: a check may change what is reported, never the measure; a result is ok exactly when no finding sets a status bit.
"""

from __future__ import annotations

import enum
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError


class Status(enum.IntFlag):
    """Status bits of a result; 0 is ok.

    >>> Status.DEAD | Status.LOW_ESS
    <Status.DEAD|LOW_ESS: 132>
    """

    NONFINITE_DENSITY = 1
    NONFINITE_WEIGHT = 2
    DEAD = 4
    OVERFLOW = 8
    INTERRUPTED = 16
    NOT_CONVERGED = 32
    DIVERGENT = 64
    LOW_ESS = 128
    HIGH_RHAT = 256
    CLIPPED = 512
    OUT_OF_SUPPORT = 1024
    UNOBSERVED = 2048
    NO_MAXIMUM = 4096


# Codes that say more than their bit; a remark sets no bit.
BITS = {str(bit.name): bit for bit in Status} | {
    "ONE_ANCESTOR": Status.LOW_ESS,
    "NO_FINITE_START": Status.NONFINITE_DENSITY,
    "NONFINITE_GRADIENT": Status.NONFINITE_DENSITY,
    "INVALID_PARAMETER": Status.NONFINITE_WEIGHT,
    "EVIDENCE_SPREAD": Status.NOT_CONVERGED,
    "NEVER_MOVED": Status.NOT_CONVERGED,
    "NO_RETURN": Status.NOT_CONVERGED,
    "UNMATCHED": Status.NOT_CONVERGED,
    "UNREAD_ARGUMENT": Status(0),
    "UNMOVED_SITE": Status(0),
    "OLD_PATHS": Status(0),
    "ONE_RUN": Status(0),
    "RESTARTED": Status(0),
    "LONG_TRAJECTORIES": Status(0),
    "NARROW_TAIL": Status.NOT_CONVERGED,
    "HEAVY_TAIL": Status.LOW_ESS,
    "MISSED_MODE": Status.NOT_CONVERGED,
    "UNREACHED": Status.NOT_CONVERGED,
    "BIASED_GUIDE": Status.NOT_CONVERGED,
    "UNCORRECTED": Status(0),
    "UNSETTLED": Status(0),
    "LONE_OPTIMUM": Status.NOT_CONVERGED,
    "FLAT_DIRECTION": Status.NO_MAXIMUM,
    "AT_EDGE": Status(0),
    "STARTS_DISAGREE": Status(0),
    "IDLE_RESAMPLING": Status(0),
    "IDLE_DEVICE": Status(0),
    "NOT_SAVED": Status(0),
    "OLDER_CHECKPOINT": Status(0),
    "RESUMED_ELSEWHERE": Status(0),
}

SHORTEST = 1e-6  # a step, in units of the scales, below which a shorter one would not come anywhere
BUSY = 1 << 20  # bytes of numbers that a step works on at once: with fewer an accelerator mostly waits


@dataclass(frozen=True)
class Finding:
    """One finding: a code of `BITS`, text with the remedy, the sites concerned, the value seen and its limit.

    >>> Finding("HIGH_RHAT", "r-hat of 'x' is 1.2: run longer", sites=("x",), value=1.2, limit=1.01).status
    <Status.HIGH_RHAT: 256>
    """

    code: str
    message: str
    sites: tuple[str, ...] = ()
    value: Any = None
    limit: Any = None

    def __post_init__(self) -> None:
        if self.code not in BITS:
            raise LawfulError(f"finding code '{self.code}': expected one of {', '.join(BITS)}.", code=self.code)

    @property
    def status(self) -> Status:
        """The bit that the code sets; none for a remark."""
        return BITS[self.code]


def status_of(findings: Iterable[Finding]) -> Status:
    """Join the status bits of findings; 0 where there is none.

    >>> status_of([])
    <Status: 0>
    """
    return functools.reduce(operator.or_, (finding.status for finding in findings), Status(0))


@dataclass(frozen=True)
class Limits:
    """Limits of the checks behind `ok`.

    Attributes:
        divergences: largest number of divergent transitions.
        r_hat: largest rank-normalised split r-hat over chains or runs; larger ones pass as far as chance explains the
            worst of so many elements (`inference/findings/thresholds.py`).
        ess_per_chain: bulk and tail effective sample size a chain, and effective draws a run of a population; estimates
            may be smaller as far as chance explains them. Fewer draws a chain are never enough.
        false_alarm: probability with which a perfect sampler exceeds one of these two limits in any element.
        ess_fraction: smallest Kish effective sample size of the last weights, as a fraction of the particles.
        root_share: largest fraction of the last particles that descend from one particle at the start.
        log_evidence_sd: largest standard deviation of the log evidence of a run, over runs or by its chains.
        log_evidence_error: largest error of the log evidence of four runs or more.
        out_of_support: largest fraction of a run's particles for which an observation lies outside a support that
            choices move; a model that means this, as of a maximum, takes 1.
    """

    divergences: int = 0
    r_hat: float = 1.01
    ess_per_chain: float = 100.0
    false_alarm: float = 0.01
    ess_fraction: float = 0.1
    root_share: float = 0.5
    log_evidence_sd: float = 1.0
    log_evidence_error: float = 0.5
    out_of_support: float = 0.0


def idle_device(device: str, what: str, size: int) -> tuple[Finding, ...]:
    """Remark that an accelerator has too little to do.

    Args:
        device: its platform, as JAX names it.
        what: of what there could be more, "chains" or "particles".
        size: bytes of numbers that one device works on at once.

    >>> idle_device("gpu", "chains", 400)[0].code
    'IDLE_DEVICE'
    """
    if size >= BUSY:
        return ()
    message = (
        f"a step works on {size} bytes at once, which leaves a {device} mostly idle; a small model is slower there, "
        f"for each of its {what}, than on a processor. Fix: raise {what} until a step takes longer, or run on the "
        "processor (JAX_PLATFORMS=cpu)."
    )
    return (Finding("IDLE_DEVICE", message, (), size, BUSY),)


def never_moved(names: Sequence[str], moved: np.ndarray, steps: int, step_size: Any = 1.0) -> Iterator[Finding]:
    """Find chains and sites none of whose moves was ever accepted, but for moves to where they were.

    `moved` says of each chain and site whether it was ever elsewhere than at its start.
    """
    smaller = "" if np.max(np.asarray(step_size)) < SHORTEST else "take smaller steps, "
    remedy = (
        f"Fix: move sites that determine each other together (kernels.mh of a proposal program), {smaller}or another "
        "start."
    )
    if steps < 2 or not names:
        return
    stuck = np.flatnonzero(~moved.any(axis=1))
    if len(stuck):
        yield Finding(
            "NEVER_MOVED",
            f"chains {', '.join(map(str, stuck))} never moved in {steps} steps: acceptance rate 0, {len(names)} of "
            f"{len(names)} sites never accepted another value ({few(names)}). {remedy}",
            sites=tuple(names),
            value=len(names),
            limit=0,
        )
    still = [name for name, ever in zip(names, moved.any(axis=0), strict=True) if not ever]
    if still and len(stuck) < len(moved):
        yield Finding(
            "UNMOVED_SITE",
            f"{len(still)} of {len(names)} sites had one value in all of {steps} steps in each chain ({few(still)}): "
            f"the kernel holds them or never came to them, their posterior is sure, or no move can leave. {remedy}",
            sites=tuple(still),
            value=len(still),
            limit=0,
        )


def few(names: Sequence[str]) -> str:
    """Write the first names of a list."""
    return f"{', '.join(names[:5])}{', ...' if names[5:] else ''}"


# Code, number of the kernel, what happened, remedy.
MAP_FAULTS = (
    (
        "NO_RETURN",
        "n_no_return",
        "the map, applied twice, did not lead back to the start (check.involution(kernel, model, *args) shows where)",
        "let the map be its own inverse, also in the auxiliary values that it returns",
    ),
    (
        "UNMATCHED",
        "n_unmatched",
        "the map led to a state with another number of continuous coordinates, so there is no ratio of densities",
        "draw an auxiliary value for each coordinate that begins, and keep in one each that stops",
    ),
)


def map_findings(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the maps of involutive kernels, from the numbers of all steps.

    >>> [finding.code for finding in map_findings({"n_no_return": [0, 2]})]
    ['NO_RETURN']
    """
    for code, name, what, fix in MAP_FAULTS:
        count = int(np.sum(np.asarray(numbers.get(name, 0))))
        if count:
            text = f"{count} moves were rejected because {what}. The posterior is kept, but these moves are lost."
            yield Finding(code, f"{text} Fix: {fix}.", value=count, limit=0)


def restart_findings(restarted: Any, below: Any) -> Iterator[Finding]:
    """Tell which chains were restarted, why, and from which: a remark.

    >>> [told] = restart_findings([-1, 0, 1], [0.0, 0.0, 57.2])
    >>> told.code, told.value, list(restart_findings([-1, -1], [0.0, 0.0]))
    ('RESTARTED', 2, [])
    """
    rows = [(i, place, gap) for i, (place, gap) in enumerate(zip(restarted, below, strict=True)) if place >= 0]
    still = [f"chain {i} from chain {place}" for i, place, gap in rows if not gap > 0]
    sunk = [f"chain {i} from chain {place} (log mass {gap:.0f} lower)" for i, place, gap in rows if gap > 0]
    told = []
    if still:
        told.append(
            f"chains that stood still were restarted in the warm-up from others: {', '.join(still)}. No step size led "
            "away from where they stood, which may be a mode of its own"
        )
    if sunk:
        told.append(
            f"chains were restarted in the warm-up from others where the posterior has much more mass: "
            f"{', '.join(sunk)}, as normal laws of the same spread tell it"
        )
    if told:
        words = ". ".join(text[0].upper() + text[1:] if number else text for number, text in enumerate(told))
        yield Finding(
            "RESTARTED", f"{words}: see result.warmup, or give other starts (init=).", value=len(rows), limit=0
        )
