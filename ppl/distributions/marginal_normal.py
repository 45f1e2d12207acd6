"""Marginal normal: events of which some parts were not observed, where the family tells the marginal law of the rest.

Law: the score is the exact marginal density of the parts that were observed, for any pattern, one pattern a row; the
missing parts have the conditional law given the others. What the data hold at missing parts has no influence on any
value or gradient. One Cholesky factor of fixed size serves every pattern:

    M = diag(present), r = M (y - mu), S = M Sigma M + (I - M)
    log p = -1/2 (r' S^-1 r + log det S + (number present) log(2 pi))
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve_triangular

from ..errors import LawfulError
from ..messages import site_at
from .families import core_of, element_distribution, family_of, log_prob
from .observed_law import ObservedLaw
from .protocol import BoundLaw, Known, Law


@dataclass(frozen=True)
class Parts(Known):
    """Some parts of the events are missing: one array, of the shape of the value, says which are present."""

    arrays, unobserved, leaves_out = 1, "missing", True

    def scores(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score the observed parts of each event."""
        (present,), whole = known, law.bound(own)
        value, core = with_filling(value, whole, present), core_of(whole)
        rows = _normal_rows(core, value, present) if core.event_shape else _element_rows(whole, value, present)
        return jnp.sum(rows, axis=tuple(range(len(law.units), rows.ndim)))

    def inside(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each event whether its observed parts lie in the support."""
        whole = law.bound(own)
        return whole.support(with_filling(value, whole, known[0]))

    def broken(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each number whether it was observed and is NaN."""
        return jnp.isnan(value) & known[0]

    def text(self, known: Sequence[str]) -> str:
        """Write which parts are present."""
        return f" where {known[0]}"


def is_of_parts(distribution: Any, present: Any) -> bool:
    """Tell whether a mask speaks of parts of events: it has the shape of the value, and events have axes."""
    return bool(getattr(distribution, "event_shape", ())) and np.shape(present) == tuple(distribution.shape())


def partly_observed(distribution: Any, present: Any, scale: Any, site: Any) -> BoundLaw:
    """Return the law of an observation of which parts of the events are missing, under a scale if any.

    Raises: LawfulError for a family that does not tell the law of a part.
    """
    core = core_of(distribution)
    if core.event_shape and family_of(core).covariance is None:
        batch = tuple(distribution.batch_shape)
        raise LawfulError(
            f"{site_at(site)}: a mask of shape {np.shape(present)} says which parts of an "
            f"event were observed, and {type(core).__name__} does not tell the law of a part. Fix: mask whole events, "
            f"by a mask of shape {batch}, or use a multivariate normal or independent elements (to_event).",
            site=site.address, given=np.shape(present), expected=batch,
        )  # fmt: skip
    return ObservedLaw.of(distribution, Parts(), (present,), scale)


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
    if not core.event_shape:
        return distribution
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


def _normal_rows(core: Any, value: jax.Array, present: jax.Array) -> jax.Array:
    """Score the observed parts of normal vectors."""
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


def _element_rows(distribution: Any, value: jax.Array, present: jax.Array) -> jax.Array:
    """Score the observed ones of independent elements."""
    distribution = element_distribution(distribution)
    scores = jnp.where(distribution.support(value), log_prob(distribution, value), -jnp.inf)
    return jnp.where(present, scores, 0.0)
