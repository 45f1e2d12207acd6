"""Propose: a program whose draws of some sites come from a proposal program instead, weighted by the difference.

Law: [[propose(q)(p)]] = [[p]], as unnormalised measures, where q reaches every value to which p gives a positive
density: a site with the law p that is drawn from q has the weight p / q. A q whose support is seen to miss a part of
that of p is refused; where both depend on values that only the run has, the weight is NaN there.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address, as_address, indices_of, names_of, show_address
from lawful.distributions.absent import without_guard
from lawful.distributions.law import law_of
from lawful.errors import LawfulError
from lawful.form import Factor, Form, walk
from lawful.form.arguments.calls import named_arguments
from lawful.form.liveness import without_dead_code
from lawful.form.ratio import log_ratio
from lawful.messages import FactorMessage, Handler, Message, SampleMessage, installed, is_staged, only, send
from lawful.tracing.lower import lower
from lawful.tracing.primitives import Stage

from ...contract import PRESERVES, Transformer
from .calls import Memory, Proposal, Proposals
from .support_check import moves, require_cover

type Program = Callable[..., Any]
type Rule = Callable[[Address, Any], Any]
type Handle = Callable[[tuple[Any, ...], dict[str, Any], Mapping[str, Any]], Any]

PROPOSAL = "proposal"  # ends the address of the factor that weighs a proposed site


def propose(proposal: Program | Mapping[Any, Program] | Iterable[Program]) -> Transformer:
    """Draw some sites of a program from a proposal program.

    A proposal program draws with `lawful.sample`, under the names that the sites have in the program; it has no
    observations and no factors. It runs where the first of its sites stands, and is called with what is known there:

    - positional arguments: `(carry, x)` of the innermost `lawful.scan` around the sites; outside any, the arguments of
      the program;
    - keyword-only parameters: the values of the choices made before, by name, as in `def q(carry, x, *, theta)`, and
      the arguments of the program.

    Args:
        proposal: a proposal program; several, each for its own sites; or a mapping from a site's name, or a tuple of
            names, to a proposal program. With a mapping, a proposal must draw exactly the sites of its key.

    Returns: a transformer of programs and Forms (in a Form, carry and x are not known: give proposals without them).

    Raises, when the program runs or is traced:
        LawfulError: a proposal draws a site that the program does not have at its place, or misses one of its key; a
            site is observed; a shape or type differs; the proposal cannot reach all values of a site.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model():
    ...     x = lawful.sample("x", dist.Bernoulli(0.1))
    ...     lawful.factor("weight", 2.0 * x)
    >>> proposed = propose(lambda: lawful.sample("x", dist.Bernoulli(0.5)))(model)
    >>> exact = inference.enumerate(model)().log_evidence, inference.enumerate(proposed)().log_evidence
    >>> bool(jnp.allclose(*exact))
    True
    """
    parsed = _parsed(proposal)
    shown = ", ".join(one.name for one in parsed)
    memory = Memory()

    def handler(args: tuple[Any, ...], kwargs: dict[str, Any], named: Mapping[str, Any]) -> Proposing:
        return Proposing(Proposals(parsed, args, kwargs, named, memory))

    return rewriting(f"propose({shown})", handler)


def propose_each(rule: Rule) -> Transformer:
    """Draw each site from a distribution that a rule gives for it.

    Args:
        rule: `(address, distribution) -> distribution`, or None where the site is left as it is.

    >>> import numpyro.distributions as dist, lawful
    >>> wide = propose_each(lambda address, prior: dist.Normal(prior.loc, 3.0))
    >>> form = wide(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))))
    >>> [node.address for node in form.nodes if hasattr(node, "role")]
    [('x', 'proposal')]
    """
    memory = Memory()
    return rewriting("propose_each", lambda *call: _ByRule(rule, memory))


def proposed_sites(form: Form) -> frozenset[Address]:
    """List the sites of a form that are drawn from a proposal."""
    nodes = (node for node in walk(form) if isinstance(node, Factor))
    return frozenset(node.address[:-1] for node in nodes if node.address[-1] == PROPOSAL)


def rewriting(name: str, handler: Handle) -> Transformer:
    """Make the transformer that runs programs, and traces Forms again, under a handler of its own for each run.

    The handler is made of the arguments by position, those given by name, and all that have a name.
    """

    def apply(program: Program | Form) -> Program | Form:
        return _form(program, handler) if isinstance(program, Form) else _program(program, handler)

    return Transformer(name, apply, PRESERVES, programs=True)


def _program(program: Program, handler: Handle) -> Program:
    @functools.wraps(program, updated=())
    def proposed(*args: Any, **kwargs: Any) -> Any:
        proposing = handler(args, kwargs, named_arguments(program, args) | kwargs)
        with installed(proposing):
            out = program(*args, **kwargs)
        proposing.finish()
        return out

    return proposed


def _form(form: Form, handler: Handle) -> Form:
    """Trace a Form again, as a program under the handler."""
    stage, program = Stage(), _program(form, handler)

    def run(*inputs: Any) -> Any:
        with only(stage):
            return program(*inputs)

    again = lower(run, *(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in form.inputs))
    return replace(without_dead_code(again, keep_sites=True), in_tree=form.in_tree, out_tree=form.out_tree)


def _parsed(proposal: Any) -> tuple[Proposal, ...]:
    if isinstance(proposal, Mapping):
        found = tuple(Proposal(program, _names(key)) for key, program in proposal.items())
    else:
        found = tuple(Proposal(program) for program in ([proposal] if callable(proposal) else proposal))
    if not found:
        raise LawfulError("propose: expected a proposal program, got none.")
    for one in found:
        if not callable(one.program):
            raise LawfulError(
                f"propose: expected a proposal program, or a mapping from site names to such, got {one.program!r}."
            )
    return found


def _names(key: Any) -> frozenset[tuple[str, ...]]:
    """Read the key of a mapping: a name, or a tuple of names."""
    return frozenset(names_of(as_address(name)) for name in ((key,) if isinstance(key, str) else key))


def _log_prob(law: Any, value: jax.Array, parameters: Sequence[Any]) -> Any:
    """Score a value; in a traced program that is one operation, and equal ones are known to be equal."""
    score = law.log_prob
    if is_staged():
        with contextlib.suppress(TypeError):  # a law with an array in its structure cannot be remembered
            score = _compiled(law)
    return score(value, *parameters)


@functools.lru_cache(maxsize=1024)
def _compiled(law: Any) -> Callable[..., Any]:
    return jax.jit(law.log_prob)


class Proposer(Handler):
    """A handler that answers some choices by a value drawn elsewhere."""

    def __init__(self, memory: Memory) -> None:
        """Start before the first statement."""
        self.memory = memory

    def finish(self) -> None:
        """The program has run."""

    def answer(self, message: SampleMessage, value: Any, drawn: Any) -> None:
        """Give a choice a value that was drawn from another distribution, and weigh the difference."""
        message.distribution = without_guard(message.distribution)  # what is drawn elsewhere is drawn for all elements
        law, parameters = law_of(message.distribution)
        own, own_parameters = law_of(drawn)
        missed, pair = None, (names_of(message.address), law, own)
        if is_staged() or pair not in self.memory.covered:
            missed = require_cover(message.distribution, drawn, message.address, message.source)
            if not moves(message.distribution) and not moves(drawn):
                self.memory.covered.add(pair)
        scored = jnp.asarray(value, law.dtype)
        ratio = log_ratio(_log_prob(law, scored, parameters), _log_prob(own, scored, own_parameters))
        if missed is not None:  # no weight would make up for what is never drawn
            ratio = jnp.where(missed, jnp.nan, ratio)
        message.value, message.stop = scored if isinstance(value, jax.Array) else value, True
        address = (*names_of(message.address), PROPOSAL, *indices_of(message.address))
        send(FactorMessage(address, ratio, message.source, role="prior"))


class Proposing(Proposer):
    """Answers the sites that proposal programs draw."""

    def __init__(self, proposals: Proposals) -> None:
        """Start before the first statement."""
        super().__init__(proposals.memory)
        self.proposals = proposals

    def process(self, message: Message) -> None:
        """Answer a choice, or see to it that a proposal only draws."""
        if self.proposals.drawing:
            self.proposals.inspect(message)
        elif isinstance(message, SampleMessage) and (message.observed or message.value is None):
            found = self.proposals.find(names_of(message.address))
            if found is None:
                return
            if message.observed:
                name = show_address(names_of(message.address))
                raise LawfulError(
                    f"propose: site '{name}' ({message.source}) is observed, and {found.name} draws it. Fix: leave it "
                    "out of the proposal.",
                    site=message.address,
                )
            self.answer(message, *self.proposals.take(found, message))

    def postprocess(self, message: Message) -> None:
        """Remember what was made, for proposals that ask for it."""
        self.proposals.remember(message)

    def finish(self) -> None:
        """Refuse proposals whose sites the program does not have."""
        self.proposals.finish()


class _ByRule(Proposer):
    def __init__(self, rule: Rule, memory: Memory) -> None:
        super().__init__(memory)
        self.rule = rule
        self.drawing = False

    def process(self, message: Message) -> None:
        if self.drawing or not isinstance(message, SampleMessage) or message.observed or message.value is not None:
            return
        other = self.rule(message.address, without_guard(message.distribution))
        if other is None:
            return
        drawn = replace(message, distribution=other)
        self.drawing = True
        try:
            send(drawn)
        finally:
            self.drawing = False
        self.answer(message, drawn.value, other)
