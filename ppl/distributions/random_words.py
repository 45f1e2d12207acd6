"""Random words: the law of words from which a function draws by itself, so that what it draws is not made of sites.

Law: the words are independent and uniform. What is drawn from them has no density here, and cannot be enumerated;
whoever asks for either is told why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from ..addresses import Address
from ..errors import UnsupportedProgramError
from .protocol import Law

WORDS = 2


@dataclass(frozen=True)
class SeedLaw(Law):
    """The law of a seed.

    Attributes:
        label: name for people.
        refusal: what to say to those who ask for a density or a list of values.
        site: the choice that is drawn from the seed, or None.
    """

    label: str
    refusal: str
    site: Address | None = None
    shape, dtype = (WORDS,), jnp.dtype(jnp.uint32)

    def draw(self, key: jax.Array) -> jax.Array:
        """Draw a seed."""
        return jax.random.bits(key, self.shape, jnp.uint32)

    def log_prob(self, value: Any = None) -> NoReturn:
        """Refuse.

        Raises: UnsupportedProgramError with the refusal.
        """
        raise UnsupportedProgramError(self.refusal, site=self.site)

    enumerate = log_prob


def key_of_seed(seed: jax.Array) -> jax.Array:
    """Return the key whose words these are; of one generator, whichever is in use elsewhere.

    >>> key_of_seed(jnp.array([0, 7], jnp.uint32)) == jax.random.key(7, impl="threefry2x32")
    Array(True, dtype=bool)
    """
    return jax.random.wrap_key_data(seed, impl="threefry2x32")
