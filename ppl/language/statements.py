"""Statements: `sample`, `factor`, `deterministic`, and the scopes and weights around them; plates stand beside.

A program is a plain Python function of its arguments. It denotes an unnormalised measure: the product of the densities
of its sites and of its factors. Law: eager runs and the traced form denote the same measure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address
from ..distributions.absent import as_read, in_lanes
from ..distributions.observed_law import Interval
from ..errors import LawfulError
from ..messages import (
    RESERVED,
    DeterministicMessage,
    FactorMessage,
    SampleMessage,
    Surroundings,
    caller,
    note_choice,
    placed,
    refused,
    send,
    site_at,
    surroundings,
    value_of,
)
from .data.observed import announce, both, complete, observe, refuse_shapes, truth
from .plates import in_plates


def program[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as a probabilistic program; optional, since every function that uses `sample` is one.

    >>> import numpyro.distributions as dist
    >>> @program
    ... def coin():
    ...     return sample("heads", dist.Bernoulli(0.5))
    >>> coin.__name__
    'coin'
    """
    return function


def sample(
    name: str,
    distribution: Any,
    obs: Any = None,
    *,
    obs_mask: Any = None,
    impute: bool = False,
    infer: Mapping[str, Any] | None = None,
) -> Any:
    """Make a random choice, or observe one.

    Args:
        name: the name of the site, unique in its scope; scopes and loops are added to its address.
        distribution: one of `numpyro.distributions`.
        obs: an observed value of exactly the site's shape (batch shape, then event shape), or None. Integers, truth
            values of Bernoulli sites and floats of low precision are converted where their value is kept. An `Interval`
            says between which bounds each value lies, as of censored or rounded data.
        obs_mask: which elements of the batch were observed, True = observed. The others are missing: whatever `obs`
            holds there, NaN included, has no influence; they are drawn at a site of their own, `<name>.missing`, which
            a traced program drops where nothing reads them, so that they are summed out. A mask of the whole shape of
            the site says which parts of its events were observed: of a multivariate normal, whose missing parts follow
            the others, or of independent elements (`to_event`).
        impute: keep what is missing as choices of the program also where nothing reads them, so that results hold them.
        infer: notes for results: `{"event_dims": ["axis", ...]}` names the axes of one value, after those of the batch.

    Returns: the value, of the site's shape; `obs` itself when observed, completed by the missing elements.

    Raises:
        ObservationError: the observation has another shape, is NaN, or lies outside the support.
        DuplicateSiteError: the address was used before.
        LawfulError: no handler gives the site a value.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> x = handlers.seed(lambda: sample("x", dist.Normal(0.0, 1.0)), jax.random.key(0))()
    >>> x.shape
    ()
    """
    place = surroundings()
    message = SampleMessage(
        _address(name, place), distribution, None, obs is not None, place.plates, caller(), mask=place.mask,
        scale=place.scale, lanes=place.lanes,
    )  # fmt: skip
    if not hasattr(distribution, "log_prob"):
        given = type(distribution).__name__
        raise refused(message, f": expected a distribution of numpyro.distributions, got {given}.")
    distribution = in_plates(message)
    if obs is None and place.lanes is not None:
        distribution = in_lanes(distribution, place.lanes)
    message.distribution = distribution
    if infer is not None:
        message.event_dims = _event_dims(infer, message)
    if obs is not None:
        observe(message, obs, None if obs_mask is None else truth(obs_mask, site_at(message)))
    elif obs_mask is not None:
        raise refused(message, ": obs_mask is given without obs.")
    announce(message)
    if not message.observed:
        note_choice()
    if message.present is not None:
        complete(message, distribution, impute, place.lanes)
    elif impute and obs is not None and obs_mask is None and not isinstance(obs, Interval):
        raise refused(message, ": impute=True, and nothing is missing. Fix: say by obs_mask what was observed.")
    value = value_of(message)
    return value if message.observed or place.lanes is None else as_read(distribution, value)


def factor(name: str, log_weight: Any, *, role: str = "likelihood") -> None:
    """Multiply the density by exp(log_weight); an array of weights is summed.

    Args:
        name: the name of the factor.
        log_weight: natural logarithm of the weight; -inf makes the run impossible.
        role: "likelihood" or "prior": which part of the log density results count it in; no inference reads it.

    >>> import jax
    >>> from lawful import handlers
    >>> def program():
    ...     factor("half", jnp.log(0.5))
    >>> float(handlers.trace(program)().log_density)
    -0.69...
    """
    place = surroundings()
    if role not in ("likelihood", "prior"):
        raise LawfulError(f"factor '{name}' ({caller()}): expected role 'likelihood' or 'prior', got {role!r}.")
    wanted = both(place.mask, place.lanes)
    if wanted is not None or place.scale is not None:
        where = f"factor '{name}' ({caller()})"
        refuse_shapes(where, wanted, place.scale, np.shape(log_weight), "its weights")
    if place.scale is not None:
        log_weight = jnp.asarray(log_weight) * place.scale
    if wanted is not None:
        log_weight = jnp.where(wanted, log_weight, 0.0)
    if isinstance(log_weight, np.ndarray | np.generic | float):
        total: Any = np.sum(np.asarray(log_weight, np.result_type(log_weight, float)))
    else:
        weight = jnp.asarray(log_weight)
        total = jnp.sum(weight, dtype=jnp.result_type(weight, float))
    send(FactorMessage(_address(name, place), total, caller(), role=role))


def deterministic(name: str, value: Any) -> Any:
    """Record a named function of the choices; it appears in results and has no density."""
    place = surroundings()
    message = DeterministicMessage(_address(name, place), value, caller(), plates=place.plates)
    send(message)
    return message.value


@contextlib.contextmanager
def scope(prefix: str) -> Iterator[None]:
    """Put a prefix before the names of all sites inside, so that a program can be called twice.

    >>> import jax, numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def pair():
    ...     with scope("left"):
    ...         sample("x", dist.Bernoulli(0.5))
    >>> list(handlers.trace(handlers.seed(pair, jax.random.key(0)))().choices)
    [('left', 'x')]
    """
    place = surroundings()
    with placed(replace(place, scopes=(*place.scopes, prefix))):
        yield


@contextlib.contextmanager
def mask(mask: Any) -> Iterator[None]:
    """Drop the densities of the statements inside where the mask is False, element by element of their batch.

    An observation or a factor that is masked out counts as absent. Data that are masked out have no influence on value
    or gradient, NaN included; a factor is computed before it is masked, so its gradient is NaN where its arithmetic is.
    A choice that is masked out is still made, on its support, with density one there: on an unbounded support that is
    refused.

    Args:
        mask: truth values of the batch shape of the statements, or one for all.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import handlers
    >>> def program():
    ...     with lawful.plate("row", 2), mask(jnp.array([True, False])):
    ...         sample("y", dist.Normal(0.0, 1.0), obs=jnp.array([0.0, jnp.nan]))
    >>> round(float(handlers.trace(program)().log_density), 4)
    -0.9189
    """
    place, source = surroundings(), caller()
    with placed(replace(place, mask=both(place.mask, truth(mask, f"mask ({source})")))):
        yield


@contextlib.contextmanager
def scale(scale: Any) -> Iterator[None]:
    """Raise the densities of the statements inside to a power, element by element of their batch.

    Args:
        scale: positive numbers of the batch shape of the statements, or one for all; scales inside each other multiply.

    >>> import numpyro.distributions as dist
    >>> from lawful import handlers
    >>> def program():
    ...     with scale(10.0):
    ...         sample("y", dist.Bernoulli(0.5), obs=1)
    >>> round(float(handlers.trace(program)().log_density), 4)
    -6.9315
    """
    place, source = surroundings(), caller()
    dtype = jnp.result_type(scale)
    known = not isinstance(scale, jax.core.Tracer)
    fits = jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)
    if not fits or (known and not bool(np.all((np.asarray(scale) > 0) & np.isfinite(scale)))):
        raise LawfulError(f"scale ({source}): expected positive numbers, got {scale!r}. Fix: use lawful.mask for zero.")
    with placed(replace(place, scale=scale if place.scale is None else place.scale * scale)):
        yield


def _address(name: str, place: Surroundings) -> Address:
    if not isinstance(name, str) or not name:
        raise LawfulError(f"site name: expected a non-empty string, got {name!r} ({caller()}).")
    return (*place.scopes, name + place.suffix, *place.indices)


def _event_dims(infer: Mapping[str, Any], message: SampleMessage) -> tuple[str, ...]:
    """Read the names of the axes of one value."""
    unknown = ", ".join(str(key) for key in infer if key != "event_dims")
    if unknown:
        raise refused(message, f": infer has the unknown notes {unknown}; it takes event_dims.")
    names = tuple(infer.get("event_dims", ()))
    rank = len(message.distribution.event_shape)
    if len(names) != rank or not all(isinstance(n, str) and n not in RESERVED for n in names) or len(set(names)) < rank:
        raise refused(
            message,
            f": event_dims names {len(names)} axes, {list(names)}, of a value with {rank}. "
            f"Fix: give each its own name, other than {', '.join(RESERVED)}.",
        )
    return names
