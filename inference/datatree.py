"""A result as an ArviZ 1.x DataTree: groups, dimensions and the convention for weights and evidence.

Law: conversion keeps every number; unused stages are NaN, in numeric arrays, so that files can hold them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .evidence import pooled_evidence

if TYPE_CHECKING:
    import pandas
    import xarray

    from .result import Result


def to_datatree(result: Result, *, save_warmup: bool = False) -> xarray.DataTree:
    """Convert a result; see `Result.to_datatree`."""
    import arviz_base
    import xarray

    groups = {"posterior": result.posterior, **result.groups}
    if save_warmup and result.warmup is not None:
        groups["warmup_posterior"] = result.warmup.posterior
    coords = dict(result.coords)
    tree = arviz_base.from_dict(
        {name: _on_host(group) for name, group in groups.items()},
        dims=_dims(result),
        coords=coords,
        save_warmup=save_warmup,
    )
    weighted = result.weighted
    if weighted is None:
        if result.stats:
            tree["sample_stats"] = xarray.DataTree(_statistics(result.stats, "draw"))
        if save_warmup and result.warmup is not None and result.warmup.stats:
            tree["warmup_sample_stats"] = xarray.DataTree(_statistics(result.warmup.stats, "draw"))
    else:
        tree["sample_stats_smc"] = xarray.DataTree(_population_statistics(result))
        particles = _on_host({**weighted.values, "log_weight": weighted.log_weight})
        tree["weighted_posterior"] = xarray.DataTree(
            arviz_base.dict_to_dataset(particles, sample_dims=["chain", "particle"], dims=_dims(result), coords=coords)
        )
    tree.attrs.update(
        inference_library="lawful",
        inference_library_version=importlib.metadata.version("lawful"),
        sampler=result.sampler,
        sample_dims=["chain", "draw"],
        status=int(result.status),
        **_plain(result.run),
    )
    return tree


def summary(result: Result, **options: Any) -> pandas.DataFrame:
    """Tabulate the variables; see `Result.summary`."""
    import arviz_base
    from arviz_stats.summary import summary as table_of

    tree = result.to_datatree()
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
        dims=_dims(result),
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
    from arviz_stats.base.array import array_stats

    log_weight = np.asarray(result.weighted.log_weight, dtype=float) if result.weighted else np.empty((0, 0))
    return np.array([array_stats.psislw(row)[1] for row in log_weight])


def _dims(result: Result) -> dict[Hashable, Sequence[Hashable]]:
    return {name: list(dims) for name, dims in result.dims.items()}


def _on_host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}


def _plain(run: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a file can hold as an attribute; netCDF has no truth values."""
    kept = {name: value for name, value in run.items() if isinstance(value, str | int | float)}
    return {name: int(value) if isinstance(value, bool) else value for name, value in kept.items()}
