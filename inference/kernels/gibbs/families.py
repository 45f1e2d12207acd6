"""Families: the parameters of a conditional from two derivatives of its log density, and the law that is drawn from.

Law: where the density is of the family, the parameters are those of the conditional, at whatever point they are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from lawful.distributions.protocol import Law


@dataclass(frozen=True)
class FreshLaw(Law):
    """The law of a distribution that is made anew from its arguments, all of them parameters."""

    made: Callable[..., Any]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> Any:
        """Floating point."""
        return jnp.result_type(float)

    @property
    def label(self) -> str:
        """Name for people."""
        return str(getattr(self.made, "__name__", "law"))

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw a value."""
        return jnp.asarray(self.made(*parameters).expand(self._batch(parameters)).sample(key))

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score a value."""
        return jnp.sum(self.made(*parameters).log_prob(value))

    def _batch(self, parameters: Sequence[jax.Array]) -> tuple[int, ...]:
        event = self.made(*parameters).event_shape
        return self.shape[: len(self.shape) - len(event)]


def standard_normal() -> dist.Distribution:
    """The law of noise."""
    return dist.Normal(jnp.zeros((), jnp.result_type(float)), jnp.ones((), jnp.result_type(float)))


@dataclass(frozen=True)
class Family:
    """A family of conditionals.

    Attributes:
        parameters: from a density of a vector, the current vector and the shape of the site to the parameters.
        made: from the first `drawn` parameters to the distribution that is drawn from.
        drawn: how many of them it takes.
        shape: of a draw, from the shape of the site and the size of the vector.
        placed: from a draw and the parameters to the vector.
        log_prob: log density of a vector under the parameters, but for a constant.
    """

    parameters: Callable[..., tuple[jax.Array, ...]]
    made: Callable[..., Any]
    drawn: int
    shape: Callable[..., tuple[int, ...]]
    placed: Callable[..., jax.Array]
    log_prob: Callable[..., jax.Array]


def _slopes(density: Callable[..., jax.Array], at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First and second derivatives by each element, of a sum of functions of one element each."""
    return jax.jvp(jax.grad(density), (at,), (jnp.ones_like(at),))


def _normal(density: Any, at: jax.Array, shape: Any) -> tuple[jax.Array, ...]:
    precision = -jax.hessian(density)(at)
    root = jnp.linalg.cholesky(precision)
    mean = at + jax.scipy.linalg.cho_solve((root, True), jax.grad(density)(at))
    return mean, root


def _normal_placed(draw: jax.Array, mean: jax.Array, root: jax.Array) -> jax.Array:
    return mean + jax.scipy.linalg.solve_triangular(root.T, draw, lower=False)


def _normal_log_prob(x: jax.Array, mean: jax.Array, root: jax.Array) -> jax.Array:
    return -0.5 * jnp.sum((root.T @ (x - mean)) ** 2)


def _gamma(density: Any, at: jax.Array, shape: Any) -> tuple[jax.Array, ...]:
    """From f = A log s - b s: with t = log s, f_t = A - b s and f_tt = -b s."""
    first, second = _slopes(density, at)
    by_log, twice = at * first, at**2 * second + at * first
    return (by_log - twice + 1).reshape(shape), (-twice / at).reshape(shape)


def _inverse_gamma(density: Any, at: jax.Array, shape: Any) -> tuple[jax.Array, ...]:
    """From f = -A log s - b / s: with t = log s, f_t = -A + b / s and f_tt = -b / s."""
    first, second = _slopes(density, at)
    by_log, twice = at * first, at**2 * second + at * first
    return (-by_log - twice - 1).reshape(shape), (-twice * at).reshape(shape)


def _beta(density: Any, at: jax.Array, shape: Any) -> tuple[jax.Array, ...]:
    """From f = A log s + B log(1 - s) at s = 1 / 2, where f' = 2 (A - B) and f'' = -4 (A + B)."""
    first, second = _slopes(density, jnp.full_like(at, 0.5))
    return (1 - second / 8 + first / 4).reshape(shape), (1 - second / 8 - first / 4).reshape(shape)


def _dirichlet(density: Any, at: jax.Array, shape: Any) -> tuple[jax.Array, ...]:
    """From f = sum_k A_k log s_k at the middle of the simplex, where df / ds_k = K A_k."""
    size = shape[-1]
    slope = jax.grad(density)(jnp.full_like(at, 1 / size))
    return ((1 + slope / size).reshape(shape),)


def _flat(draw: jax.Array, *parameters: jax.Array) -> jax.Array:
    return draw.reshape(-1)


def _summed(law: Callable[..., Any]) -> Callable[..., jax.Array]:
    def log_prob(x: jax.Array, *parameters: jax.Array) -> jax.Array:
        distribution = law(*parameters)
        return jnp.sum(distribution.log_prob(x.reshape(distribution.shape())))

    return log_prob


def _turned(draw: jax.Array, *parameters: jax.Array) -> jax.Array:
    return 1 / draw.reshape(-1)


def _own(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    return shape


def _vector(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    return (size,)


FAMILIES = {
    "normal": Family(_normal, standard_normal, 0, _vector, _normal_placed, _normal_log_prob),
    "gamma": Family(_gamma, dist.Gamma, 2, _own, _flat, _summed(dist.Gamma)),
    "inverse gamma": Family(_inverse_gamma, dist.Gamma, 2, _own, _turned, _summed(dist.InverseGamma)),
    "beta": Family(_beta, dist.Beta, 2, _own, _flat, _summed(dist.Beta)),
    "Dirichlet": Family(_dirichlet, dist.Dirichlet, 1, _own, _flat, _summed(dist.Dirichlet)),
}
