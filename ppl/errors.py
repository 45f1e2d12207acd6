"""Errors: every failure says what was given, what was expected, where, and what to do.

Law: an error carries its fields as attributes and survives transport between processes (it pickles by its arguments).
An array whose numbers are not known, since JAX traces it, is told by its type and never kept. A name that nobody knows
is told with those that look alike.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any

import jax


class LawfulError(Exception):
    """Base class of every error that the library raises on purpose.

    Keyword arguments become attributes, so that programs can read them. Where a run failed on its way, `result` is the
    `inference.Result` of what was finished, or None; it stays in its process.

    >>> LawfulError("site 'mu' has no key", site="mu").site
    'mu'
    """

    result: Any = None

    def __init__(self, message: str, **fields: Any) -> None:
        """Keep the message and set each field as an attribute."""
        super().__init__(_by_type(message))
        self.fields = {name: _kept(value) for name, value in fields.items()}
        for name, value in self.fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the message and the fields, so that errors cross process boundaries whole."""
        return functools.partial(type(self), **self.fields), self.args


def kind_of(value: Any) -> str:
    """Write the type of an array for people.

    >>> import jax.numpy as jnp
    >>> kind_of(jnp.zeros((2, 3), jnp.float32))
    'float32[2,3]'
    """
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


def _kept(value: Any) -> Any:
    """Drop what is traced out of a field: of an address its names stay, of an array the type."""
    if isinstance(value, jax.core.Tracer):
        return kind_of(value)
    if type(value) is tuple:
        return tuple(_kept(x) for x in value if not isinstance(x, jax.core.Tracer))
    return value


_TRACED = re.compile(r"\w*Tracer(?=[(<])")
_TYPE = re.compile(r"\w+\[[\d,]*\]")


def _by_type(message: str) -> str:
    """Write arrays that are traced, in a text, by their type in place of JAX's own word for them.

    >>> _by_type("got VmapTracer(aval=float32[3], batched=float32[2,3]).")
    'got an array float32[3] that is traced.'
    """
    while found := _TRACED.search(message):
        depth, end = 1, found.end() + 1
        while depth and end < len(message):
            depth += (message[end] in "(<") - (message[end] in ")>")
            end += 1
        kind = _TYPE.search(message, found.end(), end)
        what = f"an array {kind[0]} that is traced" if kind else "an array that is traced"
        message = message[: found.start()] + what + message[end:]
    return message


class NonFiniteError(LawfulError):
    """A density or a weight is NaN or +inf."""


class DeadPopulationError(LawfulError):
    """Every particle has weight zero: the evidence is readable (-inf), samples are refused."""


class NoFiniteStartError(LawfulError):
    """No starting point with a finite log density was found."""


class ObservationError(LawfulError):
    """Data do not fit their site: shape, support, or NaN."""


class DuplicateSiteError(LawfulError):
    """Two sites of one program have the same address."""


class ParameterError(LawfulError):
    """A parameter of a distribution lies outside its constraint."""


class SingularScaleError(ParameterError):
    """A scale is zero or a covariance is singular."""


class IndexRangeError(LawfulError):
    """A size does not fit the index type, or an index names nothing."""


class KeyReuseError(LawfulError):
    """A random key was consumed twice."""


class ImpureProgramError(LawfulError):
    """A program changed something outside itself while it was traced."""


class UndrawableError(LawfulError):
    """A site was to be drawn whose distribution cannot be drawn from."""

    def at(self, address: Any, where: str) -> UndrawableError:
        """Name the site that was to be drawn, where none is named yet."""
        return self if "sites" in self.fields else type(self)(f"{where}: {self}", sites=(address,))


class ImproperPriorError(UndrawableError):
    """A method that starts from the prior met a prior that does not integrate to one."""


class UnsupportedProgramError(LawfulError):
    """The program uses a construct that this mode or this algorithm cannot run."""


class MemoryLimitError(LawfulError):
    """A run would need more memory than is available."""


class PathLimitError(LawfulError):
    """An enumeration would need more paths than its budget."""


class FactorTooLarge(PathLimitError):
    """A term of a program reads so many finite variables that its table is over budget."""


class UnboundedSupport(UnsupportedProgramError):
    """A latent site has infinitely many values, so it cannot be summed as it is."""


class CheckpointError(LawfulError):
    """A checkpoint cannot be used."""


class CorruptCheckpoint(CheckpointError):
    """A checkpoint is damaged."""


class CheckpointMismatch(CheckpointError):
    """A checkpoint belongs to another program, data set or algorithm."""


class UnsafeCheckpoint(CheckpointError):
    """A checkpoint holds something that is never loaded."""


class ResultFileError(LawfulError):
    """A file of a result is damaged, or is none."""


class MalformedFileError(LawfulError):
    """A file of a network, or a graph of another library, does not follow its format."""


class WidthError(LawfulError):
    """An exact sum would need a table over its budget."""


class NotConvergedError(LawfulError):
    """An iteration ended before it stayed, where its fixed point was asked for."""


class ApproximateInExact(LawfulError):
    """An exact algorithm met a part whose exact answer is over budget, and no approximation was allowed."""


class ValidationFailure(LawfulError):
    """A law does not hold: the message holds the key, the worst statistic and a line that repeats the check."""


def refuse_unknown(who: str, settings: Mapping[str, Any], *takers: Callable[..., Any] | Iterable[str]) -> None:
    """Refuse settings that nobody takes.

    Args:
        who: who was called, for the error.
        settings: by name.
        takers: functions that they are passed on to, which take the parameters that are given by name alone or may be
            left out; or names.

    Raises: LawfulError with the name that looks like the one given.

    >>> def messages(graph, *, damping=0.0, tol=1e-9): ...
    >>> refuse_unknown("bp", {"damping": 0.5}, messages)
    """
    if not settings:  # as in most calls: signatures are read where there is something to refuse
        return
    known: list[str] = []
    for taker in takers:
        if callable(taker):
            places = inspect.signature(taker).parameters.values()
            taker = [p.name for p in places if p.kind is Parameter.KEYWORD_ONLY or p.default is not Parameter.empty]
        known += taker
    for name in settings:
        if name not in known:
            raise LawfulError(
                f"{who}: no setting is called '{name}'. {close_names(name, known)} Fix: leave it out, or name it "
                "as it is called.",
                unknown=(name,),
            )


def without_fix(error: Exception) -> str:
    """Give what an error says, on one line and without its remedy, for a text that tells another one.

    >>> without_fix(LawfulError("no site 'x'. Fix: name one of y, z."))
    "no site 'x'"
    """
    return (str(error) or type(error).__name__).splitlines()[0].split(" Fix:")[0].rstrip(".")


def close_names(name: str, known: Iterable[str]) -> str:
    """Word which names there are, those that look alike first.

    >>> close_names("mu_", ["tau", "mu", "sigma"])
    "Did you mean 'mu'? There are: mu, sigma, tau."
    """
    names = sorted(set(known))
    scoped = [other for other in names if other.split(".")[-1] == name.split(".")[-1]]
    near = [*scoped, *(x for x in difflib.get_close_matches(name, names, n=3, cutoff=0.5) if x not in scoped)][:3]
    guess = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{guess}There are: {listed}." if names else "The program has no sites."


__all__ = [
    *(name for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, LawfulError)),
    "refuse_unknown",
]
