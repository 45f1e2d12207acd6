"""NaN proposals: where the log density of a rejected proposal was not a number.

Law: looking changes nothing, and costs nothing while chains run: what they left tells which state a proposal came from;
a place like it is looked for near that state, and is scored site by site by running the program there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
from ...results.record import Warmup
from ..plan import Prepared
from .chain_result import BROKEN, Rows
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


class First(NamedTuple):
    """The first proposal that broke: its chain, its step in words, and the row before it, if there is one."""

    chain: int
    step: str
    before: tuple[Warmup, int] | None


def broken_findings(
    prepared: Prepared, count: int, parts: tuple[Warmup, Warmup | None], start: Sequence[Any], last: Sequence[Any]
) -> tuple[Finding, ...]:
    """Report proposals whose log density was not a number, of which there are some, with the place of the first.

    Args:
        prepared: the program, its arguments, and what was built for them.
        count: how many there are.
        parts: draws and warm-up.
        start: the state at the start of the run, of all chains.
        last: the state at its end.
    """
    message = f"{count} proposals had a log density that is NaN or +inf; they were rejected, so the chains target "
    message += "the posterior restricted to the rest"
    built, place, first = prepared.built, None, _first(prepared.built.rows, *parts)
    if built.whole and first is not None:
        there = broken_nearby(prepared.form, prepared.args, _before(first, built.kernel.choices, start, last))
        place = None if there is None else _probed(prepared.form, prepared.args, there)
    if place is None or first is None:
        return (Finding("NONFINITE_DENSITY", f"{message}.", (), count, 0),)
    message += f": the first was in chain {first.chain} at step {first.step}; near the state before it, the density is "
    text = f"{message}so at {describe(place)}. Fix: guard the model's arithmetic there."
    return (Finding("NONFINITE_DENSITY", text, (place.site,), count, 0),)


def _first(rows: Rows, kept: Warmup, early: Warmup | None) -> First | None:
    """Find the first proposal that broke; where a warm-up learns, its own are no faults."""
    warm = 0 if early is None else early.stats[BROKEN].shape[1]
    counting = [] if early is None or rows.learns else [(early, 0, 1)]
    for part, done, thin in (*counting, (kept, warm, rows.thin)):
        broken = np.argwhere(np.asarray(part.stats[BROKEN]).T > 0)
        if len(broken):
            row, chain = map(int, broken[0])
            step = done + row * thin
            before = (part, row - 1) if row else None if early is None or part is early else (early, warm - 1)
            return First(chain, f"{step}" if thin == 1 else f"{step} to {step + thin - 1}", before)
    return None


def _before(
    first: First, choices: Sequence[Choice], start: Sequence[Any], last: Sequence[Any]
) -> dict[Address, np.ndarray]:
    """Give the values of the row before a proposal; what it does not show is as at the end."""
    state = start if first.before is None else last
    found = {
        c.address: np.asarray(np.asarray(x)[first.chain]) for c, x in zip(choices, state[: len(choices)], strict=True)
    }
    part, row = first.before or (None, 0)
    for choice in choices:
        if part is not None and choice.name in part.posterior:
            shown = np.asarray(part.posterior[choice.name][first.chain : first.chain + 1, row : row + 1])[0, 0]
            found[choice.address] = np.where(np.isnan(shown), found[choice.address], shown).astype(choice.dtype)
    return found


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
