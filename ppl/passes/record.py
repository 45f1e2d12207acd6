"""Record: a form that also gives its choices.

Law: the recorded form has the measure of the form, on choices and outputs together. The choices of a loop are stacked
along the steps; the choices of a branch carry a flag that tells whether their arm ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..form import Det, Factor, Form, Site, Var
from ..form.choices import Choice, choices_of, kind_of
from .thread_sites import Rule, Threaded, Walk, threaded


@dataclass(frozen=True)
class _Kept(Rule):
    """The rule that leaves every statement as it is and gives out the values of some kinds."""

    kinds: Sequence[str]

    def places(self, form: Form) -> tuple[Choice, ...]:
        return choices_of(form, self.kinds)

    def outputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype)]

    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        walk.block.nodes.append(node)
        if node.address is not None and kind_of(node) in self.kinds:
            walk.taken[node.address] = node.outs[:1]


def record(form: Form, kinds: Sequence[str] = ("sample", "deterministic")) -> Threaded:
    """Add the choices of a form to its outputs; their kinds are those of `choices_of`, without "factor"."""
    return threaded(form, _Kept(kinds))
