"""Types of settings: how a value of each kind is read, the same for every method that has a field of that type.

Law: what is read twice is what is read once. A bare proposal means its Metropolis-Hastings kernel, a name its scheme, a
sequence of powers its ladder; what makes such a value and was not called is refused.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

import numpy as np

from lawful.errors import IndexRangeError, LawfulError

from ..kernels.combine.mh import mh
from ..missing_call import refuse_uncalled
from ..representations.sequential import Cuts as WrittenCuts
from ..running.options import RunOptions
from ..summing.chosen_sites import checked_sites
from ..transformers.fits import is_fitted
from ..transformers.propose.guide import Guide
from ..transformers.propose.propose import propose
from ..transformers.propose.start_from import from_guide
from ..transformers.temperatures import ladder_of

MOST = 2**31 - 1  # particles and chains are numbered by 32 bits

type Reading = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Read:
    """Stands in the type of a setting: the function of its name and value that checks the value and reads it."""

    how: Reading


def at_least(least: int) -> Read:
    """Read an integer that is not below another one."""

    def whole(name: str, value: Any) -> Any:
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise LawfulError(f"{name}: expected an integer of {least} or more, got {value!r}.")
        if value > MOST:
            message = f"{name}: {value} are more than 32-bit numbers count ({MOST})."
            raise IndexRangeError(message, size=value, limit=MOST)
        return value

    return Read(whole)


def _options(name: str, value: Any) -> Any:
    if not isinstance(value, RunOptions):
        raise LawfulError(f"{name}: expected inference.RunOptions(...), or None, got {value!r}.")
    return value


def _start(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise LawfulError(f"{name}: expected values by site name, as {{'x': 0.0}}, got {value!r}.")
    return value


def _kernel(name: str, value: Any) -> Any:
    if hasattr(value, "build") and not isinstance(value, type):
        return value
    if value is not None and not hasattr(value, "propose") and not hasattr(value, "whole") and not callable(value):
        raise LawfulError(f"{name}: expected a kernel or a proposal, as kernels.mh(), got {value!r}.")
    return mh(value)


def _uncalled(name: str, value: Any) -> Any:
    if callable(value):
        refuse_uncalled(value, name)
    return value


type Count = Annotated[int, at_least(1)]
type Steps = Annotated[int, at_least(0)]
type Options = Annotated[RunOptions, Read(_options)]
type Kernel = Annotated[Any, Read(_kernel)]
# of particles: a kernel, or one whose parameters are fitted to them
type Mover = Annotated[Any, Read(lambda name, value: value if is_fitted(value) else _kernel(name, value))]
# a guide, of all choices, or proposal programs
type Proposal = Annotated[
    Any, Read(lambda name, value: from_guide(value, f"{name}=") if isinstance(value, Guide) else propose(value))
]
type Ladder = Annotated[Any, Read(lambda name, value: ladder_of(value))]
type PathOf = Annotated[Any, Read(_uncalled)]
type Cuts = Annotated[WrittenCuts, Read(lambda name, value: value if isinstance(value, str) else tuple(value))]
type Names = Annotated[Sequence[Any], Read(lambda name, value: list(value))]
type Start = Annotated[Any, Read(_start)]
type Sums = Annotated[Any, Read(lambda name, value: checked_sites(value, name))]
type Scheme = Annotated[Any, Read(_uncalled)]
type OnFault = Literal["raise", "flag"]
type Mode = Literal["staged", "eager"]
type Keep = Literal["paths", "last"]
type Uphill = Literal["lbfgs", "em"]
type NonFinite = Literal["error", "dead", "flag"]


def read(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings of a class of which something is given, None being nothing.

    >>> @dataclass(frozen=True)
    ... class Example:
    ...     size: Count = 1
    ...     keep: Keep | None = None
    >>> read(Example, {"size": 2, "keep": None})
    {'size': 2}
    """
    return {name: reading(name, given[name]) for name, reading in readings(kind).items() if given.get(name) is not None}


@functools.cache
def readings(kind: Any) -> dict[str, Reading]:
    """Give the readings of the fields of a class that have one, off their types.

    >>> @dataclass(frozen=True)
    ... class Example:
    ...     size: Count = 1
    ...     keep: Keep = "paths"
    >>> readings(Example)["keep"]("keep", "all")
    Traceback (most recent call last):
    lawful.errors.LawfulError: keep: expected 'paths' or 'last', got 'all'.
    """
    hints = get_type_hints(kind, include_extras=True)
    found = {f.name: _reading(hints[f.name]) for f in fields(kind)}
    return {name: reading for name, reading in found.items() if reading is not None}


def _reading(hint: Any) -> Reading | None:
    while isinstance(hint, TypeAliasType):
        hint = hint.__value__
    if get_origin(hint) in (Union, types.UnionType):
        arms = [arm for arm in get_args(hint) if arm is not type(None)]
        return _reading(arms[0]) if len(arms) == 1 else None
    if get_origin(hint) is Literal:
        return functools.partial(_one_of, get_args(hint))
    return next((one.how for one in getattr(hint, "__metadata__", ()) if isinstance(one, Read)), None)


def _one_of(known: tuple[Any, ...], name: str, value: Any) -> Any:
    if value not in known:
        listed = " or ".join(filter(None, [", ".join(map(repr, known[:-1])), repr(known[-1])]))
        raise LawfulError(f"{name}: expected {listed}, got {value!r}.", **{name: value})
    return value
