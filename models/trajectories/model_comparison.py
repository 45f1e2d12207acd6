"""Model comparison: a table of criteria, likelihood ratios of nested variants, and a bootstrap for one class more.

Law: the larger model holds the smaller one, so twice the difference of log-likelihoods is no less than 0. Away from
edges it is chi-squared with as many degrees of freedom as there are parameters more (Wilks), or, where outcomes are
not normal, a multiple of it (Satorra and Bentler). One class more is no regular case: its law is simulated.

Source: McLachlan (1987), Applied Statistics 36; Satorra and Bentler (2001), Psychometrika
66.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import chi2

from lawful import one_key
from lawful.errors import LawfulError

from .fitting.batches import LOOSE, TIGHT, WIDTHS, smallest_class
from .fitting.objective import describe_all
from .fitting.optimiser import Schedule
from .fitting.starts import random_starts
from .model.panels import Panel
from .model.parameters import pack, unpack
from .model.scaling import doubly
from .results import TrajectoryFit
from .uncertainty.bootstrap import climbed_panels, drawn_panels

__all__ = ["ClassTest", "RatioTest", "bootstrap_ratio", "criteria_table", "likelihood_ratio"]

LIKE_ONE = 0.3  # SDs of a class by which its halves are moved apart


class RatioTest(NamedTuple):
    """A likelihood-ratio test.

    Attributes:
        statistic: -2LL of the smaller fit less that of the larger.
        df: parameters that the larger has more.
        p_value: by chi-squared.
        scaled: the statistic divided by its scaling correction, NaN where that cannot be had.
        scaled_p_value: of that.
    """

    statistic: float
    df: int
    p_value: float
    scaled: float
    scaled_p_value: float


class ClassTest(NamedTuple):
    """A bootstrap likelihood-ratio test of K - 1 classes against K.

    Attributes:
        statistic: -2LL of the smaller fit less that of the larger.
        p_value: (1 + replicates with a statistic as large) / (1 + replicates).
        replicates: statistics of data drawn from the smaller fit (B,).
    """

    statistic: float
    p_value: float
    replicates: np.ndarray


def criteria_table(fits: Sequence[TrajectoryFit]) -> Any:
    """Give criteria of fits to the same persons, one row a fit: of BIC, say, over the number of classes.

    Args:
        fits: of any curves, covariates of the gate and numbers of classes.

    Returns: a frame of pandas with columns classes, curve, parameters, minus2ll, aic, bic, sabic, icl, entropy,
        smallest (the share of the smallest class), reached (starts at the best value) and edges (their number).

    Raises:
        LawfulError: there is no fit, or values of -2LL cannot be compared, since outcomes, times, modelled
            covariates or penalties differ.
    """
    import pandas

    if not len(fits):
        raise LawfulError("criteria_table: there is no fit. Fix: give a list of fits.")
    first = fits[0]
    for fit in fits[1:]:
        _check_same_data(first, fit, "criteria_table")
        modelled = [(each.model.joint and each.data.growth_names + each.data.varying_names) for each in (first, fit)]
        if set(modelled[0] or ()) != set(modelled[1] or ()) or not _penalised_alike(first, fit):
            raise LawfulError(
                "criteria_table: with covariate_density='joint' growth covariates belong to the data, and fits "
                "differ in them, or penalties differ. Fix: compare fits with the same growth=, time_varying=, penalty "
                "and pooling, or fit with covariate_density='conditional'."
            )
    return pandas.DataFrame([
        {"classes": fit.model.n_classes, "curve": fit.model.curve, "parameters": fit.n_parameters,
         **{name: getattr(fit, name) for name in ("minus2ll", "aic", "bic", "sabic", "icl", "entropy")},
         "smallest": float(fit.class_sizes.min()), "reached": fit.reached(), "edges": len(fit.boundary)}
        for fit in fits
    ])  # fmt: skip


@doubly
def likelihood_ratio(small: TrajectoryFit, large: TrajectoryFit) -> RatioTest:
    """Test a fit against one with more gate or growth covariates.

    Args:
        small: the restricted fit.
        large: the fit that holds it: the same persons, outcomes, classes and curve.

    Returns: the test; its law is that of a regular case, so it is refused at an edge.

    Raises:
        LawfulError: the fits are not nested, or lie on an edge.
    """
    for fit in (small, large):
        fit.refuse_program("likelihood_ratio")
    _check_nested(small, large)
    statistic = small.minus2ll - large.minus2ll
    df = large.n_parameters - small.n_parameters
    sizes = np.array([large.n_parameters, -small.n_parameters])
    factor = float(sizes @ [large.standard_errors.factor, small.standard_errors.factor]) / df
    scaled = statistic / factor if factor > 0 else float("nan")
    return RatioTest(statistic, df, float(chi2.sf(statistic, df)), scaled, float(chi2.sf(scaled, df)))


@doubly
def bootstrap_ratio(small: TrajectoryFit, large: TrajectoryFit, key: Any, n: int = 99, n_starts: int = 8) -> ClassTest:
    """Test K - 1 classes against K: how large does the statistic become where K - 1 are enough?

    Data are drawn from the smaller fit. To each the smaller model is fitted from its estimate; the larger one from
    random starts, and from the smaller estimate with its largest class divided in two.

    Args:
        small: a fit with K - 1 classes.
        large: a fit of the same model with K classes to the same persons.
        key: a key of `jax.random`, or a seed.
        n: number of replicates; the smallest p-value is 1 / (n + 1).
        n_starts: random starts of the larger model in each.

    Raises:
        LawfulError: the fits differ in more than one class.
    """
    for fit in (small, large):
        fit.refuse_program("bootstrap_ratio")
    if replace(small.model, n_classes=large.model.n_classes) != large.model:
        raise LawfulError(
            f"bootstrap_ratio: the fits are of {small.model} and {large.model}, expected models that differ in the "
            "number of classes alone. Fix: fit one model with K - 1 and with K classes."
        )
    if large.model.n_classes != small.model.n_classes + 1:
        raise LawfulError(
            f"bootstrap_ratio: {small.model.n_classes} and {large.model.n_classes} classes, expected one more. "
            "Fix: give the smaller fit first, and compare one step at a time."
        )
    _check_same_data(small, large, "bootstrap_ratio")
    if not _penalised_alike(small, large):
        raise LawfulError("bootstrap_ratio: penalties differ. Fix: fit both with the same penalty and pooling.")
    key = one_key(key)
    panels = drawn_panels(small, key, n)
    below = climbed_panels(
        np.broadcast_to(small.free, (n, 1, small.model.size)), 0, panels, small.problem, small.model, small.penalised
    )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    above = _best_of_large(large, [_starts(small, large, panel, n_starts, rng) for panel in panels], panels)
    replicates = np.maximum(2 * (above - np.asarray(below.value[:, 0])), 0.0)
    statistic = small.minus2ll_penalised - large.minus2ll_penalised
    return ClassTest(statistic, float((1 + np.sum(replicates >= statistic)) / (1 + n)), replicates)


def _starts(
    small: TrajectoryFit, large: TrajectoryFit, panel: Panel, n_starts: int, rng: np.random.Generator
) -> np.ndarray:
    """Give starts of the larger model (S, P): random ones, and the smaller estimate with a class in two halves."""
    model, bounds = large.model, large.problem.bounds
    at = jax.tree.map(np.array, unpack(small.free, small.model, small.problem.bounds))
    halved = int(np.argmax(small.search.shares[small.search.best]))
    at.gate[halved, 0] -= np.log(2.0)
    both = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[[halved]]]), at)
    spread = np.sqrt((both.chol[-1] ** 2).sum(axis=1))[model.intrinsic :]
    apart = LIKE_ONE * spread * rng.normal(size=len(spread))
    both.mean[halved] += apart
    both.mean[-1] -= apart
    starts = [both, *random_starts(panel, model, bounds, n_starts, rng)]
    return np.stack([np.asarray(pack(start, model, bounds)) for start in starts])


def _best_of_large(large: TrajectoryFit, starts: list[np.ndarray], panels: list[Panel]) -> np.ndarray:
    """Give the highest likelihood of the larger model on each panel (B,), degenerate ends left out."""
    schedule = Schedule(np.array(WIDTHS), np.array([LOOSE] * (len(WIDTHS) - 1) + [TIGHT]), 300)
    free = np.stack(starts)
    kinked = large.model.curve == "BLS"
    stage = np.where((np.arange(free.shape[1]) % 2 == 1) & kinked, 0, len(WIDTHS) - 1)
    found = climbed_panels(free, stage, panels, large.problem, large.model, large.penalised, schedule)
    least = smallest_class(large.model, large.n) / large.n
    best = []
    for at, value, panel in zip(found.free, np.asarray(found.value), panels, strict=True):
        shares = describe_all(at, large.problem._replace(panel=panel), large.model).shares
        sound = np.isfinite(value) & (np.asarray(shares).min(axis=1) >= least)
        best.append(np.max(value, where=sound, initial=-np.inf))
    return np.array(best)


def _check_same_data(small: TrajectoryFit, large: TrajectoryFit, what: str) -> None:
    if not (
        np.array_equal(small.data.y, large.data.y, equal_nan=True)
        and np.array_equal(small.data.t, large.data.t, equal_nan=True)
    ):
        raise LawfulError(f"{what}: the fits saw different outcomes or times. Fix: fit both to one data set.")


def _penalised_alike(one: TrajectoryFit, two: TrajectoryFit) -> bool:
    return (one.penalised, one.pooling) == (two.penalised, two.pooling)


def _check_nested(small: TrajectoryFit, large: TrajectoryFit) -> None:
    _check_same_data(small, large, "likelihood_ratio")
    one, two = small.model, large.model
    plain = [replace(each, p_gate=0, p_growth=0, equal=(), fixed=False) for each in (one, two)]
    if plain[0] != plain[1] or not {*one.equal, *(["shape"] * one.fixed)} >= {*two.equal, *(["shape"] * two.fixed)}:
        raise LawfulError(
            "likelihood_ratio: the fits differ in more than covariates and what is held equal in the first one, so "
            "they are not nested in a regular way. Fix: compare numbers of classes by bootstrap_ratio, curves by BIC."
        )
    if one.joint and small.data.growth_names != large.data.growth_names:
        raise LawfulError(
            "likelihood_ratio: with covariate_density='joint' the growth covariates belong to the data, and the fits "
            f"have {list(small.data.growth_names)} and {list(large.data.growth_names)}. Fix: fit both with "
            "covariate_density='conditional'."
        )
    names = [(set(fit.data.gate_names), set(fit.data.growth_names)) for fit in (small, large)]
    if not (names[0][0] <= names[1][0] and names[0][1] <= names[1][1]) or one.size >= two.size:
        raise LawfulError(
            "likelihood_ratio: the first fit is not held by the second. Fix: give the one with fewer covariates first."
        )
    for fit in (small, large):
        if fit.penalised or fit.boundary:
            raise LawfulError(
                "likelihood_ratio: a fit is penalised, or lies on an edge or a kink, where the statistic is not "
                f"chi-squared ({fit.boundary[0].message if fit.boundary else 'penalised'}). Fix: fit without a "
                "penalty, compare BIC, or draw replicates from the smaller fit by hand with simulate."
            )
