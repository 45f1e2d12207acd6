"""Result: what every inference returns: a record with a verdict, and the files, trees and pages that are made of it.

Law: `posterior` holds equal-weight draws, one chain a run; `weighted` and `log_evidence` hold the unnormalised measure
that the run estimated, E[exp(log_evidence)] being the evidence. A run that died refuses samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.late import arviz_stats, pandas, xarray

from ..representations.element_terms import LogMarginals
from .batches import BatchSize
from .datatree.summary import summary
from .datatree.tree import tree_of
from .files import load, save
from .predictive import Predictive, predictive
from .record import Record
from .report.report import first_screen, write_report


class Result(Record):
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
        optima: of `maximise`, all maxima that were found; `posterior` has the values of the best one, as one draw.
        guide: of `guide`, the law that was fitted.
        beliefs: of `bp`, marginals with those of factors, messages and numbers on the run; None of one from a file.
    """

    def surviving(self) -> Result:
        """Return the result with the draws of the runs that did not die; evidence and findings still count every run.

        >>> import numpy as np
        >>> from lawful.inference.results.collect import from_population
        >>> log_w = np.array([[0.0, 0.0], [-np.inf, -np.inf]])
        >>> result = from_population({"x": np.ones((2, 2))}, log_w, [0.0, -np.inf], draws={"x": np.ones((2, 2))})
        >>> result.surviving().posterior["x"].shape, bool(np.exp(result.log_evidence_pooled) == 0.5)
        ((1, 2), True)
        """
        found = super().surviving()
        assert isinstance(found, Result)
        return found

    def to_datatree(
        self,
        *,
        dims: Mapping[str, Sequence[str]] | None = None,
        coords: Mapping[str, Any] | None = None,
        log_likelihood: bool | LogMarginals | None = None,
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
                where the result has the draws of every choice. Or the `log_marginals` of a plate, whose elements are
                scored with their own latent sites summed out.
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
        return predictive(self, model, *args, **options)

    def loo(self, var_name: str | None = None, *, log_likelihood: bool | LogMarginals = True, **options: Any) -> Any:
        """Estimate leave-one-out predictive accuracy; an ELPDData of ArviZ.

        Args:
            var_name: the observed site or factor, where there are several.
            log_likelihood: the `log_marginals` of a plate, to leave out an element with what is latent in it; True
                leaves out one datum given its latent sites.
            options: arguments of `arviz_stats.loo`, as `pointwise`.
        """
        if isinstance(log_likelihood, LogMarginals):
            log_likelihood.refuse_if_linked("loo")
        tree = self.to_datatree(log_likelihood=log_likelihood, log_prior=False)
        return arviz_stats.loo(tree, var_name=var_name, **options)

    def psense(self, **options: Any) -> pandas.DataFrame:
        """Tabulate how much the posterior follows the prior and the likelihood (power scaling).

        Args:
            options: arguments of `arviz_stats.psense_summary`, as `var_names`.
        """
        return arviz_stats.psense_summary(self.to_datatree(log_likelihood=True, log_prior=True), **options)

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write to a file: netCDF where the name ends in .nc, a zarr store where it ends in .zarr.

        The file is the DataTree of `to_datatree(**options)`, which ArviZ and xarray read, together with what `load`
        needs: log likelihoods and predictions included, the program not. Its text and fingerprint are in `run`, where
        settings that are objects become their text, too. Runs that died are stored as well, and stay refused.

        Args:
            path: where to write.
            options: arguments of `to_datatree`, as `predictive`.
        """
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
        write_report(self, os.fspath(path), **options)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Result:
        """Read what `save` wrote: every array bit for bit, and the verdict.

        Raises: ResultFileError where the file is damaged, or is no file of a result.
        """
        return load(path, Result)

    def summary(self, **options: Any) -> pandas.DataFrame:
        """Return ArviZ's table of the variables.

        Draws of a population are resampled, so its table leaves out the effective sizes of chains, whose meaning
        duplicates break, and takes the Monte Carlo error from the spread over runs.

        Args:
            options: arguments of `arviz_stats.summary`, as `var_names`.
        """
        return summary(self, **options)

    def _repr_html_(self) -> str | None:
        """Show the first screen of the report in a notebook; None, so that text stands there, without jinja2."""
        if find_spec("jinja2") is None:
            return None
        return first_screen(self)
