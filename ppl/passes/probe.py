"""Probes: a number computed at every site and factor of a Form, given out under the name of its node.

Law: a probed form has the measure of the form. The answers of a loop are stacked along its steps; where an arm of a
branch does not run, its answers are zero.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import Address, show_address
from ..backends.xla import emit
from ..errors import KeyReuseError
from ..form import Branch, Det, Factor, Form, Loop, Node, Site, Var
from ..form.builder import Block
from ..form.liveness import without_dead_code
from .record import Choice, Recorded, choices_of, dims_of, record
from .thread_sites import score

MARKS = ("~", "~~", "~~~")  # the second and third serve where the code of an address happens to be taken


@dataclass(frozen=True)
class Probe:
    """What is asked at a node: its kind, and a pure function of some of the node's values."""

    kind: str
    function: Callable[..., Any]
    ins: tuple[Var, ...]


type Question = Callable[[Site | Factor], Iterable[Probe]]


@dataclass(frozen=True)
class Asked:
    """Where an answer comes from: its kind, and the address of the site or factor."""

    kind: str
    address: Address

    @property
    def name(self) -> str:
        """Name in results."""
        return show_address(self.address)


def probed(form: Form, question: Question) -> tuple[tuple[Asked, ...], Recorded]:
    """Ask at every site and factor; the recorded values are the answers."""
    for mark in MARKS:
        try:
            recorded = record(_asked(form, question, mark), ("deterministic",))
        except KeyReuseError:
            if mark == MARKS[-1]:
                raise
            continue
        asked = tuple(Asked(str(c.address[0])[len(mark) :], c.address[1:]) for c in recorded.choices)
        return asked, recorded
    raise AssertionError("one of the marks is the last")


def _asked(form: Form, question: Question, mark: str) -> Form:
    block = Block()
    for node in form.nodes:
        inner: Node = node
        if isinstance(node, Loop):
            inner = replace(node, body=_asked(node.body, question, mark))
        elif isinstance(node, Branch):
            inner = replace(node, forms=tuple(_asked(arm, question, mark) for arm in node.forms))
        elif isinstance(node, Det):
            inner = replace(node, address=None)
        block.nodes.append(inner)
        if isinstance(node, Site | Factor):
            for probe in question(node):
                address = (mark + probe.kind, *node.address)
                block.det(probe.function, *probe.ins, label=show_address(address))
                made = block.nodes[-1]
                assert isinstance(made, Det)
                block.nodes[-1] = replace(made, address=address, source=node.source)
    return replace(form, nodes=tuple(block.nodes))


def ask_at_choices(form: Form, question: Question) -> tuple[tuple[Asked, ...], Callable[..., list[jax.Array]]]:
    """Return what is asked and `f(inputs, values) -> answers`, where the values are those of the form's choices."""
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        asked, recorded = probed(form, question)
        scoring = score(recorded.form)
    answers = scoring.form.outputs[recorded.own : recorded.own + len(asked)]
    run = emit(without_dead_code(replace(scoring.form, outputs=answers)))

    def function(inputs: Sequence[Any], values: Sequence[Any]) -> list[jax.Array]:
        return run(jax.random.key(0), *inputs, *values)[0]

    return asked, function


def ask_at_prior(form: Form, question: Question) -> tuple[tuple[Asked, ...], Callable[..., list[jax.Array]]]:
    """Return what is asked and `f(key, inputs) -> answers`, at choices drawn from the prior."""
    asked, recorded = probed(form, question)
    answers = recorded.form.outputs[recorded.own : recorded.own + len(asked)]
    run = emit(replace(recorded.form, outputs=answers))
    return asked, lambda key, inputs: run(key, *inputs)[0]


@dataclass(frozen=True)
class UnitScores:
    """The log density of each independent part of a site's value."""

    law: Any

    def __call__(self, value: Any, *parameters: Any) -> Any:
        """Score the value."""
        units = getattr(self.law, "log_prob_units", None)
        return self.law.log_prob(value, *parameters) if units is None else units(value, *parameters)


@dataclass(frozen=True)
class Pointwise:
    """The log density of a form, part by part.

    Attributes:
        asked: the parts; their kinds are "prior" and "likelihood".
        function: `f(inputs, values)`, one array a part, with the steps of loops and then the batch axes of the site.
        dims: names of these axes, by the name of the part.
    """

    asked: tuple[Asked, ...]
    function: Callable[..., list[jax.Array]]
    choices: tuple[Choice, ...]
    dims: dict[str, tuple[str, ...]]


_pointwise: weakref.WeakKeyDictionary[Form, Pointwise] = weakref.WeakKeyDictionary()


def pointwise(form: Form) -> Pointwise:
    """Take the log density of a form apart: one term a latent site, an observed site, and a factor.

    A factor belongs to the likelihood unless it was declared with `role="prior"`. The sum of all parts is
    `form.log_density`.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> parts = pointwise(lawful.trace(model, 0.0))
    >>> [(part.kind, part.name) for part in parts.asked]
    [('prior', 'mu'), ('likelihood', 'y')]
    """
    if form not in _pointwise:
        uneven = _uneven(form)

        def question(node: Site | Factor) -> Iterable[Probe]:
            if isinstance(node, Factor):
                yield Probe("likelihood" if node.role == "likelihood" else "prior", jnp.asarray, (node.term,))
                return
            latent = node.observed is None
            value = node.out if node.observed is None else node.observed
            scorer = node.law.log_prob if node.address in uneven else UnitScores(node.law)
            yield Probe("prior" if latent else "likelihood", scorer, (value, *node.parameters))

        asked, function = ask_at_choices(form, question)
        places = choices_of(form, ("sample", "observed", "factor"))
        whole = dims_of(places)
        dims = {}
        for choice in places:
            units = () if choice.address in uneven else getattr(choice.law, "units", ())
            dims[choice.name] = whole[choice.name][: len(choice.loops) + len(units)]
        _pointwise[form] = Pointwise(asked, function, choices_of(form), dims)
    return _pointwise[form]


def _uneven(form: Form) -> set[Address]:
    """Find addresses that stand in several arms with different batch axes: only their sums agree."""
    seen: dict[Address, set[Any]] = {}
    for site in form.sites():
        seen.setdefault(site.address, set()).add(tuple(getattr(site.law, "units", ())))
    return {address for address, units in seen.items() if len(units) > 1}
