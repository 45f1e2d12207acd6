"""A posterior of a mixture of trajectories as a DataTree of ArviZ.

Law: the group posterior holds the reported parameters in the user's units with classes renamed, so that chains agree on
names; log_likelihood has one number a person, and with log_evidence is of the data in the user's units.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np

from lawful.inference import Status, pooled_evidence

from ..reading.settings import whole
from .posterior_summaries import PosteriorSummaries
from .predictive_checks import REPLICATES, replicated_at

if TYPE_CHECKING:
    import xarray

__all__ = ["tree_of"]


def tree_of(posterior: PosteriorSummaries, predictive: int | bool = False, key: Any = 0) -> xarray.DataTree:
    """Convert a posterior; dimensions are class, factor, covariates, person and wave by name.

    Args:
        posterior: of a mixture of trajectories.
        predictive: from how many draws, evenly spaced in each chain, the group posterior_predictive is made; True for
            200.
        key: a key of `jax.random`, or a seed, for these.
    """
    import arviz_base
    import xarray

    model, data = posterior.model, posterior.data
    arrays, dims = _parameters(posterior)
    classes = np.arange(1, model.n_classes + 1)
    random = [*model.form.factors, *([model.form.shape] if model.intrinsic else [])]
    coords: dict[str, Any] = {
        "class": classes, "compared_class": np.delete(classes, posterior.reference),
        "factor": list(model.form.factors), "random_factor": random, "random_factor_bis": random,
        "gate_covariate": ["intercept", *data.gate_names],
        "growth_covariate": list(data.growth_names), "growth_covariate_bis": list(data.growth_names),
        "varying_covariate": list(data.varying_names), "person": np.asarray(data.persons),
        "wave": np.arange(1, data.y.shape[1] + 1), "draw": posterior.kept,
    }  # fmt: skip
    taken = {*dims, *coords, "chain", "persons", "parameters"}
    y_name, t_name = _apart(data.y_name, taken), _apart(data.t_name, {*taken, data.y_name})
    dims |= {"persons": ["person"], y_name: ["person", "wave"], t_name: ["person", "wave"]}
    groups = {
        "posterior": arrays, "log_likelihood": {"persons": posterior.log_likelihood_by_person},
        "log_prior": {"parameters": posterior.log_prior},
        "observed_data": {y_name: data.y}, "constant_data": {t_name: data.t},
    }  # fmt: skip
    tree = arviz_base.from_dict(groups, dims=dims, coords=coords)
    if predictive is not False and predictive != 0:
        chains, draws = posterior.shape
        count = whole("to_datatree", "predictive", REPLICATES if predictive is True else predictive)
        own = np.linspace(0, draws - 1, min(draws, -(-count // chains))).round().astype(int)
        places = (draws * np.arange(chains)[:, None] + own).reshape(-1)
        again = replicated_at(posterior, key, places).reshape(chains, len(own), *data.y.shape)
        drawn = {"posterior_predictive": {y_name: again}}
        made = arviz_base.from_dict(drawn, dims=dims, coords={**coords, "draw": posterior.kept[own]})
        tree["posterior_predictive"] = xarray.DataTree(made["posterior_predictive"].to_dataset())
    told = posterior.result.to_datatree(log_likelihood=False, log_prior=False)
    if "sample_stats" in told.children:
        tree["sample_stats"] = xarray.DataTree(told["sample_stats"].to_dataset().isel(draw=posterior.kept))
    if "sample_stats_smc" in told.children:
        pooled, error = pooled_evidence(posterior.log_evidence_by_run)
        statistics = told["sample_stats_smc"].to_dataset().assign(
            log_evidence=("chain", posterior.log_evidence_by_run), log_evidence_pooled=((), pooled),
            log_evidence_pooled_se=((), error),
        )  # fmt: skip
        tree["sample_stats_smc"] = xarray.DataTree(statistics)
    status = functools.reduce(operator.or_, (finding.status for finding in posterior.reasons), Status(0))
    tree.attrs.update({**told.attrs, "sampled_variables": list(arrays), "status": int(status)})
    return tree


def _parameters(posterior: PosteriorSummaries) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Give the reported parameters that vary by name, and the names of their axes after chain and draw."""
    at, model = posterior.reported(), posterior.model
    found: dict[str, tuple[Any, list[str]]] = {
        "mean": (at.mean, ["class", "factor"]), "residual_variance": (at.noise, ["class"]),
        "covariance": (at.chol, ["class", "random_factor", "random_factor_bis"]),
    }  # fmt: skip
    if model.form.shape:
        found[model.form.shape] = at.shape[..., 0], ["class"]
    if model.n_classes > 1:
        found["size"] = posterior.sizes, ["class"]
        found["gate"] = np.delete(at.gate, posterior.reference, axis=2), ["compared_class", "gate_covariate"]
    if model.p_growth:
        found["effect"] = at.slope, ["class", "random_factor", "growth_covariate"]
    if model.p_growth and model.joint:
        found["x_mean"] = at.x_mean, ["class", "growth_covariate"]
        found["x_covariance"] = at.x_chol, ["class", "growth_covariate", "growth_covariate_bis"]
    if at.varying is not None:
        found["direct_effect"] = at.varying.effect, ["class", "varying_covariate"]
    if at.varying is not None and model.joint:
        found["varying_mean"] = at.varying.mean, ["class", "varying_covariate", "wave"]
        found["varying_variance"] = at.varying.spread, ["class", "varying_covariate", "wave"]
    return {name: array for name, (array, _) in found.items()}, {name: axes for name, (_, axes) in found.items()}


def _apart(name: str, taken: Container[str]) -> str:
    """Give a column a name of its own where a parameter or an axis has it already."""
    return name if name not in taken else f"{name}_column"
