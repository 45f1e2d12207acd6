"""Exchangeable: which axes of the choices of a program hold the elements of a plate.

Law: when the elements of an exchangeable plate change places along these axes, the density stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpyro.distributions as dist
from numpyro.distributions import constraints

from lawful.distributions.families import core_of
from lawful.errors import LawfulError
from lawful.form.choices import Choice


def elements_of(choices: Sequence[Choice], plate: str, who: str) -> tuple[int, dict[int, int]]:
    """Find the choices that hold the elements of a plate: those in it, and laws of all elements at once.

    Args:
        choices: of a program.
        plate: name of the plate.
        who: who asks, for the error.

    Returns: the number of elements, and by the number of a choice the axis of its value that they lie along.

    Raises: LawfulError where no choice has such elements.

    >>> import lawful
    >>> from lawful.form.choices import choices_of
    >>> def program():
    ...     lawful.sample("scale", dist.HalfNormal(1.0))
    ...     with lawful.plate("class", 3):
    ...         lawful.sample("level", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    >>> elements_of(choices_of(lawful.trace(program)), "class", "here")
    (3, {1: 0})
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
    return size, found


def follows(choice: Choice, size: int) -> bool:
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
