"""Exchangeable: which axes of the choices of a program hold the elements of a plate, or others that may change places.

Law: when the elements of an exchangeable plate change places along these axes, the density stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import constraints

from lawful.distributions.families import core_of
from lawful.errors import LawfulError
from lawful.form.choices import Choice


@dataclass(frozen=True)
class ElementAxes:
    """The elements of a plate, by the number of a choice the axis of its value that they lie along.

    Attributes:
        size: number of elements.
        own: of choices that hold the elements: those in the plate, and laws of all elements at once.
        joint: of choices outside it with a number for each element: those that sum to zero, and shares.
    """

    size: int
    own: Mapping[int, int]
    joint: Mapping[int, int]

    @property
    def axes(self) -> dict[int, int]:
        """All axes along which the elements change places."""
        return {**self.own, **self.joint}


def elements_of(choices: Sequence[Choice], plate: str, who: str) -> ElementAxes:
    """Find the elements of a plate.

    Args:
        choices: of a program.
        plate: name of the plate.
        who: who asks, for the error.

    Raises: LawfulError where no choice has such elements.

    >>> import jax.numpy as jnp, lawful
    >>> from lawful.form.choices import choices_of
    >>> def program():
    ...     lawful.sample("shares", dist.Dirichlet(jnp.ones(3)))
    ...     with lawful.plate("class", 3):
    ...         lawful.sample("level", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    >>> elements_of(choices_of(lawful.trace(program)), "class", "here")
    ElementAxes(size=3, own={1: 0}, joint={0: -1})
    """
    size, found = None, dict[int, int]()
    for number, choice in enumerate(choices):
        frame = next((each for each in choice.frames if each.name == plate), None)
        own = getattr(distribution_of(choice.law), "exchangeable_axis", None)
        if frame is not None:
            size, found[number] = frame.size, len(choice.loops) + len(choice.units) + frame.dim
        elif own is not None and choice.full_shape[own] == (size or choice.full_shape[own]):
            size, found[number] = choice.full_shape[own], own
    if size is None:
        known = sorted({each.name for choice in choices for each in choice.frames})
        raise LawfulError(
            f"{who}: no choice stands in a plate named {plate!r}; the program has: {', '.join(known) or 'none'}. Fix: "
            "name one of these.",
            plate=plate,
        )
    joint = {number: -1 for number, choice in enumerate(choices) if number not in found and _follows(choice, size)}
    return ElementAxes(size, found, joint)


def arrangements(choices: Sequence[Choice]) -> list[dict[int, int]]:
    """List the axes along which elements may change places: those of each plate, then all axes of one length.

    The latter are of programs that write an array where others have a plate: the first axis of that length in each.

    >>> import lawful
    >>> from lawful.form.choices import choices_of
    >>> def program():
    ...     lawful.sample("slope", dist.Normal(0.0, 1.0).expand([2]))
    ...     with lawful.plate("class", 2):
    ...         lawful.sample("level", dist.Normal(0.0, 1.0))
    >>> arrangements(choices_of(lawful.trace(program)))
    [{1: 0}, {0: 0, 1: 0}]
    """
    plates = dict.fromkeys(frame.name for choice in choices for frame in choice.frames)
    lengths = sorted({length for choice in choices for length in choice.full_shape if length > 1})
    shapes = {number: choice.full_shape for number, choice in enumerate(choices)}
    alike = [{number: shape.index(n) for number, shape in shapes.items() if n in shape} for n in lengths]
    return [*(elements_of(choices, plate, "arrangements").axes for plate in plates), *alike]


def _follows(choice: Choice, size: int) -> bool:
    """Tell a choice outside the plate whose last axis has a number for each element: a sum to zero, or shares."""
    if not choice.full_shape or choice.full_shape[-1] != size:
        return False
    law = distribution_of(choice.law)
    return sums_to_zero(choice.law) or (law is not None and law.support is constraints.simplex)


def sums_to_zero(law: Any) -> bool:
    """Tell the law of a site whose last axis sums to zero."""
    distribution = distribution_of(law)
    return isinstance(distribution, dist.ZeroSumNormal) and len(distribution.event_shape) == 1


def distribution_of(law: Any) -> Any:
    """Give a distribution of the kind of a law, whose parameters mean nothing; None where there is none."""
    return core_of(law.innermost.numbered)
