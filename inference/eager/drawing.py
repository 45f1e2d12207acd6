"""Drawing: every choice of an eager run is drawn with a key that derives from its address.

Law: the draws are those of `lawful.handlers.seed` with the same key, to rounding. The last index of an address is a
lane, as the number of a particle or of a step: lanes that ask for one law with equal parameters are drawn in one
compiled call, so that an algorithm of many small runs does not pay for each draw.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, address_code, indices_of, names_of, shared_key, show_address
from lawful.backends.compile_options import QUICK
from lawful.errors import UndrawableError
from lawful.messages import Handler, Message, SampleMessage

from .scoring import Bound, bound

LANES = 256  # drawn in one call
_LARGE = 64  # values with more elements are drawn one at a time
_KEPT = 1 << 14


class Draws(Handler):
    """Answers every choice that has no value, in plain numbers and arrays of NumPy.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful.messages import only
    >>> coin = lambda: lawful.sample("coin", dist.Bernoulli(0.5))
    >>> with only(Draws(jax.random.key(0))):
    ...     drawn = coin()
    >>> bool(drawn == lawful.handlers.seed(coin, jax.random.key(0))())
    True
    """

    def __init__(self, key: jax.Array) -> None:
        self.key = key
        self.implementation = jax.random.key_impl(key)
        self.codes: dict[int, Address] = {}
        self.words: dict[Any, np.ndarray] = {}
        self.batches: dict[Any, Any] = {}

    def process(self, message: Message) -> None:
        """Draw."""
        if isinstance(message, SampleMessage) and message.value is None:
            try:
                message.value = self._draw(message.address, bound(message.distribution))
            except UndrawableError as error:
                own = tuple(name for name in names_of(message.address) if not name.startswith("~"))
                raise error.at(own, f"site '{show_address(own)}' ({message.source})") from None

    def _draw(self, address: Address, what: Bound) -> Any:
        lane = address[-1]
        if isinstance(lane, str):
            return self._one(self._words(address, None), what)
        block, place = divmod(int(lane), LANES)
        shared = (address[:-1], block)
        asked = (shared, what.code)
        batch = self.batches.get(asked)
        if batch is not None:
            return batch[place]
        words = self._words(address[:-1], block)
        # One lane may be all that ever asks; the second pays for all.
        if asked not in self.batches or math.prod(what.law.shape) > _LARGE:
            self._keep(self.batches, asked, None)
            return self._one(words[place], what)
        drawn = np.asarray(_drawers(what.law, self.implementation)[1](words, what.parameters))
        return self._keep(self.batches, asked, drawn)[place]

    def _one(self, words: np.ndarray, what: Bound) -> Any:
        return np.asarray(_drawers(what.law, self.implementation)[0](words, what.parameters))[()]

    def _words(self, shared: Address, block: int | None) -> np.ndarray:
        """Return the words of the key at an address, or of those of a block of lanes."""
        known = self.words.get((shared, block))
        if known is not None:
            return known
        code = address_code(shared)
        first = self.codes.setdefault(code, shared)
        if names_of(first) != names_of(shared):
            raise shared_key(first, shared)
        start = None if block is None else block * LANES
        words = np.asarray(_key_words(self.key, code, indices_of(shared), start))
        return self._keep(self.words, (shared, block), words)

    def _keep(self, cache: dict[Any, Any], key: Any, value: Any) -> Any:
        if len(cache) >= _KEPT:
            cache.clear()
        cache[key] = value
        return value


@functools.partial(jax.jit, compiler_options=QUICK)
def _key_words(key: jax.Array, code: Any, indices: tuple[Any, ...], start: Any) -> jax.Array:
    """Fold in the code of the names and the indices, as `lawful.addresses.key_at` does, and then each lane."""
    key = jax.random.fold_in(key, code)
    for index in indices:
        key = jax.random.fold_in(key, index)
    if start is not None:
        key = jax.vmap(jax.random.fold_in, (None, 0))(key, start + jnp.arange(LANES))
    return jax.random.key_data(key)


@functools.lru_cache(maxsize=1024)
def _drawers(law: Any, implementation: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compile the draw of one lane, and of a block of lanes."""

    def one(words: jax.Array, parameters: tuple[jax.Array, ...]) -> jax.Array:
        return law.draw(jax.random.wrap_key_data(words, impl=implementation), *parameters)

    many = jax.vmap(one, (0, None))
    return jax.jit(one, compiler_options=QUICK), jax.jit(many, compiler_options=QUICK)
