"""Standard handlers: functions on programs that draw, hide or record what their statements say.

Law: `seed`, `block` and `trace` keep the density function of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import Address, address_code, as_address, indices_of, key_at, names_of, shared_key, show_address
from ..distributions.law import law_of
from ..errors import DuplicateSiteError, UnsupportedProgramError
from ..form.arguments.random_keys import one_key
from ..form.nodes import Hidden
from ..messages import (
    DecisionMessage,
    DeterministicMessage,
    FactorMessage,
    Handler,
    Message,
    SampleMessage,
    Source,
    handlers,
    installed,
    only,
    refused,
)
from ..tracing.primitives import current_trace
from .key_reuse import consume
from .named_values import Program, handled, within


def seed(program: Program, key: Any, *, alone: bool = False) -> Program:
    """Draw every choice that no inner handler decides, with a key derived from its address.

    Args:
        program: the program.
        key: a random key, `jax.random.key(0)`, or a seed.
        alone: hide the run from all handlers outside.

    >>> import numpyro.distributions as dist, lawful
    >>> model = lambda: lawful.sample("x", dist.Normal(0.0, 1.0)) + lawful.sample("y", dist.Normal(0.0, 1.0))
    >>> bool(seed(model, jax.random.key(1))() == seed(model, jax.random.key(1))())
    True
    """
    root = one_key(key, "seed")
    return within(program, lambda: (only if alone else installed)(_Seed(root)))


class _Seed(Handler):
    def __init__(self, key: jax.Array) -> None:
        self.key = key
        self.boundary = Boundary()
        self.used: dict[Address, Source] = {}
        self.codes: dict[int, Address] = {}

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage) and message.value is None:
            self.boundary.refuse_inside(message)
            refuse_duplicate(self.used, message.address, message.source)
            first = self.codes.setdefault(address_code(message.address), message.address)
            if names_of(first) != names_of(message.address):
                raise shared_key(first, message.address)
            key = key_at(self.key, message.address)
            consume(key, message)
            law, parameters = law_of(message.distribution)
            message.value = law.draw(key, *parameters)  # in the way of the compiled program, so both give the same
            _note_hidden(message, "seed")


class Boundary:
    """The JAX transformation in which a handler was installed; a site inside a later one is out of its reach."""

    def __init__(self) -> None:
        """Note the transformation that is running."""
        self._started = current_trace()

    def refuse_inside(self, message: SampleMessage) -> None:
        """Refuse a site in a transformation that began after the handler.

        Raises: UnsupportedProgramError naming the site and the remedy.
        """
        if current_trace() != self._started:
            words = (
                " stands inside a JAX transformation (scan, vmap, jit, grad, ...) of an eager run, so it is drawn once "
                "for all its steps. Fix: use lawful.scan or lawful.cond, or trace the program with "
                "lawful.trace(program, *args) or by calling an inference."
            )
            raise refused(message, words, UnsupportedProgramError)


def block(program: Program, hide: Iterable[Any] | Callable[[Message], bool] | None = None) -> Program:
    """Hide sites from the handlers outside; what is hidden needs its value from inside.

    Args:
        program: the program.
        hide: names or addresses to hide, a predicate on messages, or None for all.
    """
    if callable(hide):
        hidden = hide
    else:
        names = None if hide is None else {as_address(name) for name in hide}

        def hidden(message: Message) -> bool:
            return names is None or message.address in names or names_of(message.address) in names

    return handled(program, lambda: _Block(hidden))


class _Block(Handler):
    def __init__(self, hidden: Callable[[Message], bool]) -> None:
        self.hidden = hidden
        self.gone: Address | None = None

    def process(self, message: Message) -> None:
        follows = isinstance(message, FactorMessage) and message.weighs is self.gone
        if follows or self.hidden(message):
            self.gone = message.address
            message.stop = True
            if isinstance(message, SampleMessage) and not message.observed:
                _note_hidden(message, "block")


@dataclass
class TraceRecord:
    """The record of one eager run: choices, observations, factors, deterministic values and the returned value."""

    choices: dict[Address, Any] = field(default_factory=dict)
    observations: dict[Address, Any] = field(default_factory=dict)
    deterministics: dict[Address, Any] = field(default_factory=dict)
    log_probs: dict[Address, Any] = field(default_factory=dict)
    sources: dict[Address, Source] = field(default_factory=dict)
    prior: set[Address] = field(default_factory=set)
    value: Any = None

    @property
    def log_density(self) -> Any:
        """The log density of the run: sum over sites, observations and factors."""
        return sum(self.log_probs.values(), jnp.zeros(()))

    @property
    def log_prior(self) -> Any:
        """The part of the log density that belongs to the choices, and to factors of the prior."""
        return sum((self.log_probs[a] for a in (*self.choices, *self.prior)), jnp.zeros(()))


def trace(program: Program) -> Callable[..., TraceRecord]:
    """Record an eager run: `trace(program)(*args)` gives its choices, log densities and returned value.

    >>> import numpyro.distributions as dist, lawful
    >>> model = lambda: lawful.sample("x", dist.Bernoulli(0.25))
    >>> record = trace(lawful.handlers.substitute(model, {"x": 1}))()
    >>> {show_address(a): int(v) for a, v in record.choices.items()}, round(float(record.log_density), 4)
    ({'x': 1}, -1.3863)
    """

    def run(*args: Any, **kwargs: Any) -> TraceRecord:
        handler = _Trace()
        with installed(handler):
            handler.record.value = program(*args, **kwargs)
        return handler.record

    return run


class _Trace(Handler):
    def __init__(self) -> None:
        self.record = TraceRecord()
        self.boundary = Boundary()

    def postprocess(self, message: Message) -> None:
        if isinstance(message, DecisionMessage):
            return
        if isinstance(message, SampleMessage):
            self.boundary.refuse_inside(message)
        record = self.record
        refuse_duplicate(record.sources, message.address, message.source)
        if isinstance(message, SampleMessage):
            target = record.observations if message.observed else record.choices
            target[message.address] = message.value
            if message.value is not None:
                law, parameters = law_of(message.distribution)
                record.log_probs[message.address] = law.log_prob(jnp.asarray(message.value), *parameters)
        elif isinstance(message, FactorMessage):
            record.log_probs[message.address] = message.log_weight
            if message.role == "prior":
                record.prior.add(message.address)
        elif isinstance(message, DeterministicMessage):
            record.deterministics[message.address] = message.value


def refuse_duplicate(used: dict[Address, Source], address: Address, source: Source) -> None:
    """Note an address; a second use is an error that shows both places, also one of them in a loop and one outside."""
    names, indices = names_of(address), indices_of(address)
    outside = [(*names, *indices[:depth]) for depth in range(len(indices) + 1)]
    inside = [(*address, *(0,) * depth) for depth in range(1, 4)]
    for other in (*outside, *inside):
        if other in used:
            step = f" at step {indices}" if indices else ""
            raise DuplicateSiteError(
                f"site '{show_address(names)}'{step} is used twice: at {used[other]} and at {source}. "
                "Fix: rename one, or call the program inside lawful.scope(prefix).",
                site=address, first=used[other], second=source,
            )  # fmt: skip
    used[address] = source


def _note_hidden(message: SampleMessage, handler: str) -> None:
    """Tell the handler that records a program, where one listens, of a choice that it will not see as one."""
    for listener in handlers():
        if listener.unseen is not None:
            listener.unseen.append(Hidden(names_of(message.address), message.source, handler))
