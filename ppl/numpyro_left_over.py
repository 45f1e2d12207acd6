"""Statements of NumPyro that are left over in a program: they raise where they stand.

Law: while a program runs, no statement of NumPyro is lost. Each is read by `from_numpyro`, answered by handlers of
NumPyro that the program itself put around it for its own ends, or refused. Outside programs NumPyro is as it was.

NumPyro has one stack of handlers for all threads. The guard stands at its bottom, so that the stack of another thread
keeps its order, and heeds its own thread alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from numpyro import handlers, primitives
from numpyro.distributions.distribution import Unit

from .errors import UnsupportedProgramError
from .sources import caller

# Handlers that weigh or rename a statement, and leave it to others to answer it.
_AROUND = (primitives.plate, handlers.mask, handlers.scale, handlers.scope)


class LeftOver(primitives.Messenger):
    """The guard: refuses each statement that comes out of the handlers inside unanswered."""

    def __init__(self) -> None:
        """Note which handlers stand outside the program."""
        super().__init__()
        self.outside = list(primitives._PYRO_STACK)
        self.thread = threading.get_ident()

    def process_message(self, msg: dict[str, Any]) -> None:
        """Refuse a statement that nothing answers, and an observation whose density nothing takes."""
        if self.thread != threading.get_ident() or msg["type"] == "inspect":  # which asks for masks and says nothing
            return
        known = (*self.outside, self)
        inside = [h for h in primitives._PYRO_STACK if not any(h is other for other in known)]
        answering = [h for h in inside if not isinstance(h, (*_AROUND, LeftOver))]
        if any(isinstance(h, handlers.trace) or not type(h).__module__.startswith("numpyro.") for h in answering):
            return  # recorded
        drawn = msg["value"] is not None or msg["kwargs"].get("rng_key") is not None
        if not answering or (msg["type"] == "sample" and (msg["is_observed"] or not drawn)):
            raise _left_over(msg)


def _left_over(msg: Mapping[str, Any]) -> UnsupportedProgramError:
    source, name, kind = caller(), msg.get("name"), msg["type"]
    if kind == "control_flow":
        kind = msg["fn"].__name__.removesuffix("_wrapper")
    elif kind == "sample" and isinstance(msg["fn"], Unit):
        kind = "factor"
    said = f"numpyro.{kind}" if name is None else f"numpyro.{kind}({name!r})"
    return UnsupportedProgramError(
        f"{said} ({source}) stands in a program of lawful, where a statement of NumPyro says nothing: it would be lost "
        "with its density. Fix: write the statement of lawful in its place; or, where the model is NumPyro's, run "
        "lawful.from_numpyro(model).",
        site=name, source=source, construct=said,
    )  # fmt: skip


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Run a program, and refuse statements of NumPyro that it leaves over.

    >>> import numpyro, numpyro.distributions as dist
    >>> with watched():
    ...     numpyro.factor("f", 1.0)
    Traceback (most recent call last):
    lawful.errors.UnsupportedProgramError: numpyro.factor('f') ... Fix: ... lawful.from_numpyro(model).
    """
    guard, stack = LeftOver(), primitives._PYRO_STACK
    stack.insert(0, guard)
    try:
        yield
    finally:
        stack.remove(guard)
