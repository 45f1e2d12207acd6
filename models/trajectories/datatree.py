"""A posterior of a mixture of trajectories as a DataTree of ArviZ.

Law: the group posterior holds the reported parameters in the user's units with classes renamed, so that chains agree on
names; log_likelihood has one number a person, in the user's units, and sums to that of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lawful.inference.datatree import groups_tree

if TYPE_CHECKING:
    import xarray

    from .posterior import TrajectoryPosterior

__all__ = ["tree_of"]

STATISTICS = ("sample_stats", "sample_stats_smc")


def tree_of(posterior: TrajectoryPosterior) -> xarray.DataTree:
    """Convert a posterior; dimensions are class, factor, covariates and person by name."""
    import xarray

    at, model, data = posterior.reported(), posterior.model, posterior.data
    form = model.form
    arrays: dict[str, Any] = {
        "size": posterior.sizes, "mean": at.mean, "covariance": at.chol, "residual_variance": at.noise,
    }  # fmt: skip
    if form.shape:
        arrays[form.shape] = at.shape[..., 0]
    if model.n_classes > 1:
        arrays["gate"] = at.gate
    if model.p_growth:
        arrays["effect"] = at.slope
    if model.p_growth and model.joint:
        arrays |= {"x_mean": at.x_mean, "x_covariance": at.x_chol}
    if at.varying is not None:
        arrays["direct_effect"] = at.varying.effect
        arrays |= {"varying_mean": at.varying.mean, "varying_variance": at.varying.spread} if model.joint else {}
    dims = {
        "size": ["class"], "mean": ["class", "factor"], "covariance": ["class", "random_factor", "random_factor_bis"],
        "residual_variance": ["class"], "gate": ["class", "gate_covariate"],
        "effect": ["class", "random_factor", "growth_covariate"], "x_mean": ["class", "growth_covariate"],
        "x_covariance": ["class", "growth_covariate", "growth_covariate_bis"], str(form.shape): ["class"],
        "direct_effect": ["class", "varying_covariate"], "varying_mean": ["class", "varying_covariate", "wave"],
        "varying_variance": ["class", "varying_covariate", "wave"],
        "persons": ["person"], data.y_name: ["person", "wave"], data.t_name: ["person", "wave"],
    }  # fmt: skip
    random = [*form.factors, *([form.shape] if model.intrinsic else [])]
    coords: dict[str, Any] = {
        "class": np.arange(1, model.n_classes + 1), "factor": list(form.factors), "random_factor": random,
        "random_factor_bis": random, "gate_covariate": ["intercept", *data.gate_names],
        "growth_covariate": list(data.growth_names), "growth_covariate_bis": list(data.growth_names),
        "varying_covariate": list(data.varying_names), "person": np.asarray(data.persons),
        "wave": np.arange(1, data.y.shape[1] + 1),
    }  # fmt: skip
    groups = {
        "posterior": arrays, "log_likelihood": {"persons": posterior.log_likelihood},
        "observed_data": {data.y_name: data.y}, "constant_data": {data.t_name: data.t},
    }  # fmt: skip
    tree = groups_tree(groups, {name: dims[name] for name in dims if name != "None"}, coords)
    told = posterior.result.to_datatree(log_likelihood=False, log_prior=False)
    for name in STATISTICS:
        if name in told.children:
            tree[name] = xarray.DataTree(told[name].to_dataset())
    tree.attrs.update(told.attrs)
    return tree
