"""Invalid draws: the sites of a program that drew from parameters outside their constraints: where, and how often.

Law: looking changes nothing; such a draw weighs NaN already, and here its site is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.addresses import Address, show_address
from lawful.backends.pointwise import ask_at_choices
from lawful.errors import NonFiniteError
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.form.pipeline import per_form
from lawful.passes.checked_draws import allowed, question
from lawful.passes.probe import Asked

from .batches import at_draws, in_one_row, over_rows
from .log_densities import absent_choices

REMEDY = "map what the parameter is made of into its constraint, as by jnp.exp for a scale, jax.nn.softmax for chances"


@dataclass(frozen=True)
class InvalidDraws:
    """A site that drew from no law.

    Attributes:
        site: its address.
        words: the site, the law and its constraints, and where it was, for people.
        step: the first step of its loops.
        count: rows, as particles, that have one.
    """

    site: Address
    words: str
    step: tuple[int, ...]
    count: int


def invalid_draws(form: Form, args: Sequence[Any], particles: Mapping[str, Any]) -> tuple[InvalidDraws, ...] | None:
    """Find the sites that drew from no law, by the particles (run, particle, ...); None where some choices are missing.

    >>> import numpyro.distributions as dist, lawful
    >>> def model():
    ...     lawful.sample("x", dist.Normal(0.0, lawful.sample("sd", dist.Normal(0.0, 1.0))))
    >>> values = {"sd": np.array([[1.0, -1.0]]), "x": np.array([[0.5, 0.5]])}
    >>> [(show_address(found.site), found.count) for found in invalid_draws(lawful.trace(model), (), values)]
    [('x', 1)]
    """
    if absent_choices(form, particles):
        return None
    asked, many = _asking(form)
    choices = choices_of(form)
    if not asked or not choices:
        return ()
    return tuple(found(form, asked, list(map(in_one_row, at_draws(many, args, choices, particles)))))


@per_form
def _asking(form: Form) -> tuple[tuple[Asked, ...], Callable[..., Any]]:
    asked, function = ask_at_choices(form, question)
    return asked, over_rows(function)


def found(form: Form, asked: Sequence[Asked], answers: Sequence[Any]) -> Iterator[InvalidDraws]:
    """Read answers (row, step of a loop, ...) of sites that were asked for the validity of their parameters."""
    sites = {site.address: site for site in form.sites()}
    for part, answer in zip(asked, answers, strict=True):
        bad = np.asarray(answer)
        if not bad.any():
            continue
        site = sites[part.address]
        steps = np.argwhere(bad.any(axis=0))[0]
        step = tuple(map(int, steps))
        count = int(bad.reshape(len(bad), -1).any(axis=1).sum())
        at = f", first at step {', '.join(map(str, step))}" if step else ""
        words = (
            f"site '{show_address(part.address)}' ({site.source}) has parameters that make no law in {count} of "
            f"{len(bad)} draws{at}: {allowed(site.law)}"
        )
        yield InvalidDraws(part.address, words, step, count)


def refuse_invalid(form: Form, asked: Sequence[Asked], answers: Sequence[Any], method: str) -> None:
    """Refuse draws from no law, by the answers of the sites, for a method whose draws have no weight.

    Raises: NonFiniteError naming the sites.
    """
    bad = tuple(found(form, asked, answers))
    if bad:
        words = "; ".join(one.words for one in bad)
        names = tuple(show_address(one.site) for one in bad)
        raise NonFiniteError(f"{method}: {words}. Fix: {REMEDY}.", sites=names, step=bad[0].step, count=bad[0].count)
