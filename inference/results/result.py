"""Result: what every inference returns, plain dictionaries of arrays with a verdict.

Law: `posterior` holds equal-weight draws, one chain a run; `weighted` and `log_evidence` hold the unnormalised measure
that the run estimated, E[exp(log_evidence)] being the evidence. A run that died refuses samples.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lawful.errors import DeadPopulationError, LawfulError
from lawful.form import Form

from ..findings.chain_checks import chain_findings
from ..findings.evidence import kish_ess, pooled_evidence
from ..findings.findings import Finding, Limits, Status, status_of
from ..findings.long_trajectories import long_ways
from ..findings.population_checks import outside_findings, population_findings
from .copies import deeply, pickled, restored

if TYPE_CHECKING:
    import pandas
    import xarray

    from .batches import BatchSize
    from .predictive import Predictive

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
class Result:
    """The outcome of an inference; made by `from_population` or `from_chains`.

    Attributes:
        sampler: the name of the method, as "smc" or "mcmc".
        stats: arrays (chain, draw) or (chain, stage), and (chain,).
        warmup: None, or draws and statistics of the warmup.
        log_evidence: None, or the natural log of each run's evidence estimate (chain,).
        groups: further ArviZ groups, as observed_data, constant_data and log_likelihood.
        found: findings of the run itself; `reasons` adds those of the checks.
        limits: limits of the checks behind `ok`.
        interrupted: whether the run was stopped early.
        finished: number of draws or stages that are complete.
        state: what a continuation needs.
        form: the traced program.
        model: the program as a function, or None where it is not known.
        args: its arguments, or None where they are not known.
        traces: of an eager inference, the runs behind the draws, traces[chain][draw], each with its choices and value.
        dims: dimension names of each variable, after chain and draw.
        coords: coordinate values of each dimension.
        run: settings, seed, versions, device and times. The seed is the integer that was given, or of a typed key
            `{"key": its data, "impl": its kind}`; trees hold that as JSON.
        more: continues a run of chains that was run in chunks; None where it cannot go on.
    """

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
    more: Callable[[int], Result] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Give what a pickle holds: all but the Form, which is traced again, and what continues the run."""
        return pickled(self.__dict__)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take what a pickle held."""
        self.__dict__.update(restored(state))

    def __copy__(self) -> Result:
        """Share all fields."""
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Result:
        """Copy arrays and settings; the program and its Form are shared."""
        return Result(**deeply({one.name: getattr(self, one.name) for one in fields(self)}, memo))

    @property
    def posterior(self) -> Arrays:
        """Equal-weight draws: variable name to array (chain, draw, ...).

        Raises:
            DeadPopulationError: a run died; `surviving()` holds the others.
        """
        self._refuse_dead_runs()
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
        their logs, which is what the log of their mean is too low by.
        """
        return None if self.log_evidence is None else pooled_evidence(self.log_evidence)[1]

    @property
    def runs(self) -> tuple[int, ...]:
        """Numbers of the runs or chains that the draws come from."""
        return tuple(map(int, self.coords.get("chain", range(leading(self._posterior)[0]))))

    def surviving(self) -> Result:
        """Return the result with the draws of the runs that did not die; evidence and findings still count every run.

        >>> import numpy as np
        >>> from lawful.inference.results.collect import from_population
        >>> log_w = np.array([[0.0, 0.0], [-np.inf, -np.inf]])
        >>> result = from_population({"x": np.ones((2, 2))}, log_w, [0.0, -np.inf], draws={"x": np.ones((2, 2))})
        >>> result.surviving().posterior["x"].shape, bool(np.exp(result.log_evidence_pooled) == 0.5)
        ((1, 2), True)
        """
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

    def to_datatree(
        self,
        *,
        dims: Mapping[str, Sequence[str]] | None = None,
        coords: Mapping[str, Any] | None = None,
        log_likelihood: bool | None = None,
        log_prior: bool | None = None,
        predictive: bool | Predictive | Sequence[Predictive] = False,
        save_warmup: bool = False,
        unconstrained: bool = False,
        batch_size: BatchSize = "auto",
    ) -> xarray.DataTree:
        """Convert to the DataTree of ArviZ 1.x.

        Groups: posterior, observed_data, constant_data and others where known; sample_stats of chains; for populations
        sample_stats_smc and weighted_posterior, whose particles are used as
        `x.weighted(exp(log_weight - log_weight.max()))`; log_likelihood and log_prior, one variable a site; prior,
        prior_predictive, posterior_predictive and predictions.

        Args:
            dims: names of the axes of variables, after chain and draw, in place of the result's own.
            coords: values of dimensions, in place of the result's own.
            log_likelihood: whether to score each observed site and factor at each draw, with one number for each
                element of a plate, and of a masked site the observed elements only, along `<site>_observed`; None:
                where the result has the draws of every choice.
            log_prior: whether to score each choice at each draw, likewise.
            predictive: True for draws of the prior and of the posterior predictive; or what `inference.predictive`
                returned, one or several.
            save_warmup: whether to add warmup_posterior and warmup_sample_stats.
            unconstrained: whether to add unconstrained_posterior: the coordinates without bounds of continuous choices.
            batch_size: draws scored or predicted at once, or "auto".

        Raises:
            DeadPopulationError: a run died.
            LawfulError: what is asked for needs draws that the result has not, or a dimension has two lengths.
        """
        from .datatree.tree import tree_of

        self._refuse_dead_runs()
        return tree_of(
            self,
            dims=dims,
            coords=coords,
            log_likelihood=log_likelihood,
            log_prior=log_prior,
            predictive=predictive,
            save_warmup=save_warmup,
            unconstrained=unconstrained,
            batch_size=batch_size,
        )

    def extend(self, draws: int) -> Result:
        """Go on with the chains of this result, for further draws a chain.

        Args:
            draws: how many.

        Returns: the result of a run that asked for all draws from the start, bit for bit; this one stays as it is.

        Raises: LawfulError where it cannot go on: it is no result of `mcmc(..., run=RunOptions())`, or was loaded.
        """
        if not isinstance(draws, int | np.integer) or draws < 1:
            raise LawfulError(f"extend: draws: expected an integer of 1 or more, got {draws!r}.")
        if self.more is None:
            raise LawfulError(
                "extend: this result cannot go on: only chains that were run in chunks keep what that needs, and a "
                "file does not hold it. Fix: inference.mcmc(..., run=inference.RunOptions()), or inference.resume for "
                "a run with a checkpoint."
            )
        return self.more(int(draws))

    def predict(self, model: Any, *args: Any, **options: Any) -> Predictive:
        """Run a program again at these draws; the same as `inference.predictive(result, model, *args)`."""
        from .predictive import predictive

        return predictive(self, model, *args, **options)

    def loo(self, var_name: str | None = None, **options: Any) -> Any:
        """Estimate leave-one-out predictive accuracy; an ELPDData of ArviZ.

        Args:
            var_name: the observed site or factor, where there are several.
            options: arguments of `arviz_stats.loo`, as `pointwise`.
        """
        from arviz_stats.loo import loo

        return loo(self.to_datatree(log_likelihood=True, log_prior=False), var_name=var_name, **options)

    def psense(self, **options: Any) -> pandas.DataFrame:
        """Tabulate how much the posterior follows the prior and the likelihood (power scaling).

        Args:
            options: arguments of `arviz_stats.psense_summary`, as `var_names`.
        """
        from arviz_stats.psense import psense_summary

        return psense_summary(self.to_datatree(log_likelihood=True, log_prior=True), **options)

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write to a file: netCDF where the name ends in .nc, a zarr store where it ends in .zarr.

        The file is the DataTree of `to_datatree(**options)`, which ArviZ and xarray read, together with what `load`
        needs: log likelihoods and predictions included, the program not. Its text and fingerprint are in `run`, where
        settings that are objects become their text, too. Runs that died are stored as well, and stay refused.

        Args:
            path: where to write.
            options: arguments of `to_datatree`, as `predictive`.
        """
        from .files import save

        save(self, path, **options)

    def report(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write one page of HTML that refers to nothing outside itself; it needs the extra `report`.

        The verdict stands first, with what to do; then a picture of the model, variables, predictions beside the data,
        every check with its limit, plots, evidence, plan, settings, times, versions, fingerprints, and what repeats the
        run.

        Args:
            path: where to write.
            options: `plan` and `command`, texts, as `plan.plan(*args)`; `plots`, in place of those that are drawn.

        Raises: LawfulError where jinja2 is not installed. Plots are left out where matplotlib is not.
        """
        from .report.report import write_report

        write_report(self, os.fspath(path), **options)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Result:
        """Read what `save` wrote: every array bit for bit, and the verdict.

        Raises: ResultFileError where the file is damaged, or is no file of a result.
        """
        from .files import load

        return load(path)

    def summary(self, **options: Any) -> pandas.DataFrame:
        """Return ArviZ's table of the variables.

        Draws of a population are resampled, so its table leaves out the effective sizes of chains, whose meaning
        duplicates break, and takes the Monte Carlo error from the spread over runs.

        Args:
            options: arguments of `arviz_stats.summary`, as `var_names`.
        """
        from .datatree.summary import summary

        return summary(self, **options)

    def _repr_html_(self) -> str | None:
        """Show the first screen of the report in a notebook; None, so that text stands there, without jinja2."""
        if find_spec("jinja2") is None:
            return None
        from .report.report import first_screen

        return first_screen(self)

    def __repr__(self) -> str:
        """Describe in at most 12 lines, the verdict first."""
        verdict = "ok" if self.ok else "NOT OK: " + ", ".join(bit.name or "" for bit in Status if bit in self.status)
        count = f"{len(self.runs)} {'chains' if self._weighted is None else 'runs'}"
        lines = [f"Result: {verdict}   [{self.sampler}, {count} x {leading(self._posterior)[1]} draws]"]
        lines += [_short(f"  {text}") for text in self.warnings[:4]]
        lines += [f"  ... and {len(self.warnings) - 4} more in .warnings"] if len(self.warnings) > 4 else []
        if self.log_evidence is not None:
            pooled, error = pooled_evidence(self.log_evidence)
            lines.append(f"  log evidence  {pooled:.3f} +- {error:.3f} over {len(np.asarray(self.log_evidence))} runs")
        if self._weighted is not None and len(self.runs):
            ess = kish_ess(self._weighted.log_weight)
            lines.append(
                f"  Kish ESS      {ess.min():.0f} to {ess.max():.0f} of {np.shape(self._weighted.log_weight)[1]}"
            )
        if np.size(self.stats.get("acceptance_rate", ())):
            rate = np.nanmean(np.asarray(self.stats["acceptance_rate"]))
            lines.append(f"  acceptance    {rate:.2f}")
        shapes = ", ".join(f"{name} {tuple(np.shape(a)[2:])}" for name, a in self._posterior.items())
        return "\n".join([*lines, _short(f"  variables     {shapes}")])

    def _outside_findings(self) -> Iterator[Finding]:
        from .outside_support import outside_counts

        if isinstance(self.form, Form) and self.args is not None and self._weighted is not None:
            counts = outside_counts(self.form, self.args, self._weighted.values)
            yield from outside_findings(self.limits, counts, np.shape(self._weighted.log_weight)[1])

    def _dead_at(self, run: int) -> int:
        dead_at = self.stats.get("dead_at")
        return -1 if dead_at is None else int(np.asarray(dead_at)[run])

    def _surviving_draws(self) -> Arrays:
        alive = np.asarray([place for place, run in enumerate(self.runs) if self._dead_at(run) < 0], dtype=int)
        return self._posterior if len(alive) == len(self.runs) else _rows(self._posterior, alive)

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
