"""No start: why no chain could begin, told by the sites whose log density is not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import handlers
from lawful.addresses import Address, show_address
from lawful.backends.initial_values import TRIES
from lawful.backends.pointwise import pointwise
from lawful.errors import NoFiniteStartError
from lawful.form import Factor, Site, walk
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import Choice
from lawful.handlers.named_values import lookup
from lawful.messages import Handler, Message, SampleMessage, only

from ...findings.findings import Finding
from ..plan import Prepared


def no_start(
    prepared: Prepared, choices: Sequence[Choice], state: Sequence[Any], *, whole: bool, origin: Any, tries: int = TRIES
) -> NoFiniteStartError:
    """Name the sites whose log density is not finite at the last try.

    Args:
        prepared: the plan for its arguments.
        choices: what a state has a value for.
        state: of all chains, its log density last.
        whole: whether these are all choices of the program.
        origin: of each chain what it was to begin from, as `starts` numbers it.
        tries: how many were tried.
    """
    chain = int(np.argmax(~np.isfinite(np.asarray(state[-1]))))
    values = {c.address: np.asarray(state[i])[chain] for i, c in enumerate(choices)}
    bad, named = _infinite(prepared, values) if whole else ({}, "the estimate of a filter is zero or no number")
    sites = tuple(bad)
    if whole and not bad:
        sites, named = _without_gradient(prepared, values)
    at = ", ".join(f"{c.name} = {np.asarray(values[c.address])!s}" for c in choices[:5])
    gaps = prepared.gaps(list(map(show_address, sites)))
    tried = (
        "the given start, whatever was drawn beside it",
        f"{tries} tries from the prior",
        f"{tries} tries from the prior and the cube (-2, 2)",
    )[int(np.asarray(origin)[chain, 0])]
    return NoFiniteStartError(
        f"no start of finite log density in {tried}. {named or 'total or its gradient is not finite'}. At: {at}.{gaps} "
        "Fix: give init={name: value}, as of density.constrain(density.initial(key)) with density = lawful.density("
        "model, *args), or check the observations and the supports of these sites.",
        sites=sites, values=values,
    )  # fmt: skip


def lost(error: NoFiniteStartError, tries: int) -> Finding:
    """Tell of a run that could not start, where it goes on without draws."""
    sites = tuple(show_address(address) for address in error.fields["sites"])
    return Finding("NO_FINITE_START", str(error), sites, tries)


def _infinite(prepared: Prepared, values: Mapping[Address, Any]) -> tuple[dict[Address, float], str]:
    """Find the sites whose log density is not finite in a state, and tell of the first."""
    with only(_At(values)):
        traced = handlers.trace(prepared.form)(*prepared.args)
    bad = {a: float(p) for a, p in traced.log_probs.items() if not np.isfinite(float(p))}
    return bad, "; ".join(
        f"site '{show_address(a)}' ({traced.sources[a]}): log density {p}" for a, p in list(bad.items())[:5]
    )


def _without_gradient(prepared: Prepared, values: Mapping[Address, Any]) -> tuple[tuple[Address, ...], str]:
    """Find the sites and factors whose log density is finite in a state and its gradient is not, and tell of them."""
    parts = pointwise(prepared.form)
    inputs, _, _ = split_arguments(prepared.args)
    given = [jnp.asarray(values[choice.address]) for choice in parts.choices]
    free = [i for i, value in enumerate(given) if jnp.issubdtype(value.dtype, jnp.floating)]

    def term(moved: Sequence[Any], number: int) -> Any:
        state = dict(enumerate(given)) | dict(zip(free, moved, strict=True))
        return jnp.sum(parts.function(inputs, list(state.values()))[number])

    bad = []
    for number, part in enumerate(parts.asked):  # one at a time: zero times a slope that is infinite is no number
        slopes = jax.grad(term)([given[i] for i in free], number)
        if not all(np.isfinite(slope).all() for slope in slopes):
            bad.append(part.address)
    lines = {node.address: node.source for node in walk(prepared.form) if isinstance(node, Site | Factor)}
    told = (f"'{show_address(a)}' ({lines[a]}): log density finite, its gradient not" for a in bad[:5])
    return tuple(bad), "; ".join(told)


class _At(Handler):
    """Gives every choice the value that it has in a state, unchecked: a start may lie outside a support."""

    def __init__(self, values: Mapping[Address, Any]) -> None:
        self.values = values

    def process(self, message: Message) -> None:
        if isinstance(message, SampleMessage) and message.value is None:
            message.value = lookup(self.values, message.address)
