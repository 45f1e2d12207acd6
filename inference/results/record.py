"""Record: the fields of a result, plain dictionaries of arrays, and the verdict on them.

Law: `posterior` holds equal-weight draws, one chain a run; `weighted` and `log_evidence` hold the unnormalised measure
that the run estimated, E[exp(log_evidence)] being the evidence. A run that died refuses samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import DeadPopulationError, LawfulError
from lawful.form import Form

from ..findings.chain_checks import chain_findings
from ..findings.evidence import kish_ess, pooled_evidence
from ..findings.findings import Finding, Limits, Status, status_of
from ..findings.long_trajectories import long_ways
from ..findings.population_checks import outside_findings, population_findings
from .copies import deeply, pickled, restored
from .optima import Optima
from .outside_support import outside_counts

type Arrays = Mapping[str, Any]


class WeightedParticles(NamedTuple):
    """Particles before the last resampling: values (chain, particle, ...) and natural log weights (chain, particle).

    The weights of a run have mean one: times exp(log_evidence) / particles they are the unnormalised measure.
    """

    values: Arrays
    log_weight: Any


class Warmup(NamedTuple):
    """Draws and statistics of a warmup, which are never draws of the posterior."""

    posterior: Arrays
    stats: Arrays


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """The fields of a result, and its verdict; what they mean stands at `Result`."""

    sampler: str
    _posterior: Arrays
    _weighted: WeightedParticles | None = None
    stats: Arrays = field(default_factory=dict)
    warmup: Warmup | None = None
    log_evidence: Any = None
    groups: Mapping[str, Arrays] = field(default_factory=dict)
    found: tuple[Finding, ...] = ()
    limits: Limits = Limits()
    interrupted: bool = False
    finished: int = 0
    state: Any = None
    form: Any = None
    model: Any = None
    args: tuple[Any, ...] | None = None
    traces: tuple[tuple[Any, ...], ...] | None = None
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    more: Callable[[int], Any] | None = None
    optima: Optima | None = None
    beliefs: Any = None
    guide: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Give what a pickle holds: all but the Form, which is traced again, and what continues the run."""
        return pickled(self.__dict__)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take what a pickle held."""
        self.__dict__.update(restored(state))

    def __copy__(self) -> Any:
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy arrays and settings; the program and its Form are shared."""
        return type(self)(**deeply({one.name: getattr(self, one.name) for one in fields(self)}, memo))

    @property
    def posterior(self) -> Arrays:
        """Equal-weight draws: variable name to array (chain, draw, ...).

        Raises:
            DeadPopulationError: a run died; `surviving()` holds the others.
            LawfulError: of sums, which have no draws.
        """
        self._refuse_without_draws()
        return self._posterior

    @property
    def weighted(self) -> WeightedParticles | None:
        """Weighted particles before the last resampling, or None; raises as `posterior` does."""
        self._refuse_dead_runs()
        return self._weighted

    @functools.cached_property
    def reasons(self) -> tuple[Finding, ...]:
        """Findings of the run and of the checks, computed once, when they are first asked for."""
        found = list(self.found)
        if self.interrupted:
            found.append(
                Finding(
                    "INTERRUPTED", f"stopped after {self.finished} draws or stages.", value=self.finished, limit=None
                )
            )
        if self.optima is not None or self.certificate is not None:
            return tuple(found)  # values of one maximum, or sums, which are no draws
        if self._weighted is None:
            known = {finding.code for finding in self.found}  # the run itself says more
            checks = chain_findings(self.limits, self._posterior, self.stats)
            found.extend(finding for finding in checks if finding.code not in known)
            found.extend(long_ways(self._posterior, self.stats, self.run, self.form))
        else:
            form = self.form if isinstance(self.form, Form) else None
            draws = self._surviving_draws()
            checks = population_findings(
                self.limits, self.log_evidence, self._weighted.log_weight, draws, self.stats, form
            )
            found.extend(checks)
            found.extend(self._outside_findings())
        return tuple(found)

    @property
    def status(self) -> Status:
        """Bits of all findings; 0 is ok."""
        return status_of(self.reasons)

    @property
    def ok(self) -> bool:
        """Whether no check failed; a remark is no failure."""
        return self.status == Status(0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as text, each with what to do."""
        return tuple(f"{finding.code}: {finding.message}" for finding in self.reasons)

    @property
    def log_evidence_pooled(self) -> float | None:
        """Log of the mean evidence over runs, or None where the method gives no evidence."""
        return None if self.log_evidence is None else pooled_evidence(self.log_evidence)[0]

    @property
    def log_evidence_error(self) -> float | None:
        """Error of the pooled log evidence, NaN where fewer than two runs are alive.

        The log of the evidence lies within it in 68 % of all cases or more, and within twice of it in 83 % with two
        runs, 90 % with four and 95 % with sixteen (see `lawful.inference.findings.evidence`). Where runs agree it is
        the standard error times that of Student's t. Where they disagree it is of the size of half the variance of
        their logs, which is what the log of their mean is too low by. Of an exact sum it is zero, and of one that
        lacks paths what it is too low by at most, where what these would still meet weighs at most 1.
        """
        if self.certificate == "exact":
            return 0.0
        if "unexplored" in self.run:
            return -float(np.log1p(-self.run["unexplored"]))
        return None if self.log_evidence is None else pooled_evidence(self.log_evidence)[1]

    @property
    def certificate(self) -> str | None:
        """What is guaranteed of sums, from "exact" to "none", as `graphs.Beliefs` says; None of draws."""
        return self.run.get("certificate")

    @property
    def marginals(self) -> Arrays:
        """Probabilities of the values of finite sites by name `(*shape, values)`, of a method that gives them.

        Raises: LawfulError of a method that gives draws, whose shares they are.
        """
        if self.certificate is None:
            raise LawfulError(
                f"marginals: {self.sampler} gives draws, and no marginals. Fix: take shares of the draws, or give the "
                "model to inference.bp."
            )
        if self.beliefs is not None:
            found: Arrays = self.beliefs.marginals
            return found
        return {str(name): own.values for name, own in self.groups.get("marginals", {}).items()}

    @property
    def runs(self) -> tuple[int, ...]:
        """Numbers of the runs or chains that the draws come from."""
        return tuple(map(int, self.coords.get("chain", range(leading(self._posterior)[0]))))

    def surviving(self) -> Record:
        """Return the record with the draws of the runs that did not die; see `Result.surviving`."""
        alive = [place for place, run in enumerate(self.runs) if self._dead_at(run) < 0]
        if not alive:
            self._refuse_dead_runs()
        kept = np.asarray(alive)
        weighted = self._weighted and WeightedParticles(
            _rows(self._weighted.values, kept), np.asarray(self._weighted.log_weight)[kept]
        )
        rest = replace(
            self,
            _posterior=_rows(self._posterior, kept),
            _weighted=weighted,
            coords={**self.coords, "chain": [self.runs[place] for place in alive]},
            traces=None if self.traces is None else tuple(self.traces[place] for place in alive),
            groups={name: _surviving_rows(name, group, kept) for name, group in self.groups.items()},
        )
        rest.__dict__["reasons"] = self.reasons  # the verdict is that of all runs
        return rest

    def __repr__(self) -> str:
        """Describe in at most 12 lines, the verdict first."""
        verdict = "ok" if self.ok else "NOT OK: " + ", ".join(bit.name or "" for bit in Status if bit in self.status)
        kind = "chains" if self._weighted is None else "runs"
        count = f"{len(self.runs)} {kind} x {leading(self._posterior)[1]} draws"
        if self.optima is not None:
            count = f"{len(self.optima.search_value)} searches, {len(self.optima)} ends"
        if self.certificate is not None:
            count = f"{self.run['solver']}, verdict {self.run['verdict']}, certificate {self.certificate}"
        lines = [f"Result: {verdict}   [{self.sampler}, {count}]"]
        lines += [_short(f"  {text}") for text in self.warnings[:4]]
        lines += [f"  ... and {len(self.warnings) - 4} more in .warnings"] if len(self.warnings) > 4 else []
        if self.optima is not None:
            lines += [_short(line) for line in self.optima.lines(3)]
        if self.log_evidence is not None:
            pooled, error = pooled_evidence(self.log_evidence)
            how = f"+- {error:.3f} over {len(np.asarray(self.log_evidence))} runs"
            lines.append(f"  log evidence  {pooled:.3f} {how if self.certificate is None else self.run['evidence']}")
        if self._weighted is not None and len(self.runs):
            ess = kish_ess(self._weighted.log_weight)
            lines.append(
                f"  Kish ESS      {ess.min():.0f} to {ess.max():.0f} of {np.shape(self._weighted.log_weight)[1]}"
            )
        if np.size(self.stats.get("acceptance_rate", ())):
            rate = np.nanmean(np.asarray(self.stats["acceptance_rate"]))
            lines.append(f"  acceptance    {rate:.2f}")
        shown = {name: np.shape(a)[2:] for name, a in self._posterior.items()}
        sums = self.certificate is not None and not self._posterior
        if sums:
            shown = {name: np.shape(a) for name, a in self.marginals.items()}
        shapes = ", ".join(f"{name} {shape}" for name, shape in shown.items())
        word = "marginals" if sums else "variables"
        return "\n".join([*lines, _short(f"  {word}     {shapes}")])

    def _outside_findings(self) -> Iterator[Finding]:
        if isinstance(self.form, Form) and self.args is not None and self._weighted is not None:
            counts = outside_counts(self.form, self.args, self._weighted.values)
            yield from outside_findings(self.limits, counts, np.shape(self._weighted.log_weight)[1])

    def _dead_at(self, run: int) -> int:
        dead_at = self.stats.get("dead_at")
        return -1 if dead_at is None else int(np.asarray(dead_at)[run])

    def _surviving_draws(self) -> Arrays:
        alive = np.asarray([place for place, run in enumerate(self.runs) if self._dead_at(run) < 0], dtype=int)
        return self._posterior if len(alive) == len(self.runs) else _rows(self._posterior, alive)

    def _refuse_without_draws(self) -> None:
        """Refuse draws of runs that died, and of sums."""
        if self.certificate is not None and not self._posterior:
            raise LawfulError(
                f"{self.sampler} gives marginals, and no draws. Fix: result.marginals; or for exact draws of finite "
                "sites inference.mcmc(model, kernels.block_gibbs())."
            )
        self._refuse_dead_runs()

    def _refuse_dead_runs(self) -> None:
        dead = {run: self._dead_at(run) for run in self.runs if self._dead_at(run) >= 0}
        if dead:
            where = ", ".join(f"run {run} at stage {stage}" for run, stage in dead.items())
            raise DeadPopulationError(
                f"samples refused: every particle had weight zero, or one had no weight, in {where} of "
                f"{len(self.runs)} runs. The evidence is readable (log_evidence is -inf or NaN for these runs). Check "
                "the observations of that stage against the model, use more particles, or read the other runs by "
                "result.surviving().",
                dead_at=dead,
                runs=tuple(dead),
            )


def _rows(arrays: Arrays, rows: np.ndarray) -> Arrays:
    return {name: np.asarray(array)[rows] for name, array in arrays.items()}


def _surviving_rows(name: str, group: Any, rows: np.ndarray) -> Any:
    """Keep some runs of a group; data and draws of the prior belong to no run."""
    if "data" in name or name.startswith("prior"):
        return group
    return group.isel(chain=rows) if hasattr(group, "isel") else _rows(group, rows)


def _short(text: str, width: int = 120) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def leading(draws: Arrays) -> tuple[int, ...]:
    """Return the numbers of chains and draws; 0 where there is no variable."""
    return tuple(np.shape(next(iter(draws.values()), np.empty((0, 0)))))[:2]


def masked(values: Mapping[str, Any], active: Mapping[str, Any]) -> dict[str, Any]:
    """Put NaN where the arm of a conditional choice did not run."""
    out = {}
    for name, value in values.items():
        xp: Any = jnp if isinstance(value, jax.core.Tracer) else np
        array = xp.asarray(value)
        if name in active:
            flag = xp.asarray(active[name])
            flag = flag.reshape(flag.shape + (1,) * (array.ndim - flag.ndim))
            array = xp.where(flag, array, xp.nan)
        out[name] = array
    return out
