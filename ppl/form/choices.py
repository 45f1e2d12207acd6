"""Choices: the places of a form where values are chosen, observed or named, in the order of evaluation.

Law: exclusive arms that choose under one address are one choice, of one shape and type.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..addresses import Address, show_address
from ..errors import UnsupportedProgramError
from ..sources import Statement
from .fold import placed
from .nodes import Det, Factor, Form, Site

NORMAL = "~normal"  # ends the address of the noise of a site
PARTLY = "~partly"  # ends that of a latent value which knows a share of the site's mean and scale


@dataclass(frozen=True)
class Choice(Statement):
    """A place in a Form where a value is chosen (or named): its address, type and surroundings."""

    address: Address
    shape: tuple[int, ...]
    dtype: Any
    kind: str
    loops: tuple[int, ...] = ()
    conditional: bool = False
    law: Any = None

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Loop lengths, then the shape of one value."""
        return (*self.loops, *self.shape)

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the independent parts of one value; that of a factor or a named value is one part."""
        return () if self.law is None else self.law.units

    @property
    def steps(self) -> list[tuple[str | None, int]]:
        """Name, or None, and length of the loops around it; those of JAX, which are not ours, have no names."""
        ours = len(self.loop_names) == len(self.loops)
        return list(zip(self.loop_names if ours else (None,) * len(self.loops), self.loops, strict=True))

    @property
    def name(self) -> str:
        """Name in results."""
        return show_address(self.address)


def choices_of(
    form: Form, kinds: Sequence[str] = ("sample",), among: Container[Address] | None = None
) -> tuple[Choice, ...]:
    """List the choices of a form in the order of evaluation, those of exclusive arms merged by address.

    Args:
        form: the form.
        kinds: "sample" for latent sites, "observed" for observed ones, "deterministic" for named values, and "factor".
        among: addresses of those that are listed; default: all.
    """
    found: dict[Address, Choice] = {}
    for node, around in placed(form):
        kind = kind_of(node)
        if kind is None or kind not in kinds or (among is not None and node.address not in among):
            continue
        value, law = (*node.outs, *node.ins)[0], getattr(node, "law", None)
        choice = Choice(
            shape=value.shape, dtype=value.dtype, kind=kind, loops=around.lengths, conditional=around.arm, law=law,
            **node.told(),
        )  # fmt: skip
        first = found.get(choice.address, choice)
        if (first.shape, first.dtype, first.loops) != (choice.shape, choice.dtype, choice.loops):
            raise UnsupportedProgramError(
                f"site '{choice.name}' has shape {first.full_shape} and type {first.dtype} in one arm ({first.source}) "
                f"and {choice.full_shape}, {choice.dtype} in another ({choice.source}): give the two different names.",
                site=choice.address,
            )
        found[choice.address] = choice
    return tuple(found.values())


def finite_sites(form: Form) -> tuple[Choice, ...]:
    """List the latent sites that have finitely many values.

    >>> import numpyro.distributions as dist, lawful
    >>> [c.name for c in finite_sites(lawful.trace(lambda: lawful.sample("z", dist.Bernoulli(0.5))))]
    ['z']
    """
    return tuple(c for c in choices_of(form) if c.law.atoms is not None and not c.law.is_point_mass)


def kind_of(node: Det | Site | Factor) -> str | None:
    """Tell what a node does: see `choices_of`; None where it has no address."""
    if node.address is None:
        return None
    if isinstance(node, Site):
        return "sample" if node.observed is None else "observed"
    return "factor" if isinstance(node, Factor) else "deterministic"


def is_own(choice: Choice) -> bool:
    """Tell whether an algorithm inside the program made a choice, which no result shows.

    The noise of a site is a choice of the program that writes it so.
    """
    address = choice.address[:-1] if choice.address[-1] in (NORMAL, PARTLY) else choice.address
    return any(isinstance(part, str) and part.startswith("~") for part in address)


@dataclass(frozen=True)
class ByName:
    """Values of choices, by name; of the conditional ones, whether they were made; and what else stood in the row."""

    values: dict[str, Any]
    flags: dict[str, Any]
    rest: tuple[Any, ...]


def by_name(choices: Sequence[Choice], row: Iterable[Any]) -> ByName:
    """Read a row of the values of choices, then the flags of those that are conditional, then what may follow.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))
    >>> by_name(choices_of(form), [0.5, -1.2])
    ByName(values={'x': 0.5}, flags={}, rest=(-1.2,))
    """
    rest = iter(row)
    values = {choice.name: next(rest) for choice in choices}
    flags = {choice.name: next(rest) for choice in choices if choice.conditional}
    return ByName(values, flags, tuple(rest))


def loop_dims(loops: Mapping[str, Sequence[tuple[str | None, int]]]) -> dict[str, tuple[str, ...]]:
    """Name the axes of the steps of loops: as the loop is called, or time, time1, ... by its depth.

    Where loops without a name differ in length, an axis is called <variable>_time, so that no name has two lengths.

    Args:
        loops: name, or None, and length of the loops around each variable, the outermost first.

    >>> loop_dims({"x": [(None, 3)], "y": [(None, 5)], "z": [("year", 4)]})
    {'x': ('x_time',), 'y': ('y_time',), 'z': ('year',)}
    """
    lengths: dict[int, set[int]] = {}
    for around in loops.values():
        for depth, (name, length) in enumerate(around):
            if name is None:
                lengths.setdefault(depth, set()).add(length)

    def called(variable: str, depth: int, name: str | None) -> str:
        own = "" if len(lengths.get(depth, ())) < 2 else f"{variable}_"
        return name or f"{own}time{depth or ''}"

    return {v: tuple(called(v, depth, name) for depth, (name, _) in enumerate(each)) for v, each in loops.items()}


def dims_of(choices: Sequence[Choice]) -> dict[str, tuple[str, ...]]:
    """Name the axes of each choice: loops (see `loop_dims`), plates and event_dims have names, others numbers."""
    steps = loop_dims({choice.name: choice.steps for choice in choices})
    dims = {}
    for choice in choices:
        own = [f"{choice.name}_dim_{axis}" for axis in range(len(choice.shape))]
        named = choice.kind == "deterministic"
        event = _trailing(choice) if named else len(choice.shape) - len(choice.units)
        if event is not None:
            for frame in choice.frames:
                own[frame.dim - event] = frame.name
        if choice.event_dims:
            own[len(own) - len(choice.event_dims) :] = choice.event_dims
        dims[choice.name] = (*steps[choice.name], *own)
    return dims


def _trailing(value: Choice) -> int | None:
    """Count the axes after those of the plates in a named value, the fewest that fit; None where no plate is in it.

    >>> from lawful.sources import PlateFrame
    >>> rows = (PlateFrame("row", 3, -1),)
    >>> _trailing(Choice(("v",), (3, 2), float, "deterministic", frames=rows))
    1
    """
    batch = max((-frame.dim for frame in value.frames), default=0)
    fits = (
        event
        for event in range(len(value.shape) - batch + 1)
        if all(value.shape[frame.dim - event] == frame.size for frame in value.frames)
    )
    return next(fits, None)
