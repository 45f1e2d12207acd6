"""Findings: what a run says against itself, as status bits, machine-readable records and text for people.

Law: a check may change what is reported, never the measure; a result is ok exactly when no finding sets a status bit.
"""

from __future__ import annotations

import enum
import functools
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .evidence import kish_ess


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


# Codes that say more than their bit; a remark sets no bit.
BITS = {str(bit.name): bit for bit in Status} | {
    "ONE_ANCESTOR": Status.LOW_ESS,
    "NO_FINITE_START": Status.NONFINITE_DENSITY,
    "NONFINITE_GRADIENT": Status.NONFINITE_DENSITY,
    "EVIDENCE_SPREAD": Status.NOT_CONVERGED,
    "NEVER_MOVED": Status.NOT_CONVERGED,
    "NO_RETURN": Status.NOT_CONVERGED,
    "UNMATCHED": Status.NOT_CONVERGED,
    "UNMOVED_SITE": Status(0),
    "ONE_RUN": Status(0),
    "IDLE_RESAMPLING": Status(0),
    "IDLE_DEVICE": Status(0),
    "NOT_SAVED": Status(0),
    "OLDER_CHECKPOINT": Status(0),
    "RESUMED_ELSEWHERE": Status(0),
}

TOGETHER = (
    "Fix: move sites that determine each other together (kernels.mh of a proposal program), take smaller steps, or "
    "another start."
)
ENOUGH = 2000  # draws a run that the comparison of runs looks at
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
        r_hat: largest rank-normalised split r-hat over chains or runs.
        ess_per_chain: smallest bulk and tail effective sample size a chain.
        ess_fraction: smallest Kish effective sample size of the last weights, as a fraction of the particles.
        root_share: largest fraction of the last particles that descend from one particle at the start.
        log_evidence_sd: largest standard deviation of the log evidence over runs.
        out_of_support: largest fraction of a run's particles for which an observation lies outside a support that
            choices move; a model that means this, as of a maximum, takes 1.
    """

    divergences: int = 0
    r_hat: float = 1.01
    ess_per_chain: float = 100.0
    ess_fraction: float = 0.1
    root_share: float = 0.5
    log_evidence_sd: float = 1.0
    out_of_support: float = 0.0


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
        yield from _r_hat_findings(limits, some, "use more particles, or move them by a kernel")


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


def chain_findings(limits: Limits, posterior: Mapping[str, Any], stats: Mapping[str, Any]) -> Iterator[Finding]:
    """Check Markov chains."""
    divergent = int(np.sum(np.asarray(stats.get("diverging", 0))))
    if divergent > limits.divergences:
        yield Finding(
            "DIVERGENT",
            f"{divergent} divergent transitions (limit {limits.divergences}): reparameterise the model or take smaller "
            "steps.",
            value=divergent,
            limit=limits.divergences,
        )
    nonfinite = int(np.sum(np.asarray(stats.get("n_nonfinite", 0))))
    if nonfinite:
        yield Finding(
            "NONFINITE_DENSITY",
            f"{nonfinite} proposals had a log density that is NaN or +inf and were rejected: the chains target the "
            "posterior restricted to the rest; guard the model's arithmetic there.",
            value=nonfinite,
            limit=0,
        )
    lost = int(np.sum(np.asarray(stats.get("n_nonfinite_grad", 0))))
    if lost:
        yield Finding(
            "NONFINITE_GRADIENT",
            f"{lost} proposals led to where the log density is finite and its gradient is not a number, and were "
            "rejected: chains that start elsewhere never go there; guard the model's arithmetic, as the argument of a "
            "square root in an arm of `where` that is not taken.",
            value=lost,
            limit=0,
        )
    stuck = _stuck_chains(posterior)
    if len(stuck):
        yield Finding(
            "NEVER_MOVED",
            f"chains {', '.join(map(str, stuck))} never moved: take smaller steps or another start.",
            value=len(stuck),
            limit=0,
        )
    yield from _r_hat_findings(limits, posterior, "run longer, or use a better kernel")
    yield from _ess_findings(limits, posterior)


def _r_hat_findings(limits: Limits, posterior: Mapping[str, Any], remedy: str) -> Iterator[Finding]:
    worst = worst_of(posterior, "rhat", method="rank")
    # Not a number means that there are too few draws to say: never a pass.
    if worst is not None and not worst[1] <= limits.r_hat:
        name, value = worst
        yield Finding(
            "HIGH_RHAT",
            f"r-hat of '{name}' is {value:.3f} (limit {limits.r_hat:g}): the chains disagree; {remedy}.",
            sites=(name.split("[")[0],),
            value=value,
            limit=limits.r_hat,
        )


def _ess_findings(limits: Limits, posterior: Mapping[str, Any]) -> Iterator[Finding]:
    chains, draws = np.shape(next(iter(posterior.values()), np.empty((0, 1))))[:2]
    if not draws:
        enough = limits.ess_per_chain * chains
        yield Finding("LOW_ESS", "there is no draw: ask for draws=1000 or so.", value=0, limit=enough)
    for kind, options in (("bulk", {}), ("tail", {"prob": (0.05, 0.95)})):
        worst = worst_of(posterior, "ess", method=kind, **options)
        if worst is not None and not worst[1] >= limits.ess_per_chain * chains:
            name, value = worst
            yield Finding(
                "LOW_ESS",
                f"{kind} effective sample size of '{name}' is {value:.0f} over {chains} chains (limit "
                f"{limits.ess_per_chain:g} a chain): run longer, or use a better kernel.",
                sites=(name.split("[")[0],),
                value=value,
                limit=limits.ess_per_chain * chains,
            )


def worst_of(posterior: Mapping[str, Any], diagnostic: str, **options: Any) -> tuple[str, float] | None:
    """Find the element with the worst diagnostic among those that vary; a value that is not a number is the worst."""
    from arviz_stats.base.array import array_stats

    found: list[tuple[float, str]] = []
    for name, draws in posterior.items():
        array = np.asarray(draws, dtype=float)
        flat = array.reshape(*array.shape[:2], math.prod(array.shape[2:]))  # -1 fails where there is no element
        # Where an arm did not run a value is NaN: chains that visit it differently often have no common diagnostic.
        always = ~np.any(np.isnan(flat), axis=(0, 1))
        varying = np.flatnonzero(always & np.any(flat != flat[:1, :1], axis=(0, 1)))
        if not len(varying):
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # short or constant chains: the numbers themselves say so
            values = getattr(array_stats, diagnostic)(flat[..., varying], chain_axis=0, draw_axis=1, **options)
        values = np.asarray(values)
        badness = np.where(np.isnan(values), math.inf, values if diagnostic == "rhat" else -values)
        place = int(badness.argmax())
        index = np.unravel_index(varying[place], array.shape[2:])
        label = name + (f"[{', '.join(map(str, index))}]" if index else "")
        found.append((float(values[place]), label))
    if not found:
        return None
    sign = 1.0 if diagnostic == "rhat" else -1.0
    value, label = max(found, key=lambda pair: math.inf if math.isnan(pair[0]) else sign * pair[0])
    return label, value


def idle_device(device: str, what: str, step: Callable[[], int]) -> tuple[Finding, ...]:
    """Remark that an accelerator has too little to do; a processor never has.

    Args:
        device: its platform, as JAX names it.
        what: of what there could be more, "chains" or "particles".
        step: tells the bytes of numbers that one device works on at once.

    >>> idle_device("cpu", "chains", lambda: 400), idle_device("gpu", "chains", lambda: 400)[0].code
    ((), 'IDLE_DEVICE')
    """
    if device == "cpu" or (size := step()) >= BUSY:
        return ()
    message = (
        f"a step works on {size} bytes at once, which leaves a {device} mostly idle; a small model is slower there, "
        f"for each of its {what}, than on a processor. Fix: raise {what} until a step takes longer, or run on the "
        "processor (JAX_PLATFORMS=cpu)."
    )
    return (Finding("IDLE_DEVICE", message, (), size, BUSY),)


def never_moved(names: Sequence[str], moved: np.ndarray, steps: int) -> Iterator[Finding]:
    """Find chains and sites none of whose moves was ever accepted, but for moves to where they were.

    Args:
        names: the sites.
        moved: of each chain and site, whether it was ever elsewhere than at its start.
        steps: states that were looked at.
    """
    if steps < 2 or not names:
        return
    stuck = np.flatnonzero(~moved.any(axis=1))
    if len(stuck):
        yield Finding(
            "NEVER_MOVED",
            f"chains {', '.join(map(str, stuck))} never moved in {steps} steps: acceptance rate 0, {len(names)} of "
            f"{len(names)} sites never accepted another value ({_few(names)}). {TOGETHER}",
            sites=tuple(names),
            value=len(names),
            limit=0,
        )
    still = [name for name, ever in zip(names, moved.any(axis=0), strict=True) if not ever]
    if still and len(stuck) < len(moved):
        yield Finding(
            "UNMOVED_SITE",
            f"{len(still)} of {len(names)} sites had one value in all of {steps} steps in each chain ({_few(still)}): "
            f"the kernel holds them or never came to them, their posterior is sure, or no move can leave. {TOGETHER}",
            sites=tuple(still),
            value=len(still),
            limit=0,
        )


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if names[5:] else ''}"


def _stuck_chains(posterior: Mapping[str, Any]) -> np.ndarray:
    """Find chains of two or more draws in which no variable ever changes."""
    arrays = [np.asarray(draws, dtype=float) for draws in posterior.values() if np.size(draws)]
    if not arrays or arrays[0].shape[1] < 2:
        return np.array([], dtype=int)
    differs = [(a != a[:, :1]) & ~(np.isnan(a) & np.isnan(a[:, :1])) for a in arrays]
    moved = [np.any(d, axis=tuple(range(1, d.ndim))) for d in differs]
    return np.flatnonzero(~np.any(moved, axis=0))
