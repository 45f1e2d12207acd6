"""Kalman filter and smoother: the exact posterior and evidence of a linear Gaussian state-space model.

    x_0 ~ N(m0, P0),    x_t = A_t x_{t-1} + N(0, Q_t),    y_t = C_t x_t + N(0, R_t)

Law: `kalman_log_evidence` is the log density of the observed entries of y, exactly; it compiles and has a gradient, so
a program may use it as a factor. Equations: Särkkä (2013), Bayesian Filtering and Smoothing, theorem 4.2 (filter) and
theorem 8.2 (Rauch, Tung and Striebel's smoother).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, ArrayLike, Bool, Float

from lawful.errors import LawfulError


class LinearGaussian(NamedTuple):
    """Parameters of a linear Gaussian state-space model with n states and d observations a step.

    `x_0` is the state at the first observation: no transition comes before it. Each of the four matrices may have a
    leading axis of T steps; `transition[0]` and `transition_cov[0]` are then not used.

    Attributes:
        transition: A, (n, n) or (T, n, n).
        transition_cov: Q, (n, n) or (T, n, n).
        emission: C, (d, n) or (T, d, n).
        emission_cov: R, (d, d) or (T, d, d).
        mean: m0, (n,).
        cov: P0, (n, n).
    """

    transition: ArrayLike
    transition_cov: ArrayLike
    emission: ArrayLike
    emission_cov: ArrayLike
    mean: ArrayLike
    cov: ArrayLike


class Filtered(NamedTuple):
    """Moments of x_t given y_0 .. y_t, and the log density of y_t given y_0 .. y_{t-1}."""

    mean: Float[Array, "T n"]
    cov: Float[Array, "T n n"]
    log_evidence_increments: Float[Array, " T"]


class Smoothed(NamedTuple):
    """Moments of x_t given all observations."""

    mean: Float[Array, "T n"]
    cov: Float[Array, "T n n"]


def local_level(
    initial_mean: ArrayLike, initial_sd: ArrayLike, level_sd: ArrayLike, noise_sd: ArrayLike
) -> LinearGaussian:
    """Return the local-level model, a random walk seen through noise.

    Args:
        initial_mean: mean of the first level.
        initial_sd: standard deviation of the first level.
        level_sd: standard deviation of the steps, a scalar or one a step (T,), the first of which is not used.
        noise_sd: standard deviation of the observations.

    >>> round(float(kalman_log_evidence(local_level(0.0, 0.6, 0.1, 0.8), [[0.0]])), 6)
    -0.918939
    """
    one = jnp.ones((1, 1))
    step = jnp.asarray(level_sd)[..., None, None]
    return LinearGaussian(
        one,
        step**2,
        one,
        one * jnp.square(noise_sd),
        jnp.reshape(jnp.asarray(initial_mean), (1,)),
        one * jnp.square(initial_sd),
    )


def kalman_log_evidence(
    model: LinearGaussian, y: ArrayLike | Sequence[Any], observed: ArrayLike | None = None
) -> Float[Array, ""]:
    """Return the log density of the observed entries of y.

    Args:
        model: the parameters.
        y: (T, d), observations; entries that are not observed may hold anything.
        observed: (T, d), which entries are observed; None means all.

    Raises: as `kalman_filter`.
    """
    return jnp.sum(kalman_filter(model, y, observed).log_evidence_increments)


def kalman_filter(model: LinearGaussian, y: ArrayLike | Sequence[Any], observed: ArrayLike | None = None) -> Filtered:
    """Filter: the posterior of each state given the observations up to it.

    Args:
        model: the parameters.
        y: (T, d), observations; entries that are not observed may hold anything.
        observed: (T, d), which entries are observed; None means all.

    Returns: means (T, n), covariances (T, n, n) and increments of the log evidence (T,); NaN where a matrix that is
        compiled is no covariance.

    Raises: LawfulError where shapes do not fit, a value is NaN, or a known matrix is no covariance.

    >>> model = local_level(0.0, 1.0, 1.0, 1.0)
    >>> round(float(kalman_filter(model, [[1.0]]).mean[0, 0]), 6)
    0.5
    """
    values, seen = _entries(y, observed)
    _refuse_shapes(model, values)
    _refuse_covariances(model)
    matrices = _per_step(model, len(values))
    identity = jnp.eye(jnp.size(model.mean), dtype=values.dtype)

    def step(carry: Any, inputs: Any) -> Any:
        (mean, cov), (first, (a, q, c, r), y_t, seen_t) = carry, inputs
        mean = jnp.where(first, mean, a @ mean)
        cov = jnp.where(first, cov, a @ cov @ a.T + q)
        # An entry that is not observed becomes an independent standard normal residual of value 0, which tells nothing.
        c = jnp.where(seen_t[:, None], c, 0.0)
        r = jnp.where(seen_t[:, None] & seen_t[None, :], r, jnp.eye(len(r), dtype=r.dtype))
        residual = jnp.where(seen_t, y_t - c @ mean, 0.0)
        factor = _cholesky(c @ cov @ c.T + r)
        gain = _solve(factor, c @ cov).T
        rest = identity - gain @ c
        mean = mean + gain @ residual
        cov = rest @ cov @ rest.T + gain @ r @ gain.T  # Joseph's form stays symmetric and positive
        log_determinant = 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)))
        quadratic = residual @ _solve(factor, residual)
        increment = -0.5 * (jnp.sum(seen_t) * np.log(2.0 * np.pi) + log_determinant + quadratic)
        return (mean, cov), (mean, cov, increment)

    start = (jnp.asarray(model.mean, values.dtype), _no_negative_variance(jnp.asarray(model.cov, values.dtype)))
    first = jnp.arange(len(values)) == 0
    return Filtered(*jax.lax.scan(step, start, (first, matrices, values, seen))[1])


def rts_smoother(model: LinearGaussian, y: ArrayLike | Sequence[Any], observed: ArrayLike | None = None) -> Smoothed:
    """Smooth: the posterior of each state given all observations.

    Args:
        model: the parameters.
        y: (T, d), observations; entries that are not observed may hold anything.
        observed: (T, d), which entries are observed; None means all.

    Returns: means (T, n) and covariances (T, n, n).

    Raises: as `kalman_filter`.

    >>> model = local_level(0.0, 1.0, 0.0, 1.0)                # a constant level, so both steps see the mean of three
    >>> [round(float(m), 6) for m in rts_smoother(model, [[1.0], [2.0]]).mean[:, 0]]
    [1.0, 1.0]
    """
    filtered = kalman_filter(model, y, observed)
    transition, transition_cov, *_ = _per_step(model, len(filtered.mean))

    def step(carry: Any, inputs: Any) -> Any:
        (later_mean, later_cov), (mean, cov, a, q) = carry, inputs
        predicted_cov = a @ cov @ a.T + q
        gain = _solve(_cholesky(predicted_cov), a @ cov).T
        mean = mean + gain @ (later_mean - a @ mean)
        cov = cov + gain @ (later_cov - predicted_cov) @ gain.T
        return (mean, cov), (mean, cov)

    last = (filtered.mean[-1], filtered.cov[-1])
    earlier = (filtered.mean[:-1], filtered.cov[:-1], transition[1:], transition_cov[1:])
    _, (mean, cov) = jax.lax.scan(step, last, earlier, reverse=True)
    return Smoothed(jnp.concatenate([mean, last[0][None]]), jnp.concatenate([cov, last[1][None]]))


def _entries(
    y: ArrayLike | Sequence[Any], observed: ArrayLike | None
) -> tuple[Float[Array, "T d"], Bool[Array, "T d"]]:
    """Return the observations with 0 in place of what is not observed, and the mask."""
    values = jnp.asarray(y, dtype=jnp.result_type(float))
    if values.ndim != 2:
        raise LawfulError(f"observations: expected (steps, observations a step), got shape {values.shape}.")
    seen = jnp.ones(values.shape, bool) if observed is None else jnp.asarray(observed, bool)
    if seen.shape != values.shape:
        raise LawfulError(f"mask of the observed entries: expected the shape {values.shape} of y, got {seen.shape}.")
    if not isinstance(values, jax.core.Tracer) and not isinstance(seen, jax.core.Tracer):
        missing = np.argwhere(np.isnan(np.asarray(values)) & np.asarray(seen))
        if len(missing):
            raise LawfulError(
                f"observations: NaN at step {missing[0, 0]}, entry {missing[0, 1]} ({len(missing)} in all); say which "
                "entries are observed, by observed=~numpy.isnan(y)."
            )
    return jnp.where(seen, values, 0.0), seen


def _refuse_shapes(model: LinearGaussian, y: Float[Array, "T d"]) -> None:
    """Refuse parameters whose shapes fit neither each other nor the observations: nothing is broadcast in silence."""
    (steps, d), n = y.shape, jnp.size(model.mean)
    sizes = dict(zip(model._fields, ((n, n), (n, n), (d, n), (d, d), (n,), (n, n)), strict=True))
    for name, value in model._asdict().items():
        shape, expected = jnp.shape(value), sizes[name]
        per_step = (steps, *expected) if name in model._fields[:4] else expected
        if shape not in (expected, per_step):
            choice = f"{expected} or, one a step, {per_step}" if per_step != expected else f"{expected}"
            raise LawfulError(
                f"LinearGaussian, {name}: got the shape {shape}, expected {choice}: y of shape {y.shape} has {d} "
                f"observations a step, and the mean of shape {jnp.shape(model.mean)} has {n} states. Fix: give "
                "matrices (numpy.diag of a vector of variances), and y as (steps, observations a step)."
            )


def _refuse_covariances(model: LinearGaussian) -> None:
    """Refuse a known matrix that is the covariance of nothing."""
    for name in ("transition_cov", "emission_cov", "cov"):
        value = getattr(model, name)
        if isinstance(value, jax.core.Tracer):
            continue
        matrix = np.asarray(value, dtype=float)
        scale = np.max(np.abs(matrix), initial=0.0) * 1e-6  # room for what rounding, in 32 bits too, leaves of a zero
        if not np.all(np.isfinite(matrix)):
            wrong = "a value that is not finite"
        elif np.max(np.abs(matrix - np.swapaxes(matrix, -1, -2)), initial=0.0) > scale:
            wrong = "a matrix that is not symmetric"
        elif (lowest := np.min(np.linalg.eigvalsh(matrix), initial=0.0)) < -scale:
            wrong = f"a matrix with the eigenvalue {lowest:.3g}"
        else:
            continue
        raise LawfulError(
            f"LinearGaussian, {name}: {wrong}; a covariance is symmetric and has no negative eigenvalue. Fix: give "
            "variances, not standard deviations or precisions, and check signs."
        )


def _no_negative_variance(matrix: Float[Array, "... n n"]) -> Float[Array, "... n n"]:
    """Make a covariance with a negative variance NaN, so that no number comes of it where values are traced."""
    negative = jnp.any(jnp.diagonal(matrix, axis1=-2, axis2=-1) < 0.0)
    return jnp.where(negative, jnp.nan, matrix)


def _per_step(model: LinearGaussian, steps: int) -> tuple[Array, ...]:
    """Give each matrix its axis of steps."""
    a, q, c, r = [jnp.asarray(matrix, dtype=jnp.result_type(float)) for matrix in model[:4]]
    matrices = (a, _no_negative_variance(q), c, _no_negative_variance(r))
    return tuple(jnp.broadcast_to(matrix, (steps, *matrix.shape[-2:])) for matrix in matrices)


def _cholesky(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    # Batches of 1 x 1 factorisations are calls to LAPACK one by one, a hundred times slower than the square root.
    return jnp.sqrt(matrix) if len(matrix) == 1 else jnp.linalg.cholesky(matrix)


def _solve(factor: Float[Array, "d d"], right: Float[Array, "d ..."]) -> Float[Array, "d ..."]:
    return right / factor[0, 0] ** 2 if len(factor) == 1 else cho_solve((factor, True), right)
