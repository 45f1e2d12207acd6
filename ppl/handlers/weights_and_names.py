"""Weights and names: programs whose densities are raised to a power, and whose sites have a prefix.

Law: `mask` and `scale` raise the densities inside to the power 0 or s; `scope` renames and changes nothing else.
"""

from __future__ import annotations

from typing import Any

from ..language import statements as language
from .named_values import Program, within


def mask(program: Program, mask: Any) -> Program:
    """Drop the densities of a program where the mask is False: `lawful.mask` around it.

    >>> import lawful
    >>> model = mask(lambda: lawful.factor("f", 3.0), False)
    >>> float(lawful.handlers.trace(model)().log_density)
    0.0
    """
    return within(program, lambda: language.mask(mask))


def scale(program: Program, scale: Any) -> Program:
    """Raise the densities of a program to a power: `lawful.scale` around it.

    >>> import lawful
    >>> model = scale(lambda: lawful.factor("f", 3.0), 0.5)
    >>> float(lawful.handlers.trace(model)().log_density)
    1.5
    """
    return within(program, lambda: language.scale(scale))


def scope(program: Program, prefix: str) -> Program:
    """Put a prefix before the names of a program's sites: `lawful.scope` around it.

    >>> import numpyro.distributions as dist, lawful
    >>> model = scope(lambda: lawful.sample("x", dist.Bernoulli(0.5)), "left")
    >>> list(lawful.handlers.trace(lawful.handlers.substitute(model, {("left", "x"): 1}))().choices)
    [('left', 'x')]
    """
    return within(program, lambda: language.scope(prefix))
