"""Messages and the handler stack: what a program says while it runs, and who listens.

Law: a message passes the handlers from the innermost to the outermost, and back once its value is known. The stack
lives in a context variable, so threads and tasks never mix, and leaving a handler restores the stack also after an
exception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .addresses import Address, show_address
from .errors import LawfulError
from .numpyro_left_over import watched
from .sources import PlateFrame as PlateFrame
from .sources import Source as Source
from .sources import caller as caller
from .sources import first_line as first_line
from .sources import user_line as user_line

__all__ = [
    "DecisionMessage",
    "DeterministicMessage",
    "FactorMessage",
    "Handler",
    "Message",
    "PlateFrame",
    "SampleMessage",
    "Source",
    "installed",
    "send",
]


@dataclass(slots=True)
class SampleMessage:
    """One random choice, or one observation, that a running program announces.

    `mask` and `scale` are those around the statement, as long as the distribution does not hold them itself. `present`
    tells which elements were observed, where some are missing, and `interval` the bounds of those that are censored.
    `lanes` tells which lanes of a padded loop, elements of a plate in its body, are there: an observation counts there
    alone, and the distribution of a choice holds them. A `droppable` choice is summed out where nothing reads it: the
    part of an observation that was not observed, or a choice that an intervention has cut off. `event_dims` names the
    axes of the value after those of the batch, for results.
    """

    address: Address
    distribution: Any
    value: Any
    observed: bool
    plates: tuple[PlateFrame, ...]
    source: Source
    stop: bool = False
    mask: Any = None
    scale: Any = None
    present: Any = None
    droppable: bool = False
    event_dims: tuple[str, ...] = ()
    lanes: Any = None
    interval: Any = None


def site_at(statement: Any) -> str:
    """Name the site of a message or of a node, and where it stands in the model, for errors."""
    return f"site '{show_address(statement.address)}' ({statement.source})"


def refused(statement: Any, words: str, kind: type[LawfulError] = LawfulError, **fields: Any) -> LawfulError:
    """Make the error of a site of a message or of a node: where it stands in the model, and the words about it."""
    return kind(f"{site_at(statement)}{words}", site=statement.address, **fields)


def value_of(message: SampleMessage) -> Any:
    """Give the value of a site that was sent to the handlers.

    Raises: LawfulError where none of them gave one.
    """
    if message.value is None:
        words = " has no value: wrap the program in handlers.seed(program, key), or call an inference with a key."
        raise refused(message, words)
    return message.value


OVERFLOW = "overflow"  # the role of the factor by which a bounded loop cuts off runs: its weight is one or zero


@dataclass(slots=True)
class FactorMessage:
    """One factor of the density: its log weight, a scalar, and the part of the density that it belongs to.

    `weighs` is the choice whose mask or scale the factor stands for.
    """

    address: Address
    log_weight: Any
    source: Source
    stop: bool = False
    role: str = "likelihood"
    weighs: Address | None = None


@dataclass(slots=True)
class DeterministicMessage:
    """One named value that is a function of the choices."""

    address: Address
    value: Any
    source: Source
    stop: bool = False
    plates: tuple[PlateFrame, ...] = ()


@dataclass(slots=True)
class DecisionMessage:
    """A branch of a Form that runs eagerly: its name and which arm was taken; it carries no density."""

    decision: tuple[str, Any]
    address: Address = ("~decision",)
    stop: bool = False


type Message = SampleMessage | FactorMessage | DeterministicMessage | DecisionMessage


class Handler:
    """A listener: both methods may be left as they are.

    `staged` is true for the one handler that records a program for JAX instead of running it. `drawn` is set on the
    outermost handler when the program has made a choice, so that later values may depend on it. `unseen` is a list
    where the handler wants to be told of choices that one inside answers for good.
    """

    staged: bool = False
    drawn: bool = False
    unseen: list[Any] | None = None

    def process(self, message: Message) -> None:
        """See a message on its way out; may set its value or stop it."""

    def postprocess(self, message: Message) -> None:
        """See a message on its way back, when its value is known."""


@dataclass(frozen=True)
class Surroundings:
    """Where in the program a statement stands.

    Scopes stand before names, a suffix (the argument of a random function) ends them, loop indices follow, one
    for each of the `lengths` and `loop_names` of the loops; plates add axes; mask and scale weigh the density; `lanes`
    tells which lanes of a padded loop are there; `steps` holds what each loop gives to the function that runs; `arms`
    counts the arms of choices that are traced.
    """

    scopes: tuple[str, ...] = ()
    indices: tuple[Any, ...] = ()
    plates: tuple[PlateFrame, ...] = field(default=())
    mask: Any = None
    scale: Any = None
    suffix: str = ""
    lengths: tuple[int, ...] = ()
    loop_names: tuple[str | None, ...] = ()
    steps: tuple[tuple[Any, ...], ...] = ()
    lanes: Any = None
    arms: int = 0


RESERVED = ("chain", "draw", "sample", "stage", "particle", "pred_id")  # dimensions of results

_stack: ContextVar[tuple[Handler, ...]] = ContextVar("lawful_handlers", default=())
_surroundings: ContextVar[Surroundings] = ContextVar("lawful_surroundings", default=Surroundings())


def handlers() -> tuple[Handler, ...]:
    """Return the current stack, outermost first."""
    return _stack.get()


@contextlib.contextmanager
def reinstalled(stack: tuple[Handler, ...], place: Surroundings) -> Iterator[None]:
    """Run a block under given handlers and in given surroundings; the first begin a program (see `watched`)."""
    with contextlib.nullcontext() if _stack.get() else watched():
        token, before = _stack.set(stack), _surroundings.set(place)
        try:
            yield
        finally:
            _surroundings.reset(before)
            _stack.reset(token)


@contextlib.contextmanager
def installed(handler: Handler) -> Iterator[Handler]:
    """Push a handler for the time of a block.

    >>> with installed(Handler()) as handler:
    ...     handlers()[-1] is handler
    True
    """
    with reinstalled((*_stack.get(), handler), _surroundings.get()):
        yield handler


@contextlib.contextmanager
def only(handler: Handler) -> Iterator[Handler]:
    """Make a handler the whole stack, with fresh surroundings: a program inside means what it means alone."""
    with reinstalled((handler,), Surroundings()):
        yield handler


def is_staged() -> bool:
    """Tell whether the running program is being recorded into a Form."""
    return any(handler.staged for handler in _stack.get())


def surroundings() -> Surroundings:
    """Return the scopes, indices and plates around the running statement."""
    return _surroundings.get()


@contextlib.contextmanager
def placed(place: Surroundings) -> Iterator[None]:
    """Run a block in other surroundings."""
    token = _surroundings.set(place)
    try:
        yield
    finally:
        _surroundings.reset(token)


def note_choice() -> None:
    """Note that the running program has made a choice."""
    stack = _stack.get()
    if stack:
        stack[0].drawn = True


def send(message: Message) -> None:
    """Show a message to the handlers, innermost first, then back in the opposite order."""
    seen = []
    for handler in reversed(_stack.get()):
        seen.append(handler)
        handler.process(message)
        if message.stop:
            break
    for handler in reversed(seen):
        handler.postprocess(message)
