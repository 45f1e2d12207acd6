"""Potentials: what is said about the number of ones among B members, as log weights of the counts 0..B.

Law: a potential is a table (..., B + 1) made by broadcasting its parameters (...) against the counts; -inf excludes a
count. Sums of potentials are potentials: pieces of information about one count add up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Shaped

from lawful.errors import ObservationError

__all__ = [
    "all_of",
    "any_of",
    "at_least",
    "at_most",
    "from_function",
    "geometric_count",
    "hard_count",
    "interval",
    "none_of",
    "normal_count",
    "one_of",
    "parity",
    "poisson_count",
    "soft_count",
    "thinned_count",
]

Number = int | float | Shaped[Array, " ..."]


def hard_count(count: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """Exactly this many ones.

    >>> hard_count(1, 2).tolist()
    [-inf, 0.0, -inf]
    """
    return interval(count, count, size, dtype)


def at_least(least: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """This many ones or more.

    >>> at_least(1, 2).tolist()
    [-inf, 0.0, 0.0]
    """
    return interval(least, size, size, dtype)


def at_most(most: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """This many ones or fewer.

    >>> at_most(1, 2).tolist()
    [0.0, 0.0, -inf]
    """
    return interval(0, most, size, dtype)


def interval(least: Number, most: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """A number of ones from `least` to `most`, both allowed.

    >>> interval(1, 2, 3).tolist()
    [-inf, 0.0, 0.0, -inf]
    """
    s, low, high = _counts(size, dtype, least, most)
    return jnp.where((s >= low) & (s <= high), jnp.zeros_like(s), -jnp.inf)


def one_of(size: int, dtype: Any = None) -> Float[Array, " S"]:
    """Exactly one."""
    return hard_count(1, size, dtype)


def none_of(size: int, dtype: Any = None) -> Float[Array, " S"]:
    """Not a single one."""
    return hard_count(0, size, dtype)


def any_of(size: int, dtype: Any = None) -> Float[Array, " S"]:
    """One at least, the logical or."""
    return at_least(1, size, dtype)


def all_of(size: int, dtype: Any = None) -> Float[Array, " S"]:
    """All of them, the logical and."""
    return hard_count(size, size, dtype)


def parity(odd: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """An odd number of ones where `odd` is 1, an even one where it is 0.

    >>> parity(1, 3).tolist()
    [-inf, 0.0, -inf, 0.0]
    """
    s, rest = _counts(size, dtype, odd)
    return jnp.where(s % 2 == rest % 2, jnp.zeros_like(s), -jnp.inf)


def soft_count(count: Number, strength: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """About this many ones: -strength (s - count)^2.

    >>> soft_count(0.5, 4.0, 2).tolist()
    [-1.0, -1.0, -9.0]
    """
    s, count, strength = _counts(size, dtype, count, strength)
    return -strength * (s - count) ** 2


def normal_count(observed: Number, scale: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """A count observed with normal noise of this standard deviation.

    >>> normal_count(1.0, 1.0, 2).round(4).tolist() == [-1.4189, -0.9189, -1.4189]
    True
    """
    s, observed, scale = _counts(size, dtype, observed, scale)
    return -0.5 * ((observed - s) / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi)


def poisson_count(
    observed: Number, rate: Number, size: int, background: Number = 0.0, dtype: Any = None
) -> Float[Array, "... S"]:
    """Events observed, Poisson with mean rate * s + background.

    >>> poisson_count(0, 2.0, 2).tolist()
    [0.0, -2.0, -4.0]
    """
    s, observed, rate, background = _counts(size, dtype, observed, rate, background)
    mean = rate * s + background
    log_mean = jnp.log(jnp.where(mean > 0, mean, 1))
    seen = jnp.where(mean > 0, observed * log_mean, jnp.where(observed > 0, -jnp.inf, 0))
    return seen - mean - gammaln(observed + 1)


def thinned_count(observed: Number, keep: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """Ones observed when each is seen with probability `keep`: binomial with s trials.

    >>> jnp.exp(thinned_count(1, 0.5, 2)).round(4).tolist()
    [0.0, 0.5, 0.5]
    """
    s, observed, keep = _counts(size, dtype, observed, keep)
    missed = s - observed
    within = (missed >= 0) & (observed >= 0)
    at = jnp.where(within, missed, 0)
    ways = gammaln(observed + at + 1) - gammaln(observed + 1) - gammaln(at + 1)
    seen = jax.scipy.special.xlogy(observed, keep) + jax.scipy.special.xlog1py(at, -keep)
    return jnp.where(within, ways + seen, -jnp.inf)


def geometric_count(observed: Number, decay: Number, size: int, dtype: Any = None) -> Float[Array, "... S"]:
    """A count published with two-sided geometric noise, P(noise = k) = (1 - a) / (1 + a) a^|k| with a = exp(-decay).

    The discrete Laplace mechanism of differential privacy has decay epsilon (Ghosh, Roughgarden and Sundararajan 2012).

    >>> geometric_count(1, 1.0, 2).round(4).tolist() == [-1.7719, -0.7719, -1.7719]
    True
    """
    s, observed, decay = _counts(size, dtype, observed, decay)
    return jnp.log(jnp.tanh(decay / 2)) - decay * jnp.abs(observed - s)


def from_function(log_weight: Callable[[jax.Array], jax.Array], size: int, dtype: Any = None) -> Float[Array, " S"]:
    """Tabulate a function of one count.

    >>> from_function(lambda s: -s * s, 2).tolist()
    [-0.0, -1.0, -4.0]
    """
    return jax.vmap(log_weight)(jnp.arange(size + 1, dtype=_dtype(dtype)))


def _dtype(dtype: Any, *parameters: Any) -> Any:
    if dtype is not None:
        return dtype
    given = [x.dtype for x in parameters if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.result_type(*given) if given else jnp.result_type(float)


def _counts(size: int, dtype: Any, *parameters: Number) -> tuple[jax.Array, ...]:
    """Return the counts and the parameters with an axis for the counts, all of one type and one shape."""
    if size < 0:
        raise ObservationError(f"a bag of {size} members. Fix: give a size of 0 or more.", size=size)
    kind = _dtype(dtype, *parameters)
    values = [jnp.asarray(x).astype(kind)[..., None] for x in parameters]
    shape = jnp.broadcast_shapes(*(x.shape[:-1] for x in values))
    s = jnp.broadcast_to(jnp.arange(size + 1, dtype=kind), (*shape, size + 1))
    return s, *(jnp.broadcast_to(x, (*shape, size + 1)) for x in values)
