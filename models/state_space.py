"""State-space models as programs: one step of a hidden state after the other, each seen through noise.

Law: the linear Gaussian one has the evidence and the moments of the Kalman filter, which `inference.filtered` and
`inference.smoothed` derive from it; stochastic volatility has those of a filter on a grid of points.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

import lawful
from lawful.errors import LawfulError

__all__ = ["linear_gaussian", "stochastic_volatility"]


class LinearGaussian(NamedTuple):
    """Parameters of a linear Gaussian state-space model with n states and d observations a step.

        x_0 ~ N(m0, P0),    x_t = A_t x_{t-1} + N(0, Q_t),    y_t = C_t x_t + N(0, R_t)

    `x_0` is the state at the first observation: no transition comes before it. Each of the first four matrices may have
    a leading axis of T steps; `transition[0]` and `transition_cov[0]` are then not used. Covariances may be singular.

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


def local_level(
    initial_mean: ArrayLike, initial_sd: ArrayLike, level_sd: ArrayLike, noise_sd: ArrayLike
) -> LinearGaussian:
    """Return the local-level model, a random walk seen through noise.

    Args:
        initial_mean: mean of the first level.
        initial_sd: standard deviation of the first level.
        level_sd: standard deviation of the steps, a scalar or one a step (T,), the first of which is not used.
        noise_sd: standard deviation of the observations.

    >>> from lawful import inference
    >>> moments = inference.smoothed(linear_gaussian, local_level(0.0, 0.6, 0.1, 0.8), jnp.zeros((1, 1)))
    >>> round(float(moments.log_evidence), 6)
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


def linear_gaussian(model: LinearGaussian, y: Any, observed: Any = None) -> jax.Array:
    """A linear Gaussian state space: x_t ~ N(A x_{t-1}, Q), y_t ~ N(C x_t, R); the first state is seen without a move.

    Args:
        model: the parameters.
        y: (T, d), observations; entries that are not observed may hold anything.
        observed: (T, d), which entries are observed; None means all.

    Returns: (T, n), the states.

    Raises: LawfulError where shapes do not fit. A covariance with a negative eigenvalue makes the density NaN.

    >>> from lawful import inference
    >>> level = local_level(0.0, 1.0, 0.0, 1.0)  # a constant level, so both steps see the mean of three
    >>> moments = inference.smoothed(linear_gaussian, level, jnp.array([[1.0], [2.0]]))
    >>> [round(float(mean), 5) for mean in moments.mean["x"][:, 0]]
    [1.0, 1.0]
    """
    y = jnp.asarray(y, jnp.result_type(float))
    _refuse_shapes(model, y.shape)
    seen = None if observed is None else jnp.asarray(observed, bool)
    if seen is not None and seen.shape != y.shape:
        raise LawfulError(f"linear_gaussian, observed: expected the shape {y.shape} of y, got {seen.shape}.")
    roots = {"root": _root(model.transition_cov), "emission_root": _root(model.emission_cov)}
    matrices = {"transition": jnp.asarray(model.transition), "emission": jnp.asarray(model.emission), **roots}
    fixed = {name: matrix for name, matrix in matrices.items() if matrix.ndim == 2}
    varying = {name: matrix for name, matrix in matrices.items() if matrix.ndim == 3}
    mean, first_root = jnp.asarray(model.mean), _root(model.cov)

    def step(x: jax.Array, now: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        first, y, seen, row = now
        at = {**fixed, **row}
        centre, root = jnp.where(first, mean, at["transition"] @ x), jnp.where(first, first_root, at["root"])
        x = lawful.sample("x", dist.MultivariateNormal(centre, scale_tril=root))
        _emit(at["emission"] @ x, at["emission_root"], y, seen)
        return x, x

    rows = (jnp.arange(len(y)) == 0, y, seen, varying)
    states: jax.Array = lawful.scan(step, mean.astype(y.dtype), rows)[1]
    return states


def _emit(mean: jax.Array, root: jax.Array, y: jax.Array, seen: jax.Array | None) -> None:
    """Observe the entries that are seen: the others become independent standard normals of value 0, divided out."""
    if seen is not None:
        cov = jnp.where(seen[:, None] & seen, root @ root.T, jnp.eye(len(y)))
        mean, y, root = jnp.where(seen, mean, 0.0), jnp.where(seen, y, 0.0), _root(cov)
        lawful.factor("not_observed", 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(~seen))
    lawful.sample("y", dist.MultivariateNormal(mean, scale_tril=root), obs=y)


def _root(cov: Any) -> Float[Array, "... n n"]:
    """The lower-triangular root of covariances, singular ones too; NaN of a matrix that is not one."""
    rest = jnp.asarray(cov, jnp.result_type(float))
    if rest.shape[-1] == 1:
        return jnp.sqrt(rest)  # NaN of a negative one
    room = 8.0 * jnp.finfo(rest.dtype).eps * rest.shape[-1] * jnp.max(jnp.abs(rest), axis=(-2, -1))
    columns = []
    for k in range(rest.shape[-1]):
        positive = rest[..., k, k] > room
        pivot = jnp.where(positive, rest[..., k, k], 1.0)
        columns.append(jnp.where(positive[..., None], rest[..., :, k] / jnp.sqrt(pivot)[..., None], 0.0))
        rest = rest - columns[-1][..., :, None] * columns[-1][..., None, :]
    no_covariance = jnp.max(jnp.abs(rest), axis=(-2, -1)) > room
    return jnp.where(no_covariance[..., None, None], jnp.nan, jnp.stack(columns, -1))


def _refuse_shapes(model: LinearGaussian, shape: tuple[int, ...]) -> None:
    """Refuse parameters whose shapes fit neither each other nor the observations: nothing is broadcast in silence."""
    if len(shape) != 2:
        raise LawfulError(f"linear_gaussian, y: expected (steps, observations a step), got the shape {shape}.")
    (steps, d), n = shape, jnp.size(model.mean)
    sizes = dict(zip(model._fields, ((n, n), (n, n), (d, n), (d, d), (n,), (n, n)), strict=True))
    for name, value in model._asdict().items():
        given, expected = jnp.shape(value), sizes[name]
        per_step = (steps, *expected) if name in model._fields[:4] else expected
        if given not in (expected, per_step):
            choice = f"{expected} or, one a step, {per_step}" if per_step != expected else f"{expected}"
            raise LawfulError(
                f"linear_gaussian, {name}: got the shape {given}, expected {choice}: y of shape {shape} has {d} "
                f"observations a step, and the mean of shape {jnp.shape(model.mean)} has {n} states. Fix: give "
                "matrices (numpy.diag of a vector of variances), and y as (steps, observations a step)."
            )


def stochastic_volatility(y: Any, mean: Any = -1.0, persistence: Any = 0.95, scale: Any = 0.25) -> jax.Array:
    """Returns whose log variance wanders (Taylor 1982; Kim, Shephard and Chib 1998).

    x_0 has the stationary law, x_t ~ N(mean + persistence (x_{t-1} - mean), scale), y_t ~ N(0, exp(x_t / 2)).

    Args:
        y: (T,), the returns; the first is seen without a move.
        mean: mean of the log variance.
        persistence: between -1 and 1.
        scale: standard deviation of a move.

    Returns: (T,), the log variances.

    >>> from lawful import handlers
    >>> handlers.seed(stochastic_volatility, jax.random.key(0))(jnp.zeros(5)).shape
    (5,)
    """
    stationary = scale / jnp.sqrt(1.0 - jnp.square(persistence))

    def step(x: jax.Array, now: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
        first, y = now
        centre = jnp.where(first, mean, mean + persistence * (x - mean))
        x = lawful.sample("x", dist.Normal(centre, jnp.where(first, stationary, scale)))
        lawful.sample("y", dist.Normal(0.0, jnp.exp(x / 2)), obs=y)
        return x, x

    states: jax.Array = lawful.scan(step, jnp.asarray(mean, jnp.result_type(float)), (jnp.arange(len(y)) == 0, y))[1]
    return states
