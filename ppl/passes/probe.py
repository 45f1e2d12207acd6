"""Probe: a number computed at every site and factor of a form, given out under the name of its node.

Law: a probed form has the measure of the form. The answers of a loop are stacked along its steps; where an arm of a
branch does not run, its answers are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..addresses import Address, show_address
from ..errors import KeyReuseError
from ..form import Det, Factor, Form, Site, Var
from ..form.builder import Block
from ..form.operations.equation import identity
from ..form.rewriting import with_subforms
from .record import record
from .thread_sites import Threaded


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


def probed(form: Form, question: Question, mark: str = "~") -> tuple[tuple[Asked, ...], Threaded]:
    """Ask at every site and factor; the recorded values are the answers, under addresses that begin with a mark."""
    try:
        recorded = record(_asked(form, question, mark), ("deterministic",))
    except KeyReuseError:  # the code of an address happens to be taken
        if len(mark) > 2:
            raise
        return probed(form, question, f"{mark}~")
    return tuple(Asked(str(c.address[0])[len(mark) :], c.address[1:]) for c in recorded.choices), recorded


def _asked(form: Form, question: Question, mark: str) -> Form:
    block = Block()
    for node in form.nodes:
        inner = replace(node, address=None) if isinstance(node, Det) else node
        block.nodes.append(with_subforms(inner, lambda form: _asked(form, question, mark)))
        if isinstance(node, Site | Factor):
            for probe in question(node):
                address = (mark + probe.kind, *node.address)
                block.nodes.append(
                    replace(_answer(probe), label=show_address(address), address=address, source=node.source)
                )
    return replace(form, nodes=tuple(block.nodes))


def _answer(probe: Probe) -> Det:
    if probe.function is identity:  # whose result is known without a look
        return Det(identity, probe.ins, (probe.ins[0].like(),), "")
    block = Block()
    block.det(probe.function, *probe.ins, label="")
    (made,) = block.nodes
    assert isinstance(made, Det)
    return made
