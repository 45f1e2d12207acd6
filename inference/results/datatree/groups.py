"""Groups of a tree: what a result and its program make together, as data, log densities, coordinates and predictions.

Law: what is computed here is computed at the draws of the result, so it is the same in every tree of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of, dims_of
from lawful.late import arviz_base, xarray
from lawful.tracing.trace import Rewritten

from ...eager.terms import density_terms
from ...representations.element_terms import LogMarginals
from ..arguments import constant_arguments
from ..batches import BatchSize
from ..grouped import listed
from ..log_densities import absent_choices, densities, marginals_at
from ..masks import entries, masked_data, masks_of, missing_entries
from ..predictive import Predictive
from ..predictive import predictive as predicted
from ..record import Record
from ..unconstrained import unconstrained as unconstrained_draws

PRIOR_DRAWS = 1000  # of the groups prior and prior_predictive


def masks_known(result: Record) -> dict[str, np.ndarray]:
    """Return which elements of observed sites were observed, where some were not and the program is known."""
    if not isinstance(result.form, Form) or result.args is None:
        return {}
    return masks_of(result.form, split_arguments(result.args)[0])


def known_data(result: Record, masks: Mapping[str, np.ndarray] | None = None) -> dict[str, Mapping[str, Any]]:
    """Return the groups of a result: arguments of its program, and masks (`masks_known`), are constant_data."""
    groups: dict[str, Mapping[str, Any]] = dict(result.groups)
    observed = groups.get("observed_data", {})
    if "constant_data" not in groups and result.args is not None:
        groups["constant_data"] = constant_arguments(result.model, result.args, observed)
    masks = masks_known(result) if masks is None else masks
    if masks and observed:
        groups["observed_data"] = masked_data(observed, masks)
        groups["constant_data"] = {**groups.get("constant_data", {}), **{f"{n}_mask": m for n, m in masks.items()}}
    return {name: group for name, group in groups.items() if len(group)}


def marginal_group(result: Record, dims: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Give the group of marginals, as an axis of values behind the axes of each site."""
    if result.beliefs is None:
        return {}
    arrays = {name: np.asarray(own) for name, own in result.marginals.items()}
    axes = {name: (*dims.get(name, ())[: own.ndim - 1], f"{name}_value") for name, own in arrays.items()}
    states = {name: result.beliefs.values_of(name) for name in arrays}
    values = {f"{name}_value": np.asarray(own) for name, own in states.items() if own is not None}
    dataset = arviz_base.dict_to_dataset(arrays, sample_dims=[], dims=listed(axes), coords={**values})
    return {"marginals": dataset}


def density_groups(
    result: Record, log_likelihood: bool | LogMarginals | None, log_prior: bool | None, batch_size: BatchSize
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, tuple[str, ...]]]:
    """Compute the groups log_likelihood and log_prior; with None, where the result has what they need."""
    form = result.form
    if isinstance(log_likelihood, LogMarginals):
        groups, dims = density_groups(result, False, log_prior, batch_size)
        name, array = "_".join(log_likelihood.sites), marginals_at(log_likelihood, result._posterior, batch_size)
        return {**groups, "log_likelihood": {name: array}}, {**dims, name: log_likelihood.plates}
    wanted = {"log_likelihood": log_likelihood, "log_prior": log_prior}
    wanted = {name: ask for name, ask in wanted.items() if ask is not False and name not in result.groups}
    if result.traces is not None and result.args is not None and wanted:
        try:
            terms, dims = density_terms(result.model, result.args, result.traces)
        except LawfulError as error:  # the program does not repeat its runs
            if any(wanted.values()):
                raise
            warnings.warn(f"log densities are left out: {error}", stacklevel=2)
            return {}, {}
        return {name: terms[name] for name in wanted if terms[name]}, dims
    able = isinstance(form, Form) and result.args is not None and not absent_choices(form, result._posterior)
    if not any(wanted.values()) and not (able and wanted):
        return {}, {}
    if not isinstance(form, Form) or result.args is None:
        raise _not_known()
    made = densities(form, result.args, result._posterior, batch_size)
    found = {"log_likelihood": made.log_likelihood, "log_prior": made.log_prior}
    return {name: found[name] for name in wanted if found[name]}, made.dims


def seen_entries(
    scores: dict[str, dict[str, np.ndarray]],
    score_dims: Mapping[str, tuple[str, ...]],
    masks: Mapping[str, np.ndarray],
    dims: Mapping[str, tuple[str, ...]],
    coords: Mapping[str, Any],
) -> dict[str, Any]:
    """Take the scores of masked sites out of their group, as arrays of what was observed alone."""
    group, found = scores.get("log_likelihood", {}), {}
    for name, mask in masks.items():
        if name in group and group[name].shape[2:] == mask.shape:
            axes = dims.get(name, score_dims.get(name, ()))[: mask.ndim]
            found[name] = entries(name, group.pop(name), mask, axes, coords)
    if not group:
        scores.pop("log_likelihood", None)
    return found


def without_observed(tree: xarray.DataTree, masks: Mapping[str, np.ndarray]) -> None:
    """Leave out of every group what `<name>.missing` holds for the elements that were observed, which is nothing."""
    for group, node in tree.children.items():
        data, found = node.to_dataset(), {}
        for name, mask in masks.items():
            part = f"{name}.missing"
            if mask.ndim and part in data and data[part].shape[2 : 2 + mask.ndim] == mask.shape:
                found[part] = missing_entries(f"{name}_missing", data[part], mask)
        if found:
            kept = data.drop_vars(found).assign(found)
            used = {dim for array in kept.data_vars.values() for dim in array.dims}
            tree[group] = xarray.DataTree(kept.drop_dims(set(kept.dims) - used)[list(data.data_vars)])


def free_draws(result: Record, batch_size: BatchSize) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Compute the group unconstrained_posterior, with the names of axes that the result has."""
    if not isinstance(result.form, Form) or result.args is None:
        raise _not_traced(result)
    arrays, dims = unconstrained_draws(result.form, result.args, result._posterior, batch_size)
    named = {
        n: result.dims[n] for n in arrays if arrays[n].shape == np.shape(result._posterior[n]) and n in result.dims
    }
    return arrays, {**dims, **named}


def predictions_of(result: Record, wanted: bool | Any, batch_size: BatchSize) -> list[Predictive]:
    """Make what `to_datatree(predictive=)` asks for: True is draws of the prior and of the posterior predictive."""
    if wanted is False:
        return []
    if wanted is not True:
        return [wanted] if isinstance(wanted, Predictive) else list(wanted)
    if not isinstance(result.form, Form) or result.args is None:
        raise _not_traced(result)
    total = int(np.prod([np.shape(array)[:2] for array in result._posterior.values()][0])) if result._posterior else 0
    program = result.model if isinstance(result.model, Rewritten) else result.form  # the rule may take sites away
    prior = predicted(None, program, *result.args, draws=min(PRIOR_DRAWS, max(total, 1)), batch_size=batch_size)
    posterior = predicted(result, program, *result.args, key=1, batch_size=batch_size)
    return [prior, posterior]


def _not_traced(result: Record) -> LawfulError:
    if result.traces is not None:
        return LawfulError(
            "predictions and unconstrained draws are those of a traced program, and this result is of mode='eager'. "
            "Fix: leave out predictive= and unconstrained=, and run the program at the choices of result.traces."
        )
    return _not_known()


def _not_known() -> LawfulError:
    return LawfulError(
        "the result does not know its program and arguments, so log densities and predictions cannot be computed: it "
        "was read from a file or made by hand. Fix: ask for them before the result is saved, or call "
        "inference.predictive(result, model, *args)."
    )


def observed_dims(result: Record) -> dict[str, tuple[str, ...]]:
    """Name the axes of the observed sites, as those of the choices."""
    return dims_of(choices_of(result.form, ("observed",))) if isinstance(result.form, Form) else {}
