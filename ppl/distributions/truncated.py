"""Truncated: a distribution of one number restricted to an interval, and divided by the mass that it keeps.

Law: the density is that of the base over the mass of the interval inside it and zero outside, and draws follow it: a
draw is the number at which the log mass of the interval up to it reaches that of a uniform, found by bisection.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints, transforms

from ..errors import LawfulError
from .families import FAMILIES, law_name, log_prob, name_of
from .interval_probability import bounds_of, has_masses, log_mass
from .log_tails import log1mexp


def truncated(distribution: Any, lower: Any = None, upper: Any = None) -> Any:
    """Restrict a distribution of one number to an interval, both bounds included: what lies outside is never seen.

    Args:
        distribution: one of numpyro.distributions whose masses are known (`interval_probability`), as Normal, Weibull,
            Poisson, their like, and mixtures of them.
        lower: the least number that is seen, or None; scalar or of the batch shape.
        upper: the largest number that is seen, or None.

    Raises: LawfulError where masses of intervals are not known, or there is no interval.

    >>> import numpyro.distributions as dist
    >>> positive = truncated(dist.Poisson(0.5), lower=1)  # batches without any event are not reported
    >>> round(float(jnp.exp(positive.log_prob(1))), 4)
    0.7707
    """
    if not has_masses(distribution):
        raise LawfulError(
            f"truncated: the masses of intervals of {law_name(distribution)} are not known. Fix: use one of "
            f"{families()}, or weigh by lawful.factor."
        )
    known = all(b is None or not isinstance(b, jax.core.Tracer) for b in (lower, upper))
    if known and lower is not None and upper is not None and np.any(np.asarray(lower) > np.asarray(upper)):
        raise LawfulError(f"truncated: expected lower <= upper, got {lower} and {upper}.")
    return Truncated(distribution, -np.inf if lower is None else lower, np.inf if upper is None else upper)


def families() -> str:
    """Name the families whose masses of intervals are known."""
    names = {name_of(family) for family, row in FAMILIES.items() if row.log_tails is not None}
    return ", ".join(sorted(names)) + ", LogNormal, finite families, and mixtures of these"


class Truncated(dist.Distribution):
    """The distribution that `truncated` gives."""

    arg_constraints = {"lower": constraints.dependent, "upper": constraints.dependent}
    pytree_data_fields = ("base_dist", "lower", "upper")

    def __init__(self, base_dist: Any, lower: Any, upper: Any, *, validate_args: bool | None = None) -> None:
        shape = jnp.broadcast_shapes(base_dist.batch_shape, np.shape(lower), np.shape(upper))
        self.base_dist = base_dist if base_dist.batch_shape == shape else base_dist.expand(shape)
        self.lower, self.upper = _spread(lower, shape), _spread(upper, shape)
        super().__init__(shape, (), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """The part of the support of the base that lies in the interval."""
        ends = *bounds_of(self.base_dist.support), self.lower, self.upper
        math = jnp if any(isinstance(end, jax.Array) for end in ends) else np  # what is known stays known
        first, last, lower, upper = ends
        if self._whole:
            lower, upper = math.ceil(lower), math.floor(upper)
        lower, upper = math.maximum(lower, first), math.minimum(upper, last)
        return _WholeBetween(lower, upper) if self._whole else Between(lower, upper)

    def log_prob(self, value: Any) -> Any:
        """Score a value: the log density of the base less the log mass kept; -inf outside."""
        inside = self.support(value) & self.base_dist.support(value)
        filling = self.base_dist.support.feasible_like(jnp.zeros(jnp.shape(inside)))
        value = jnp.where(inside, value, jnp.asarray(filling).astype(jnp.result_type(value)))
        kept = log_mass(self.base_dist, self.lower, self.upper)
        return jnp.where(inside, log_prob(self.base_dist, value) - kept, -jnp.inf)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Draw by the inverse of the distribution function."""
        least = jnp.finfo(jnp.result_type(float)).tiny
        shape = (*sample_shape, *self.batch_shape)
        low = -jnp.log(jax.random.uniform(key, shape, minval=least))  # of a standard exponential: -log U
        high = log1mexp(low)  # log(1 - U)
        support = self.support
        whole = log_mass(self.base_dist, self.lower, self.upper)

        def reached(x: jax.Array) -> jax.Array:
            """Tell whether the mass up to x is U of the whole, asked on the side on which masses are small."""
            below = log_mass(self.base_dist, self.lower, x) - whole >= -low
            above = log_mass(self.base_dist, x + 1.0 if self._whole else x, self.upper) - whole <= high
            return jnp.where(low > np.log(2.0), below, above)

        start, end = (jnp.broadcast_to(b, shape) for b in (support.lower_bound, support.upper_bound))
        found = _first_where(reached, start, end, self._whole)
        return found.astype(jnp.result_type(int if self._whole else float))

    @property
    def _whole(self) -> bool:
        return bool(self.base_dist.support.is_discrete)

    @property
    def has_enumerate_support(self) -> bool:
        """A finite base stays finite: what is outside has mass zero."""
        return bool(self.base_dist.has_enumerate_support)

    def enumerate_support(self, expand: bool = True) -> Any:
        """List the values of the base."""
        return self.base_dist.enumerate_support(expand)


def _spread(bound: Any, shape: tuple[int, ...]) -> Any:
    math = jnp if isinstance(bound, jax.Array) else np
    return math.broadcast_to(math.asarray(bound, jnp.result_type(float)), shape)


def _first_where(reached: Any, start: jax.Array, end: jax.Array, whole: bool) -> jax.Array:
    """Find the least number from start to end at which a monotone test holds, by halving the numbers between them.

    Floating numbers are halved by their place in the order of all of them, so that 1e-300 is as near as 1e300.
    """
    dtype = jnp.result_type(float)
    limits = jnp.finfo(dtype)
    kind = jnp.int64 if limits.bits == 64 else jnp.int32

    def turned(word: jax.Array) -> jax.Array:
        """Turn the bits of negative numbers into their place in the order, and back."""
        return jnp.where(word < 0, jnp.iinfo(kind).min - word, word)

    def number(place: jax.Array) -> jax.Array:
        x = jax.lax.bitcast_convert_type(turned(place), dtype)
        return jnp.floor(x) if whole else x

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        holds, apart = reached(number(middle)), low < high
        return jnp.where(apart & ~holds, middle + 1, low), jnp.where(apart & holds, middle, high)

    bounds = (jnp.clip(b, limits.min, limits.max).astype(dtype) for b in (start, end))
    low, high = (turned(jax.lax.bitcast_convert_type(b, kind)) for b in bounds)
    _, high = jax.lax.fori_loop(0, limits.bits + 1, halve, (low, high))
    return jnp.clip(number(high), start, end)


class Between(constraints.interval):
    """The numbers between two bounds, each of which may be infinite, element by element."""

    def __call__(self, x: Any) -> Any:
        """Tell whether a number lies between."""
        return (x >= self.lower_bound) & (x <= self.upper_bound)

    def __repr__(self) -> str:
        """Show the bounds."""
        return f"between {self.lower_bound} and {self.upper_bound}"

    def feasible_like(self, prototype: Any) -> Any:
        """Return the middle, or a number beside the finite bound, or zero."""
        return jnp.broadcast_to(_OntoBetween(self)(jnp.zeros(())), jnp.shape(prototype))


class _WholeBetween(Between):
    """The whole numbers between two bounds."""

    is_discrete = True

    def __call__(self, x: Any) -> Any:
        return (jnp.mod(x, 1) == 0) & super().__call__(x)

    def feasible_like(self, prototype: Any) -> Any:
        """Return the number nearest to zero."""
        return jnp.broadcast_to(jnp.clip(0.0, self.lower_bound, self.upper_bound), jnp.shape(prototype))


class _OntoBetween(transforms.Transform):
    """The line onto the numbers between two bounds: by exp from one bound, by the logistic function between two."""

    def __init__(self, between: Between) -> None:
        """Tell which elements have two bounds and which one; keep the two, and the one with its direction."""
        bounds = between.lower_bound, between.upper_bound
        lower, upper = (jnp.asarray(b, jnp.result_type(float)) for b in bounds)
        has_lower, has_upper = lower > -jnp.inf, upper < jnp.inf
        self.both, self.one = has_lower & has_upper, has_lower ^ has_upper
        self.low, self.high = jnp.where(self.both, lower, 0.0), jnp.where(self.both, upper, 1.0)
        self.start = jnp.where(self.one, jnp.where(has_lower, lower, upper), 0.0)
        self.direction = jnp.where(has_lower, 1.0, -1.0)

    def __call__(self, x: Any) -> Any:
        half = self.start + self.direction * jnp.exp(jnp.where(self.one, x, 0.0))
        share = jax.nn.sigmoid(jnp.where(self.both, x, 0.0))
        return self._chosen(self.low + (self.high - self.low) * share, half, x)

    def _inverse(self, y: Any) -> Any:
        inside = jnp.where(self.both, y, 0.5)
        distance = jnp.where(self.one, (y - self.start) * self.direction, 1.0)
        return self._chosen(jnp.log(inside - self.low) - jnp.log(self.high - inside), jnp.log(distance), y)

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        t = jnp.where(self.both, x, 0.0)
        inside = jnp.log(self.high - self.low) - jax.nn.softplus(t) - jax.nn.softplus(-t)
        return self._chosen(inside, x, jnp.zeros(()))

    def _chosen(self, both: Any, one: Any, none: Any) -> Any:
        return jnp.where(self.both, both, jnp.where(self.one, one, none))


transforms.biject_to.register(Between, _OntoBetween)
