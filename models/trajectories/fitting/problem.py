"""The problem that a call poses: columns read from a frame, the mixture named, units taken.

Law: the problem is a function of the columns and the settings alone; the order of persons changes nothing but theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from ..likelihood.penalties import Pooling
from ..model.curves import curve_of
from ..model.panels import panel
from ..model.parameters import Bounds, Model
from ..model.scaling import Scaling, scaling_of, standardised
from ..reading.constraints import constraints_of
from ..reading.read_frames import Measured, read_long, read_wide
from ..reading.settings import check_persons, check_times, names_of
from .objective import Problem

__all__ = ["problem_of", "read_columns"]

INNER = (0.02, 0.98)  # quantiles of the observed times that knots stay between
PEER_WIDTH = 1e-3  # in units of time, of the kink of a random knot: nlpsem has u^2 + 1e-6


def read_columns(
    data: Any, y_var: str, t_var: str, records: Any = None, id: str | None = None,
    cluster: str | Sequence[str] | None = (), growth: str | Sequence[str] | None = (),
    varying: str | Sequence[str] | None = (), center_time: str | None = None,
) -> Measured:  # fmt: skip
    """Read a frame, wide or long, by the names that `TrajectoryMixture.fit` takes.

    Args:
        data: a frame of pandas or polars, or a mapping of columns.
        y_var: the outcome.
        t_var: the time.
        records: numbers of the waves of wide data.
        id: column of the person in long data.
        cluster: gate covariates, or the one.
        growth: growth covariates, or the one.
        varying: time-varying covariates, or the one.
        center_time: "own_first", or None.

    Raises:
        LawfulError: both of `records` and `id` are given, or none; a column is missing or is no number.
        ObservationError: a value is missing where it must not be.

    >>> read_columns({"y": [1.0, 2.0], "t": [5.0, 6.0], "id": [0, 0]}, "y", "t", id="id", center_time="own_first").t
    array([[0., 1.]])
    """
    if (records is None) == (id is None):
        raise LawfulError(
            f"fit: records={records!r} and id={id!r}; expected one of them. Fix: give records= for wide data, one "
            "row a person, or id= for long data, one row a measurement."
        )
    if y_var == t_var:
        raise LawfulError(f"fit: y_var and t_var are both {y_var!r}. Fix: name the outcome and its time.")
    gates, movers = names_of(cluster, "gate"), names_of(growth, "growth")
    moving = names_of(varying, "time_varying")
    if records is not None:
        return read_wide(data, y_var, t_var, records, gates, movers, moving, center_time=center_time)
    return read_long(data, str(id), y_var, t_var, gates, movers, moving, center_time=center_time)


def problem_of(read: Measured, settings: Mapping[str, Any]) -> tuple[Model, Problem, Scaling]:
    """Say which mixture of which data, in standard units, and what these are.

    Args:
        read: the persons.
        settings: of `TrajectoryMixture`, by name, as `check_settings` lets them pass.

    Raises:
        LawfulError: there are fewer persons than classes, fewer times than growth factors, or no time between the
            bounds of knots.

    >>> from lawful.models.trajectories import TrajectoryMixture
    >>> rows = {"y": [1.0, 2.0, 4.0, 5.0], "t": [0.0, 1.0, 0.0, 1.0], "id": [0, 0, 1, 1]}
    >>> read = read_columns(rows, "y", "t", id="id")
    >>> problem_of(read, TrajectoryMixture(1, "LIN").get_params())[0].size
    6
    """
    check_persons(read, settings["n_classes"])
    held = constraints_of(settings)
    model = Model(
        curve_of(settings["curve"]).name, settings["n_classes"], len(read.gate_names), len(read.growth_names),
        bool(settings["intrinsic"]), settings["knot"] == "exact", settings["covariate_density"] == "joint",
        len(read.varying_names), read.y.shape[1] if read.varying_names else 0,
        held.equal, held.random, held.shape is not None,
    )  # fmt: skip
    if "shape" in held.equal and model.intrinsic and model.exact and model.p_growth and "slope" not in held.equal:
        raise LawfulError(
            f"TrajectoryMixture: equal={list(held.equal)} with knot='exact' and growth=, where the "
            f"{model.form.shape} of a class depends on where covariates are 0. Fix: hold 'slope' equal, too, or leave "
            "'shape' out."
        )
    seen = panel(read.y, read.t, read.gate, read.growth, read.varying)
    scaling = scaling_of(seen, model)
    standard = standardised(seen, scaling)
    times = read.t[np.isfinite(read.t)]
    check_times(read, model.form, shaped=False)
    given = settings["knot_bounds"]
    low, high = map(float, np.quantile(times, INNER) if given is None else given)
    if held.shape is not None:
        low, high = held.shape, np.nextafter(held.shape, np.inf)
    if model.curve == "BLS" and not times.min() <= low < high <= times.max():
        what = f"fixed={settings['fixed']!r}" if model.fixed else f"knot_bounds=({low:g}, {high:g})"
        raise LawfulError(
            f"TrajectoryMixture: {what}, and times go from {times.min():g} to {times.max():g}. Fix: stay within these "
            "times, or leave it out."
        )
    unit = scaling.t_scale ** (model.form.shape_power if model.fixed else 1)
    bounds = Bounds(*(jnp.asarray(end / unit) for end in ((low, low) if model.fixed else (low, high))))
    width = PEER_WIDTH / scaling.t_scale if model.curve == "BLS" and model.intrinsic and not model.exact else 0.0
    pooling = None
    if settings["penalty"] == "pooled":
        persons = 0.0 if settings["pooling"] is None else settings["pooling"]  # where it is left to be chosen
        pooling = Pooling(jnp.asarray(persons, float), jnp.mean(standard.mask, axis=1))
    return model, Problem(standard, bounds, jnp.asarray(width, float), pooling), scaling
