"""Given values: what NumPyro's handlers around a loop or an arm give to the sites inside.

Law: a series of values gives step i its i-th value; a shorter series of data leaves the later steps unobserved. A value
of one step's shape is given to every step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from numpyro import handlers

from ...errors import ObservationError, UnsupportedProgramError
from ...messages import caller
from .messages import PRESENT

type Body = Callable[..., Any]
type Stack = Sequence[tuple[str, Any]]  # kind of the handler, then a mapping, a callable, or the trace of a replay


def given_in_step(body: Body, stack: Stack, index: Any, steps: int) -> Body:
    """Give the body of a loop the values of one step.

    Args:
        body: what runs.
        stack: what the handlers around the loop hold, innermost first.
        index: the number of the step, in the order in which steps run.
        steps: how many there are.

    Raises:
        ObservationError: values fit neither a step nor the loop.
        UnsupportedProgramError: a series that is no data is shorter than the loop.
    """
    for kind, data in stack:
        place = functools.partial(_at, kind=kind, index=index, steps=steps)
        body = _under(body, kind, _giver(kind, data, place))
    return body


def rehearsed_stack(stack: Stack, steps: int) -> list[tuple[str, Any]]:
    """Give NumPyro's own loop, where it runs for its shapes alone, the values of the first step at every step."""
    found = []
    for kind, data in stack:
        place = functools.partial(_at, kind=kind, index=None, steps=steps)
        found.append(("condition" if kind == "condition" else "substitute", _giver(kind, data, place)))
    return found


def given_in_arm(body: Body, stack: Stack) -> Body:
    """Give an arm the values that the handlers around the choice hold."""
    for kind, data in stack:
        body = _under(body, kind, _giver(kind, data, lambda site, value: value))
    return body


def _under(body: Body, kind: str, give: Callable[[Any], Any]) -> Body:
    if kind == "condition":
        return handlers.condition(body, condition_fn=give)
    return handlers.substitute(body, substitute_fn=give)


def _giver(kind: str, data: Any, place: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Make the function that NumPyro's handlers ask for the value of a site."""
    find = _lookup(kind, data)

    def give(site: dict[str, Any]) -> Any:
        if site["type"] != "sample" or (kind == "replay" and site["is_observed"]):
            return None
        value = find(site)
        return None if value is None else place(site, value)

    return give


def _lookup(kind: str, data: Any) -> Callable[[dict[str, Any]], Any]:
    if kind == "replay":
        known = {name: site["value"] for name, site in data.items() if _is_choice(site)}
        return lambda site: known.get(site["name"])
    if isinstance(data, Mapping):
        return lambda site: data.get(site["name"])

    def ask(site: dict[str, Any]) -> Any:
        key = site["kwargs"].get("rng_key")
        return (data if key is None else handlers.seed(data, rng_seed=key))(site)

    return ask


def _is_choice(site: Mapping[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"]


def _at(site: dict[str, Any], value: Any, *, kind: str, index: Any, steps: int) -> Any:
    shape = (*site["kwargs"].get("sample_shape", ()), *site["fn"].shape())
    given = tuple(jnp.shape(value))
    if len(given) == len(shape):
        return value
    if len(given) != len(shape) + 1 or given[0] > steps:
        raise ObservationError(
            f"site '{site['name']}' in numpyro's scan ({caller()}): {kind} gives values of shape {given}, expected "
            f"{(steps, *shape)}, one value a step, or {shape}.",
            site=site["name"], given=given, expected=(steps, *shape),
        )  # fmt: skip
    if given[0] < steps and kind != "condition":
        raise UnsupportedProgramError(
            f"site '{site['name']}' in numpyro's scan ({caller()}): {kind} gives {given[0]} values for {steps} steps, "
            "so it is fixed at some steps and chosen at others. Fix: give a value for every step, or run a shorter "
            "scan.",
            site=site["name"],
        )
    if given[0] == 0:
        return None
    if index is None:
        return jnp.asarray(value)[0]
    if given[0] < steps:
        site[PRESENT] = jnp.broadcast_to(index < given[0], site["fn"].batch_shape)
    return jnp.asarray(value)[jnp.minimum(index, given[0] - 1)]
