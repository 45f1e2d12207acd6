"""Masks: which elements of an observed site were observed, and what that makes of its data and its scores.

Law: an element that was not observed is NaN in the data and has no entry among the scores, so whoever counts entries
counts observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.form import Factor, Form, Site
from lawful.form.pipeline import per_form
from lawful.inspection.lint.settled import Answer, settled
from lawful.late import xarray
from lawful.passes.probe import Probe

type Arrays = Mapping[str, Any]


def masks_of(form: Form, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Compute the masks of observed sites that no choice can move and that leave something out.

    True = observed; the axes are the steps of loops and then those of the batch.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y, seen):
    ...     with lawful.plate("row", 2):
    ...         lawful.sample("y", dist.Normal(0.0, 1.0), obs=y, obs_mask=seen)
    >>> args = (np.array([0.5, np.nan]), np.array([True, False]))
    >>> masks_of(lawful.trace(model, *args), args)
    {'y': array([ True, False])}
    """
    if not any(_is_masked(site) for site in form.sites()):
        return {}
    masks = {part.name: array for part, array, _ in _reader(form)(inputs)}
    return {name: array for name, array in masks.items() if not array.all()}


@per_form
def _reader(form: Form) -> Callable[[Sequence[Any]], list[Answer]]:
    """Read the masks; where a choice moves one, what the scores are of differs from draw to draw."""
    return settled(form, _question)[1]


def _is_masked(site: Site) -> bool:
    return site.observed is not None and site.law.masked and not site.law.lanes


def _question(node: Site | Factor) -> Iterable[Probe]:
    if isinstance(node, Site) and _is_masked(node):
        shape = node.law.units
        yield Probe("mask", lambda mask: jnp.broadcast_to(mask, shape), node.parameters[:1])


def masked_data(observed: Arrays, masks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Put NaN where nothing was observed, whatever the data hold there.

    >>> masked_data({"y": np.array([3, 0])}, {"y": np.array([True, False])})
    {'y': array([ 3., nan])}
    """
    return {name: _holed(array, masks[name]) if name in masks else array for name, array in observed.items()}


def _holed(array: Any, mask: np.ndarray) -> np.ndarray:
    values = np.asarray(array)
    whole = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
    return np.where(whole, values, np.nan) if mask.shape == values.shape[: mask.ndim] else values


def entries(name: str, scores: np.ndarray, mask: np.ndarray, dims: Sequence[str], coords: Arrays) -> Any:
    """Keep the scores (chain, draw, ...) of what was observed, one after the other, with the place of each.

    The axes of the mask are the last, named by `dims`. Returns: an array of xarray with the axes chain, draw and
    `<name>_observed`; the places are its coordinates `<name>_observed_<dim>`.

    >>> entries("y", np.zeros((1, 4, 3)), np.array([True, False, True]), ["row"], {}).y_observed_row.values.tolist()
    [0, 2]
    """
    axis = f"{name}_observed"
    places = np.nonzero(mask) if mask.ndim else ()
    values = {
        f"{axis}_{dim}": (axis, np.asarray(coords[dim])[place] if dim in coords else place)
        for dim, place in zip(dims, places, strict=True)
    }
    kept = scores.reshape(*scores.shape[:2], -1)[..., mask.reshape(-1)]
    return xarray.DataArray(kept, dims=("chain", "draw", axis), coords=values, name=name)


def missing_entries(axis: str, array: Any, mask: np.ndarray) -> Any:
    """Keep the elements of an array of xarray where a mask is False.

    Args:
        axis: what to call their axis; its coordinate says where each element stands, as the axis of the mask does, and
            where the mask has several, as "2, 0".
        array: two axes of draws, then those of the mask, then others.
        mask: truth values, with an axis at least.

    >>> import xarray
    >>> array = xarray.DataArray(np.zeros((1, 4, 2, 2)), dims=("chain", "draw", "row", "time"))
    >>> found = missing_entries("y_missing", array, np.array([[True, False], [True, True]]))
    >>> found.dims, found.y_missing.values.tolist()
    (('chain', 'draw', 'y_missing'), ['0, 1'])
    """
    places, axes = np.nonzero(~mask), array.dims[2:]
    labels = [
        array.coords[dim].to_numpy()[place] if dim in array.coords else place
        for dim, place in zip(axes[: len(places)], places, strict=True)
    ]
    known = labels[0] if len(labels) == 1 else [", ".join(map(str, place)) for place in zip(*labels, strict=True)]
    values = array.to_numpy()[(slice(None), slice(None), *places)]
    return xarray.DataArray(values, dims=(*array.dims[:2], axis, *axes[mask.ndim :]), coords={axis: known})
