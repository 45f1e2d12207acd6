"""Posterior predictive checks: data drawn anew from the posterior beside the data.

Law: what was missing is missing in every replicate; under the model the rank of an observed statistic among those of
replicates is spread over its range, so that probabilities near 0 or 1 tell what the model does not reproduce.

Reference: Gelman, Meng and Stern (1996), Posterior predictive assessment of model fitness via realized discrepancies.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from lawful import one_key

from ..model.scaling import doubly
from ..model.simulate import draw
from ..reading.settings import spaced
from .draws import NamedDraws

__all__ = ["STATISTICS", "checked", "replicated", "replicated_at"]

REPLICATES = 200


def _neighbours(y: np.ndarray) -> np.ndarray:
    """Correlation of each wave with the next, over persons seen at both."""
    found = []
    for one, two in zip(y.T[:-1], y.T[1:], strict=True):
        both = np.isfinite(one) & np.isfinite(two)
        found.append(np.corrcoef(one[both], two[both])[0, 1] if both.sum() > 2 else np.nan)
    return np.array(found)


def _skewness(y: np.ndarray) -> np.ndarray:
    centred = y - np.nanmean(y, axis=0)
    return np.nanmean(centred**3, axis=0) / np.nanmean(centred**2, axis=0) ** 1.5


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda y: np.nanmean(y, axis=0),
    "sd": lambda y: np.nanstd(y, axis=0),
    "skewness": _skewness,
    "correlation with the next": _neighbours,
}


def replicated(posterior: NamedDraws, key: Any, draws: int = REPLICATES) -> np.ndarray:
    """Draw outcomes anew (draws, n, J), at the persons' times and gate covariates, in the user's units.

    Args:
        posterior: draws of the parameters, of which evenly spaced ones are taken.
        key: a key of `jax.random`, or a seed.
        draws: how many replicates.

    Raises: LawfulError where this is no whole number from 1.
    """
    return replicated_at(posterior, key, spaced("replicated", draws, math.prod(posterior.shape)))


@doubly
def replicated_at(posterior: NamedDraws, key: Any, places: np.ndarray) -> np.ndarray:
    """Draw outcomes anew (m, n, J), one replicate for each of some draws.

    Args:
        posterior: draws of the parameters.
        key: a key of `jax.random`, or a seed.
        places: which draws, counted from 0 chain after chain (m,).
    """
    data, total = posterior.data, math.prod(posterior.shape)
    flat = jax.tree.map(lambda leaf: leaf.reshape(total, *leaf.shape[2:]), posterior.parameters)
    t = np.where(np.isfinite(data.t), data.t, 0.0)
    seen, found = np.isfinite(data.y), []
    for own, place in zip(jax.random.split(one_key(key), len(places)), places, strict=True):
        at = jax.tree.map(itemgetter(place), flat)
        drawn = draw(own, at, posterior.model, t, data.gate, data.growth, data.varying)
        found.append(np.where(seen, drawn.y, np.nan))
    return np.stack(found)


def checked(
    posterior: NamedDraws,
    key: Any,
    draws: int = REPLICATES,
    statistics: Mapping[str, Callable[[np.ndarray], Any]] | None = None,
) -> Any:
    """Compare statistics of the data with those of replicates.

    Args:
        posterior: draws of the parameters.
        key: a key of `jax.random`, or a seed.
        draws: how many replicates.
        statistics: functions of outcomes (n, J), NaN where missing, to a number or one a wave; by default mean,
            standard deviation and skewness of each wave, and the correlation of neighbours.

    Returns: a frame of pandas: statistic, place, observed, mean, lower and upper (95 %) of replicates, and
        `probability`, the share of replicates that are larger, ties counted half; NaN where a statistic is not
        known, as the correlation of waves that fewer than three were seen at.
    """
    import pandas

    again, rows = replicated(posterior, key, draws), []
    for name, function in (STATISTICS if statistics is None else statistics).items():
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # of a wave that too few were seen at
            warnings.simplefilter("ignore", RuntimeWarning)
            seen = np.atleast_1d(function(posterior.data.y))
            drawn = np.stack([np.atleast_1d(function(y)) for y in again])
        lower, upper = np.quantile(drawn, [0.025, 0.975], axis=0)
        share = np.mean((drawn > seen) + 0.5 * (drawn == seen), axis=0)
        share[np.isnan(seen) | np.isnan(drawn).any(axis=0)] = np.nan
        for place in range(len(seen)):
            told = (seen[place], drawn[:, place].mean(), lower[place], upper[place], share[place])
            rows.append((name, place + 1, *map(float, told)))
    return pandas.DataFrame(rows, columns=["statistic", "place", "observed", "mean", "lower", "upper", "probability"])
