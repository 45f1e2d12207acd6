"""Sites of the algorithms themselves: ancestors, picks and coins, under a scope of their own.

Law: the closure rule. An algorithm draws only through sites, so it is a program and can be enumerated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lawful
from lawful.messages import placed, surroundings


def own_site(scope: str, name: str, distribution: Any, *indices: int) -> Any:
    """Make a random choice of the algorithm with a scope; further loop indices are as the number of the stage.

    >>> import jax, numpyro.distributions as dist
    >>> algorithm = lambda: own_site("~filter", "pick", dist.Bernoulli(0.5), 3)
    >>> list(lawful.handlers.trace(lawful.handlers.seed(algorithm, jax.random.key(0)))().choices)
    [('~filter', 'pick', 3)]
    """
    around = surroundings()
    inside = replace(around, scopes=(*around.scopes, scope), indices=(*around.indices, *indices))
    with placed(inside):
        return lawful.sample(name, distribution)


def own_factor(scope: str, name: str, log_weight: float) -> None:
    """Weigh the algorithm."""
    around = surroundings()
    with placed(replace(around, scopes=(*around.scopes, scope))):
        lawful.factor(name, log_weight)
