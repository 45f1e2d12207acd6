"""Distances of a fit from the truth where experts are exchangeable, may be too many, and share a shift of their gates.

Cell A_j holds the fitted experts that are nearest to true expert j by the Euclidean distance of (beta1, a, b, nu). With
`|v|` the sum of absolute values,

    D1 = sum_j sum_{i in A_j} e^{beta0_i} (|d beta1| + |d b| + |d a| + |d nu|)
       + sum_j |sum_{i in A_j} e^{beta0_i} - e^{beta0*_j}|

and D2 ("over") has `|d beta1|^r + |d b|^r + |d a|^{r/2} + |d nu|^{r/2}` in cells of m > 1 members, r(2) = 4, r(3) = 6,
coordinate by coordinate. Both are least over the common shift (t1, t0) of a linear gate: given the cells the best t1
does not depend on t0, and is that of a convex function; a loss is piecewise linear in e^{t0}, so that its least value
is where it bends, or where e^{t0} -> 0 and every fitted expert has vanished; that is no alignment, and is left out.

Law: a loss is 0 at the truth, at every shift and permutation of it, and where experts of the truth are split.

References: Nguyen, Nguyen and Ho (2023), arXiv 2305.03288; Hai et al. (2025), arXiv 2510.12744.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .alignment import Alignment, aligned
from .density import Mixture
from .gates import Gate
from .parameters import Parameters

__all__ = ["Alignment", "align", "mixture_of", "plain", "voronoi_loss"]

KINDS, WEIGHTS = ("exact", "over"), ("gate", "unit")


def voronoi_loss(fit: Any, truth: Any, kind: str = "exact", weights: str = "gate") -> float:
    """Give the distance of a fit from the truth, least over the shift that the gate allows.

    Args:
        fit: a `Mixture` or a fitted `GaussianMoE`; `Parameters` count as those of a softmax.
        truth: the same. A top-K gate has the largest sum over K of the true experts.
        kind: "exact" for D1, "over" for D2.
        weights: "gate" for e^{beta0}, "unit" for weights that are shared in proportion to it and add up to 1 in each
            cell, so that light experts are seen; then an empty cell costs 1, and masses nothing.

    Raises: LawfulError for a kind or weights that are not known, cells with more than three members, or mixtures with
        different numbers of covariates.

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
    found, wanted = mixture_of(fit), mixture_of(truth)
    gate, true = found.gate, plain(wanted)
    if true.a.shape[1] != found.parameters.a.shape[1]:
        raise LawfulError(
            f"voronoi_loss: the fit has {found.parameters.a.shape[1]} covariates and the truth {true.a.shape[1]}. Fix: "
            "compare mixtures of the same covariates."
        )
    told = [plain(found)]
    odd = gate.kind == "activated" and gate.activation in ("logistic", "tanh")
    if odd and found.parameters.n_experts == 2:
        told.append(told[0]._replace(beta1=-told[0].beta1[::-1]))
    with np.errstate(over="ignore"):  # a loss may be infinite
        tried = [aligned(each, true, gate, kind, weights, wanted.gate.top_k) for each in told]
    return min(tried, key=lambda a: a.loss)


def mixture_of(told: Any) -> Mixture:
    """Give the mixture of a `Mixture`, of `Parameters`, which count as those of a softmax, or of a fitted estimator."""
    if isinstance(told, Parameters):
        return Mixture(Gate(), told)
    found = told if isinstance(told, Mixture) else getattr(told, "mixture_", None)
    if not isinstance(found, Mixture):
        raise LawfulError(
            f"expected a Mixture, Parameters or a fitted GaussianMoE, got a {type(told).__name__}. Fix: call fit(X, y) "
            "of an estimator first."
        )
    return found


def plain(mixture: Mixture) -> Parameters:
    """Give parameters as NumPy arrays, the temperature of a linear gate divided out."""
    arrays = Parameters(*(np.asarray(value, float) for value in mixture.parameters))
    if mixture.gate.kind != "temperature":
        return arrays
    return arrays._replace(beta1=arrays.beta1 / arrays.tau, beta0=arrays.beta0 / arrays.tau, tau=np.ones(()))
