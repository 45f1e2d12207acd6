"""Settings of a mixture of trajectories, checked.

Law: what passes names a mixture that exists; what does not is told with the values that would.

Source: specification section 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .curves import curve_of

__all__ = ["check_settings"]


def check_settings(settings: Mapping[str, Any], started: bool = False) -> None:
    """Refuse settings that name no mixture.

    Args:
        settings: of `TrajectoryMixture`, by name.
        started: whether a start is given besides, so that none need be drawn.

    Raises:
        LawfulError: a setting is not among its choices, is no whole number, or contradicts another.

    >>> from lawful.models.trajectories import TrajectoryMixture
    >>> check_settings(TrajectoryMixture(3).get_params())
    """
    choices = {
        "knot": ("taylor", "exact"), "covariate_density": ("joint", "conditional"), "penalty": (None, "weak"),
        "smoothing": ("mixed", "on", "off"),
    }  # fmt: skip
    for name, known in choices.items():
        if settings[name] not in known:
            raise LawfulError(f"TrajectoryMixture: {name}={settings[name]!r}. Fix: give one of {known}.")
    form = curve_of(settings["curveFun"])
    if settings["intrinsic"] and form.shape is None:
        raise LawfulError(
            f"TrajectoryMixture: intrinsic=True, and the {form.long_name} curve has no shape parameter. Fix: leave "
            "intrinsic out, or take curveFun 'EXP', 'JB' or 'BLS'."
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
    bounds = settings["knot_bounds"]
    if bounds is not None and not (len(bounds) == 2 and bounds[0] < bounds[1]):
        raise LawfulError(f"TrajectoryMixture: knot_bounds={bounds!r}, expected (low, high). Fix: give low below high.")
