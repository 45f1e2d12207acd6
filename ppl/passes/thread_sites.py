"""Thread sites: a form in which a rule answers every choice, with inputs and outputs of its own per choice.

This is the one place that carries per-choice values through loops and branches: scoring given choices and drawing some
of them again are two rules. Law: the nodes that are not choices keep their meaning; terms are summed over the sites of
the arms that run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from ..addresses import Address
from ..form import Branch, Det, Factor, Form, Loop, Site, Var, walk
from ..form.builder import Block, total
from ..form.choices import Choice, choices_of
from ..form.fold import Visitor
from ..form.operations.compensated_sum import over_steps


@runtime_checkable
class Rule(Protocol):
    """How a choice is answered."""

    def inputs(self, choice: Choice) -> list[Var]:
        """The values that come from outside for one run of the site (without loop axes)."""

    def outputs(self, choice: Choice) -> list[Var]:
        """The values that the rule gives out for one run of the site (without loop axes)."""

    def answer(self, block: Block, site: Site, parameters: Sequence[Var], given: Sequence[Var]) -> Answer:
        """Append the nodes that answer a site."""

    def absent(self, block: Block, choice: Choice, given: Sequence[Var]) -> list[Var]:
        """The outputs of a choice whose arm does not run."""


@dataclass(frozen=True)
class Answer:
    """What a rule says for a site: its value, a term of the log prior, and the rule's outputs."""

    value: Var
    term: Var
    outputs: tuple[Var, ...]


@dataclass(frozen=True)
class Interposed:
    """A form whose choices are answered.

    Inputs: the form's own, then for each choice the rule's inputs. Outputs: the form's own, then log prior and log
    likelihood, then for each choice the rule's outputs, then one flag for each conditional choice.
    """

    form: Form
    choices: tuple[Choice, ...]
    own: int
    per_choice: int

    @property
    def outputs(self) -> tuple[tuple[Var, ...], ...]:
        """The rule's outputs, choice by choice."""
        start, k = self.own + 2, self.per_choice
        flat = self.form.outputs
        return tuple(flat[start + i * k : start + (i + 1) * k] for i in range(len(self.choices)))

    @property
    def flags(self) -> tuple[Var, ...]:
        """The flags of the conditional choices, in order."""
        return self.form.outputs[self.own + 2 + self.per_choice * len(self.choices) :]


def interpose(form: Form, rule: Rule, terms: Collection[Address] | None = None, *, apart: bool = True) -> Interposed:
    """Answer every choice of a form by a rule.

    Args:
        form: the form.
        rule: how a choice is answered.
        terms: the sites, observations and factors whose terms are summed; default: all of them.
        apart: whether prior and likelihood are summed apart; else all terms count as the prior.
    """
    return _Walk(form, rule, terms, apart).run()


def _stacked(value: Var, loops: tuple[int, ...]) -> Var:
    return Var((*loops, *value.shape), value.dtype, value.plates)


def _per_choice(inner: Interposed, rest: Sequence[Var]) -> tuple[dict[Address, Sequence[Var]], dict[Address, Var]]:
    """Sort what an inner form gives out: the rule's outputs by address, and the flags by address."""
    k = inner.per_choice
    held = {choice.address: rest[i * k : (i + 1) * k] for i, choice in enumerate(inner.choices)}
    conditional = [c.address for c in inner.choices if c.conditional]
    return held, dict(zip(conditional, rest[k * len(inner.choices) :], strict=True))


class _Walk(Visitor):
    def __init__(self, form: Form, rule: Rule, terms: Collection[Address] | None, apart: bool) -> None:
        self.form = form
        self.rule = rule
        self.terms = terms
        self.apart = apart
        self.block = Block()
        self.choices = choices_of(form)
        self.given = {c.address: [_stacked(v, c.loops) for v in rule.inputs(c)] for c in self.choices}
        self.out: dict[Address, Sequence[Var]] = {}
        self.flags: dict[Address, Var] = {}
        self.prior: list[Var] = []
        self.likelihood: list[Var] = [] if apart else self.prior
        self.names: dict[Var, Var] = {}

    def run(self) -> Interposed:
        self.block.constants.extend(self.form.constants)
        for node in self.form.nodes:
            self.node(node)
        outputs = [*self.all(self.form.outputs), total(self.block, self.prior)]
        outputs.append(total(self.block, self.likelihood if self.apart else []))
        per_choice = 0
        for choice in self.choices:
            outputs.extend(self.out[choice.address])
            per_choice = len(self.out[choice.address])
        outputs.extend(self.flags[c.address] for c in self.choices if c.conditional)
        inputs = [*self.form.inputs, *(v for c in self.choices for v in self.given[c.address])]
        closed = self.block.form(inputs, outputs, in_tree=self.form.in_tree)
        return Interposed(closed, self.choices, len(self.form.outputs), per_choice)

    def counts(self, node: Site | Factor) -> bool:
        """Tell whether the term of a node is summed."""
        return self.terms is None or node.address in self.terms

    def sums(self, *forms: Form) -> tuple[bool, bool]:
        """Tell whether any term of the prior, and any of the likelihood, is summed inside a node."""
        found = [False, False]
        for form in forms:
            for node in walk(form):
                if isinstance(node, Site | Factor) and self.counts(node):
                    found[self.apart and (isinstance(node, Factor) or node.observed is not None)] = True
        return found[0], found[1]

    def read(self, value: Var) -> Var:
        return self.names.get(value, value)

    def all(self, values: Sequence[Var]) -> tuple[Var, ...]:
        return tuple(self.read(v) for v in values)

    def det(self, node: Det) -> None:
        self.block.nodes.append(replace(node, ins=self.all(node.ins), address=None))

    def factor(self, node: Factor) -> None:
        if self.counts(node):
            self.likelihood.append(self.read(node.term))

    def site(self, node: Site) -> None:
        parameters = self.all(node.parameters)
        if node.observed is None:
            answer = self.rule.answer(self.block, node, parameters, self.given[node.address])
            self.names[node.out] = answer.value
            self.out[node.address] = answer.outputs
            if self.counts(node):
                self.prior.append(answer.term)
            return
        observed = self.read(node.observed)
        self.names[node.out] = observed
        if not self.counts(node):
            return
        label = f"log p({node.address[-1]})"
        self.likelihood.append(self.block.log_prob(node.law, observed, parameters, label=label, source=node.source))

    def loop(self, node: Loop) -> None:
        inner = interpose(node.body, self.rule, self.terms, apart=self.apart)
        fresh = [_stacked(v, (node.length,)) for v in inner.form.outputs[inner.own :]]
        xs = (*self.all(node.xs), *(v for c in inner.choices for v in self.given[c.address]))
        new = replace(
            node,
            body=inner.form,
            constants=self.all(node.constants),
            init=self.all(node.init),
            xs=xs,
            ys=(*node.ys, *fresh),
        )
        self.block.nodes.append(new)
        for summed, kind, term in zip(self.sums(node.body), (self.prior, self.likelihood), fresh, strict=False):
            if summed:
                kind.append(self.block.det(over_steps, term, label="sum over steps"))
        held, active = _per_choice(inner, fresh[2:])
        self.out |= held
        self.flags |= active

    def branch(self, node: Branch) -> None:
        arms = [interpose(arm, self.rule, self.terms, apart=self.apart) for arm in node.forms]
        merged: dict[Address, Choice] = {}
        for arm in arms:
            for choice in arm.choices:
                merged.setdefault(choice.address, choice)
        forms = [self.arm(source, arm, merged) for source, arm in zip(node.forms, arms, strict=True)]
        terms = [Var((), jnp.result_type(float)) for _ in range(2)]
        outputs = {a: [_stacked(v, c.loops) for v in self.rule.outputs(c)] for a, c in merged.items()}
        flags = {a: Var(c.loops, jnp.dtype(bool)) for a, c in merged.items()}
        operands = (*self.all(node.operands), *(v for a in merged for v in self.given[a]))
        outs = (*node.outs, *terms, *(v for group in outputs.values() for v in group), *flags.values())
        self.block.nodes.append(
            replace(node, index=self.read(node.index), forms=tuple(forms), operands=operands, outs=outs)
        )
        for summed, kind, term in zip(self.sums(*node.forms), (self.prior, self.likelihood), terms, strict=True):
            if summed:
                kind.append(term)
        self.out |= outputs
        self.flags |= flags

    def arm(self, source: Form, arm: Interposed, merged: dict[Address, Choice]) -> Form:
        """Give an arm the inputs and outputs of all arms' choices."""
        block = Block()
        operands = [v.like() for v in source.inputs]
        given = {a: [_stacked(v, c.loops) for v in self.rule.inputs(c)] for a, c in merged.items()}
        outs = block.splice(arm.form, [*operands, *(v for c in arm.choices for v in given[c.address])])
        held, active = _per_choice(arm, outs[arm.own + 2 :])
        results: list[Var] = []
        flags: list[Var] = []
        for address, choice in merged.items():
            here = address in held
            results.extend(held[address] if here else self.rule.absent(block, choice, given[address]))
            flag = active.get(address)
            flags.append(flag if flag is not None else block.constant(np.full(choice.loops, here)))
        inputs = [*operands, *(v for group in given.values() for v in group)]
        return block.form(inputs, [*outs[: arm.own + 2], *results, *flags])


@dataclass(frozen=True)
class Given:
    """The rule of scoring: a choice has the value that comes from outside; its law becomes a term."""

    def inputs(self, choice: Choice) -> list[Var]:
        """The value."""
        return [Var(choice.shape, choice.dtype)]

    def outputs(self, choice: Choice) -> list[Var]:
        """Nothing."""
        return []

    def answer(self, block: Block, site: Site, parameters: Sequence[Var], given: Sequence[Var]) -> Answer:
        """Score the value."""
        label = f"log p({site.address[-1]})"
        return Answer(given[0], block.log_prob(site.law, given[0], parameters, label=label, source=site.source), ())

    def absent(self, block: Block, choice: Choice, given: Sequence[Var]) -> list[Var]:
        """Nothing."""
        return []


def score(form: Form) -> Interposed:
    """Replace every choice by an input, and its law by a term of the log prior."""
    return interpose(form, Given())
