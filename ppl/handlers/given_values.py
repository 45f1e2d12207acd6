"""Given values: handlers that give sites their values, as data, as choices, or as interventions.

Law: `condition` turns choices into observations, `substitute` and `replay` keep the density function of the program,
which `log_density` reads at given choices, and `do` makes a site a constant for what follows and leaves its own
mechanism to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..addresses import as_address, names_of
from ..language.data.check_observations import of_its_shape
from ..language.data.observed import announce, observe
from ..messages import Message, SampleMessage, Surroundings, handlers, placed, reinstalled, surroundings
from .named_values import Giving, Program, checked, handled, lookup, split_masks
from .standard import TraceRecord, trace


def condition(program: Program, data: Mapping[Any, Any]) -> Program:
    """Observe the named sites: their density becomes a weight.

    Args:
        program: the program.
        data: values by name or address; a loop's site takes an array whose leading axis is the steps. A pair (values,
            mask) says by True which elements were observed.

    Raises:
        ObservationError: data do not fit their site, or are None.
        LawfulError: a name is no site; the message lists names that look alike.

    >>> import numpyro.distributions as dist, lawful
    >>> model = condition(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), {"x": 0.0})
    >>> round(float(trace(model)().log_density), 4)
    -0.9189
    """
    return checked(program, "condition", lambda: _Fix(data, observe=True))


def substitute(program: Program, data: Mapping[Any, Any]) -> Program:
    """Fix the values of the named sites; they stay choices and keep their density.

    >>> import numpyro.distributions as dist, lawful
    >>> model = substitute(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), {"x": 2.0})
    >>> float(model())
    2.0
    """
    return handled(program, lambda: _Fix(data, observe=False))


def replay(program: Program, recorded: TraceRecord | Mapping[Any, Any]) -> Program:
    """Repeat the choices of a recorded run; observations and deterministic values are computed again."""
    choices = recorded.choices if isinstance(recorded, TraceRecord) else recorded
    return handled(program, lambda: _Fix(choices, observe=False))


def log_density(program: Program, choices: Mapping[Any, Any]) -> Callable[..., Any]:
    """Score an eager run at given choices: `log_density(program, choices)(*args)`; every active site must be given."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with placed(Surroundings()):
            return trace(replay(program, choices))(*args, **kwargs).log_density

    return run


class _Fix(Giving):
    """Gives values to the choices that are named; with `observe` they become observations."""

    def __init__(self, data: Mapping[Any, Any], observe: bool) -> None:
        named = {as_address(name): value for name, value in data.items()}
        values, self.masks = split_masks(data) if observe else (named, {})
        super().__init__(values)
        self.observe = observe

    def process(self, message: Message) -> None:
        if not isinstance(message, SampleMessage):
            return
        self.seen.add(names_of(message.address))
        value = lookup(self.data, message.address) if message.value is None else None
        if value is None:
            return
        if self.observe:
            observe(message, value, lookup(self.masks, message.address))
        else:
            message.value = of_its_shape(message, value)


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
