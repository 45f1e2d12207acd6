"""Interventions: handlers that change what a program means, and say how in their names.

Law: `do` makes a site a constant for what follows and leaves its own mechanism to itself; `mask` and `scale` raise the
densities inside to the power 0 or s; `scope` renames and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..addresses import names_of
from ..language import statements as language
from ..language.data.checked import of_its_shape
from ..language.data.observed import announce
from ..messages import Message, SampleMessage, handlers, reinstalled, surroundings
from .named_values import Giving, Program, checked, lookup, split_masks, within


def do(program: Program, data: Mapping[Any, Any]) -> Program:
    """Intervene: what follows sees the given values in place of the named choices, whatever caused them.

    The mechanism of an intervened site goes on without effect, as a fresh choice of the same name, or as an observation
    that stays one; so `condition(do(program, {"x": 1}), {"x": 0})` asks what would have been with x = 1, given that x
    was 0. A traced program drops a fresh choice.

    Args:
        program: the program.
        data: values by name or address; a loop's site takes an array whose leading axis is the steps.

    Raises: LawfulError for a name that is no site.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def model():
    ...     rain = lawful.sample("rain", dist.Bernoulli(0.2))
    ...     return lawful.sample("wet", dist.Bernoulli(jax.numpy.where(rain == 1, 0.9, 0.1)))
    >>> from lawful import inference
    >>> round(inference.enumerate(do(model, {"rain": 1}))().marginal("wet")[1], 6)
    0.9
    """
    return checked(program, "do", lambda: _Do(data))


class _Do(Giving):
    def __init__(self, data: Mapping[Any, Any]) -> None:
        super().__init__(split_masks(data)[0])

    def process(self, message: Message) -> None:
        if not isinstance(message, SampleMessage):
            return
        self.seen.add(names_of(message.address))
        value = lookup(self.data, message.address)
        if value is None:
            return
        stack = handlers()
        fresh = replace(message, droppable=True)
        with reinstalled(stack[: stack.index(self)], surroundings()):
            announce(fresh)
        message.value = of_its_shape(message, value)
        message.stop, message.present, message.mask, message.scale = True, None, None, None


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
