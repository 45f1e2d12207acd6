"""Naming: the sites that a kernel is told to move, found among the choices of a program, and values that get names.

Law: a name or an address stands for one choice, or is refused with the names that there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lawful import cond, deterministic, scan
from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError
from lawful.form.choices import Choice


def named_sites(choices: Sequence[Choice], sites: Iterable[Any], who: str) -> list[Address]:
    """Give the addresses of choices by their names, as results show them, or by address; `who` asks, for the error.

    Raises: LawfulError for a name that is no choice.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.form.choices import choices_of
    >>> form = lawful.trace(lambda: lawful.sample("mu", dist.Normal(0.0, 1.0)))
    >>> named_sites(choices_of(form), ["mu"], "on")
    [('mu',)]
    """
    known = {c.address: c.address for c in choices} | {c.name: c.address for c in choices}
    found = []
    for site in sites:
        address = known.get(site, known.get(as_address(site)))
        if address is None:
            there = ", ".join(c.name for c in choices) or "none"
            raise LawfulError(
                f"{who}: no latent site '{show_address(as_address(site))}'; the program has: {there}. Fix: name one of "
                "these.",
                site=site,
            )
        found.append(address)
    return found


def name_value(name: str, value: Any, ran: Any) -> Any:
    """Name a value; one that is made in an arm of a branch is named in an arm, step by step."""
    if ran is None:
        return deterministic(name, value)
    if ran.ndim:
        return scan(lambda none, step: (none, name_value(name, *step)), None, (value, ran))
    return cond(ran, lambda: deterministic(name, value), lambda: value)
