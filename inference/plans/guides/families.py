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
from ...laws.flow import Flow, flow_weights
from .paths import Normal, Path
from .scan import on_grid, scanned

LEAST = 0.1  # of the weight of a path, of that which all would have: a bad path costs draws, a missing one all of them
RANK = 10  # directions of a low-rank law
RATE = 0.02  # of Adam, in units of the law at which a fit begins
NET = 0.002  # of the weights of nets, which move all draws at once


@dataclass(frozen=True)
class Family:
    """A kind of guide.

    Attributes:
        name: what users say.
        law: the law of the parameters.
        begin: the parameters at the best normal law of the paths, or at None where there are none, from which a fit
            goes on; None of a family without.
        end: the parameters of a family without a fit: `(frame, inputs, paths) -> parameters`.
        searches: whether paths go before.
        tailed: whether its law is a normal one, which gets the tails that serve its weights.
        walks: whether chains look for what it leaves out, as a law that is bent is narrow in places.
        rate: of the steps of a fit.
        memory: share of the squared gradients that Adam keeps in a step: less where a fit begins far off, at gradients
            of another size than those of its end.
    """

    name: str
    law: Callable[[Any], dist.Distribution]
    begin: Callable[[Any], Any] | None = None
    end: Callable[[Frame, Sequence[Any], Any], Any] = lambda frame, inputs, paths: paths
    tailed: bool = False
    walks: bool = False
    searches: bool = True
    rate: float = RATE
    memory: float = 0.999


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


def _top(frame: Frame, inputs: Sequence[Any], paths: Path) -> tuple[jax.Array, jax.Array]:
    """Give the highest end of a path, and the curvature there: the second derivatives of minus the log density."""
    mode = paths.search.vector[jnp.argmax(paths.search.value)]
    slope = jax.grad(lambda vector: frame.log_density(tuple(inputs), vector))
    units = jnp.eye(len(mode), dtype=mode.dtype)
    curvature = -jax.lax.map(lambda unit: jax.vjp(slope, mode)[1](unit)[0], units)
    return mode, 0.5 * (curvature + curvature.T)


def _laplace_at(frame: Frame, inputs: Sequence[Any], paths: Path) -> Normal:
    """Give the normal law at the highest end of a path, of the curvature there; a law of a path where it has none."""
    mode, curvature = _top(frame, inputs, paths)
    lower = jnp.linalg.cholesky(curvature)
    inverse = jax.scipy.linalg.solve_triangular(lower, jnp.eye(len(mode), dtype=mode.dtype), lower=True)
    root = jnp.linalg.cholesky(inverse.T @ inverse)
    best, proper = jnp.argmax(paths.elbo), jnp.all(jnp.isfinite(root))
    own = Normal(mode, root), Normal(paths.normal.loc[best], paths.normal.root[best])
    return Normal(*(jnp.where(proper, a, b) for a, b in zip(*own, strict=True)))


def _mode_at(frame: Frame, inputs: Sequence[Any], paths: Path) -> Normal:
    """Give the highest end of a path, with the scale of each coordinate while the others stay there.

    Where the density does not bend down along a coordinate, it has the scale of the best law of a path.
    """
    mode, curvature = _top(frame, inputs, paths)
    bend = jnp.diag(curvature)
    root = paths.normal.root[jnp.argmax(paths.elbo)]
    bends = jnp.isfinite(bend) & (bend > 0)
    scale = jnp.where(bends, 1 / jnp.sqrt(jnp.where(bends, bend, 1.0)), jnp.sqrt(jnp.sum(root**2, axis=1)))
    return Normal(mode, scale)


def _mode(normal: Normal) -> dist.Distribution:
    return dist.Normal(normal.loc, normal.root).to_event(1)


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


def _flow_at(normal: Normal) -> dict[str, Any]:
    """Begin at a law as it is, bent by nothing."""
    return {"weights": flow_weights(len(normal.loc)), "held": (normal.loc, normal.root)}


def _flow(parameters: dict[str, Any]) -> dist.Distribution:
    return Flow(parameters["weights"], *jax.lax.stop_gradient(parameters["held"]))


FAMILIES = {
    one.name: one
    for one in (
        Family("lowrank", _lowrank, _lowrank_at, tailed=True),
        Family("normal", _normal, _normal_at, tailed=True),
        Family("flow", _flow, _flow_at, rate=NET, walks=True),
        Family("laplace", _laplace, end=_laplace_at, tailed=True),
        Family("mode", _mode, end=_mode_at, tailed=True),
        Family("pathfinder", _pathfinder),
        Family("grid", on_grid, end=scanned, searches=False),
    )
}
