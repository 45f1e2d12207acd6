"""Simulated trajectories: the conditions under which fits are judged, with the true parameters beside the data.

Law: drawn from the density of the model itself, classes by the gate, growth factors by their
covariates; the true tree of parameters is given in the user's units, so that the density can be asked for its value
there.

The default is the design of Liu and Perera's demonstration file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .curves import Curve, curve_of
from .parameters import Model, Parameters

__all__ = ["Design", "Drawn", "Simulated", "draw", "simulate_trajectories"]


@dataclass(frozen=True)
class Design:
    """A condition of the study: classes, two of them by default, with two gate and two growth covariates.

    Args:
        curve: short name of the curve.
        factors: intercepts of the reported growth factors in each class.
        shapes: shape parameter of each class.
        spreads: standard deviations of the growth factors, all correlations being 0.3.
        explained: share of the variance of each growth factor that covariates explain, by class; the second covariate's
            effect is 1.5 times the first's.
        noise: residual variance.
        gate: log odds of the second class against the first: intercept, and for each gate covariate; rows of these for
            the second class and each further one.
        correlation: of the two covariates of a pair.

    >>> Design().growth[0].round(6).tolist()[0]  # effects on the first growth factor, class 1
    [0.884948, 1.327422]
    """

    curve: str = "BLS"
    factors: Sequence[Sequence[float]] = ((100.0, -5.0, -2.6), (100.0, -5.0, -3.4))
    shapes: Sequence[float] = (3.5, 5.5)
    spreads: Sequence[float] = (5.0, 1.0, 1.0)
    explained: Sequence[float] = (0.13, 0.26)
    noise: float = 1.0
    gate: Sequence[float] | Sequence[Sequence[float]] = field(default=(0.0, float(np.log(1.5)), float(np.log(1.7))))
    correlation: float = 0.3

    @property
    def form(self) -> Curve:
        """The curve."""
        return curve_of(self.curve)

    @property
    def covariance(self) -> np.ndarray:
        """Of the covariates of a pair (2, 2)."""
        return np.array([[1.0, self.correlation], [self.correlation, 1.0]])

    @property
    def growth(self) -> np.ndarray:
        """Effects of the growth covariates on the reported growth factors (K, q, 2)."""
        effect = np.array([1.0, 1.5])
        unit = np.sqrt(np.array(self.explained) / (effect @ self.covariance @ effect))
        return unit[:, None, None] * np.array(self.spreads)[None, :, None] * effect[None, None]

    @property
    def residual(self) -> np.ndarray:
        """Residual covariance of the reported growth factors (K, q, q)."""
        q = len(self.spreads)
        total = (0.7 * np.eye(q) + 0.3) * np.outer(self.spreads, self.spreads)
        return total[None] - self.growth @ self.covariance[None] @ np.swapaxes(self.growth, 1, 2)

    @property
    def parameters(self) -> Parameters:
        """The truth in the user's units, growth factors in the curve's basis."""
        turn = np.stack([np.linalg.inv(np.asarray(self.form.reported(shape), float)) for shape in self.shapes])
        psi = turn @ self.residual @ np.swapaxes(turn, 1, 2)
        k = len(self.factors)
        return Parameters(
            gate=np.concatenate([np.zeros((1, 3)), np.atleast_2d(self.gate)]),
            mean=np.einsum("kab,kb->ka", turn, np.array(self.factors)),
            shape=np.array(self.shapes)[:, None],
            slope=turn @ self.growth,
            chol=np.linalg.cholesky(psi),
            noise=np.full(k, self.noise),
            x_mean=np.zeros((k, 2)),
            x_chol=np.tile(np.linalg.cholesky(self.covariance), (k, 1, 1)),
        )


class Simulated(NamedTuple):
    """Data as columns Y1.., T1.., gx1, gx2, ex1, ex2, and the true class of each person, from 1."""

    data: dict[str, np.ndarray]
    labels: np.ndarray


def simulate_trajectories(
    key: jax.Array, n: int = 500, waves: int = 10, design: Design | None = None, missing: float = 0.0
) -> Simulated:
    """Draw a data set.

    Args:
        key: a key of `jax.random`.
        n: number of persons.
        waves: number of waves; the first is at time 0, the last at waves - 1, each other within 0.25 of its place.
        design: the condition; by default that of the demonstration file.
        missing: probability that an outcome is missing, whatever its value; the first wave is always seen.

    >>> drawn = simulate_trajectories(jax.random.key(0), n=5, waves=4)
    >>> sorted(drawn.data)[:4], drawn.data["T1"].tolist()
    (['T1', 'T2', 'T3', 'T4'], [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    design = design or Design()
    keys = jax.random.split(key, 4)
    gate = _normals(keys[0], (n, 2)) @ np.linalg.cholesky(design.covariance).T
    t = np.tile(np.arange(float(waves)), (n, 1))
    t[:, 1:-1] += np.asarray(jax.random.uniform(keys[1], (n, waves - 2), minval=-0.25, maxval=0.25))
    drawn = draw(keys[2], design.parameters, Model(design.curve, len(design.factors), 2, 2), t, gate)
    gone = np.asarray(jax.random.uniform(keys[3], t.shape)) < missing
    gone[:, 0] = False
    y = np.where(gone, np.nan, drawn.y)
    data: dict[str, Any] = {f"Y{j + 1}": y[:, j] for j in range(waves)}
    data |= {f"T{j + 1}": t[:, j] for j in range(waves)}
    data |= {f"gx{j + 1}": gate[:, j] for j in range(2)} | {f"ex{j + 1}": drawn.growth[:, j] for j in range(2)}
    return Simulated(data, drawn.labels)


class Drawn(NamedTuple):
    """Outcomes (n, J), growth covariates (n, p_e), classes from 1 (n,), time-varying covariates (n, J, p_v) or None."""

    y: np.ndarray
    growth: np.ndarray
    labels: np.ndarray
    varying: np.ndarray | None = None


def draw(
    key: jax.Array,
    parameters: Parameters,
    model: Model,
    t: np.ndarray,
    gate: np.ndarray,
    growth: np.ndarray | None = None,
    varying: np.ndarray | None = None,
) -> Drawn:
    """Draw persons from a mixture.

    Args:
        key: a key of `jax.random`.
        parameters: in the units of the times, without an axis of persons.
        model: which mixture; in the joint variant growth covariates are drawn with the class.
        t: times (n, J).
        gate: gate covariates (n, p_g).
        growth: growth covariates (n, p_e), which the conditional variant needs.
        varying: time-varying covariates (n, J, p_v), likewise.

    >>> design = Design()
    >>> found = draw(jax.random.key(0), design.parameters, Model("BLS", 2, 2, 2), np.zeros((3, 2)), np.zeros((3, 2)))
    >>> found.y.shape, found.growth.shape
    ((3, 2), (3, 2))
    """
    n, form = len(t), model.form
    keys = jax.random.split(key, 4)
    logits = np.concatenate([np.ones((n, 1)), gate], axis=1) @ np.asarray(parameters.gate).T
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    label = (np.asarray(jax.random.uniform(keys[0], (n, 1))) >= share[:, :-1]).sum(axis=1)
    mean, shape, slope, chol, noise, x_mean, x_chol = (np.asarray(leaf)[label] for leaf in parameters[1:8])
    if model.joint:
        growth = x_mean + np.einsum("nab,nb->na", x_chol, _normals(keys[1], x_mean.shape))
    elif growth is None:
        growth = np.zeros((n, 0))
    moved = np.einsum("nab,nb->na", slope, growth)
    moved = moved + np.einsum("nab,nb->na", chol, _normals(keys[2], moved.shape))
    own = moved[:, :1] if model.intrinsic else np.zeros((n, 1))
    eta = mean + moved[:, int(model.intrinsic) :]
    at = shape if form.shape else np.zeros((n, 1))
    factors, intercepts = ([jnp.asarray(each[:, [c]]) for c in range(form.q)] for each in (eta, mean))
    if model.intrinsic and not model.exact:
        y = form.value(jnp.asarray(t), jnp.asarray(at), factors)
        y = y + form.sensitivity(jnp.asarray(t), jnp.asarray(at), intercepts) * jnp.asarray(own)
    else:
        y = form.value(jnp.asarray(t), jnp.asarray(at + own), factors)
    y = np.asarray(y, float) + np.sqrt(noise)[:, None] * _normals(keys[3], t.shape)
    if parameters.varying is not None:
        effect, centre, width = (np.asarray(leaf)[label] for leaf in parameters.varying)
        if model.joint:
            varying = np.moveaxis(centre + width * _normals(jax.random.fold_in(key, 4), centre.shape), 1, 2)
        assert varying is not None
        y = y + np.einsum("nv,njv->nj", effect, varying)
    return Drawn(y, growth, label + 1, varying)


def _normals(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(jax.random.normal(key, shape), float)
