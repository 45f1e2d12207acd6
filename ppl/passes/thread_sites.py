"""Thread sites: what a rule makes of each statement of a form, with values that come in and go out at its place.

This is the one pass that carries values of single places through loops and branches: record, condition, score, predict
and others are rules. Law: nodes that a rule leaves alone stay as they are. Outside a loop what comes in or goes out has
the steps as its first axis; exclusive arms that hold one address share its inputs and outputs, and a flag tells whether
the arm that ran held it; sums are those over all steps and over the arms that run.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

import numpy as np

from ..addresses import Address
from ..form import Branch, Det, Factor, Form, Loop, Node, Site, Var
from ..form.builder import Block, total
from ..form.choices import Choice, choices_of
from ..form.fold import Visitor
from ..form.operations.compensated_sum import over_steps
from ..form.rewriting import with_operands

V = TypeVar("V")


class Rule(ABC):
    """What happens at the places of a form.

    Attributes:
        sums: how many sums of terms the form gives out.
        flags: whether the form tells which of the places in arms ran.
        shared: values that come in and are the same at all places.
    """

    sums: ClassVar[int] = 0
    flags: ClassVar[bool] = True
    shared: tuple[Var, ...] = ()

    def places(self, form: Form) -> tuple[Choice, ...]:
        """List where values come in or go out; by default the choices."""
        return choices_of(form)

    def inputs(self, place: Choice) -> list[Var]:
        """Give the types of what comes in for one run of a place; by default nothing does."""
        return []

    def outputs(self, place: Choice) -> list[Var]:
        """Give the types of what goes out of one run of a place; by default nothing does."""
        return []

    def absent(self, block: Block, place: Choice, given: Sequence[Var]) -> list[Var]:
        """Append what goes out of a place in an arm that does not hold it, for all steps; by default zeros."""
        return [block.constant(np.zeros((*place.loops, *v.shape), v.dtype)) for v in self.outputs(place)]

    @abstractmethod
    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        """Append to `walk.block` what becomes of a node, whose operands are those of the new form."""


@dataclass(frozen=True)
class Parts(Generic[V]):  # noqa: UP046  (the checks of types at run time do not read the short form)
    """What a threaded form gives: the form's own outputs, the sums, the outputs of each choice, and the flags."""

    own: tuple[V, ...]
    sums: tuple[V, ...]
    outputs: tuple[tuple[V, ...], ...]
    flags: tuple[V, ...]

    @property
    def values(self) -> tuple[V, ...]:
        """The outputs of all choices."""
        return tuple(v for group in self.outputs for v in group)


@dataclass(frozen=True)
class Threaded:
    """A form whose statements a rule has met.

    Inputs: the form's own, then what is shared, then for each of `choices` what comes in. Outputs: `own` ones of the
    form, then the sums, then what goes out of each of `choices`, then one flag for each conditional one.
    """

    form: Form
    choices: tuple[Choice, ...]
    own: int
    sums: int
    sizes: tuple[int, ...]

    def split(self, outs: Iterable[V]) -> Parts[V]:
        """Split what belongs to the outputs of the form."""
        rest = iter(outs)
        own, sums, *groups = (tuple(itertools.islice(rest, n)) for n in (self.own, self.sums, *self.sizes))
        return Parts(own, sums, tuple(groups), tuple(rest))

    def spliced(self, block: Block, inputs: Sequence[Var]) -> Parts[Var]:
        """Append the form to a block."""
        return self.split(block.splice(self.form, inputs))

    @property
    def parts(self) -> Parts[Var]:
        """The outputs of the form."""
        return self.split(self.form.outputs)


def threaded(form: Form, rule: Rule) -> Threaded:
    """Meet every statement of a form by a rule."""
    return Walk(rule, form, rule.places(form)).closed(len(form.inputs))


def _stacked(value: Var, steps: tuple[int, ...]) -> Var:
    return Var((*steps, *value.shape), value.dtype, value.plates)


class Walk(Visitor):
    """A form while a rule meets it.

    Attributes:
        block: what is written.
        shared: what comes in for all places.
        given: what comes in, by address.
        taken: what goes out, by address; a rule adds that of each place that it meets.
        names: what stands for values of the form that are no more.
        terms: what is summed.
    """

    def __init__(self, rule: Rule, form: Form, places: Sequence[Choice], arm: bool = False) -> None:
        """Start with nothing written; an `arm` knows the places of all arms beside it."""
        self.rule, self.form, self.places, self.arm = rule, form, places, arm
        self.block = Block()
        self.block.constants.extend(form.constants)
        self.shared = [v.like() for v in rule.shared]
        self.given = {p.address: [_stacked(v, p.loops) for v in rule.inputs(p)] for p in places}
        self.taken: dict[Address, Sequence[Var]] = {}
        self.flags: dict[Address, Var] = {}
        self.names: dict[Var, Var] = {}
        self.terms: tuple[list[Var], ...] = tuple([] for _ in range(rule.sums))

    def closed(self, at: int) -> Threaded:
        """Meet all nodes and close the form; what is shared comes in at a position of its inputs."""
        form, block = self.form, self.block
        for node in form.nodes:
            self.node(node)
        outputs = [*self.all(form.outputs), *(total(block, terms) for terms in self.terms)]
        flagged = [p for p in self.places if self.rule.flags and (self.arm or p.conditional)]
        flags = [
            self.flags.get(p.address) or block.constant(np.full(p.loops, p.address in self.taken)) for p in flagged
        ]
        for place in self.places:
            if place.address not in self.taken:
                self.taken[place.address] = self.rule.absent(block, place, self.given[place.address])
        taken = [self.taken[p.address] for p in self.places]
        outputs += (*(v for group in taken for v in group), *flags)
        inputs = (*form.inputs[:at], *self.shared, *form.inputs[at:], *self.all_given(self.places))
        closed = replace(
            form, inputs=inputs, nodes=tuple(block.nodes), outputs=tuple(outputs), constants=tuple(block.constants)
        )
        return Threaded(closed, tuple(self.places), len(form.outputs), len(self.terms), tuple(map(len, taken)))

    def all_given(self, places: Sequence[Choice]) -> list[Var]:
        """List what comes in for some places."""
        return [v for place in places for v in self.given[place.address]]

    def all(self, values: Sequence[Var]) -> tuple[Var, ...]:
        """Give what stands for some values."""
        return tuple([self.names.get(v, v) for v in values])

    def node(self, node: Node) -> None:
        """Meet a node."""
        super().node(with_operands(node, self.all(node.ins)) if self.names else node)

    def det(self, node: Det | Site | Factor) -> None:
        """Let the rule meet a node that holds no others."""
        self.rule.node(self, node)

    site = factor = det

    def loop(self, node: Loop) -> None:
        """Meet the body of a loop."""
        inner = Walk(self.rule, node.body, self.rule.places(node.body))
        body = inner.closed(len(node.constants)).form
        fresh = [_stacked(v, (node.length,)) for v in body.outputs[len(node.body.outputs) :]]
        constants, xs = (*node.constants, *self.shared), (*node.xs, *self.all_given(inner.places))
        self.block.nodes.append(replace(node, body=body, constants=constants, xs=xs, ys=(*node.ys, *fresh)))
        terms = [
            self.block.det(over_steps, value, label="sum over steps") if found else value
            for value, found in zip(fresh, inner.terms, strict=False)
        ]
        self.receive([inner], [*terms, *fresh[len(terms) :]])

    def branch(self, node: Branch) -> None:
        """Meet the arms of a branch."""
        places = tuple({p.address: p for arm in node.forms for p in self.rule.places(arm)}.values())
        inner = [Walk(self.rule, arm, places, arm=True) for arm in node.forms]
        arms = tuple(walk.closed(len(walk.form.inputs)).form for walk in inner)
        fresh = [Var(v.shape, v.dtype) for v in arms[0].outputs[len(node.outs) :]]
        operands = (*node.operands, *self.shared, *self.all_given(places))
        self.block.nodes.append(replace(node, forms=arms, operands=operands, outs=(*node.outs, *fresh)))
        self.receive(inner, fresh)

    def receive(self, inner: Sequence[Walk], fresh: Sequence[Var]) -> None:
        """Take what forms inside a node give out: the sums, what goes out of places, and flags."""
        rest = iter(fresh)
        for terms, *theirs in zip(self.terms, *(walk.terms for walk in inner), strict=True):
            value = next(rest)
            terms.extend([value] if any(theirs) else [])
        first = inner[0]
        self.taken |= {p.address: [next(rest) for _ in first.taken[p.address]] for p in first.places}
        self.flags |= zip((p.address for p in first.places if first.arm or p.conditional), rest, strict=False)


@dataclass(frozen=True)
class Answer:
    """What is said for a site: its value, a term of the log prior, and what goes out."""

    value: Var
    term: Var | None = None
    outputs: tuple[Var, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answers(Rule):
    """A rule that answers every choice. The sums are log prior and log likelihood; values lose their names.

    Attributes:
        terms: the sites, observations and factors whose terms are summed; default: all of them.
        apart: whether prior and likelihood are summed apart; else all terms count as the prior.
    """

    sums: ClassVar[int] = 2
    terms: frozenset[object] | None = None
    apart: bool = True

    @abstractmethod
    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the nodes that answer a site."""

    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        """Answer a choice, score an observation, and sum the terms."""
        if isinstance(node, Det):
            walk.block.nodes.append(node if node.address is None else replace(node, address=None))
            return
        counts, term = self.terms is None or node.address in self.terms, None
        if isinstance(node, Factor):
            term = node.term
        elif node.observed is None:
            answer = self.answer(walk.block, node, walk.given[node.address])
            walk.names[node.out], walk.taken[node.address], term = answer.value, answer.outputs, answer.term
        else:
            walk.names[node.out] = node.observed
            term = log_prob_at(walk.block, node, node.observed) if counts else None
        if counts and term is not None:
            walk.terms[self.apart and (isinstance(node, Factor) or node.observed is not None)].append(term)


def log_prob_at(block: Block, site: Site, value: Var) -> Var:
    """Append the log density of a site at a value."""
    label = f"log p({site.address[-1]})"
    return block.log_prob(site.law, value, site.parameters, label=label, source=site.source)


def interpose(form: Form, rule: Answers, terms: Collection[Address] | None = None, *, apart: bool = True) -> Threaded:
    """Answer every choice of a form by a rule; see `Answers`."""
    answered = replace(rule, terms=None if terms is None else frozenset(terms), apart=apart)
    return threaded(replace(form, out_tree=None), answered)


@dataclass(frozen=True)
class Given(Answers):
    """The rule of scoring: a choice has the value that comes from outside; its law becomes a term."""

    def inputs(self, place: Choice) -> list[Var]:
        """The value."""
        return [Var(place.shape, place.dtype)]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Score the value."""
        return Answer(given[0], log_prob_at(block, site, given[0]))


def score(form: Form) -> Threaded:
    """Replace every choice by an input, and its law by a term of the log prior."""
    return interpose(form, Given())
