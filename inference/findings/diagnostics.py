"""Diagnostics: r-hat and effective sizes of every element of a result, each beside the limit that it has to keep.

Law: the numbers are ArviZ's. A number beyond the usual limit is compared with what chance alone does to the worst of so
many elements (`thresholds`), by the effective size within half-chains, where a disagreement of chains does not count.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from lawful.late import arviz_stats, scipy_stats

from .findings import Limits
from .thresholds import ess_limit, r_hat_limit

QUANTILES = (0.05, 0.95)  # whose effective sizes are those of the tails


@dataclass(frozen=True)
class Variable:
    """The elements of a variable that vary and exist in every draw.

    Attributes:
        name: of the variable.
        array: (chain, draw, ...), or a part of it.
        places: which elements, as numbers.
        begin: of a part, its first index on the first axis.
    """

    name: str
    array: np.ndarray
    places: np.ndarray
    begin: int = 0

    @property
    def draws(self) -> np.ndarray:
        """Draws of these elements, (chain, draw, element)."""
        flat = _flat(self.array)
        return flat if len(self.places) == flat.shape[-1] else flat[..., self.places]

    def label(self, place: int) -> str:
        """Name of an element, as `x[2, 0]`."""
        index = [int(i) for i in np.unravel_index(self.places[place], self.array.shape[2:])]
        index[:1] = [i + self.begin for i in index[:1]]
        return self.name + (f"[{', '.join(map(str, index))}]" if index else "")


@dataclass(frozen=True)
class Measured:
    """A diagnostic of the element that is worst, and its limit."""

    label: str
    site: str
    value: float
    limit: float
    ok: bool


def variables_of(posterior: Mapping[str, Any], parts: Mapping[str, slice] | None = None) -> list[Variable]:
    """Lay out the elements that vary; those that are NaN in a draw, as where an arm did not run, have no diagnostic.

    Of the variables in `parts` a part of the first axis is looked at.
    """
    found = []
    for name, array in posterior.items():
        draws, begin = np.asarray(array), 0
        if parts is not None and name in parts and draws.ndim > 2:
            begin = parts[name].indices(draws.shape[2])[0]
            draws = draws[:, :, parts[name]]
        flat = _flat(draws)
        always = ~np.any(np.isnan(flat), axis=(0, 1))
        places = np.flatnonzero(always & np.any(flat != flat[:1, :1], axis=(0, 1)))
        if len(places):
            found.append(Variable(name, draws, places, begin))
    return found


def _flat(draws: np.ndarray) -> np.ndarray:
    return np.asarray(draws, dtype=float).reshape(*draws.shape[:2], math.prod(draws.shape[2:]))


def worst_of(posterior: Mapping[str, Any], diagnostic: str, **options: Any) -> tuple[str, float] | None:
    """Find the element with the worst diagnostic, "rhat" or "ess" of ArviZ, among those that vary.

    A value that is not a number is the worst.
    """
    sign = 1.0 if diagnostic == "rhat" else -1.0
    worst: tuple[float, str, float] | None = None
    for variable in variables_of(posterior):
        values = _arviz(diagnostic, variable.draws, **options)
        badness = np.where(np.isnan(values), math.inf, sign * values)
        place = int(badness.argmax())
        if worst is None or badness[place] > worst[0]:
            worst = float(badness[place]), variable.label(place), float(values[place])
    return worst and worst[1:]


def r_hat_of(limits: Limits, variables: Sequence[Variable], size: float | None = None) -> Measured | None:
    """Compare the r-hat of every element with its limit; None where nothing varies.

    Up to `limits.r_hat` it is never too large. `size` is the effective number of draws of a run; None: that of each
    half-chain, as it is estimated.
    """
    elements = sum(len(variable.places) for variable in variables)

    def checked(variable: Variable) -> tuple[np.ndarray, np.ndarray]:
        draws = variable.draws
        values = _arviz("rhat", draws, method="rank")
        bounds = np.full(len(values), limits.r_hat)
        for place in np.flatnonzero(values > limits.r_hat):
            groups, own = len(draws), size
            if own is None:
                groups, own = 2 * groups, _size_of_halves(limits, draws[..., [place]])
            bounds[place] = max(limits.r_hat, r_hat_limit(groups, own, elements, limits.false_alarm))
        return values, bounds

    return _worst(variables, checked, 1.0)


def ess_of(limits: Limits, variables: Sequence[Variable], kind: str) -> Measured | None:
    """Compare the effective size, "bulk" or "tail", of every element with its limit; None where nothing varies.

    Fewer draws a chain than `limits.ess_per_chain` are too few, however good.
    """
    elements = sum(len(variable.places) for variable in variables)

    def checked(variable: Variable) -> tuple[np.ndarray, np.ndarray]:
        draws = variable.draws
        chains, length, _ = draws.shape
        asked = limits.ess_per_chain * chains
        limit = ess_limit(kind, asked, elements, limits.false_alarm) if length >= limits.ess_per_chain else asked
        options = {"method": "bulk"} if kind == "bulk" else {"method": "tail", "prob": QUANTILES}
        values = _arviz("ess", draws, **options)
        if limit < asked:  # chains that differ by chance have a small size together: whether they do, r-hat tells
            low = np.flatnonzero(values < limit)
            if len(low):
                own = _size_within(draws[..., low], kind)
                values[low] = np.where(own < limit, values[low], np.maximum(values[low], own))
        return values, np.full(len(values), limit)

    return _worst(variables, checked, -1.0)


def _worst(variables: Sequence[Variable], checked: Any, sign: float) -> Measured | None:
    """Find the element that is furthest beyond its limit, or where all keep theirs the largest or smallest value."""
    worst: Measured | None = None
    rank = (False, -math.inf)
    for variable in variables:
        values, bounds = checked(variable)
        beyond = np.where(np.isnan(values), math.inf, sign * (values - bounds))
        ok = bool(beyond.max() <= 0.0)
        place = int((sign * values if ok else beyond).argmax())
        own = (not ok, float(sign * values[place] if ok else beyond[place]))
        if worst is None or own > rank:
            rank = own
            worst = Measured(variable.label(place), variable.name, float(values[place]), float(bounds[place]), ok)
    return worst


def _arviz(diagnostic: str, draws: np.ndarray, **options: Any) -> np.ndarray:

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # short or constant chains: the numbers themselves say so
        return np.array(getattr(arviz_stats.base.array_stats, diagnostic)(draws, chain_axis=0, draw_axis=1, **options))


def _halves(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def _normal_scores(values: np.ndarray) -> np.ndarray:
    ranks = scipy_stats.rankdata(values.reshape(-1, values.shape[-1]), axis=0)
    return ndtri((ranks - 0.375) / (len(ranks) + 0.25)).reshape(values.shape)


def _within(parts: np.ndarray) -> np.ndarray:
    """Estimate the effective size of parts of chains in all, each about its own mean."""
    return _arviz("ess", parts - parts.mean(axis=1, keepdims=True), method="identity")


def _size_within(draws: np.ndarray, kind: str) -> np.ndarray:
    halves = _halves(draws)
    if kind == "bulk":
        return _within(_normal_scores(halves))
    bounds = np.quantile(draws, QUANTILES, axis=(0, 1))
    return np.min([_within((halves <= bound).astype(float)) for bound in bounds], axis=0)


def _size_of_halves(limits: Limits, draws: np.ndarray) -> float:
    """Estimate the effective size of half a chain, at least half of what is asked for: fewer are a fault themselves."""
    halves = _halves(draws)
    scores = _normal_scores(halves), _normal_scores(np.abs(halves - np.median(halves)))
    size = min(float(_within(score)[0]) for score in scores) / len(halves)
    return max(size, limits.ess_per_chain / 4)
