"""Settings: what a user asks of a mixture of trajectories, refused before any work where it cannot be meant.

Law: every refusal tells what was given, what was expected and what to do; a setting that passes has its plain meaning.

Priors are about the first growth factor, the level at time 0 (of a spline, at the knot), where growth covariates are 0;
nothing is moved silently, so data far from there are told of, or refused where no scale of a prior would help.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from lawful.errors import LawfulError, ObservationError

from ..model.curves import Curve, curve_of
from ..model.parameters import Bounds, Model, Parameters, unpack
from .constraints import constraints_of
from .measured import Measured

__all__ = [
    "check_interval",
    "check_level",
    "check_origins",
    "check_persons",
    "check_settings",
    "check_start",
    "check_times",
    "names_of",
    "spaced",
    "whole",
]

CHOICES: dict[str, tuple[Any, ...]] = {
    "knot": ("taylor", "exact"), "covariate_density": ("joint", "conditional"), "penalty": (None, "weak", "pooled"),
    "smoothing": ("mixed", "on", "off"), "intrinsic": (True, False),
}  # fmt: skip
INTERVALS = ("mean", "curve", "outcome")  # of predicted outcomes
FARTHEST = {"EXP": 10.0, "JB": 10.0, "QUAD": 100.0}  # from 0 to the nearest time, in ranges of times: e^-5 of a bend is
# left at the least rate of a start, and the columns 1, t and t^2 are alike but for 1e-8
FAR = 0.5  # ranges of the times from the nearest one to time 0
OFF = 3.0  # standard deviations of a covariate from its mean to 0


def check_settings(settings: Mapping[str, Any], started: bool = False) -> None:
    """Refuse settings that do not exist.

    Args:
        settings: of a `TrajectoryMixture`, by name.
        started: whether the user gives a start, so that there need be no random one.

    Raises:
        LawfulError: a setting is none of those known.
    """
    for name, known in CHOICES.items():
        if not any(settings[name] is each or _equal(settings[name], each) for each in known):
            raise LawfulError(f"TrajectoryMixture: {name}={settings[name]!r}. Fix: give one of {known}.")
    form = curve_of(settings["curve"])
    if settings["intrinsic"] and form.shape is None:
        raise LawfulError(
            f"TrajectoryMixture: intrinsic=True, and the {form.long_name} curve has no shape parameter. Fix: leave "
            "intrinsic out, or take curve 'EXP', 'JB' or 'BLS'."
        )
    for name, least in (("n_classes", 1), ("n_starts", 0 if started else 1), ("reference", 1), ("seed", 0)):
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise LawfulError(
                f"TrajectoryMixture: {name}={value!r}, expected a whole number from {least}. Fix: give one."
            )
    if settings["reference"] > settings["n_classes"]:
        raise LawfulError(
            f"TrajectoryMixture: reference={settings['reference']} of {settings['n_classes']} classes. Fix: name one."
        )
    _check_pooling(settings["penalty"], settings["pooling"])
    constraints_of(settings)
    bounds = settings["knot_bounds"]
    if bounds is not None and not _ascending(bounds):
        raise LawfulError(
            f"TrajectoryMixture: knot_bounds={bounds!r}, expected (low, high). Fix: give two times, low below high."
        )


def names_of(given: Any, what: str) -> list[str]:
    """Give names of columns as a list, those of one name or of none too.

    >>> names_of("x", "gate"), names_of(None, "gate")
    (['x'], [])
    """
    if given is None:
        return []
    if not isinstance(given, Iterable):
        raise LawfulError(f"fit: {what}={given!r}, expected names of columns. Fix: give a list, or leave it out.")
    return [given] if isinstance(given, str) else list(given)


def check_persons(read: Measured, n_classes: int) -> None:
    """Refuse fewer persons than classes, or a single one.

    Raises:
        LawfulError: there are fewer persons than classes.
        ObservationError: one person alone was seen.
    """
    if np.isfinite(read.y).any(axis=1).sum() < 2:
        raise ObservationError(
            f"data: one person alone has outcomes in {read.y_name!r}, and classes are of several. Fix: give more "
            "persons; in long data id= names the column that tells them apart."
        )
    if n_classes > len(read.y):
        raise LawfulError(
            f"TrajectoryMixture: n_classes={n_classes} and {len(read.y)} persons. Fix: take fewer classes."
        )


def check_times(read: Measured, form: Curve, shaped: bool) -> None:
    """Refuse fewer different times than a mean curve needs, or an origin so far off that an exponential has died out.

    Args:
        read: persons.
        form: the curve.
        shaped: whether the shape counts, or is left to priors.

    Raises:
        LawfulError: there are fewer, or the origin is too far.
    """
    times = np.unique(read.t[np.isfinite(read.t)])
    count = len(times)
    if count < form.q + (shaped and form.shape is not None):
        also = f" and a {form.shape}" if form.shape else ""
        raise LawfulError(
            f"fit: {count} different times in {read.t_name!r}, and the {form.long_name} curve has {form.q} growth "
            f"factors{also}. Fix: give more waves, or take a simpler curve."
        )
    if np.abs(times).min() > FARTHEST.get(form.name, np.inf) * np.ptp(times):
        raise LawfulError(
            f"fit: times in {read.t_name!r} go from {times[0]:g} to {times[-1]:g}, far from 0, where the "
            f"{form.long_name} curve no longer bends in sight. Fix: subtract a first time, as with "
            "center_time='own_first'."
        )


def check_start(start: Any, model: Model) -> None:
    """Refuse a start that is not of the model.

    Raises:
        LawfulError: it is no tree of parameters, or one of other shapes.
    """
    if not isinstance(start, Parameters):
        raise LawfulError(
            f"fit: start is a {type(start).__name__}, expected Parameters. Fix: give the `parameters` of another fit, "
            "or Parameters(...) in your units."
        )
    free, bounds = np.zeros(model.size), Bounds(0.0, 1.0)
    like = jax.eval_shape(lambda free: unpack(free, model, bounds), free)
    leaves = [start._asdict(), like._asdict()]
    for name in Parameters._fields[:-1]:
        given, expected = (np.shape(each[name]) for each in leaves)
        if given != expected:
            raise LawfulError(
                f"fit: start.{name} has shape {given}, expected {expected} for {model}. Fix: give a start with the "
                "classes, the curve and the covariates of this fit."
            )
        if not np.isfinite(np.asarray(start._asdict()[name], float)).all():
            raise LawfulError(f"fit: start.{name} is not finite everywhere. Fix: give finite numbers.")
    if (start.varying is None) != (like.varying is None):
        raise LawfulError("fit: start.varying and time_varying= do not go together. Fix: give both, or neither.")


def check_level(level: Any, what: str) -> None:
    """Refuse a level of confidence that is none.

    Raises:
        LawfulError: it is not between 0 and 1.
    """
    if not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise LawfulError(f"{what}: level={level!r}, expected a share between 0 and 1. Fix: give 0.95, say.")


def check_interval(interval: Any) -> None:
    """Refuse a kind of interval that there is not.

    Raises:
        LawfulError: it is none of "mean", "curve" and "outcome".
    """
    if not isinstance(interval, str) or interval not in INTERVALS:
        raise LawfulError(f"predict_outcome: interval={interval!r}. Fix: give one of {INTERVALS}.")


def whole(who: str, name: str, value: Any) -> int:
    """Read a number of draws.

    Raises: LawfulError where it is no whole number from 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise LawfulError(f"{who}: {name}={value!r}, expected a whole number from 1. Fix: give one.")
    return int(value)


def spaced(who: str, draws: Any, total: int) -> np.ndarray:
    """Give the places of evenly spaced draws, of all where as many are asked for.

    Raises: LawfulError where draws is no whole number from 1.

    >>> spaced("checked", 3, 11).tolist(), spaced("checked", 5, 2).tolist()
    ([0, 5, 10], [0, 1])
    """
    return np.linspace(0, total - 1, min(whole(who, "draws", draws), total)).round().astype(int)


def _check_pooling(penalty: Any, pooling: Any) -> None:
    if pooling is None:
        return
    number = isinstance(pooling, int | float | np.number) and not isinstance(pooling, bool)
    if not number or not 0 <= pooling < np.inf:
        raise LawfulError(
            f"TrajectoryMixture: pooling={pooling!r}, expected how many persons each class borrows, a finite number "
            "that is not negative. Fix: give 100, say."
        )
    if penalty != "pooled":
        raise LawfulError(
            f"TrajectoryMixture: pooling={pooling!r} and penalty={penalty!r}, and this penalty does not pool. Fix: "
            "take penalty='pooled', or leave pooling out."
        )


def _equal(value: Any, known: Any) -> bool:
    return isinstance(value, str | bool | np.bool) and value == known


def _ascending(bounds: Any) -> bool:
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        return False
    return low < high


def check_origins(data: Measured, model: Model, stacklevel: int = 2) -> None:
    """Warn of times far from 0, and refuse covariates far from 0 where the linear form is taken there.

    Args:
        data: the persons, in the user's units.
        model: which mixture.
        stacklevel: of the warning.

    Raises: LawfulError for a growth covariate far from 0 with a random shape that is followed to first order.
    """
    times = data.t[np.isfinite(data.t)]
    low, high = times.min(), times.max()
    if model.curve != "BLS" and max(low, -high) > FAR * (high - low):
        warnings.warn(
            f"bayes: times in {data.t_name!r} go from {low:g} to {high:g}, and the prior of eta0 is about the level at "
            "time 0, far from them: it would hold the slopes near 0. Fix: take the times from a time among them, as by "
            "center_time='own_first', or give a wide Priors(level=).",
            stacklevel=stacklevel + 1,
        )
    if model.intrinsic and not model.exact:
        for name, column in zip(data.growth_names, data.growth.T, strict=True):
            if abs(column.mean()) > OFF * column.std(ddof=1):
                raise LawfulError(
                    f"bayes: growth covariate {name!r} has mean {column.mean():g} and SD {column.std(ddof=1):g}; with "
                    "knot='taylor' factors are linearised, and priors are set, where it is 0. Fix: subtract its mean, "
                    "or take knot='exact'."
                )
