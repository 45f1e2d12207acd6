"""Unconstrain: a program whose choices are numbers without bounds.

Law: the measure is that of the program, carried to the coordinates, Jacobian included; a support that depends on other
choices moves with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import Address, show_address
from ..distributions.bijections import (
    density_on_support,
    free_shape,
    from_support,
    is_discrete,
    jacobian_to_support,
    to_support,
)
from ..errors import UnsupportedProgramError
from ..form import Det, Form, Site, Var, subforms
from ..form.builder import Block, Tupled
from ..form.choices import Choice
from ..form.liveness import without_dead_code
from .rolling.roll import Folded, folded
from .thread_sites import Answer, Answers, Threaded, interpose


def free_parts(form: Form) -> dict[Address, tuple[int, ...]]:
    """Shape of the coordinates of each latent site, without loops."""
    return {site.address: free_shape(site) for site in form.sites() if site.observed is None}


@dataclass(frozen=True)
class Coordinates:
    """A program in coordinates without bounds, as Forms.

    Attributes:
        values: inputs are the program's, then coordinates of each choice; outputs their log density, Jacobian included,
            then the values of the choices.
        jacobian: inputs are the same; outputs log |d values / d coordinates|, then the values.
        free: inputs are the program's, then values of each choice; outputs their coordinates.
        choices: the choices.
    """

    values: Form
    jacobian: Form
    free: Form
    choices: tuple[Choice, ...]


def coordinates_of(form: Form) -> Coordinates:
    """Write a program in coordinates without bounds, and the way there.

    Raises: UnsupportedProgramError as `density`.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.HalfNormal(1.0)))
    >>> found = coordinates_of(form)
    >>> float(lawful.backends.xla.emit(found.free)(jax.random.key(0), jnp.array(1.0))[0][0])
    0.0
    """
    refuse_discrete(folded(form))
    refuse_conditional(form)
    found = in_coordinates(form)
    with jax.ensure_compile_time_eval():
        volume = interpose(form, _Free(free_parts(form), jacobian_to_support), apart=True)
    return Coordinates(first_and_values(found), first_and_values(volume), to_coordinates(form), found.choices)


def to_coordinates(form: Form) -> Form:
    """Write the map from values to coordinates: inputs are the program's, then values of each choice."""
    with jax.ensure_compile_time_eval():
        back = interpose(form, _Back(free_parts(form)), apart=False)
    return without_dead_code(replace(back.form, outputs=back.parts.values))


def at_places(form: Form) -> tuple[Threaded, tuple[tuple[int, ...], ...]]:
    """Return a form with coordinates for its continuous choices and values for its discrete ones, and their shapes.

    Its term of the prior is the whole log density, Jacobian included.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("z", dist.Bernoulli(0.5)) * lawful.sample("x", dist.HalfNormal(1.0)))
    >>> found, shapes = at_places(form)
    >>> len(found.form.inputs), shapes
    (2, ((), ()))
    """
    own = {site.address: _place_shape(site) for site in form.sites() if site.observed is None}
    with jax.ensure_compile_time_eval():
        found = interpose(form, _Free(own, _placing), apart=False)
    return found, tuple((*choice.loops, *own[choice.address]) for choice in found.choices)


def _place_shape(site: Site) -> tuple[int, ...]:
    return site.out.shape if is_discrete(site) else free_shape(site)


def _placing(law: Any) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return `to_support` of a continuous law; a discrete value is its own coordinate."""
    if jnp.issubdtype(law.dtype, jnp.floating):
        return to_support(law)
    return lambda value, *parameters: (value, law.log_prob(value, *parameters))


def first_and_values(found: Threaded) -> Form:
    """Keep the first term of an answered form, and the values of its choices."""
    return without_dead_code(replace(found.form, outputs=(found.parts.sums[0], *found.parts.values)))


def in_coordinates(form: Form) -> Threaded:
    """Return a form with coordinates for choices; its term of the prior is the whole log density."""
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        return interpose(form, _Free(free_parts(form)), apart=False)


def at_coordinates(form: Form) -> Form:
    """Write the log density of the values at coordinates, without Jacobian.

    Inputs are the program's, then coordinates of each choice; outputs the log density, then the values.

    >>> import numpyro.distributions as dist, lawful
    >>> found = at_coordinates(lawful.trace(lambda: lawful.sample("x", dist.Exponential(1.0))))
    >>> run = lawful.backends.xla.emit(found)
    >>> [float(x) for x in run(jax.random.key(0), jnp.array(0.0))[0]]
    [-1.0, 1.0]
    """
    with jax.ensure_compile_time_eval():
        found = interpose(form, _Free(free_parts(form), density_on_support), apart=False)
    return first_and_values(found)


@dataclass(frozen=True)
class _Free(Answers):
    """The rule that reads each choice from coordinates without bounds and gives out its value.

    `term_of` says what the term of a choice is: its log density there, with or without Jacobian, or the Jacobian alone.
    """

    shapes: Mapping[Address, tuple[int, ...]]
    term_of: Callable[[Any], Callable[..., tuple[jax.Array, jax.Array]]] = to_support

    def inputs(self, place: Choice) -> list[Var]:
        return [Var(self.shapes[place.address], place.dtype)]

    def outputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype)]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        value, term = site.out.like(), Var((), jnp.result_type(float))
        label = f"value and log p({site.address[-1]})"
        block.nodes.append(Det(self.term_of(site.law), (given[0], *site.parameters), (value, term), label))
        return Answer(value, term, (value,))


@dataclass(frozen=True)
class _Back(Answers):
    """The rule that gives out the coordinates of a given value."""

    shapes: Mapping[Address, tuple[int, ...]]

    def inputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype)]

    def outputs(self, place: Choice) -> list[Var]:
        return [Var(self.shapes[place.address], place.dtype)]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        free = Var(self.shapes[site.address], site.out.dtype)
        label = f"coordinates of {site.address[-1]}"
        block.nodes.append(Det(Tupled(from_support(site.law)), (given[0], *site.parameters), (free,), label))
        return Answer(given[0], outputs=(free,))


def refuse_discrete(found: Folded) -> None:
    """Refuse sites whose values are not continuous, and name them."""
    sites = [site for site in found.form.sites() if site.observed is None and is_discrete(site)]
    if sites:
        named = ", ".join(f"'{show_address(a)}' ({site.source})" for site in sites for a in found.names(site.address))
        raise UnsupportedProgramError(
            f"discrete sites {named} have no coordinates without bounds. Fix: sum them out first, with "
            "inference.enumerate or a term written by logsumexp, or use a method that moves them, as inference.mcmc.",
            sites=tuple(address for site in sites for address in found.names(site.address)),
        )


def refuse_conditional(form: Form) -> None:
    """Refuse a site of one arm of a branch, and name it."""
    always = _always(form)
    for site in form.sites():
        if site.observed is None and site.address not in always:
            raise UnsupportedProgramError(
                f"site '{show_address(site.address)}' ({site.source}) exists in one arm of a branch only, so "
                "the number of coordinates is not fixed. Fix: sample it in every arm, or outside the branch.",
                site=site.address,
            )


def _always(form: Form) -> set[Address]:
    """Addresses of the latent sites that run whichever arms are taken."""
    found: set[Address] = set()
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None:
            found.add(node.address)
        elif subforms(node):
            found |= set.intersection(*map(_always, subforms(node)))
    return found
