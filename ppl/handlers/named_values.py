"""Named values: data given by name to the sites of a program, and programs run under a handler that gives them.

Law: a value is given to exactly the sites that its name means; a name that means none, a number of steps that is not
the loop's, and a value of None are errors, never ignored. What is wrapped keeps its signature; leaving it restores
handlers and surroundings, also after an exception.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address, as_address, indices_of, names_of, show_address
from ..distributions.observed_law import Interval
from ..errors import LawfulError, ObservationError, close_names
from ..messages import Handler, installed, surroundings
from ..tracing.trace import trace

type Program = Callable[..., Any]


def split_masks(data: Mapping[Any, Any]) -> tuple[dict[Address, Any], dict[Address, Any]]:
    """Read data by name: values, and for pairs (values, mask) the mask of what was observed.

    Raises: ObservationError where there is no value.

    >>> split_masks({"x": 1.0})
    ({('x',): 1.0}, {})
    """
    values: dict[Address, Any] = {}
    masks: dict[Address, Any] = {}
    for name, value in data.items():
        address = as_address(name)
        if value is None:
            raise ObservationError(
                f"site '{show_address(address)}': the observation is None. Fix: give a value, or leave the site out.",
                site=address,
            )
        if isinstance(value, tuple) and len(value) == 2 and getattr(value[1], "dtype", None) == np.bool_:
            value, masks[address] = value
        values[address] = value
    return values, masks


def lookup(data: Mapping[Address, Any], address: Address) -> Any:
    """Find a site's value: under its full address, or under its names with the loop indices as leading axes.

    Raises: ObservationError where the leading axes are not the steps of the loops.
    """
    indices = indices_of(address)
    if all(isinstance(i, int) for i in indices) and address in data:
        return data[address]
    value = data.get(names_of(address))
    if value is None or not indices:
        return value
    if isinstance(value, Interval):
        name = names_of(address)
        return Interval(*(lookup({name: x}, address) if np.ndim(x) else x for x in (value.lower, value.upper)))
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    lengths = surroundings().lengths
    if len(lengths) != len(indices):  # a loop that is not this package's
        lengths = value.shape[: len(indices)]
    if value.shape[: len(indices)] != tuple(lengths):
        raise ObservationError(
            f"site '{show_address(names_of(address))}': got values of shape {tuple(value.shape)}, expected the steps "
            f"{tuple(lengths)} as the first axes. Fix: give one value a step, or name a step by ('name', index).",
            site=names_of(address), given=tuple(value.shape), expected=tuple(lengths),
        )  # fmt: skip
    concrete = all(isinstance(i, int | np.integer) for i in indices)
    if concrete and not isinstance(value, jax.core.Tracer):
        with jax.ensure_compile_time_eval():
            return value[indices]
    return jnp.asarray(value)[indices]


class Giving(Handler):
    """A handler that gives values to sites by name, and notes the names that it met."""

    def __init__(self, data: Mapping[Address, Any]) -> None:
        """Keep the values."""
        self.data = data
        self.seen: set[Address] = set()


def handled(program: Program, make: Callable[[], Handler]) -> Program:
    """Run a program under a handler that is made for each run."""
    return within(program, lambda: installed(make()))


def checked(program: Program, what: str, make: Callable[[], Giving]) -> Program:
    """Run a program under a handler that gives values by name; a name that is no site is refused after the run."""

    @functools.wraps(program, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        handler = make()
        with installed(handler):
            out = program(*args, **kwargs)
        _refuse_unknown(program, what, handler, args, kwargs)
        return out

    return run


def _refuse_unknown(
    program: Program, what: str, handler: Giving, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Refuse names that are no site, with those that look alike; one that only another arm may reach is let pass."""
    reached = {names_of(address) for address in handler.seen}
    lost = [address for address in handler.data if names_of(address) not in reached]
    if not lost:
        return
    try:
        known = {site.address for site in trace(program, *args, **kwargs).sites()}
    except (LawfulError, TypeError, ValueError, IndexError):  # Python's own control flow on a traced value
        return
    for address in lost:
        if names_of(address) not in known:
            name = show_address(names_of(address))
            close = close_names(name, map(show_address, known))
            raise LawfulError(f"{what}: no site is called '{name}'. {close}", site=address)


def within(program: Program, enter: Callable[[], AbstractContextManager[Any]]) -> Program:
    """Run a program inside a context."""

    @functools.wraps(program, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return program(*args, **kwargs)

    return run
