"""Origins: whether the priors speak of a level that the data tell of, and of covariates near their mean.

Law: priors are about the first growth factor, the level at time 0 (of a spline, at the knot), where growth covariates
are 0; nothing is moved silently, so data far from there are told of, or refused where no scale of a prior would help.

Source: specification sections 3.2, 9.1 and 16, and trap 15.
"""

from __future__ import annotations

import warnings

import numpy as np

from lawful.errors import LawfulError

from .measured import Measured
from .parameters import Model

__all__ = ["check_origins"]

FAR = 0.5  # ranges of the times from the nearest one to time 0
OFF = 3.0  # standard deviations of a covariate from its mean to 0


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
                    f"bayes: growth_TIC {name!r} has mean {column.mean():g} and SD {column.std(ddof=1):g}; with "
                    "knot='taylor' factors are linearised, and priors are set, where it is 0. Fix: subtract its mean, "
                    "or take knot='exact'."
                )
