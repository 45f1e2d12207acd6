"""Claims: what a statistical check stands for: its key, its share of a suite's false-alarm rate, the line to repeat it.

Law: key and share of a claim follow from its id, so they never change when other checks are added. In a suite every
claim is registered, so that the sum of all shares is known; under a fresh seed every key is another one.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple

import jax

from . import keys

SUITE: ContextVar[keys.Registry | None] = ContextVar("suite", default=None)  # where claims are registered
PLACE: ContextVar[str] = ContextVar("place", default="")  # the test that makes them


class Claim(NamedTuple):
    """The key and the false-alarm rate of a check."""

    key: jax.Array
    alpha: float

    @property
    def words(self) -> tuple[int, ...]:
        """The words of the key, as a Report holds them."""
        return keys.key_words(self.key)

    def repeat(self, call: str, **settings: Any) -> str:
        """Write the line that repeats a check: the call without its closing bracket, then settings, rate and key."""
        named = {**settings, "alpha": self.alpha}
        shown = "".join(f", {name}={value!r}" for name, value in named.items())
        key = f"jax.random.wrap_key_data(jax.numpy.array({list(self.words)}, dtype='uint32'))"
        return f"lawful.inference.check.{call}{shown}, key={key})"


def claim(check_id: str, key: jax.Array | None = None, alpha: float | None = None) -> Claim:
    """Make the claim of a check.

    Args:
        check_id: what the check is of.
        key: a random key; default: from the id.
        alpha: a false-alarm rate, which its giver accounts for; default: the share of one registered check.

    >>> claim("a check").alpha == keys.ALPHA, claim("a check", alpha=0.01).alpha
    (True, 0.01)
    >>> claim("a check", jax.random.key(1), 0.01).repeat("unbiased(estimator, 0.0", n=5)
    "lawful.inference.check.unbiased(estimator, 0.0, n=5, alpha=0.01, key=jax.random.wrap_key_data(...))"
    """
    made = Claim(keys.key_of(check_id) if key is None else keys.freshened(key), keys.ALPHA if alpha is None else alpha)
    suite = SUITE.get()
    if suite is not None and alpha is None:
        suite.register(f"{PLACE.get()} {check_id} {made.words}")
    return made
