"""Constraints: what a user holds equal in all classes, or fixed.

Law: what passes has one meaning, whatever words it was given in; what cannot be meant is refused before any work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lawful.errors import LawfulError

from ..model.curves import curve_of
from ..model.parameters import ALIKE

__all__ = ["Constraints", "constraints_of"]


class Constraints(NamedTuple):
    """Names of `ALIKE`, names of the growth factors that differ between persons or None, and a known shape or None."""

    equal: tuple[str, ...] = ()
    random: tuple[str, ...] | None = None
    shape: float | None = None


def constraints_of(settings: Mapping[str, Any]) -> Constraints:
    """Read the constraints of a `TrajectoryMixture`.

    Args:
        settings: by name: equal, random, fixed, curve, intrinsic, penalty and knot_bounds.

    Raises: LawfulError for names that there are not, or constraints that do not go together.

    >>> from lawful.models.trajectories import TrajectoryMixture
    >>> constraints_of(TrajectoryMixture(equal=["residual", "psi"], fixed={"knot": 3}).get_params())
    Constraints(equal=('psi', 'residual'), random=None, shape=3.0)
    """
    form, intrinsic = curve_of(settings["curve"]), bool(settings["intrinsic"])
    equal = _names(settings["equal"], "equal", [name for name in ALIKE if form.shape or name != "shape"]) or ()
    factors = [*([str(form.shape)] if intrinsic else []), *form.factors]
    random = _names(settings["random"], "random", factors)
    shape = _shape(settings["fixed"], form.name, form.shape)
    if intrinsic and (shape is not None or (random is not None and form.shape not in random)):
        given = "fixed" if shape is not None else "random"
        raise LawfulError(
            f"TrajectoryMixture: intrinsic=True lets persons have a {form.shape} of their own, and {given}="
            f"{settings[given]!r} does not. Fix: leave intrinsic out"
            + (f", or name {form.shape!r} in random, too." if given == "random" else ".")
        )
    if shape is not None and settings["knot_bounds"] is not None:
        raise LawfulError(
            f"TrajectoryMixture: fixed={settings['fixed']!r} and knot_bounds={settings['knot_bounds']!r}. Fix: leave "
            "knot_bounds out."
        )
    if settings["penalty"] == "pooled" and (equal or random is not None or shape is not None):
        raise LawfulError(
            "TrajectoryMixture: penalty='pooled' pools the classes in part, and equal=, random= or fixed= hold "
            "parameters. Fix: take penalty=None or 'weak', or leave these out."
        )
    if random is not None and len(random) == len(factors):
        random = None
    return Constraints(tuple(name for name in equal if shape is None or name != "shape"), random, shape)


def _names(given: Any, what: str, known: list[str]) -> tuple[str, ...] | None:
    """Read names, in the order of those known."""
    if given is None:
        return None
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if any(not isinstance(name, str) or name not in known for name in names):
        raise LawfulError(
            f"TrajectoryMixture: {what}={given!r}, expected names among {', '.join(map(repr, known))}. Fix: give some "
            "of them, or leave it out."
        )
    return tuple(name for name in known if name in names)


def _shape(fixed: Any, curve: str, name: str | None) -> float | None:
    """Read the value of a shape that is known."""
    if fixed is None or fixed == {}:
        return None
    sign = {"EXP": 1.0, "JB": -1.0}.get(curve)
    value = next(iter(fixed.values())) if isinstance(fixed, Mapping) and {*fixed} <= {"shape", name} else None
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value)
    if name is None or value is None or len(fixed) != 1 or not number or (sign is not None and not sign * value > 0):
        wanted = {1.0: "a positive number", -1.0: "a negative number"}.get(sign or 0.0, "a time")
        raise LawfulError(
            f"TrajectoryMixture: fixed={fixed!r}; the {curve} curve has "
            + (f"a {name}, which can be fixed. Fix: give fixed={{{name!r}: {wanted}}}; " if name else "no shape. Fix: ")
            + "random=() is what fixes the covariance of growth factors at 0."
        )
    return float(value)
