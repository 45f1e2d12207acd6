"""Starts: where climbs begin, from person-wise curves grouped at random; the truth is never among them.

Law: starts depend on the data and the seed alone. Variety matters more than quality: the working shape, the centres,
the number of steps of the grouping and the shape of each class are drawn anew for each start.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..model.panels import Panel
from ..model.parameters import Bounds, Model, Parameters, Varying

__all__ = ["random_starts", "reseeded"]

SHRUNK = 1e-3  # of person-wise curves towards that of all, as a share of a person's information
FEWEST = 15  # persons that a class of a start takes its moments from
INNER = (0.2, 0.7)  # of the range of times, where knots begin
RATES = (0.5, 8.0)  # over the range of times, where rates and accelerations begin
NOISE = (1e-5, 0.09)  # what the residual variance of a start stays between, in variances of all outcomes


def random_starts(panel: Panel, model: Model, bounds: Bounds, count: int, rng: np.random.Generator) -> list[Parameters]:
    """Draw starts.

    Args:
        panel: in standard units.
        model: which mixture.
        bounds: of a knot.
        count: number of starts.
        rng: the source of randomness.

    Returns: parameters in standard units, without an axis of persons.

    >>> from lawful.models.trajectories import panel
    >>> data = panel(np.add.outer(np.arange(9.0), np.arange(4.0)), np.arange(4.0) / 3)
    >>> found = random_starts(data, Model("LIN", 2), Bounds(0.0, 1.0), 3, np.random.default_rng(0))
    >>> len(found), found[0].mean.shape
    (3, (2, 2))
    """
    return [_start(panel, model, bounds, rng) for _ in range(count)]


def reseeded(
    at: Parameters, empty: np.ndarray, worst: np.ndarray, panel: Panel, model: Model, bounds: Bounds,
    rng: np.random.Generator,
) -> Parameters:  # fmt: skip
    """Begin classes anew that hardly anyone is left in, from the persons whom a fit describes worst.

    Args:
        at: a fit in standard units, without an axis of persons.
        empty: which classes begin anew (K,).
        worst: persons.
        panel: in standard units.
        model: which mixture.
        bounds: of a knot.
        rng: the source of randomness.
    """
    found = jax.tree.map(np.array, at)
    whole, varying = _whole(panel, model), _varying(panel, model)
    for c in np.flatnonzero(empty):
        working = _shape(model, bounds, rng)
        columns = np.asarray(_basis(panel.t, working, model))
        eta = _person_wise(panel, columns)
        shape = _shape(model, bounds, rng)
        found.mean[c], found.chol[c] = _moments(eta, worst, working, shape, model)
        found.shape[c], found.slope[c], found.noise[c] = shape, 0.0, _noise(panel, columns, eta)
        found.x_mean[c], found.x_chol[c] = whole
        if found.varying is not None and varying is not None:
            for leaf, fresh in zip(found.varying, varying, strict=True):
                leaf[c] = fresh
    restarted: Parameters = found._replace(gate=np.zeros_like(found.gate))
    return restarted


def _start(panel: Panel, model: Model, bounds: Bounds, rng: np.random.Generator) -> Parameters:
    k = model.n_classes
    working = _shape(model, bounds, rng)
    columns = np.asarray(_basis(panel.t, working, model))
    eta = _person_wise(panel, columns)
    spread = eta.std(axis=0)
    label = _grouped((eta - eta.mean(axis=0)) / np.where(spread > 0, spread, 1.0), k, rng)
    mean, chol = np.zeros((k, model.form.q)), np.zeros((k, model.n_factors, model.n_factors))
    shape = np.zeros((k, 1))
    for c in range(k):
        own = np.flatnonzero(label == c)
        if len(own) < FEWEST:
            own = rng.choice(panel.n, size=min(panel.n, max(FEWEST, panel.n // k)), replace=False)
        shape[c] = shape[0] if c and "shape" in model.alike else _shape(model, bounds, rng)
        mean[c], chol[c] = _moments(eta, own, working, shape[c, 0], model)
    x_mean, x_chol = _whole(panel, model)
    return Parameters(
        gate=np.zeros((k, 1 + model.p_gate)),
        mean=mean,
        shape=shape[:, : int(model.form.shape is not None)],
        slope=np.zeros((k, model.n_factors, model.p_growth)),
        chol=chol,
        noise=np.full(k, _noise(panel, columns, eta)),
        x_mean=np.tile(x_mean, (k, 1)),
        x_chol=np.tile(x_chol, (k, 1, 1)),
        varying=jax.tree.map(lambda leaf: np.stack([leaf] * k), _varying(panel, model)),
    )


def _moments(
    eta: np.ndarray, own: np.ndarray, working: float, shape: float, model: Model
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and factor of the covariance of persons' growth factors, carried from the working shape to another."""
    turn = np.asarray(_carried(working, shape, model))
    spread = np.maximum(eta.std(axis=0), 1e-3)
    cov = 0.7 * np.cov(eta[own].T) + np.diag(1e-4 * spread**2)
    chol = np.zeros((model.n_factors, model.n_factors))
    chol[model.intrinsic :, model.intrinsic :] = np.linalg.cholesky(turn @ cov @ turn.T)
    if model.intrinsic:
        chol[0, 0] = 0.05 * max(1.0, abs(shape))
    return turn @ eta[own].mean(axis=0), chol


def _whole(panel: Panel, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Mean and factor of the covariance of the growth covariates of all persons."""
    growth = np.asarray(panel.growth) if model.joint else np.zeros((0, panel.n))
    cov = np.atleast_2d(np.cov(growth)) if len(growth) else np.zeros((0, 0))
    return growth.mean(axis=1), np.linalg.cholesky(cov)


def _varying(panel: Panel, model: Model) -> Varying | None:
    """No effect (p_v,), and the moments of time-varying covariates in all persons (p_v, J) each."""
    if panel.varying is None:
        return None
    mask = np.asarray(panel.mask)[None]
    seen = np.maximum(mask.sum(axis=2), 1.0)
    mean = (np.asarray(panel.varying) * mask).sum(axis=2) / seen
    square = ((np.asarray(panel.varying) - mean[..., None]) ** 2 * mask).sum(axis=2) / seen
    kept = model.waves * model.joint
    return Varying(np.zeros(len(mean)), mean[:, :kept], np.sqrt(square)[:, :kept] + SHRUNK)


@partial(jax.jit, static_argnames="model")
def _basis(t: Any, g: Any, model: Model) -> jax.Array:
    return jnp.stack(model.form.basis(t, g, jnp.zeros(())))


@partial(jax.jit, static_argnames="model")
def _carried(before: Any, after: Any, model: Model) -> jax.Array:
    return jnp.linalg.solve(model.form.reported(after), model.form.reported(before))


def _shape(model: Model, bounds: Bounds, rng: np.random.Generator) -> float:
    """Draw a shape parameter, in standard units, or give the one that is fixed."""
    if model.fixed:
        return float(bounds.low)
    if model.curve == "BLS":
        low, high = float(bounds.low), float(bounds.high)
        return low + (high - low) * rng.uniform(*INNER)
    rate = float(np.exp(rng.uniform(*np.log(RATES))))
    return -rate if model.curve == "JB" else rate


def _person_wise(panel: Panel, columns: np.ndarray) -> np.ndarray:
    """Least squares by person, shrunk a little towards all persons' curve, which is all that some tell of (n, q)."""
    masked, y = columns * np.asarray(panel.mask)[None], np.asarray(panel.y)
    gram = np.einsum("cjn,djn->ncd", masked, columns)
    right = np.einsum("cjn,jn->nc", masked, y)
    q = len(columns)
    pooled = np.linalg.lstsq(gram.sum(axis=0), right.sum(axis=0), rcond=None)[0]
    waves = np.asarray(panel.mask).sum(axis=0)
    trace = np.trace(gram, axis1=1, axis2=2) / q
    weight = np.where(waves < q, 1e6, SHRUNK) * np.where(trace > 0, trace, 1.0)
    left = gram + weight[:, None, None] * np.eye(q)[None]
    return np.linalg.solve(left, (right + weight[:, None] * pooled[None])[..., None])[..., 0]


def _noise(panel: Panel, columns: np.ndarray, eta: np.ndarray) -> float:
    """Variance of what person-wise curves leave, of persons with more waves than factors.

    A start with much more noise than the data have sees groups that differ by less than it as one, and loses a class.
    """
    mask = np.asarray(panel.mask)
    rest = (np.asarray(panel.y) - np.einsum("cjn,nc->jn", columns, eta)) * mask
    spare = np.maximum(mask.sum(axis=0) - len(columns), 0)
    if not spare.any():
        return NOISE[1]
    return float(np.clip((rest[:, spare > 0] ** 2).sum() / spare.sum(), *NOISE))


def _grouped(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Group rows round centres that are drawn far apart or at random, after few steps of Lloyd's method (n,)."""
    far = rng.uniform() < 0.5
    centres = [x[rng.integers(len(x))]]
    for _ in range(1, k):
        nearest = np.min([((x - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
        share = nearest / nearest.sum() if far and nearest.sum() > 0 else None
        centres.append(x[rng.choice(len(x), p=share)])
    at = np.array(centres)
    for _ in range(int(rng.integers(0, 9))):
        label = _nearest(x, at)
        at = np.array([x[label == c].mean(axis=0) if (label == c).any() else at[c] for c in range(k)])
    return _nearest(x, at)


def _nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.argmin(((x[:, None] - centres[None]) ** 2).sum(axis=2), axis=1)
