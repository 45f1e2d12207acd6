"""A result as an ArviZ 1.x DataTree: groups, dimensions and the convention for weights and evidence.

Law: conversion keeps every number; unused stages are NaN, in numeric arrays, so that files can hold them.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.record import choices_of, dims_of

from .arguments import constant_arguments
from .batches import BatchSize
from .densities import absent_choices, densities
from .evidence import pooled_evidence
from .predictive import Predictive
from .predictive import predictive as predicted

if TYPE_CHECKING:
    import pandas
    import xarray

    from .result import Result

PRIOR_DRAWS = 1000  # of the groups prior and prior_predictive
WEIGHT_SCALE = "mean weight one in each chain; exp(log_weight + log_evidence) / particles is the unnormalised measure"
LONG = 1000  # letters of a text that is no attribute, as that of a form


def tree_of(
    result: Result,
    *,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Any] | None = None,
    log_likelihood: bool | None = None,
    log_prior: bool | None = None,
    predictive: bool | Predictive | Iterable[Predictive] = False,
    save_warmup: bool = False,
    batch_size: BatchSize = "auto",
) -> xarray.DataTree:
    """Convert a result; see `Result.to_datatree`. The draws of runs that died are converted, too."""
    import arviz_base
    import xarray

    result = renamed(result, dims, coords)
    groups = {"posterior": result._posterior, **known_data(result)}
    axes, values = {**_observed_dims(result), **result.dims}, dict(result.coords)
    scores, score_dims = density_groups(result, log_likelihood, log_prior, batch_size)
    if save_warmup and result.warmup is not None:
        groups["warmup_posterior"] = result.warmup.posterior
    tree = groups_tree(groups, axes, values, save_warmup=save_warmup)
    axes_of_scores = {name: axes.get(name, own)[: len(own)] for name, own in score_dims.items()}
    parts: list[tuple[Any, Any, Any]] = [(scores, axes_of_scores, values)]
    inside = {name: value for name, value in values.items() if name != "chain"}
    for made in predictions_of(result, predictive, batch_size):
        parts.append((made.groups, {**axes, **made.dims}, {**inside, **made.coords}))
    for further in (groups_tree(*part) for part in parts):
        for name, node in further.children.items():
            tree[name] = xarray.DataTree(node.to_dataset())
    if result._weighted is None:
        if result.stats:
            tree["sample_stats"] = xarray.DataTree(_statistics(result.stats, "draw"))
        if save_warmup and result.warmup is not None and result.warmup.stats:
            tree["warmup_sample_stats"] = xarray.DataTree(_statistics(result.warmup.stats, "draw"))
    else:
        tree["sample_stats_smc"] = xarray.DataTree(_population_statistics(result))
        particles = _on_host({**result._weighted.values, "log_weight": result._weighted.log_weight})
        dataset = arviz_base.dict_to_dataset(
            particles, sample_dims=["chain", "particle"], dims=_listed(axes), coords=values
        )
        dataset["log_weight"].attrs["scale"] = WEIGHT_SCALE
        tree["weighted_posterior"] = xarray.DataTree(dataset)
    tree.attrs.update(
        inference_library="lawful",
        inference_library_version=importlib.metadata.version("lawful"),
        sampler=result.sampler,
        sample_dims=["chain", "draw"],
        sampled_variables=list(result._posterior),
        status=int(result.status),
        **_plain(result.run),
    )
    return tree


def renamed(result: Result, dims: Mapping[str, Sequence[str]] | None, coords: Mapping[str, Any] | None) -> Result:
    """Give a result further names of axes and values of dimensions; names change no verdict."""
    if not dims and not coords:
        return result
    axes = {**result.dims, **{name: tuple(names) for name, names in (dims or {}).items()}}
    named = replace(result, dims=axes, coords={**result.coords, **(coords or {})})
    named.__dict__["reasons"] = result.reasons
    return named


def groups_tree(
    groups: Mapping[str, Mapping[str, Any]],
    dims: Mapping[Any, Sequence[Any]],
    coords: Mapping[str, Any],
    *,
    save_warmup: bool = False,
) -> xarray.DataTree:
    """Convert groups of arrays; a constant that is named like a dimension is left out, as no dataset can hold it."""
    import arviz_base
    import xarray

    axes = {axis for names in dims.values() for axis in names} | set(coords)
    arrays = {name: _on_host(group) for name, group in groups.items() if not isinstance(group, xarray.Dataset)}
    if "constant_data" in arrays:
        arrays["constant_data"] = {n: a for n, a in arrays["constant_data"].items() if n not in axes}
    listed = _listed(dims)
    tree = arviz_base.from_dict(
        arrays, dims=listed, coords=dict(coords), pred_dims=listed, pred_coords=dict(coords), save_warmup=save_warmup
    )
    for name, group in groups.items():
        if isinstance(group, xarray.Dataset):  # as a file gave it
            tree[name] = xarray.DataTree(group)
    return tree


def known_data(result: Result) -> dict[str, Mapping[str, Any]]:
    """Return the groups of a result, with the arguments of its program as constant_data where they are known."""
    groups: dict[str, Mapping[str, Any]] = dict(result.groups)
    if "constant_data" not in groups and result.args is not None:
        groups["constant_data"] = constant_arguments(result.model, result.args, groups.get("observed_data", {}))
    return {name: group for name, group in groups.items() if len(group)}


def density_groups(
    result: Result, log_likelihood: bool | None, log_prior: bool | None, batch_size: BatchSize
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, tuple[str, ...]]]:
    """Compute the groups log_likelihood and log_prior; with None, where the result has what they need."""
    form = result.form
    wanted = {"log_likelihood": log_likelihood, "log_prior": log_prior}
    wanted = {name: ask for name, ask in wanted.items() if ask is not False and name not in result.groups}
    able = isinstance(form, Form) and result.args is not None and not absent_choices(form, result._posterior)
    if not any(wanted.values()) and not (able and wanted):
        return {}, {}
    if not isinstance(form, Form) or result.args is None:
        raise _not_known()
    made = densities(form, result.args, result._posterior, batch_size)
    found = {"log_likelihood": made.log_likelihood, "log_prior": made.log_prior}
    return {name: found[name] for name in wanted if found[name]}, made.dims


def predictions_of(result: Result, wanted: bool | Any, batch_size: BatchSize) -> list[Predictive]:
    """Make what `to_datatree(predictive=)` asks for: True is draws of the prior and of the posterior predictive."""
    if wanted is False:
        return []
    if wanted is not True:
        return [wanted] if isinstance(wanted, Predictive) else list(wanted)
    if not isinstance(result.form, Form) or result.args is None:
        raise _not_known()
    total = int(np.prod([np.shape(array)[:2] for array in result._posterior.values()][0])) if result._posterior else 0
    prior = predicted(None, result.form, *result.args, draws=min(PRIOR_DRAWS, max(total, 1)), batch_size=batch_size)
    posterior = predicted(result, result.form, *result.args, key=1, batch_size=batch_size)
    return [prior, posterior]


def summary(result: Result, **options: Any) -> pandas.DataFrame:
    """Tabulate the variables; see `Result.summary`."""
    import arviz_base
    from arviz_stats.summary import summary as table_of

    result._refuse_dead_runs()
    tree = tree_of(result, log_likelihood=False, log_prior=False)
    table = table_of(tree, **options)
    if result.weighted is None:
        return table
    # Duplicates break the effective sizes of chains: the error comes from independent runs.
    table = table.drop(columns=[name for name in table.columns if name.startswith(("ess_", "mcse_"))])
    kept = {name: value for name, value in options.items() if name in ("var_names", "filter_vars", "coords")}
    means = {name: np.asarray(array, dtype=float).mean(axis=1) for name, array in result.posterior.items()}
    runs = len(result.runs)
    by_run = arviz_base.dict_to_dataset(
        means,
        sample_dims=["chain"],
        dims=_listed(result.dims),
        coords=dict(result.coords),
    )
    spread = table_of(by_run, sample_dims=["chain"], kind="stats", round_to="none", **kept)
    if runs > 1:
        table["mcse_runs"] = spread["sd"] / np.sqrt(runs)
    return table


def _population_statistics(result: Result) -> xarray.Dataset:
    stats: dict[str, Any] = dict(result.stats)
    if "n_stages" in stats:
        stats = {name: _unused_as_nan(array, stats["n_stages"]) for name, array in stats.items()}
    stats["log_evidence"] = result.log_evidence
    if result.sampler == "importance":
        stats["pareto_k"] = _pareto_k(result)
    pooled, error = pooled_evidence(result.log_evidence)
    return _statistics(stats, "stage").assign(log_evidence_pooled=((), pooled), log_evidence_pooled_se=((), error))


def _statistics(stats: Mapping[str, Any], second: str) -> xarray.Dataset:
    import arviz_base

    arrays = _on_host(stats)
    dims: dict[Hashable, Sequence[Hashable]] = {name: [second] for name, array in arrays.items() if array.ndim > 1}
    return arviz_base.dict_to_dataset(arrays, sample_dims=["chain"], dims=dims)


def _unused_as_nan(array: Any, n_stages: Any) -> np.ndarray:
    whole = np.asarray(array)
    if whole.ndim < 2:
        return whole
    used = np.arange(whole.shape[1]) < np.asarray(n_stages)[:, None]
    used = used.reshape(*used.shape, *(1,) * (whole.ndim - 2))
    return whole if np.all(used) else np.where(used, whole, np.nan)


def _pareto_k(result: Result) -> np.ndarray:
    """Estimate the tail of the weights of each run; NaN where it cannot be told, as of few or of equal weights."""
    from arviz_stats.base.array import array_stats

    shapes = []
    for row in np.asarray(result._weighted.log_weight, dtype=float) if result._weighted else ():
        try:
            shapes.append(float(array_stats.psislw(row)[1]))
        except ValueError:
            shapes.append(math.nan)
    return np.array(shapes)


def _not_known() -> LawfulError:
    return LawfulError(
        "the result does not know its program and arguments, so log densities and predictions cannot be computed: it "
        "was read from a file or made by hand. Fix: ask for them before the result is saved, or call "
        "inference.predictive(result, model, *args)."
    )


def _observed_dims(result: Result) -> dict[str, tuple[str, ...]]:
    """Name the axes of the observed sites, as those of the choices."""
    return dims_of(choices_of(result.form, ("observed",))) if isinstance(result.form, Form) else {}


def _listed(dims: Mapping[Any, Sequence[Any]]) -> dict[Hashable, Sequence[Hashable]]:
    return {name: list(axes) for name, axes in dims.items()}


def _on_host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}


def _plain(run: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a file can hold as an attribute; netCDF has no truth values."""
    kept = {
        name: value for name, value in run.items() if isinstance(value, str | int | float) and len(str(value)) < LONG
    }
    return {name: int(value) if isinstance(value, bool) else value for name, value in kept.items()}
