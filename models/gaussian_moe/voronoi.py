"""Distances of a fit from the truth where experts are exchangeable, may be too many, and share a shift of their gates.

Cell A_j holds the fitted experts that are nearest to true expert j by the Euclidean distance of (beta1, a, b, nu). With
`|v|` the sum of absolute values,

    D1 = sum_j sum_{i in A_j} e^{beta0_i} (|d beta1| + |d b| + |d a| + |d nu|)
       + sum_j |sum_{i in A_j} e^{beta0_i} - e^{beta0*_j}|

and D2 ("over") has `|d beta1|^r + |d b|^r + |d a|^{r/2} + |d nu|^{r/2}` in cells of m > 1 members, r(2) = 4, r(3) = 6,
coordinate by coordinate. Both are least over the common shift (t1, t0) of a linear gate. Between the shifts that match
the mass of some cell the loss is linear in e^{t0}, so that its least value is at one of them, or where e^{t0} -> 0 and
every fitted expert has vanished; that is no alignment, and is left out.

Law: a loss is 0 at the truth, at every shift and permutation of it, and where experts of the truth are split.

References: Nguyen, Nguyen and Ho (2023), arXiv 2305.03288; Hai et al. (2025), arXiv 2510.12744.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from lawful.errors import LawfulError

from .density import Mixture
from .gates import Gate
from .parameters import Parameters

__all__ = ["Alignment", "align", "cell_errors", "scaled_like", "voronoi_loss"]

POWERS = {1: 1.0, 2: 4.0, 3: 6.0}
KINDS, WEIGHTS = ("exact", "over"), ("gate", "unit")


@dataclass(frozen=True, eq=False)
class Alignment:
    """A fit beside the truth.

    Attributes:
        parameters: of the fit, shifted to where the loss is least.
        cells: the true expert that each fitted one belongs to (k,).
        terms: the part of the loss of each true expert.
        loss: what is reported: their sum, or that of the top_k largest.
    """

    parameters: Parameters
    cells: np.ndarray
    terms: np.ndarray
    loss: float


def voronoi_loss(fit: Any, truth: Any, kind: str = "exact", weights: str = "gate") -> float:
    """Give the distance of a fit from the truth, least over the shift that the gate allows.

    Args:
        fit: a `Mixture` or a fitted `GaussianMoE`; `Parameters` count as those of a softmax.
        truth: the same. A top-K gate has the largest sum over K of the true experts.
        kind: "exact" for D1, "over" for D2.
        weights: "gate" for e^{beta0}, "unit" for weights that are shared in proportion to it and add up to 1 in each
            cell, so that light experts are seen; then an empty cell costs 1, and masses nothing.

    Raises: LawfulError for a kind or weights that are not known, or cells with more than three members.

    >>> truth = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> near = truth._replace(a=truth.a + 0.1, beta0=truth.beta0 + 3.0)
    >>> round(voronoi_loss(near, truth), 4), round(voronoi_loss(near, truth, weights="unit"), 4)
    (0.1, 0.2)
    """
    return align(fit, truth, kind, weights).loss


def align(fit: Any, truth: Any, kind: str = "exact", weights: str = "gate") -> Alignment:
    """Find the shift at which the loss is least; arguments and errors are those of `voronoi_loss`."""
    if kind not in KINDS or weights not in WEIGHTS:
        raise LawfulError(
            f"voronoi_loss: kind={kind!r}, weights={weights!r}. Fix: give one of {KINDS} and one of {WEIGHTS}."
        )
    found, wanted = _mixture(fit), _mixture(truth)
    gate, true = found.gate, _plain(wanted)
    told = [_plain(found)]
    odd = gate.kind == "activated" and gate.activation in ("logistic", "tanh")
    if odd and found.parameters.n_experts == 2:
        told.append(told[0]._replace(beta1=-told[0].beta1[::-1]))
    with np.errstate(over="ignore"):  # a loss may be infinite
        tried = [_aligned(each, true, gate, kind, weights, wanted.gate.top_k) for each in told]
    return min(tried, key=lambda a: a.loss)


def cell_errors(alignment: Alignment, truth: Any) -> dict[str, np.ndarray]:
    """Give errors one by one, for each true expert (k*,): means of absolute values within its cell.

    Members count in proportion to e^{beta0}, and a light one hides behind a heavy one: "worst_..." are the largest
    errors of a member, whatever its weight, and "least_share" is the smallest share. "beta0" is the error of the log
    mass of the cell, "spread" how far apart its members' beta1 are. An empty cell has NaN.
    """
    fit, true = alignment.parameters, _plain(_mixture(truth))
    names = ("beta1", "a", "b", "nu")
    others = ("beta0", "spread", "least_share", *(f"worst_{name}" for name in names))
    told: dict[str, list[float]] = {name: [] for name in (*names, *others)}
    for j in range(len(true.b)):
        inside = alignment.cells == j
        if not inside.any():
            for values in told.values():
                values.append(np.nan)
            continue
        log_mass = logsumexp(fit.beta0[inside])
        share = np.exp(fit.beta0[inside] - log_mass)
        for name in names:
            error = np.abs(getattr(fit, name)[inside] - getattr(true, name)[j]).reshape(len(share), -1).sum(axis=1)
            told[name].append(float(share @ error))
            told[f"worst_{name}"].append(float(error.max()))
        told["beta0"].append(abs(float(log_mass - true.beta0[j])))
        told["least_share"].append(float(share.min()))
        told["spread"].append(float(np.ptp(fit.beta1[inside], axis=0).sum()))
    return {name: np.array(values) for name, values in told.items()}


def scaled_like(fit: Parameters, truth: Parameters) -> Parameters:
    """Give the gate of a top-1 fit the norm of the true one: its scale is not identified."""
    found, true = (np.concatenate([np.ravel(p.beta1), np.ravel(p.beta0)]) for p in (fit, truth))
    factor = np.linalg.norm(true) / np.linalg.norm(found)
    return fit._replace(beta1=fit.beta1 * factor, beta0=fit.beta0 * factor)


def _mixture(told: Any) -> Mixture:
    if isinstance(told, Parameters):
        return Mixture(Gate(), told)
    return told if isinstance(told, Mixture) else told.mixture_


def _plain(mixture: Mixture) -> Parameters:
    """Give parameters as NumPy arrays, the temperature of a linear gate divided out."""
    arrays = Parameters(*(np.asarray(value, float) for value in mixture.parameters))
    if mixture.gate.kind != "temperature":
        return arrays
    return arrays._replace(beta1=arrays.beta1 / arrays.tau, beta0=arrays.beta0 / arrays.tau, tau=np.ones(()))


def _aligned(fit: Parameters, true: Parameters, gate: Gate, kind: str, weights: str, top_k: int | None) -> Alignment:
    """Alternate between cells and shifts until the cells stay, from two shifts, and keep the least loss seen."""
    best: Alignment | None = None
    free = gate.linear
    share = np.exp(fit.beta0 - logsumexp(fit.beta0))
    true_share = np.exp(true.beta0 - logsumexp(true.beta0))
    starts = [np.zeros(fit.a.shape[1]), true_share @ true.beta1 - share @ fit.beta1] if free else [np.zeros(1)]
    for start in starts:
        t1, cells = start, np.full(len(fit.b), -1)
        for _ in range(10):
            before, cells = cells, _cells(fit, true, t1)
            if (before == cells).all():
                break
            powers = _powers(cells, len(true.b), kind)
            heavy = _heaviness(fit, cells, weights)
            t1 = _shift_of_slopes(fit, true, cells, powers, heavy) if free else t1
            masses = [logsumexp(fit.beta0[cells == j]) for j in range(len(true.b)) if (cells == j).any()]
            matched = [true.beta0[j] for j in range(len(true.b)) if (cells == j).any()]
            for t0 in np.subtract(matched, masses):
                moved = fit._replace(beta1=fit.beta1 + t1, beta0=fit.beta0 + t0)
                terms = _terms(moved, true, cells, powers, weights)
                loss = float(np.sort(terms)[::-1][:top_k].sum())
                if best is None or loss < best.loss:
                    best = Alignment(moved, cells, terms, loss)
    assert best is not None
    return best


def _cells(fit: Parameters, true: Parameters, t1: np.ndarray) -> np.ndarray:
    theirs, ours = (
        np.concatenate([p.beta1 + shift, p.a, p.b[:, None], p.nu[:, None]], axis=1)
        for p, shift in ((true, 0.0), (fit, t1))
    )
    return np.argmin(np.linalg.norm(ours[:, None] - theirs[None], axis=2), axis=1)


def _powers(cells: np.ndarray, k: int, kind: str) -> np.ndarray:
    """Give r of the cell of each fitted expert."""
    sizes = np.bincount(cells, minlength=k)
    if kind == "exact":
        return np.ones(len(cells))
    if sizes.max() > max(POWERS):
        raise LawfulError(
            f"voronoi_loss: a cell has {sizes.max()} experts, and the rates of more than three are not known. Fix: fit "
            "fewer experts, or give kind='exact'."
        )
    return np.array([POWERS[int(sizes[j])] for j in cells])


def _heaviness(fit: Parameters, cells: np.ndarray, weights: str) -> np.ndarray:
    """Give the logs of the weights of fitted experts."""
    if weights == "gate":
        return fit.beta0
    return np.array([fit.beta0[i] - logsumexp(fit.beta0[cells == j]) for i, j in enumerate(cells)])


def _shift_of_slopes(
    fit: Parameters, true: Parameters, cells: np.ndarray, powers: np.ndarray, heavy: np.ndarray
) -> np.ndarray:
    """Minimise `sum_i w_i |beta1_i + t - beta1*_j|^r`, which is convex, by golden sections, one coordinate each."""
    weight = np.exp(heavy - heavy.max())
    targets = true.beta1[cells] - fit.beta1
    found = []
    for column in targets.T:

        def cost(t: float, column: np.ndarray = column) -> float:
            return float(weight @ np.abs(t - column) ** powers)

        low, high = float(column.min()), float(column.max())
        golden = (np.sqrt(5) - 1) / 2
        for _ in range(100):
            one, other = high - golden * (high - low), low + golden * (high - low)
            low, high = (low, other) if cost(one) < cost(other) else (one, high)
        found.append(min(itertools.chain(column.tolist(), [0.5 * (low + high)]), key=cost))
    return np.array(found)


def _terms(fit: Parameters, true: Parameters, cells: np.ndarray, powers: np.ndarray, weights: str) -> np.ndarray:
    """Give the part of the loss of each true expert."""
    heavy = np.exp(_heaviness(fit, cells, weights))
    half = np.where(powers > 1, powers / 2, 1.0)
    distance = (np.abs(fit.beta1 - true.beta1[cells]) ** powers[:, None]).sum(axis=1)
    distance += (np.abs(fit.a - true.a[cells]) ** half[:, None]).sum(axis=1)
    distance += np.abs(fit.b - true.b[cells]) ** powers + np.abs(fit.nu - true.nu[cells]) ** half
    terms = np.bincount(cells, heavy * distance, minlength=len(true.b))
    for j, log_mass in enumerate(true.beta0):
        inside = cells == j
        if weights == "unit":
            terms[j] += float(not inside.any())
        elif inside.any():
            terms[j] += np.exp(log_mass) * abs(np.expm1(logsumexp(fit.beta0[inside]) - log_mass))
        else:
            terms[j] += np.exp(log_mass)
    return terms
