"""Enumeration: a program whose sites are summed or integrated out, with what draws them back.

Law: the marginal is the program of the sites that stay; what is gone has its exact conditional given these, and is an
output of the full form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lawful.addresses import Address
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import unnamed
from lawful.passes.condition import conditioned
from lawful.passes.record import record

from ..contract import Transformer
from ..graphs.reading.graph_law import GraphLaw
from ..summing.chosen_sites import Sums, checked_sites, chosen_sites
from ..summing.tables import PREFIX
from .marginalise import Marginal, marginalise


@dataclass(frozen=True)
class Enumeration:
    """A program whose sites are summed.

    Attributes:
        program: the program.
        marginal: the program of the sites that stay.
        full: the same, with all choices of the program, and what it names, among its outputs.
        choices: the outputs of `full`, in order.
        summed: the sites that are summed.
        by: the transformer that sums them.
    """

    program: Form
    marginal: Form
    full: Form
    choices: tuple[Choice, ...]
    summed: tuple[Choice, ...]
    by: Transformer

    def sums(self, form: Form) -> Form:
        """Sum the sites out of a form that has them, as out of the program."""
        return self.by(form)

    def plan(self) -> list[str]:
        """Say in words what is summed and how."""
        through = any(isinstance(site.law, GraphLaw) for site in self.full.sites())
        return [self._in_words(choice, through) for choice in self.summed]

    def _in_words(self, choice: Choice, through: bool) -> str:
        law, elements = choice.law, math.prod(choice.full_shape)
        if law.atoms is None or not self.by.contract.exact:
            how = "drawn back after the run" if self.by.contract.exact else "not exact"
            return f"{choice.name}: summed out by {self.by}, {how}"
        values = round(law.atoms ** (1 / max(math.prod(choice.shape), 1))) if law.atoms else 0
        count = "" if choice.full_shape == () else f", {elements} elements"
        way = " through a factor graph" if through else ""
        return f"{choice.name}: summed out exactly{way} ({values} values{count}), drawn back after the run"


def enumeration(form: Form, sites: Sums = "all") -> Enumeration:
    """Sum sites out of a program, and keep what draws them back.

    Args:
        form: the program.
        sites: as for `marginalise`; or a transformer that sums or integrates sites.

    Raises: as `marginalise`, or the transformer.
    """
    sites = checked_sites(sites, "enumerate")
    by = sites if isinstance(sites, Transformer) else marginalise([c.address for c in chosen_sites(form, sites)])
    recorded = record(form)
    source = replace(recorded.form, outputs=recorded.form.outputs[recorded.own :], out_tree=None)
    full = unnamed(by(source))  # sites that it wrote as functions of others are among the outputs
    # One that nothing weighs stays as it is, and is drawn back as the others.
    chosen = [c for part in by.parts if isinstance(part.apply, Marginal) for c in part.apply.chosen(form)]
    left = {c.address for c in choices_of(full)} - {c.address for c in chosen}
    summed = tuple(c for c in choices_of(form) if c.address not in left)
    return Enumeration(form, marginal(full, summed), full, recorded.choices, summed, by)


def marginal(form: Form, summed: Sequence[Choice] = ()) -> Form:
    """Drop from a summed form what only draws sites back.

    Raises: UnsupportedProgramError where a weight reads a site that was drawn.
    """
    recorded = record(form, ("sample",))
    gone = {c.address for c in summed}
    kept = [
        value
        for choice, value in zip(recorded.choices, recorded.parts.values, strict=True)
        if choice.address[0] != PREFIX and choice.address not in gone
    ]
    small = without_dead_code(replace(recorded.form, outputs=tuple(kept), out_tree=None))
    small = without_dead_code(replace(small, outputs=()), keep_sites=True)
    left = [c for c in choices_of(small) if c.address[0] == PREFIX or c.address in gone]
    if left:
        names = ", ".join(sorted({c.name for c in left}))
        raise UnsupportedProgramError(
            f"site {names} cannot be summed: it is read outside the arm or loop that draws it, next to sites that are "
            "not summed. Fix: leave it out of enumerate=[...].",
            sites=tuple(c.address for c in left),
        )
    return small


def given_sites(full: Form, kept: Sequence[Address]) -> Form:
    """Fix the sites that stay, as inputs after the form's own: what is left is drawn from its conditional."""
    return conditioned(full, kept).form
