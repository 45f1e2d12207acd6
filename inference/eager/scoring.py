"""Scoring: laws of concrete distributions found without tracing, and their log densities, by tables where they fit.

Law: `log_prob` is the log density that the compiled program computes, to rounding; -inf outside the support.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.distributions.law import law_of
from lawful.distributions.protocol import BoundLaw

from .atoms import probabilities_at

_REMEMBERED = 4096


class Bound(NamedTuple):
    """A law with concrete parameters, and a code: equal codes mean equal laws and parameters."""

    law: Any
    parameters: tuple[np.ndarray, ...]
    code: tuple[Any, ...]


# What a distribution is made of is found again by its identity (the distribution is kept, so that no other takes its
# place) or by its structure: asking `law_of` each time would cost more than all the rest.
_by_identity: dict[int, tuple[Any, Bound]] = {}
_by_structure: dict[Any, tuple[int, Any]] = {}
_numbers = itertools.count()


def bound(distribution: Any) -> Bound:
    """Split a distribution into its law and its parameters, as `lawful.distributions.law.law_of` does.

    >>> import numpyro.distributions as dist
    >>> bound(dist.Normal(0.0, 2.0)).law.label
    'Normal'
    """
    known = _by_identity.get(id(distribution))
    if known is not None and known[0] is distribution:
        return known[1]
    if isinstance(distribution, BoundLaw):
        arrays = tuple(np.asarray(p) for p in distribution.parameters)
        return Bound(distribution.law, arrays, (distribution.law, *(a.tobytes() for a in arrays)))
    leaves, tree = jax.tree.flatten(distribution)
    arrays = tuple(np.asarray(leaf) for leaf in leaves)
    structure = (tree, tuple((a.shape, a.dtype) for a in arrays))
    known_law = _by_structure.get(structure)
    if known_law is None:
        known_law = _remember(_by_structure, structure, (next(_numbers), law_of(distribution)[0]))
    number, law = known_law  # to hash the law at every draw would cost more than the draw
    arrays = tuple([arrays[place] for place in law.order])
    found = Bound(law, arrays, (number, *(a.tobytes() for a in arrays)))
    _remember(_by_identity, id(distribution), (distribution, found))
    return found


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(cache) >= _REMEMBERED:
        cache.clear()
    cache[key] = value
    return value


def log_prob(distribution: Any, value: Any, where: object) -> float:
    """Score a concrete value of exactly the site's shape, summed over its axes; the text of `where` names it in errors.

    >>> import numpyro.distributions as dist
    >>> round(log_prob(dist.Bernoulli(0.25), 1, "x"), 4), round(log_prob(dist.Normal(0.0, 1.0), 0.0, "y"), 4)
    (-1.3863, -0.9189)
    """
    probabilities = probabilities_at(distribution, value, where)
    if probabilities is not None:
        return sum((math.log(p) if p > 0 else -math.inf for p in probabilities), 0.0)  # a plate may be empty
    law, parameters, _ = bound(distribution)
    return float(_scorer(law)(np.asarray(value), *parameters))


@functools.lru_cache(maxsize=1024)
def _scorer(law: Any) -> Callable[..., Any]:
    return jax.jit(law.log_prob)
