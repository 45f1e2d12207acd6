"""Absent elements: a choice some of whose elements are not there, as the steps of a sequence that is over.

Law: the measure is that of the elements that are there. One that is absent weighs nothing, is drawn as a fixed number
of its support and is read as that number, so its value has no influence on any value or gradient; a whole number that
is absent has to be the fixed one. In coordinates without bounds an absent element has a standard normal law, which
integrates to one, so that the measure stays finite for samplers that move every coordinate.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import lax
from numpyro.distributions import biject_to, constraints, transforms

from .constraints import is_everywhere
from .densities import HALF_LOG_2PI
from .families import core_of, law_name, log_prob, written
from .law import IMPROPER, law_of
from .protocol import Law


def guarded(distribution: Any, present: Any) -> Any:
    """Say which elements of the batch of a choice are there.

    Args:
        distribution: one of numpyro, of independent elements.
        present: truth values whose shape broadcasts to its batch shape, or, of independent elements (`to_event`), of
            the shape of a value.

    Returns: the distribution itself where all are there, and where it has no density of its own to leave out.

    >>> import numpyro.distributions as dist
    >>> two = guarded(dist.Exponential(1.0).expand([2]), np.array([True, False]))
    >>> two.log_prob(jnp.array([3.0, jnp.nan])).tolist()
    [-3.0, 0.0]
    """
    if not isinstance(distribution, dist.Distribution) or isinstance(core_of(distribution), dist.Delta):
        return distribution
    if law_name(distribution) == IMPROPER or is_everywhere(present):
        return distribution
    if isinstance(distribution, dist.Independent):
        inner = distribution.base_dist
        axes = len(inner.batch_shape) - len(distribution.batch_shape)
        of_parts = axes > 0 and np.shape(present) == tuple(inner.batch_shape)
        return guarded(inner, present if of_parts else _spread(present, axes)).to_event(axes)
    return Guarded(distribution, jnp.broadcast_to(jnp.asarray(present), distribution.batch_shape))


def in_lanes(distribution: Any, lanes: Any) -> Any:
    """Guard a choice that has a batch of the lanes of a loop; any other is one for all lanes."""
    batch = tuple(getattr(distribution, "batch_shape", ()))
    if len(batch) < np.ndim(lanes):
        return distribution
    fits = all(n in (1, size) for n, size in zip(reversed(np.shape(lanes)), reversed(batch), strict=False))
    return guarded(distribution, lanes) if fits else distribution


def without_guard(distribution: Any) -> Any:
    """Return the distribution that was guarded."""
    core = core_of(distribution)
    if not isinstance(core, Guarded):
        return distribution
    axes = len(distribution.event_shape) - len(core.event_shape)
    return core.base_dist.to_event(axes) if axes else core.base_dist


def as_read(distribution: Any, value: Any) -> Any:
    """Return a value of a guarded choice as a program reads it: what is absent has its fixed number."""
    core = core_of(distribution)
    return core.support.filled(jnp.asarray(value)) if isinstance(core, Guarded) else value


class Guarded(dist.Distribution):
    """The distribution that `guarded` gives; `present` has the batch shape."""

    arg_constraints = {"present": constraints.boolean}
    pytree_data_fields = ("base_dist", "present")

    def __init__(self, base_dist: Any, present: Any, *, validate_args: bool | None = None) -> None:
        self.base_dist, self.present = base_dist, present
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=validate_args)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{law_name(self.base_dist)} where present"

    @property
    def text(self) -> str:
        """Write it, with parameters that are texts."""
        return f"{written(self.base_dist)} where {self.present}"

    @constraints.dependent_property
    def support(self) -> Any:
        """The support of the base, where an element is there."""
        return _WherePresent(self.base_dist.support, self.present, _filling(self.base_dist))

    def log_prob(self, value: Any) -> Any:
        """Score what is there."""
        support = self.support
        scores = log_prob(self.base_dist, support.filled(value))
        nothing = jnp.zeros((), scores.dtype)
        if support.is_discrete:
            same = jnp.asarray(value) == support.filling
            same = jnp.all(same, axis=tuple(range(same.ndim - len(self.event_shape), same.ndim)))
            nothing = jnp.where(same, nothing, -jnp.inf)
        return jnp.where(self.present, scores, nothing)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Draw what is there."""
        base = self.base_dist.expand((*sample_shape, *self.batch_shape)) if sample_shape else self.base_dist
        law, parameters = law_of(base)
        return self.support.filled(law.draw(key, *parameters))

    @property
    def has_enumerate_support(self) -> bool:
        """A finite base stays finite."""
        return bool(self.base_dist.has_enumerate_support)

    def enumerate_support(self, expand: bool = True) -> Any:
        """List the values of the base; of an absent element one has all the mass."""
        return self.base_dist.enumerate_support(expand)


def _filling(distribution: Any) -> Any:
    """Return a number of the support for each element, inside it where it has bounds.

    It is no round number, so that a function that is read at it, as 1 / x or log x, is finite there as elsewhere.
    """
    support, shape = distribution.support, tuple(distribution.shape())
    if support.is_discrete:
        filling = support.feasible_like(jnp.zeros(shape))
    else:
        onto = biject_to(support)
        filling = onto(jnp.full(onto.inverse_shape(shape), 0.5))
    filling = jnp.broadcast_to(lax.stop_gradient(filling), shape)
    return jnp.where(jnp.isnan(filling), jnp.zeros((), filling.dtype), filling)


class _WherePresent(constraints.Constraint):
    """A constraint on the elements that are present; the others have a filling."""

    def __init__(self, base: Any, present: Any, filling: Any) -> None:
        self.base, self.present, self.filling = base, present, filling
        self.is_discrete, self.event_dim = base.is_discrete, base.event_dim

    def filled(self, value: Any) -> Any:
        """Put the filling in the place of what is absent."""
        return jnp.where(_spread(self.present, self.event_dim), value, self.filling.astype(jnp.result_type(value)))

    def __call__(self, x: Any) -> Any:
        return self.base(self.filled(x)) | ~self.present

    def __repr__(self) -> str:
        return f"{self.base!r} where present"

    def feasible_like(self, prototype: Any) -> Any:
        return jnp.broadcast_to(self.filling, jnp.shape(prototype))

    def tree_flatten(self) -> Any:
        fixed = {"is_discrete": self.is_discrete, "event_dim": self.event_dim}
        return (self.base, self.present, self.filling), (("base", "present", "filling"), fixed)


class _OntoPresent(transforms.Transform):
    """Coordinates of the elements that are present; an absent one has its filling, and a standard normal law."""

    def __init__(self, support: _WherePresent) -> None:
        self.base, self.support = biject_to(support.base), support

    def __call__(self, x: Any) -> Any:
        return self.support.filled(self.base(self._moving(x)))

    def _inverse(self, y: Any) -> Any:
        return self._moving(self.base.inv(self.support.filled(y)))

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        """Return the log of the volume, and of the normal density of what is absent."""
        moving = self._moving(x)
        volume = self.base.log_abs_det_jacobian(moving, self.base(moving))
        normal = -0.5 * x * x - HALF_LOG_2PI
        normal = jnp.sum(normal, axis=tuple(range(normal.ndim - self.base.domain.event_dim, normal.ndim)))
        return jnp.where(self.support.present, volume, normal)

    def _moving(self, x: Any) -> Any:
        """Put zero in the place of coordinates of what is absent."""
        present = _spread(self.support.present, self.base.domain.event_dim)
        return jnp.where(present, x, jnp.zeros((), jnp.result_type(x)))

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.base.inverse_shape(shape))


biject_to.register(_WherePresent, _OntoPresent)


def _spread(present: Any, axes: int) -> Any:
    return jnp.reshape(present, (*jnp.shape(present), *(1,) * axes))


def is_guarded(law: Law) -> bool:
    """Tell whether elements of a law may be absent."""
    return isinstance(core_of(law.numbered), Guarded)
