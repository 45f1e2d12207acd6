"""The shift of the gates, and the cells, at which a fit is nearest to the truth.

Law: given the cells the best shift of slopes t1 minimises a convex function that does not depend on t0; given both, the
loss is piecewise linear in e^{t0}, and is least where it bends. Cells are those of the shifted fit. The shift that is
kept leaves the fewest cells empty, and has the least loss of all that were looked at: of one covariate these are the
best shift of every set of cells that was met, and both sides of every place where an expert changes its cell.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from lawful.errors import LawfulError

from .gates import Gate
from .parameters import Parameters, permuted

__all__ = ["Alignment", "aligned"]

POWERS = {1: 1.0, 2: 4.0, 3: 6.0}


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

    @property
    def matched(self) -> Parameters:
        """The parameters with experts in the order of the true ones, members of one cell side by side."""
        return permuted(self.parameters, np.argsort(self.cells, kind="stable"))


def aligned(fit: Parameters, true: Parameters, gate: Gate, kind: str, weights: str, top_k: int | None) -> Alignment:
    """Alternate between cells and shifts until the cells stay, from several shifts, and keep the least loss seen."""
    fit = fit._replace(beta0=fit.beta0 - logsumexp(fit.beta0))
    none = np.zeros(fit.a.shape[1])
    found: list[Alignment] = []

    def look(t1: np.ndarray) -> Alignment | None:
        moved = fit._replace(beta1=fit.beta1 + t1)
        cells = _cells(moved, true)
        if kind == "over" and np.bincount(cells).max() > max(POWERS):
            return None
        found.append(_offset(moved, true, cells, kind, weights, top_k))
        return found[-1]

    for t1 in _first_shifts(fit, true) if gate.linear else [none]:
        before = None
        for _ in range(10):
            here = look(t1)
            if here is None or not gate.linear or (before is not None and (before == here.cells).all()):
                break
            before = here.cells
            t1 = _shift_of_slopes(fit, true, before, _powers(before, kind), _heaviness(fit, before, weights))
    if not found:
        raise LawfulError(
            f"voronoi_loss: a cell has {np.bincount(_cells(fit, true)).max()} experts, and the rates of more than "
            "three are not known. Fix: fit fewer experts, or give kind='exact'."
        )
    best = min(found, key=_order)
    if gate.linear and top_k is not None and top_k < len(true.b):  # a largest sum over subsets bends elsewhere as well

        def loss(t1: np.ndarray) -> float:
            here = look(t1)
            return np.inf if here is None or _order(here)[0] > _order(best)[0] else here.loss

        minimize(loss, (best.parameters.beta1 - fit.beta1)[0], method="Nelder-Mead", options={"xatol": 1e-9})
    return min(found, key=_order)


def _order(alignment: Alignment) -> tuple[int, float]:
    """Prefer fewer empty cells, then the least loss: where a heavy expert has none, a fit may all but vanish."""
    return len(alignment.terms) - len(set(alignment.cells.tolist())), alignment.loss


def _first_shifts(fit: Parameters, true: Parameters) -> list[np.ndarray]:
    """Give shifts of slopes to begin with: none, that of the mean slope, those that match a pair of experts.

    Of one covariate also those on either side of where an expert changes its cell: the loss jumps there.
    """
    share, true_share = (np.exp(p.beta0 - logsumexp(p.beta0)) for p in (fit, true))
    pairs = (true.beta1[None] - fit.beta1[:, None]).reshape(-1, fit.beta1.shape[1])
    shifts = [np.zeros(fit.a.shape[1]), true_share @ true.beta1 - share @ fit.beta1, *pairs]
    if fit.a.shape[1] == 1:
        square = _squares(fit, true)
        for j, other in itertools.combinations(range(len(true.b)), 2):
            apart = 2 * (true.beta1[other, 0] - true.beta1[j, 0])
            edges = (square[:, other] - square[:, j]) / apart if apart != 0 else []
            shifts += [np.array([edge + side * 1e-9 * (1 + abs(edge))]) for edge in edges for side in (-1, 1)]
    return shifts


def _offset(
    fit: Parameters, true: Parameters, cells: np.ndarray, kind: str, weights: str, top_k: int | None
) -> Alignment:
    """Find the shift t0 at which the loss is least, given that of the slopes.

    A term is `s C_j + |s M_j - m_j|` with s = e^t0, the mass M_j of the cell and m_j of the expert: the largest sum of
    terms is piecewise linear in s, and bends where a mass is matched or two terms are equal.
    """
    powers = _powers(cells, kind)
    distance = _distances(fit, true, cells, powers)
    share = np.exp(_heaviness(fit, cells, weights))
    spent, filled = (np.bincount(cells, v, minlength=len(true.b)) for v in (share * distance, share))
    log_masses = [logsumexp(fit.beta0[cells == j]) if (cells == j).any() else -np.inf for j in range(len(true.b))]
    matches = [float(true.beta0[j] - log_masses[j]) for j in range(len(true.b)) if filled[j] > 0]
    if weights == "unit":
        terms = spent + (filled == 0)
        return Alignment(fit._replace(beta0=fit.beta0 + matches[0]), cells, terms, _largest(terms, top_k))
    mass = np.exp(true.beta0)
    offsets = list(matches)
    if top_k is not None:  # below all matches every fitted expert vanishes, which is no alignment
        offsets += [t0 for t0 in _crossings(spent, filled, mass) if min(matches) < t0 < max(matches)]
    tried = [np.exp(t0) * spent + mass * np.abs(np.expm1(t0 + np.array(log_masses) - true.beta0)) for t0 in offsets]
    best = int(np.argmin([_largest(terms, top_k) for terms in tried]))
    return Alignment(fit._replace(beta0=fit.beta0 + offsets[best]), cells, tried[best], _largest(tried[best], top_k))


def _crossings(spent: np.ndarray, filled: np.ndarray, mass: np.ndarray) -> list[float]:
    """Give the logs of all s at which two of the terms `s C + |s M - m|` may be equal."""
    found = []
    for i, j in itertools.combinations(range(len(mass)), 2):
        for one, other in itertools.product((1, -1), repeat=2):
            slope = spent[i] + one * filled[i] - spent[j] - other * filled[j]
            level = one * mass[i] - other * mass[j]
            if slope * level > 0:
                found.append(float(np.log(level / slope)))
    return found


def _largest(terms: np.ndarray, top_k: int | None) -> float:
    return float(np.sort(terms)[::-1][:top_k].sum())


def _squares(fit: Parameters, true: Parameters) -> np.ndarray:
    """Give the squared distances of fitted from true experts (k, k*)."""
    theirs, ours = (np.concatenate([p.beta1, p.a, p.b[:, None], p.nu[:, None]], axis=1) for p in (true, fit))
    return ((ours[:, None] - theirs[None]) ** 2).sum(axis=2)


def _cells(fit: Parameters, true: Parameters) -> np.ndarray:
    return np.argmin(_squares(fit, true), axis=1)


def _powers(cells: np.ndarray, kind: str) -> np.ndarray:
    """Give r of the cell of each fitted expert."""
    if kind == "exact":
        return np.ones(len(cells))
    sizes = np.bincount(cells)
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


def _distances(fit: Parameters, true: Parameters, cells: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Give the bracket of each fitted expert: errors to the powers of its cell."""
    half = np.where(powers > 1, powers / 2, 1.0)
    distance = (np.abs(fit.beta1 - true.beta1[cells]) ** powers[:, None]).sum(axis=1)
    distance += (np.abs(fit.a - true.a[cells]) ** half[:, None]).sum(axis=1)
    return distance + np.abs(fit.b - true.b[cells]) ** powers + np.abs(fit.nu - true.nu[cells]) ** half
