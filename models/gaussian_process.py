"""Gaussian processes: programs that see a process on a line or in space through linear operators.

Three forms of the same process, whose kernels and operators are those of `covariances`: exact, by the normal density of
what is seen; by sines on an interval (Hilbert space); by a state of derivatives (state space). A program samples the
hyper-parameters of its kernel as sites, and then observes.

Law: density and moments are those of conditioning in closed form; the Hilbert-space form tends to the exact one with
more terms on a wider interval; the state-space form is the exact one.

References: Solin and Särkkä (2020), Hilbert space methods for reduced-rank Gaussian process regression. Hartikainen and
Särkkä (2010), Kalman filtering and smoothing solutions to temporal Gaussian process regression models.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, factorial, pi
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful

from .covariances import (
    Function,
    Kernel,
    Operator,
    covariance,
    derivative,
    even_covariance,
    identity,
    matern,
    squared_exponential,
)
from .state_space import LinearGaussian

__all__ = [
    "Moments",
    "Observation",
    "gaussian_process",
    "hilbert_features",
    "hilbert_space",
    "joint_covariance",
    "matern_states",
    "observe",
    "posterior",
]


class Observation(NamedTuple):
    """What is seen of a process through an operator.

    Attributes:
        operator: what is applied to the process.
        points: (n, ...), where.
        values: (n,), what is seen.
        noise: () or (n,), the standard deviations of the errors; with no error at all a matrix can be singular.
        even: whether the covariances are computed by `even_covariance`.
    """

    operator: Operator
    points: Any
    values: Any
    noise: Any
    even: bool = False


class Moments(NamedTuple):
    """Moments of what an operator makes of a process.

    Attributes:
        mean: (n,).
        covariance: (n, n).
    """

    mean: jax.Array
    covariance: jax.Array


def joint_covariance(kernel: Kernel, observations: Sequence[Observation]) -> jax.Array:
    """Give the covariance of all that is seen, errors included, in the order of the observations.

    Args:
        kernel: of the process.
        observations: what is seen.

    Returns: (n, n), n values in all.

    >>> at = jnp.array([0.0])
    >>> seen = [Observation(identity, at, at, 0.1), Observation(derivative(1), at, at, 0.1)]
    >>> joint_covariance(squared_exponential(1.0), seen).round(4).tolist()
    [[1.01, 0.0], [0.0, 1.01]]
    """

    def block(i: int, j: int) -> jax.Array:
        one, other = observations[i], observations[j]
        if i == j and one.even:
            return even_covariance(kernel, one.points, one.operator)
        return covariance(kernel, one.points, other.points, one.operator, other.operator)

    count = range(len(observations))
    upper = {(i, j): block(i, j) for i in count for j in count if i <= j}
    rows = [[upper[i, j] if i <= j else upper[j, i].T for j in count] for i in count]
    noise = [jnp.broadcast_to(jnp.square(one.noise), (len(one.values),)) for one in observations]
    return jnp.block(rows) + jnp.diag(jnp.concatenate(noise))


def observe(kernel: Kernel, observations: Sequence[Observation], name: str = "seen") -> None:
    """Observe values of a process of mean 0 through operators, inside a program that knows or samples the kernel.

    Args:
        kernel: of the process.
        observations: what is seen.
        name: of the site, a multivariate normal of all values in the order of the observations.

    >>> def program(y):
    ...     length = lawful.sample("length", dist.LogNormal(0.0, 1.0))
    ...     observe(matern(length), [Observation(derivative(1), jnp.array([0.0, 0.5]), y, 0.1)])
    >>> bool(jnp.isfinite(lawful.trace(program, jnp.ones(2)).log_density({"length": 1.0}, jnp.ones(2))))
    True
    """
    values = _values(observations)
    law = dist.MultivariateNormal(jnp.zeros(len(values)), joint_covariance(kernel, observations))
    lawful.sample(name, law, obs=values)


def posterior(
    kernel: Kernel, observations: Sequence[Observation], points: Any, operator: Operator = identity
) -> Moments:
    """Give the moments, given what is seen, of what an operator makes of a process with a known kernel.

    Args:
        kernel: of the process.
        observations: what is seen.
        points: (n, ...), the points of the operator.
        operator: what is asked for.

    Returns: mean and covariance; NaN where what is seen has no positive definite covariance.

    >>> seen = [Observation(derivative(1), jnp.array([0.0]), jnp.array([2.0]), 1e-3)]
    >>> posterior(squared_exponential(1.0), seen, jnp.array([0.0]), derivative(1)).mean.round(3).tolist()
    [2.0]
    """
    root = jnp.linalg.cholesky(joint_covariance(kernel, observations))
    values = _values(observations)
    across = [covariance(kernel, one.points, points, one.operator, operator) for one in observations]
    whitened = jax.scipy.linalg.solve_triangular(root, jnp.concatenate(across), lower=True)
    mean = whitened.T @ jax.scipy.linalg.solve_triangular(root, values, lower=True)
    before = covariance(kernel, points, points, operator, operator)
    return Moments(mean, before - whitened.T @ whitened)


def gaussian_process(x: Any, y: Any, noise: Any = 0.1, jitter: float = 1e-8) -> jax.Array:
    """Gaussian process regression with a squared exponential kernel (Rasmussen and Williams 2006, chapter 2).

    length ~ LogNormal(0, 1), height ~ HalfNormal(1), f ~ N(0, K) with
    K_ij = height^2 (exp(-(x_i - x_j)^2 / (2 length^2)) + jitter [i = j]), y_i ~ N(f_i, noise).

    Args:
        x: (n,), the inputs.
        y: (n,), the values.
        noise: standard deviation of a value.
        jitter: what is added to the diagonal of the kernel; 1e-6 in single precision.

    Returns: (n,), the function at the inputs.

    >>> from lawful import handlers
    >>> x = jnp.linspace(0.0, 1.0, 5)
    >>> handlers.seed(gaussian_process, jax.random.key(0))(x, jnp.sin(x)).shape
    (5,)
    """
    length = lawful.sample("length", dist.LogNormal(0.0, 1.0))
    height = lawful.sample("height", dist.HalfNormal(1.0))
    z = lawful.sample("z", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1))
    correlation = covariance(squared_exponential(length), x, x)
    root = height * jnp.linalg.cholesky(correlation + jitter * jnp.eye(len(x)))
    f: jax.Array = lawful.deterministic("f", root @ z)
    with lawful.plate("row", len(x)):
        lawful.sample("y", dist.Normal(f, noise), obs=y)
    return f


def hilbert_features(points: Any, half_width: Any, terms: int, operator: Operator = identity) -> jax.Array:
    """Give what an operator makes of the first sines that vanish at both ends of an interval.

    Args:
        points: (n, ...), the points of the operator.
        half_width: the interval is (-half_width, half_width); the points should keep away from its ends.
        terms: how many sines.
        operator: what is applied to each.

    Returns: (n, terms).

    >>> hilbert_features(jnp.array([0.0]), 1.0, 3).round(4).tolist()
    [[1.0, 0.0, -1.0]]
    """
    omega = _frequencies(half_width, terms)

    def sines(x: Any) -> jax.Array:
        return jnp.sin(omega * (x + half_width)) / jnp.sqrt(half_width)

    table: jax.Array = jax.vmap(
        lambda point: jax.vmap(lambda k: operator(lambda x: sines(x)[k])(point))(jnp.arange(terms))
    )(jnp.asarray(points, jnp.result_type(float)))
    return table


def hilbert_space(
    spectrum: Function, observations: Sequence[Observation], half_width: Any, terms: int = 64, name: str = "seen"
) -> jax.Array:
    """Observe a stationary process on a line as a sum of sines with independent normal weights.

    weights_k ~ N(0, spectrum(omega_k)), u = features @ weights; `inference.integrate_normals` sums over them.

    Args:
        spectrum: spectral density of the kernel, by the angular frequency.
        observations: what is seen; `even` is not read.
        half_width: the process is given zeros at -half_width and half_width.
        terms: how many sines.
        name: of the sites, followed by the place of each observation.

    Returns: (terms,), the weights.

    >>> from lawful import handlers
    >>> from lawful.models.covariances import matern_spectrum
    >>> seen = [Observation(derivative(1), jnp.array([0.0, 0.5]), jnp.ones(2), 0.1)]
    >>> handlers.seed(hilbert_space, jax.random.key(0))(matern_spectrum(1.0), seen, 2.0, 8).shape
    (8,)
    """
    scales = jnp.sqrt(spectrum(_frequencies(half_width, terms)))
    weights: jax.Array = lawful.sample("weights", dist.Normal(jnp.zeros(terms), scales).to_event(1))
    for place, one in enumerate(observations):
        mean = hilbert_features(one.points, half_width, terms, one.operator) @ weights
        lawful.sample(f"{name}_{place}", dist.Normal(mean, one.noise).to_event(1), obs=one.values)
    return weights


def matern_states(
    times: Any, noise: Any, length: Any, height: Any = 1.0, smoothness: float = 2.5, seen: Any = 0
) -> LinearGaussian:
    """Give a process with Matern's kernel as a state space, for `linear_gaussian`: its state is the derivatives.

    Args:
        times: (T,), when the process is seen, in order.
        noise: () or (T,), standard deviation of each error.
        length: of the kernel.
        height: standard deviation of the process.
        smoothness: 0.5, 1.5, 2.5 and so on: the state has smoothness + 1/2 numbers.
        seen: () or (T,), the order of the derivative that is seen at each time.

    Raises: as `matern`.

    >>> from lawful import inference
    >>> from lawful.models.state_space import linear_gaussian
    >>> states = matern_states(jnp.array([0.0, 0.3]), 0.1, length=1.0)
    >>> inference.smoothed(linear_gaussian, states, jnp.array([[1.0], [0.9]])).mean["x"].shape
    (2, 3)
    """
    unit = matern(jnp.sqrt(2.0 * smoothness), smoothness)  # its spectrum is that of the rate 1
    order = round(smoothness - 0.5)
    size, rate = order + 1, jnp.sqrt(2.0 * smoothness) / length
    drift = np.eye(size, k=1) + np.eye(size)  # plus the identity: its power of this size is 0
    drift[-1] -= [comb(size, i) for i in range(size)]
    powers = np.stack([np.linalg.matrix_power(drift, i) / factorial(i) for i in range(size)])
    orders = [derivative(i) for i in range(size)]
    cov = jnp.array([[covariance(unit, [0.0], [0.0], one, other)[0, 0] for other in orders] for one in orders])

    def moves(gap: Any) -> jax.Array:  # (..., size, size), in the units in which the rate is 1
        return jnp.exp(-gap)[..., None, None] * jnp.tensordot(gap[..., None] ** np.arange(size), powers, 1)

    times, noise = jnp.asarray(times, jnp.result_type(float)), jnp.asarray(noise, jnp.result_type(float))
    gaps = rate * jnp.diff(times, prepend=times[:1])
    transition = moves(gaps)
    at, weights = np.polynomial.legendre.leggauss(16)
    kicks = moves(gaps[:, None] * (1.0 + at) / 2.0)[..., -1]  # (T, 16, size): what a shock of a while ago left
    density = 2.0 ** (2 * order + 1) * factorial(order) ** 2 / factorial(2 * order)
    short = jnp.einsum("t,m,tmi,tmj->tij", density * gaps / 2.0, weights, kicks, kicks)
    long = cov - transition @ cov @ jnp.swapaxes(transition, -1, -2)
    moved = jnp.where((gaps < 1.0)[:, None, None], short, long)  # the difference loses digits where the gap is short

    units = height * rate ** jnp.arange(size)
    scale, one = units[:, None] * units, jnp.ones((1, 1))
    emission = jax.nn.one_hot(seen, size, dtype=units.dtype)[..., None, :]
    return LinearGaussian(
        transition * units[:, None] / units, moved * scale, emission, one * jnp.square(noise)[..., None, None],
        jnp.zeros(size), cov * scale,
    )  # fmt: skip


def _frequencies(half_width: Any, terms: int) -> jax.Array:
    """Angular frequencies of the sines."""
    return pi / (2.0 * half_width) * jnp.arange(1, terms + 1)


def _values(observations: Sequence[Observation]) -> jax.Array:
    """Join all that is seen."""
    return jnp.concatenate([jnp.asarray(one.values, jnp.result_type(float)) for one in observations])
