"""Marginal normal: events of which some parts were not observed, where the family tells the marginal law of the rest.

Law: the score is the exact marginal density of the parts that were observed, for any pattern, one pattern a row; the
missing parts have the conditional law given the others. What the data hold at missing parts has no influence on any
value or gradient. One Cholesky factor of fixed size serves every pattern:

    M = diag(present), r = M (y - mu), S = M Sigma M + (I - M)
    log p = -1/2 (r' S^-1 r + log det S + (number present) log(2 pi))
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve_triangular

from ..messages import refused
from .families import core_of, element_distribution, family_of, log_prob


def is_of_parts(distribution: Any, present: Any) -> bool:
    """Tell whether a mask speaks of parts of events: it has the shape of the value, and events have axes."""
    return bool(getattr(distribution, "event_shape", ())) and np.shape(present) == tuple(distribution.shape())


def require_parts(distribution: Any, present: Any, site: Any) -> None:
    """Refuse to observe parts of the events of a family that does not tell the law of a part."""
    core = core_of(distribution)
    if core.event_shape and family_of(core).covariance is None:
        batch = tuple(distribution.batch_shape)
        words = (
            f": a mask of shape {np.shape(present)} says which parts of an event were observed, and "
            f"{type(core).__name__} does not tell the law of a part. Fix: mask whole events, by a mask of shape "
            f"{batch}, or use a multivariate normal or independent elements (to_event)."
        )
        raise refused(site, words, given=np.shape(present), expected=batch)


def with_filling(value: Any, distribution: Any, present: Any) -> Any:
    """Put a number of the support in the place of what is missing, before anything is computed from it."""
    known = isinstance(value, np.ndarray) and isinstance(present, np.ndarray | np.generic)
    zeros = np.zeros(tuple(distribution.shape()), jnp.result_type(float))
    with jax.ensure_compile_time_eval() if known else contextlib.nullcontext():
        filling = distribution.support.feasible_like(zeros)
    if known and not isinstance(filling, jax.core.Tracer):  # what is known stays known, and is checked now
        return np.where(present, value, np.asarray(filling).astype(value.dtype))
    return jnp.where(present, value, jnp.asarray(filling).astype(value.dtype))


def law_of_missing_parts(distribution: Any, value: Any, present: Any) -> Any:
    """Return the law of a whole value whose missing parts follow the others; its other parts mean nothing.

    With the precision P = Sigma^-1 the missing parts have the precision P_mm and the mean mu_m - P_mm^-1 P_mo r_o; the
    others are given standard normals, so that the size is fixed.
    """
    core = core_of(distribution)
    present = jnp.broadcast_to(jnp.asarray(present), tuple(distribution.shape()))
    covariance = _covariance(core)
    identity = jnp.broadcast_to(jnp.eye(covariance.shape[-1], dtype=covariance.dtype), covariance.shape)
    precision = cho_solve((jnp.linalg.cholesky(covariance), True), identity)
    missing = ~present
    own = missing[..., :, None] & missing[..., None, :]
    root = jnp.linalg.cholesky(jnp.where(own, precision, identity))
    distance = jnp.where(present, jnp.asarray(value) - core.loc, 0.0)
    pull = jnp.where(present, 0.0, jnp.sum(precision * distance[..., None, :], axis=-1))
    inverse = cho_solve((root, True), jnp.broadcast_to(identity, root.shape))
    shift = jnp.sum(inverse * pull[..., None, :], axis=-1)
    law = dist.MultivariateNormal(jnp.broadcast_to(core.loc, distance.shape) - shift, inverse)
    return law.to_event(len(distribution.event_shape) - 1)


def score_of_parts(distribution: Any, value: jax.Array, present: jax.Array) -> jax.Array:
    """Score the observed parts of normal vectors, or the observed ones of independent elements, each apart."""
    core = core_of(distribution)
    if not core.event_shape:
        element = element_distribution(distribution)
        scores = jnp.where(element.support(value), log_prob(element, value), -jnp.inf)
        return jnp.where(present, scores, 0.0)
    covariance = _covariance(core)
    both = present[..., :, None] & present[..., None, :]
    root = jnp.linalg.cholesky(jnp.where(both, covariance, jnp.eye(covariance.shape[-1], dtype=covariance.dtype)))
    distance = jnp.where(present, value - core.loc, 0.0)
    white = solve_triangular(root, distance[..., None], lower=True)[..., 0]
    log_root = jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    number = jnp.sum(present, axis=-1, dtype=white.dtype)
    return -0.5 * (jnp.sum(white * white, axis=-1) + number * np.log(2 * np.pi)) - log_root


def _covariance(core: Any) -> jax.Array:
    covariance = family_of(core).covariance
    assert covariance is not None
    return covariance(core)
