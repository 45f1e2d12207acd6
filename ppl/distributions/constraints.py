"""Constraints: whether values lie in a support, and the parameters of a distribution inside their constraints.

Law: a discrete support has whole numbers only; some of numpyro's constraints, as of counts with a total, do not ask.
A distribution whose parameters lie outside is no law: every value of it scores NaN, and a choice drawn from it weighs
NaN, which no method passes by. What rounding alone reaches is inside: a scale that is 0 or infinite, and probabilities
that miss their bounds by some last bits. An element that a mask or a guard leaves out may have any.
"""

from __future__ import annotations

import copy
import functools
import operator
import re
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution, constraints

from ..form.operations.device import device_array

ROUNDING = 100  # last bits by which probabilities may miss their bounds
SUM_TO_ONE = 1e-6  # distance from one that numpyro allows a sum of probabilities
DRAWN = ("loc",)  # what every draw of floats reads
# What every density reads; of a scale, and of the diagonal of a root, the logarithm.
SCORED = ("loc", "logits", "scale", "scale_tril", "cov_diag", "cov_factor")
LOWER = (constraints.lower_cholesky, constraints.corr_cholesky)


def of_elements(support: Any) -> Any:
    """Look through what makes elements one event: the constraint that each of them has.

    >>> from numpyro.distributions import constraints
    >>> of_elements(constraints.independent(constraints.positive, 1))
    Positive(lower_bound=0.0)
    """
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def contains(support: Any, value: Any) -> Any:
    """Tell for each element of the batch whether it lies in a support.

    Args:
        support: a constraint of numpyro.
        value: (batch, event).

    >>> import numpyro.distributions as dist
    >>> counts = dist.Multinomial(4, jnp.array([0.5, 0.5])).support
    >>> contains(counts, jnp.array([[1.0, 3.0], [1.5, 2.5]])).tolist()
    [True, False]
    """
    inside = support(value)
    if not getattr(support, "is_discrete", False) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        return inside
    math = np if isinstance(value, np.ndarray | np.generic) else jnp
    return inside & math.all(value == math.floor(value), axis=tuple(range(-support.event_dim, 0)))


def parameters_of(distribution: Any) -> Iterator[tuple[str, Any, Any]]:
    """Walk name, constraint and value of the parameters of a distribution and of those that it is made of.

    >>> [name for name, _, _ in parameters_of(dist.Gamma(2.0, 1.0).expand((3,)))]
    ['concentration', 'rate']
    """
    yield from _own(distribution)
    for part in _parts(distribution):
        yield from parameters_of(part)


def limits(constraint: Any) -> str:
    """Write what a constraint allows.

    >>> limits(constraints.positive), limits(constraints.unit_interval)
    ('positive', 'in the unit interval')
    """
    constraint = of_elements(constraint)
    text = repr(constraint) if "object at" not in repr(constraint) else type(constraint).__name__
    text = re.sub("(?<=[a-z])(?=[A-Z])", " ", text.strip("_").split("(")[0]).lower()
    if text.endswith("interval"):
        return f"in the {text}"
    if text.startswith("greater than"):
        bound = getattr(constraint, "lower_bound", None)
        return f"{bound:g} or more" if isinstance(bound, float) else "larger than 'low'"
    return f"a {text}" if text.endswith(("simplex", "vector", "matrix")) else text


def makes_law(distribution: Any, seen: Collection[str] = ()) -> jax.Array | None:
    """Tell for each element of the batch of a distribution whether its parameters lie inside their constraints.

    Args:
        distribution: the distribution.
        seen: names of parameters that are left out, where its support does not depend on them: `SCORED` where a density
            is looked at, `DRAWN` where a draw is, which are NaN where these are wrong.

    Returns: truth values that broadcast to the batch shape; None where nothing has to be looked at.

    >>> makes_law(dist.Normal(0.0, 1.0), seen=SCORED) is None
    True
    """
    if isinstance(distribution, dist.Delta):
        return None
    left_out = () if constraints.is_dependent(type(distribution).support) else seen
    found = [fits(constraint, value) for name, constraint, value in _own(distribution) if name not in left_out]
    for part in _parts(distribution):
        inner = makes_law(part, seen)
        if inner is not None:
            more = len(part.batch_shape) - len(distribution.batch_shape)
            found.append(_all(inner.reshape((1,) * (len(part.batch_shape) - inner.ndim) + inner.shape), more))
    if not found:
        return None
    there = getattr(distribution, "present", getattr(distribution, "_mask", None))  # of a guard, and of a mask
    lawful = functools.reduce(operator.and_, found)
    return lawful if there is None else lawful | ~jnp.asarray(there)


def harmless(distribution: Any, mask: Any) -> Any:
    """Give the elements that a mask leaves out parameters inside their constraints, where theirs are not.

    >>> coins = dist.Bernoulli(jnp.array([0.25, jnp.nan]), validate_args=False)
    >>> harmless(coins, jnp.array([True, False])).probs.tolist()
    [0.25, 0.5]
    """
    if not isinstance(distribution, Distribution) or is_everywhere(mask):
        return distribution
    changed = copy.copy(distribution)
    for name, part in vars(distribution).items():
        if isinstance(part, Distribution) and part.batch_shape == distribution.batch_shape:
            setattr(changed, name, harmless(part, mask))
    for name, constraint, value in _own(distribution):
        own = vars(distribution).get(name) is value and not constraints.is_dependent(constraint)
        if own and not _is_known_to_fit(constraint, value):  # a count that stays a number keeps its support finite
            event = jnp.shape(value)[jnp.ndim(value) - constraint.event_dim :]
            whole = jnp.broadcast_to(jnp.asarray(value), (*distribution.batch_shape, *event))
            wrong = ~fits(constraint, whole) & ~jnp.broadcast_to(mask, distribution.batch_shape)
            wrong = wrong.reshape(wrong.shape + (1,) * constraint.event_dim)
            setattr(changed, name, jnp.where(wrong, constraint.feasible_like(whole), whole))
    return changed


def is_everywhere(mask: Any) -> bool:
    """Tell whether a mask is known to leave nothing out."""
    return not isinstance(mask, jax.core.Tracer) and bool(np.all(np.asarray(mask)))


def _is_known_to_fit(constraint: Any, value: Any) -> bool:
    if isinstance(value, jax.core.Tracer):
        return False
    with jax.ensure_compile_time_eval():
        return bool(jnp.all(fits(constraint, value)))


@np.errstate(invalid="ignore")  # of infinite numbers, which fit or do not
def fits(constraint: Any, value: Any) -> Any:
    """Tell for each event whether it lies inside a constraint, or misses it by rounding alone.

    >>> fits(constraints.unit_interval, jnp.array([-0.1, 0.0, 1.0, jnp.nan])).tolist()
    [False, True, True, False]
    """
    known = isinstance(value, np.ndarray | np.generic)  # which NumPy tells without compiling
    xp, value = (np, np.asarray(value, jnp.result_type(value))) if known else (jnp, device_array(value))
    if hasattr(constraint, "base_constraint"):
        inner = fits(constraint.base_constraint, value)
        return _all(inner, constraint.event_dim - constraint.base_constraint.event_dim)
    if constraint is constraints.boolean:
        return xp.ones((), bool)
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    last = float(jnp.finfo(value.dtype).eps) * ROUNDING if floating else 0.0
    if constraint is constraints.simplex:
        near = max(SUM_TO_ONE, last)
        return xp.all(value >= -last, axis=-1) & (xp.abs(xp.sum(value, axis=-1) - 1) <= near)
    if constraint in LOWER:
        return _all(~xp.isnan(value), 2) & _all(xp.diagonal(value, axis1=-2, axis2=-1) >= 0, 1)
    low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    slack = 0 if low is None or high is None or not floating else last
    tests = [] if low is None else [value >= low - slack]
    tests += [] if high is None else [value <= high + slack]
    tests = tests or [~xp.isnan(value)]
    if constraint is constraints.ordered_vector:
        tests.append(xp.all(xp.diff(value, axis=-1) >= 0, axis=-1, keepdims=True))
    if constraint.is_discrete and floating:
        tests.append(value % 1 == 0)
    return _all(functools.reduce(operator.and_, tests), constraint.event_dim)


def _own(distribution: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(distribution, dist.Delta):
        return
    for name, constraint in type(distribution).arg_constraints.items():
        value = vars(distribution).get(name)
        if value is not None and not isinstance(value, Distribution) and not constraints.is_dependent(constraint):
            yield name, constraint, value
    low, high = (vars(distribution).get(name) for name in ("low", "high"))
    if low is not None and high is not None:
        above = constraints.greater_than_eq if distribution.support.is_discrete else constraints.greater_than
        yield "high", above(low), high


def _parts(distribution: Any) -> Iterator[Any]:
    """Walk the distributions that one is made of; what a family keeps beside its own parameters repeats them."""
    for name, value in vars(distribution).items():
        if name == "base_dist" or not type(distribution).arg_constraints:
            parts = value if isinstance(value, list | tuple) else (value,)
            yield from (part for part in parts if isinstance(part, Distribution))


def _all(found: Any, axes: int) -> Any:
    return found.all(axis=tuple(range(-axes, 0))) if axes > 0 else found
