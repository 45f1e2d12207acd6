"""Families: kinds of guides, each a law of the coordinates by parameters that start from the best normal law of a path.

Law: a law that is made of parameters is normalised and reaches every value, whatever they are. A family without steps
is done when the paths are; another one goes uphill from there, in units of the path's law, so that no step size
depends on the units of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...kernels.base.frame import Frame
from .paths import Normal, Path

LEAST = 0.1  # of the weight of a path, of that which all would have: a bad path costs draws, a missing one all of them
RANK = 10  # directions of a low-rank law


@dataclass(frozen=True)
class Family:
    """A kind of guide.

    Attributes:
        name: what users say.
        law: the law of the parameters.
        begin: the parameters at the best normal law of the paths, from which a fit goes on; None of a family without.
        end: the parameters of a family without a fit: `(frame, inputs, paths) -> parameters`.
    """

    name: str
    law: Callable[[Any], dist.Distribution]
    begin: Callable[[Normal], Any] | None = None
    end: Callable[[Frame, Sequence[Any], Path], Any] = lambda frame, inputs, paths: paths


def _pathfinder(paths: Path) -> dist.Distribution:
    """Give the mixture of the best laws of all paths, weighed by their ELBO."""
    normal, elbo = paths.normal, paths.elbo
    share = jax.nn.softmax(elbo)
    known = jnp.isfinite(elbo) | ~jnp.any(jnp.isfinite(elbo))
    share = jnp.where(known, jnp.maximum(jnp.nan_to_num(share), LEAST / len(share)), 0.0)
    parts = dist.MultivariateNormal(normal.loc, scale_tril=normal.root)
    return dist.MixtureSameFamily(dist.Categorical(probs=share / jnp.sum(share)), parts)


def _laplace(normal: Normal) -> dist.Distribution:
    return dist.MultivariateNormal(normal.loc, scale_tril=normal.root)


def _laplace_at(frame: Frame, inputs: Sequence[Any], paths: Path) -> Normal:
    """Give the normal law at the highest end of a path, of the curvature there; a law of a path where it has none."""
    top = jnp.argmax(paths.search.value)
    mode = paths.search.vector[top]
    slope = jax.grad(lambda vector: frame.log_density(tuple(inputs), vector))
    units = jnp.eye(len(mode), dtype=mode.dtype)
    curvature = -jax.lax.map(lambda unit: jax.vjp(slope, mode)[1](unit)[0], units)
    lower = jnp.linalg.cholesky(0.5 * (curvature + curvature.T))
    inverse = jax.scipy.linalg.solve_triangular(lower, units, lower=True)
    root = jnp.linalg.cholesky(inverse.T @ inverse)
    best, proper = jnp.argmax(paths.elbo), jnp.all(jnp.isfinite(root))
    own = Normal(mode, root), Normal(paths.normal.loc[best], paths.normal.root[best])
    return Normal(*(jnp.where(proper, a, b) for a, b in zip(*own, strict=True)))


def _normal_at(normal: Normal) -> dict[str, Any]:
    """Begin at the independent normals nearest to a law: those of the same precisions (Blei et al. 2017, 2.3)."""
    inverse = jax.scipy.linalg.solve_triangular(normal.root, jnp.eye(len(normal.loc)), lower=True)
    unit = 1 / jnp.sqrt(jnp.sum(inverse**2, axis=0))
    zero = jnp.zeros_like(normal.loc)
    return {"loc": zero, "log_scale": zero, "held": (normal.loc, unit)}


def _normal(parameters: dict[str, Any]) -> dist.Distribution:
    loc, unit = jax.lax.stop_gradient(parameters["held"])
    scale = unit * jnp.exp(parameters["log_scale"])
    return dist.Normal(loc + unit * parameters["loc"], scale).to_event(1)


def _lowrank_at(normal: Normal) -> dict[str, Any]:
    """Begin at the widest directions of a law, with half of the variances beside them."""
    covariance = normal.root @ normal.root.T
    unit = jnp.sqrt(jnp.diag(covariance))
    values, vectors = jnp.linalg.eigh(covariance / unit[:, None] / unit)
    rank = min(RANK, len(unit))
    factor = vectors[:, -rank:] * jnp.sqrt(jnp.maximum(values[-rank:], 0.0))
    rest = jnp.maximum(1 - jnp.sum(factor**2, axis=1), 0.05)
    zero = jnp.zeros_like(normal.loc)
    return {"loc": zero, "log_scale": 0.5 * jnp.log(rest), "factor": factor, "held": (normal.loc, unit)}


def _lowrank(parameters: dict[str, Any]) -> dist.Distribution:
    loc, unit = jax.lax.stop_gradient(parameters["held"])
    return dist.LowRankMultivariateNormal(
        loc + unit * parameters["loc"],
        cov_factor=unit[:, None] * parameters["factor"],
        cov_diag=(unit * jnp.exp(parameters["log_scale"])) ** 2,
    )


FAMILIES = {
    one.name: one
    for one in (
        Family("lowrank", _lowrank, _lowrank_at),
        Family("normal", _normal, _normal_at),
        Family("laplace", _laplace, end=_laplace_at),
        Family("pathfinder", _pathfinder),
    )
}
