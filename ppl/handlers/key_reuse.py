"""Key reuse: random keys are watched for the time of a block, and a second use of one is refused.

Law: inside the block no key is consumed twice, neither by two eager draws nor by two operations of one compiled
program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax
import numpy as np

from ..errors import KeyReuseError
from ..messages import SampleMessage, refused, site_at

_consumed: ContextVar[dict[bytes, str] | None] = ContextVar("lawful_consumed_keys", default=None)


@contextlib.contextmanager
def key_guard() -> Iterator[None]:
    """Refuse the second use of a random key while a block runs.

    Keys of eager draws are compared by value. Programs that are compiled inside the block are checked by JAX, which
    sees a key that two operations consume.

    Raises: KeyReuseError naming the sites, or the operation.

    >>> import numpyro.distributions as dist, lawful
    >>> model = lawful.handlers.seed(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), jax.random.key(0))
    >>> with key_guard():
    ...     _ = model()
    ...     _ = model()
    Traceback (most recent call last):
    lawful.errors.KeyReuseError: site 'x' (...) draws with a key that was used before, by site 'x' (...)...
    """
    token = _consumed.set({})
    try:
        with jax.debug_key_reuse(True):
            yield
    except jax.errors.KeyReuseError as error:
        reason = str(error).splitlines()[0]
        raise KeyReuseError(f"a random key is used twice: {reason} Fix: split the key, one part per use.") from error
    finally:
        _consumed.reset(token)


def consume(key: jax.Array, message: SampleMessage) -> None:
    """Note that a site draws with a key, where a guard stands."""
    used = _consumed.get()
    if used is None or isinstance(key, jax.core.Tracer):
        return
    words = np.asarray(jax.random.key_data(key)).tobytes()
    if words in used:
        told = f" draws with a key that was used before, by {used[words]}. Fix: give each run its own key, by "
        raise refused(message, f"{told}jax.random.split.", KeyReuseError)
    used[words] = site_at(message)
