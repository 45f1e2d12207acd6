"""Statistics of a tree: the numbers of chains and of populations, each along its own axes.

Law: a number belongs to a chain, to a draw or to a stage; a stage that was not used is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from lawful.late import arviz_base, arviz_stats, xarray

from ...findings.evidence import pooled_evidence
from ...findings.move_statistics import OF
from ...registered import method_of
from ..grouped import on_host
from ..record import Record

GROUP = "sample_stats_smc"


def by_component(group: str, stats: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Split the numbers of a composed kernel: those named `<number>@<component>` are a group of their own.

    >>> by_component("sample_stats", {"lp": 0.0, "accepted@0_mh": True})
    {'sample_stats': {'lp': 0.0}, 'sample_stats_0_mh': {'accepted': True}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, array in stats.items():
        own, _, component = name.partition(OF)
        found.setdefault(f"{group}_{component}" if component else group, {})[own] = array
    return found


def population_statistics(result: Record) -> dict[str, xarray.Dataset]:
    """Return the groups of a population: sample_stats_smc, and one for each part of a composed kernel.

    The first has stages, runs and what is pooled over them.
    """
    stats: dict[str, Any] = dict(result.stats)
    if "n_stages" in stats:
        stats = {name: _unused_as_nan(array, stats["n_stages"]) for name, array in stats.items()}
    stats["log_evidence"] = result.log_evidence
    if getattr(method_of(result.sampler), "independent", False):  # the tail of their weights tells
        stats["pareto_k"] = pareto_k(result._weighted.log_weight if result._weighted else ())
    pooled, error = pooled_evidence(result.log_evidence)
    found = {name: statistics(part, "stage") for name, part in by_component(GROUP, stats).items()}
    found[GROUP] = found[GROUP].assign(log_evidence_pooled=((), pooled), log_evidence_pooled_se=((), error))
    return found


def statistics(stats: Mapping[str, Any], second: str) -> xarray.Dataset:
    """Make a dataset of arrays (chain,) and (chain, ...), whose second axis has the given name."""
    arrays = on_host(stats)
    dims: dict[Hashable, Sequence[Hashable]] = {name: [second] for name, array in arrays.items() if array.ndim > 1}
    found = arviz_base.dict_to_dataset(arrays, sample_dims=["chain"], dims=dims)
    if second == "draw":
        found.attrs["sample_dims"] = ["chain", "draw"]  # where ArviZ looks for the dims of numbers of draws
    return found


def _unused_as_nan(array: Any, n_stages: Any) -> np.ndarray:
    whole = np.asarray(array)
    if whole.ndim < 2:
        return whole
    used = np.arange(whole.shape[1]) < np.asarray(n_stages)[:, None]
    used = used.reshape(*used.shape, *(1,) * (whole.ndim - 2))
    return whole if np.all(used) else np.where(used, whole, np.nan)


def pareto_k(log_weight: Any) -> np.ndarray:
    """Estimate the tail of the weights of each run; NaN where it cannot be told, as of few or of equal weights."""
    shapes = []
    for row in np.asarray(log_weight, dtype=float):
        try:
            # It takes log likelihoods, and weighs by their inverse.
            shapes.append(float(arviz_stats.base.array_stats.psislw(-row)[1]))
        except (ValueError, IndexError):
            shapes.append(math.nan)
    return np.array(shapes)
