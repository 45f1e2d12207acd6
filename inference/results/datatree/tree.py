"""A result as an ArviZ 1.x DataTree: groups, dimensions and the convention for weights and evidence.

Law: conversion keeps every number; unused stages are NaN, in numeric arrays, so that files can hold them.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lawful.form.labels import fitting, labels_of
from lawful.late import arviz_base, xarray

from ...representations.element_terms import LogMarginals
from ..batches import BatchSize
from ..grouped import groups_tree, listed, on_host
from ..predictive import Predictive
from ..record import Record
from .groups import (
    density_groups,
    free_draws,
    known_data,
    marginal_group,
    masks_known,
    observed_dims,
    predictions_of,
    seen_entries,
    without_observed,
)
from .statistics import by_component, population_statistics, statistics

WEIGHT_SCALE = "mean weight one in each chain; exp(log_weight + log_evidence) / particles is the unnormalised measure"
LONG = 1000  # letters of a text that is no attribute, as that of a form


def tree_of(
    result: Record,
    *,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Any] | None = None,
    log_likelihood: bool | LogMarginals | None = None,
    log_prior: bool | None = None,
    predictive: bool | Predictive | Iterable[Predictive] = False,
    save_warmup: bool = False,
    unconstrained: bool = False,
    batch_size: BatchSize = "auto",
    in_full: bool = False,
) -> xarray.DataTree:
    """Convert a result; see `Result.to_datatree`. The draws of runs that died are converted, too.

    Files and stores need arrays as the program has them, which is what `in_full` asks for.
    """
    result = renamed(result, dims, coords)
    masks = masks_known(result)
    groups = {"posterior": result._posterior, **known_data(result, masks)}
    axes, values = {**observed_dims(result), **result.dims}, dict(result.coords)
    axes |= {f"{name}_mask": axes[name][: mask.ndim] for name, mask in masks.items() if name in axes}
    scores, score_dims = density_groups(result, log_likelihood, log_prior, batch_size)
    seen = seen_entries(scores, score_dims, masks, axes, values)
    groups |= marginal_group(result, axes)
    if save_warmup and result.warmup is not None:
        groups["warmup_posterior"] = result.warmup.posterior
    tree = groups_tree(groups, axes, values, save_warmup=save_warmup)
    axes_of_scores = {name: axes.get(name, own)[: len(own)] for name, own in score_dims.items()}
    if isinstance(log_likelihood, LogMarginals):
        axes_of_scores |= {name: log_likelihood.plates for name in scores["log_likelihood"]}
        values = {**log_likelihood.coords, **values}
    parts: list[tuple[Any, Any, Any]] = [(scores, axes_of_scores, values)]
    for made in predictions_of(result, predictive, batch_size):
        known = {n: v for n, v in values.items() if n != "chain"} if made.kind != "predictions" else {}
        parts.append((made.groups, {**axes, **made.dims}, {**known, **made.coords}))
    if unconstrained:
        free, free_dims = free_draws(result, batch_size)
        parts.append(({"unconstrained_posterior": free}, free_dims, values))
    for further in (groups_tree(*part) for part in parts):
        for name, node in further.children.items():
            tree[name] = xarray.DataTree(node.to_dataset())
    if seen:
        found = tree["log_likelihood"] if "log_likelihood" in tree.children else tree["posterior"]
        whole = found.to_dataset() if "log_likelihood" in tree.children else found.to_dataset()[["chain", "draw"]]
        tree["log_likelihood"] = xarray.DataTree(whole.assign(seen))
    if result._weighted is None:
        warm = result.warmup.stats if save_warmup and result.warmup is not None else {}
        for group, stats in (("sample_stats", result.stats), ("warmup_sample_stats", warm)):
            for name, part in by_component(group, stats).items():
                tree[name] = xarray.DataTree(statistics(part, "draw"))
    else:
        for name, numbers in population_statistics(result).items():
            tree[name] = xarray.DataTree(numbers)
        particles = on_host({**result._weighted.values, "log_weight": result._weighted.log_weight})
        dataset = arviz_base.dict_to_dataset(
            particles, sample_dims=["chain", "particle"], dims=listed(axes), coords=values
        )
        dataset["log_weight"].attrs["scale"] = WEIGHT_SCALE
        tree["weighted_posterior"] = xarray.DataTree(dataset)
    if not in_full:
        without_observed(tree, masks)
    tree.attrs.update(
        inference_library="lawful",
        inference_library_version=importlib.metadata.version("lawful"),
        sampler=result.sampler,
        sample_dims=["chain", "draw"],
        sampled_variables=list(result._posterior),
        status=int(result.status),
        **_plain(result.run),
    )
    tree.name = tree.attrs["name"] = name_of(result)  # files lose the name of a tree, and keep its attributes
    return tree


def renamed(result: Record, dims: Mapping[str, Sequence[str]] | None, coords: Mapping[str, Any] | None) -> Record:
    """Give a result further names of axes and values of dimensions; names change no verdict.

    Labels of plates and arguments stand behind those of the result, and these behind those that are given.
    """
    axes = {**result.dims, **{name: tuple(names) for name, names in (dims or {}).items()}}
    labels = labels_of(result.form, result.args)
    if labels:
        shapes = {name: np.shape(array)[2:] for name, array in result._posterior.items()}
        shapes |= {name: np.shape(array) for name, array in result.groups.get("observed_data", {}).items()}
        labels = fitting(labels, shapes, {**observed_dims(result), **axes})
    if not dims and not coords and not set(labels) - set(result.coords):
        return result
    named = replace(result, dims=axes, coords={**labels, **result.coords, **(coords or {})})
    named.__dict__["reasons"] = result.reasons
    return named


def name_of(result: Record) -> str:
    """Name a tree after its program, or else after its method."""
    name = getattr(result.model, "__name__", None) or str(result.run.get("name", ""))
    return name if name.isidentifier() else result.sampler


def _plain(run: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a file can hold as an attribute, a typed key as JSON; netCDF has no truth values."""
    flat = dict(run)
    if isinstance(run.get("seed"), Mapping):
        flat["seed"] = json.dumps(run["seed"])
    kept = {
        name: value for name, value in flat.items() if isinstance(value, str | int | float) and len(str(value)) < LONG
    }
    return {name: int(value) if isinstance(value, bool) else value for name, value in kept.items()}
