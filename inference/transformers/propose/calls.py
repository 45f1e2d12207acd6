"""Calls: proposal programs while a program runs: which of them draws a site, with which arguments, and when.

Law: a proposal program runs once at each place that has its sites, before the first of them, and each of its draws is
used exactly once.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import names_of, show_address
from lawful.distributions.law import law_of
from lawful.errors import LawfulError
from lawful.form.arguments.arrays import is_array
from lawful.messages import (
    DecisionMessage,
    DeterministicMessage,
    Handler,
    Message,
    SampleMessage,
    Surroundings,
    only,
    placed,
    surroundings,
)
from lawful.tracing.primitives import current_trace

type Names = tuple[str, ...]
type Steps = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class Proposal:
    """A proposal program, and the sites that it must draw; None where it draws what it says."""

    program: Callable[..., Any]
    sites: frozenset[Names] | None = None

    @property
    def name(self) -> str:
        """Name for people."""
        return f"'{getattr(self.program, '__name__', type(self.program).__name__)}'"


@dataclass
class Memory:
    """What earlier runs have found out: what each proposal draws at which arguments, and which pairs of laws fit."""

    tried: dict[Any, frozenset[Names]] = field(default_factory=dict)
    covered: set[Any] = field(default_factory=set)


@dataclass(eq=False)
class _Drawn:
    """What a proposal drew at one place."""

    steps: Steps
    trace: Any
    values: dict[Names, tuple[Any, Any]] = field(default_factory=dict)
    left: set[Names] = field(default_factory=set)


class _NotHere(Exception):
    """A proposal cannot be called at a place."""


class Proposals:
    """The proposals of one run of a program."""

    def __init__(
        self, proposals: tuple[Proposal, ...], args: tuple[Any, ...], kwargs: dict[str, Any],
        named: Mapping[str, Any], memory: Memory,
    ) -> None:  # fmt: skip
        """Start before the first statement, of a program with these arguments; `named` are all that have a name."""
        self.proposals, self.args, self.kwargs, self.named, self.memory = proposals, args, kwargs, named, memory
        self.drawing: _Drawn | None = None
        self.drawn: dict[Proposal, _Drawn] = {}
        self.made: dict[str, tuple[Steps, Any]] = {}
        self.reasons: dict[Proposal, Exception] = {}
        self.met: list[str] = []

    def find(self, names: Names) -> Proposal | None:
        """Find the proposal that draws a site at this place."""
        self.met.append(show_address(names))
        found = [one for one in self.proposals if names in self._sites(one)]
        if len(found) > 1:
            raise LawfulError(
                f"propose: site '{show_address(names)}' is drawn by {found[0].name} and by {found[1].name}. Fix: leave "
                "it out of one of them.",
                site=names,
            )
        return found[0] if found else None

    def take(self, proposal: Proposal, message: SampleMessage) -> tuple[Any, Any]:
        """Give the value that a proposal drew for a site, and the distribution it was drawn from."""
        steps, names = surroundings().steps, names_of(message.address)
        drawn = self.drawn.get(proposal)
        if drawn is None or not _same(drawn.steps, steps):
            self._refuse_left(proposal)
            drawn = self.drawn[proposal] = self._run(proposal)
        if drawn.trace is not _token(drawn.trace):
            raise LawfulError(
                f"propose: site '{show_address(names)}' ({message.source}) stands in another branch than the first "
                f"site of {proposal.name}. Fix: give it a proposal program of its own.",
                site=message.address,
            )
        drawn.left.discard(names)
        return drawn.values[names]

    def inspect(self, message: Message) -> None:
        """See to it that a running proposal only draws, at its top level."""
        assert self.drawing is not None
        name = show_address(names_of(message.address))
        if isinstance(message, DeterministicMessage):
            message.stop = True
        elif not isinstance(message, DecisionMessage) and (not isinstance(message, SampleMessage) or message.observed):
            raise LawfulError(
                f"propose: a proposal program has a factor or an observation, '{name}' ({message.source}). Fix: a "
                "proposal only draws; weights belong to the program.",
                site=message.address,
            )
        elif isinstance(message, SampleMessage) and self.drawing.trace is not _token(self.drawing.trace):
            raise LawfulError(
                f"propose: a proposal program draws '{name}' ({message.source}) inside a loop or a branch of its own. "
                "Fix: draw it at the top level of the proposal.",
                site=message.address,
            )

    def remember(self, message: Message) -> None:
        """Note the value of a statement that has run."""
        if self.drawing is not None:
            if isinstance(message, SampleMessage):
                self.drawing.values[names_of(message.address)] = message.value, message.distribution
        elif isinstance(message, SampleMessage | DeterministicMessage):
            self.made[show_address(names_of(message.address))] = surroundings().steps, message.value

    def finish(self) -> None:
        """Refuse draws that no site has used, and proposals that were never called."""
        for proposal in self.proposals:
            self._refuse_left(proposal)
            if proposal not in self.drawn:
                self._refuse_unused(proposal)

    def _run(self, proposal: Proposal) -> _Drawn:
        place = surroundings()
        args, kwargs = self._arguments(proposal, place)
        drawn = self.drawing = _Drawn(place.steps, current_trace())
        try:
            with placed(_bare(place)):
                proposal.program(*args, **kwargs)
        finally:
            self.drawing = None
        drawn.left = set(drawn.values)
        if proposal.sites is not None and proposal.sites != drawn.left:
            missed = _listed(proposal.sites - drawn.left)
            more = _listed(drawn.left - proposal.sites)
            what = f"does not draw {missed}" if missed else f"draws {more}, which is not in its key"
            raise LawfulError(
                f"propose: {proposal.name} {what}. Fix: a proposal draws exactly the sites of its key.",
                sites=tuple(proposal.sites),
            )
        return drawn

    def _sites(self, proposal: Proposal) -> frozenset[Names]:
        """Say which sites a proposal draws at this place: what its key says, or what a trial shows."""
        if proposal.sites is not None:
            return proposal.sites
        place = surroundings()
        drawn = self.drawn.get(proposal)
        if drawn is not None and _same(drawn.steps, place.steps):
            return frozenset(drawn.values)
        try:
            args, kwargs = self._arguments(proposal, place)
        except _NotHere as reason:
            self.reasons.setdefault(proposal, reason)
            return frozenset()
        leaves, tree = jax.tree.flatten((args, kwargs))
        kinds = tuple((jnp.shape(x), jnp.result_type(x)) if is_array(x) else (type(x), x) for x in leaves)
        key = proposal, len(place.steps), tree, kinds
        found = self.memory.tried.get(key)
        if found is None:
            found = self._try(proposal, place, args, kwargs)
            if found:  # a failure has a reason, which each run has to tell
                self.memory.tried[key] = found
        return found

    def _try(self, proposal: Proposal, place: Surroundings, args: Any, kwargs: Any) -> frozenset[Names]:
        listing = _Listing()

        def run() -> None:
            with only(listing), placed(_bare(place)):
                proposal.program(*args, **kwargs)

        try:
            jax.eval_shape(run)
        except Exception as error:  # at the wrong place any error may come; it is told if there is no right one
            self.reasons[proposal] = error
            return frozenset()
        return frozenset(listing.names)

    def _arguments(self, proposal: Proposal, place: Surroundings) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Collect what a proposal is called with at a place."""
        args = place.steps[-1] if place.steps else self.args
        given = {} if place.steps else self.kwargs
        signature = inspect.signature(proposal.program)
        asked = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
        visible = {name: value for name, (steps, value) in self.made.items() if _within(steps, place.steps)}
        known = {**self.named, **visible}
        kwargs = given | {name: known[name] for name in asked if name in known}
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            where = "(carry, x) of a scan" if place.steps else "the program's arguments"
            raise _NotHere(f"{error}, called with {where} and the choices made before: {_listed(visible)}") from None
        return tuple(args), kwargs

    def _refuse_left(self, proposal: Proposal) -> None:
        drawn = self.drawn.get(proposal)
        if drawn is not None and drawn.left:
            raise LawfulError(
                f"propose: {proposal.name} draws {_listed(drawn.left)}, which the program does not have at that place. "
                f"Its sites are: {_listed(dict.fromkeys(self.met))}. Fix: rename it, or leave it out of the proposal.",
                sites=tuple(drawn.left),
            )

    def _refuse_unused(self, proposal: Proposal) -> None:
        draws = _listed(frozenset().union(*(s for key, s in self.memory.tried.items() if key[0] is proposal)))
        what = f"draws {draws}" if draws else "could not be called"
        if proposal.sites is not None:
            what = f"is for {_listed(proposal.sites)}"
        reason = self.reasons.get(proposal)
        told = "" if reason is None else f" Where it was tried: {reason}."
        raise LawfulError(
            f"propose: {proposal.name} {what}, but no such site was met where it can be called; the program's sites "
            f"are: {_listed(dict.fromkeys(self.met))}.{told} Fix: draw under the names of the program, as a function "
            "of (carry, x) for sites in a lawful.scan and of the program's arguments for others.",
            proposal=proposal.name,
        ) from reason


class _Listing(Handler):
    """Lists the names of the draws of a proposal that is only tried."""

    staged = True

    def __init__(self) -> None:
        self.names: list[Names] = []

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage) and message.value is None:
            self.names.append(names_of(message.address))
            law = law_of(message.distribution)[0]
            message.value = jnp.zeros(law.shape, law.dtype)


def _bare(place: Surroundings) -> Surroundings:
    """Keep the loops around, whose indices belong to the addresses; plates and scopes are the proposal's own."""
    return Surroundings(indices=place.indices, lengths=place.lengths, steps=place.steps)


def _token(trace: Any) -> Any:
    """Return the given token if the same JAX transformation is running."""
    now = current_trace()
    return trace if now == trace else now


def _same(first: Steps, second: Steps) -> bool:
    return len(first) == len(second) and all(map(operator.is_, first, second))


def _within(outer: Steps, inner: Steps) -> bool:
    return _same(outer, inner[: len(outer)])


def _listed(names: Any) -> str:
    return ", ".join(sorted(f"'{name if isinstance(name, str) else show_address(name)}'" for name in names))
