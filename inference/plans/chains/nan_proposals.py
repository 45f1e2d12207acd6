"""NaN proposals: where the log density of a rejected proposal was not a number.

Law: looking changes nothing: a place like it is looked for near the state before the proposal, and is scored site by
site by running the program there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.distributions.constraints import fits, parameters_of
from lawful.distributions.families import core_of
from lawful.distributions.protocol import BoundLaw
from lawful.form import Form
from lawful.form.choices import Choice
from lawful.handlers.named_values import lookup
from lawful.messages import FactorMessage, Handler, Message, SampleMessage, only

from ...findings.findings import Finding
from ...laws.invalid_weights import meaningless
from ..plan import Prepared
from .chain_result import BROKEN, Tally
from .nan_nearby import broken_nearby


@dataclass(frozen=True)
class Broken:
    """A place where a log density is not a number.

    Attributes:
        site: name of the site or factor, with its step.
        source: its line.
        parameter: name and value of the first parameter of its law that is not finite there, or of the first; for a
            factor the log weight.
        value: its value there; None for a factor.
    """

    site: str
    source: str
    parameter: tuple[str, Any]
    value: Any


def broken_findings(prepared: Prepared, tally: Tally) -> tuple[Finding, ...]:
    """Report proposals whose log density was not a number, of which there are some, with the place of the first.

    Args:
        prepared: the program, its arguments, and what was built for them.
        tally: what was seen of the chains.
    """
    count = int(tally.counts[BROKEN])
    message = f"{count} proposals had a log density that is NaN or +inf; they were rejected, so the chains target "
    message += "the posterior restricted to the rest"
    built, place, where = prepared.built, None, (int(tally.place[0]), int(tally.place[1]))
    if built.whole:
        place = near_broken(prepared.form, prepared.args, built.kernel.choices, tally.before, where)
    if place is None:
        return (Finding("NONFINITE_DENSITY", f"{message}.", (), count, 0),)
    message += f": the first was in chain {where[1]} at step {where[0]}; near the state before it, the density is so at"
    text = f"{message} {describe(place)}. Fix: guard the model's arithmetic there."
    return (Finding("NONFINITE_DENSITY", text, (place.site,), count, 0),)


def near_broken(
    form: Form, args: Sequence[Any], choices: Sequence[Choice], state: Sequence[Any], where: tuple[int, int]
) -> Broken | None:
    """Find a place like the one that broke a proposal, around a state before it.

    Args:
        form: the program.
        args: its arguments.
        choices: its choices.
        state: values of all chains.
        where: step and chain of the proposal.

    Returns: the place; None where none is found.
    """
    values = {c.address: np.asarray(x)[where[1]] for c, x in zip(choices, state, strict=False)}
    there = broken_nearby(form, tuple(args), values)
    return None if there is None else _probed(form, args, there)


def _probed(form: Form, args: Sequence[Any], values: Mapping[Address, Any]) -> Broken | None:
    probe = _Probe(values)
    with only(probe), np.errstate(all="ignore"):  # what breaks there is what is looked for
        form(*args)
    return None if probe.found is None else Broken(*probe.found)


class _Probe(Handler):
    """Gives every choice its value in a state, and notes the first statement whose log density is not a number."""

    def __init__(self, values: Mapping[Address, Any]) -> None:
        self.values = values
        self.found: tuple[str, str, tuple[str, Any], Any] | None = None

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage) and message.value is None:
            message.value = lookup(self.values, message.address)
        if self.found is not None:
            return
        if isinstance(message, FactorMessage) and np.any(meaningless(jnp.asarray(message.log_weight))):
            weight = "log weight", np.asarray(message.log_weight)
            self.found = show_address(message.address), str(message.source), weight, None
        elif isinstance(message, SampleMessage):
            scores = jnp.asarray(message.distribution.log_prob(message.value))
            if np.any(meaningless(scores)):
                parameter = telling_parameter(message.distribution)
                self.found = show_address(message.address), str(message.source), parameter, np.asarray(message.value)


def telling_parameter(distribution: Any) -> tuple[str, Any]:
    """Give the first parameter of a distribution that is not finite or outside its constraint; else the first one.

    >>> import numpyro.distributions as dist
    >>> telling_parameter(dist.Normal(2.0, float("nan"), validate_args=False))[0]
    'scale'
    >>> telling_parameter(dist.Gamma(2.0, -1.0, validate_args=False))[0]
    'rate'
    >>> telling_parameter(dist.Normal(2.0, 1.0).expand([3]))[0]
    'loc'
    """
    if isinstance(distribution, BoundLaw):
        named = {f"parameter {i}": np.asarray(p) for i, p in enumerate(distribution.parameters)}
    else:
        core = core_of(distribution)
        given = {name: getattr(core, name, None) for name in core.arg_constraints}
        named = {name: np.asarray(value) for name, value in given.items() if value is not None}
        outside = [name for name, constraint, value in parameters_of(core) if not np.all(fits(constraint, value))]
        if outside and outside[0] in named:
            return outside[0], named[outside[0]]
    broken = [name for name, value in named.items() if not np.all(np.isfinite(value))]
    name = next(iter(broken), next(iter(named), ""))
    return name, named.get(name)


def describe(broken: Broken) -> str:
    """Write a place for people."""
    at = "" if broken.value is None else f" at value {_short(broken.value)}"
    name, parameter = broken.parameter
    return f"'{broken.site}' ({broken.source}), {name} = {_short(parameter)}{at}"


def _short(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=6, threshold=6, separator=", ")
