"""Parameters: some sites of a program told from the rest, with the program of their prior alone.

Law: the density of the program is that of the parameters' program times that of the rest given the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lawful.addresses import Address
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.record import record

from .kernel_form import without_weights
from .naming import named_sites


class Around:
    """A program that an inference wrote around a user's, which is its `model`."""

    model: Any


@dataclass(frozen=True)
class Parameters:
    """A program with the sites that are its parameters."""

    program: Form
    choices: tuple[Choice, ...]
    moved: frozenset[Address]
    who: str

    @property
    def chosen(self) -> tuple[Choice, ...]:
        """The parameters, in the order of the program."""
        return tuple(c for c in self.choices if c.address in self.moved)

    @property
    def rest(self) -> tuple[Choice, ...]:
        """The other choices, in the order of the program."""
        return tuple(c for c in self.choices if c.address not in self.moved)

    def among[T](self, values: Sequence[T]) -> tuple[T, ...]:
        """Give what belongs to the parameters, of something for each choice."""
        return tuple(v for c, v in zip(self.choices, values, strict=True) if c.address in self.moved)

    @cached_property
    def prior(self) -> Form:
        """The program of the parameters alone; its outputs are their values."""
        recorded = record(without_weights(self.program), ("sample",))
        values = dict(zip((c.address for c in recorded.choices), recorded.parts.values, strict=True))
        outputs = tuple(values[c.address] for c in self.chosen)
        prior = without_dead_code(replace(recorded.form, outputs=outputs, out_tree=None))
        for choice in (*self.chosen, *choices_of(prior)):
            if choice.conditional or choice.address not in self.moved:
                why = "is made in one arm only" if choice.conditional else "decides the law of a parameter"
                raise UnsupportedProgramError(
                    f"{self.who}: site '{choice.name}' ({choice.source}) {why}. Fix: name sites that always run, with "
                    "all sites that their laws read.",
                    site=choice.address,
                )
        return prior


def parameters_of(program: Form, sites: Sequence[Any], who: str) -> Parameters:
    """Find the parameters of a program by name.

    Args:
        program: the program.
        sites: names or addresses.
        who: who asks, for errors.

    Raises: LawfulError for a name that is no latent site.
    """
    choices = choices_of(program)
    return Parameters(program, choices, frozenset(named_sites(choices, sites, who)), who)
