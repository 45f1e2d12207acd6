"""Hidden choices: what a program draws by itself, so that no inference sees it.

Law: nothing is changed; a choice is noted when a handler inside a program that is traced draws or hides it, and kept
beside the Form.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from ..addresses import Address, names_of
from ..form import Form
from ..messages import SampleMessage, Source, handlers


@dataclass(frozen=True)
class Hidden:
    """A choice that no inference sees: where it stands, and the handler that answers it."""

    address: Address
    source: Source
    handler: str


_hidden: weakref.WeakKeyDictionary[Form, tuple[Hidden, ...]] = weakref.WeakKeyDictionary()


def note_hidden(message: SampleMessage, handler: str) -> None:
    """Tell the handler that records a program, where one listens, of a choice that it will not see as one."""
    for listener in handlers():
        if listener.unseen is not None:
            listener.unseen.append(Hidden(names_of(message.address), message.source, handler))


def keep_hidden(form: Form, hidden: list[Hidden]) -> None:
    """Keep the notes of a trace; what hides a choice is told rather than what drew it."""
    last = {note.address: note for note in hidden}
    if last:
        _hidden[form] = tuple(last.values())


def hidden_choices(form: Form) -> tuple[Hidden, ...]:
    """Return the choices that the program of a form draws by itself.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> coin = lambda: lawful.sample("heads", dist.Bernoulli(0.5))
    >>> form = lawful.trace(lawful.handlers.seed(coin, jax.random.key(0)))
    >>> [(note.address, note.handler) for note in hidden_choices(form)]
    [(('heads',), 'seed')]
    """
    return _hidden.get(form, ())
