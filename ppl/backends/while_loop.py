"""While loop: a plain `jax.lax.while_loop` with sites, which can be drawn but has no density.

Law: the loop is a function of its operands and of one random seed, whose draws have the law of the loop's sites. How
many choices it makes is not known before, so its choices cannot be scored, and whoever asks for their density is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address, show_address
from ..distributions.random_words import SeedLaw, key_of_seed
from ..distributions.sampling.threefry import fold_in
from ..form import Form
from ..messages import Source
from .xla import emit


def seed_law(site: Address, source: Source) -> SeedLaw:
    """Return the law of the seed of a loop, which stands for all of its choices, of which one is named."""
    return SeedLaw(
        "while loop",
        f"site '{show_address(site)}' ({source}) stands inside jax.lax.while_loop, so it can be drawn but has no "
        "density. Fix: use lawful.bounded_loop, which has one for a bound that you state.",
        site,
    )


@dataclass(frozen=True, eq=False)
class ForwardLoop:
    """A loop as a function of its seed and its operands: constants of condition and body, then the state."""

    condition: Form
    body: Form
    counts: tuple[int, int]

    def __call__(self, seed: jax.Array, *operands: Any) -> tuple[jax.Array, ...]:
        """Run the loop; each step has keys of its own."""
        key = key_of_seed(seed)
        first, second = self.counts
        test = _under(self.condition, operands[:first], fold_in(key, np.zeros((), np.uint32)))
        step = _under(self.body, operands[first : first + second], fold_in(key, np.ones((), np.uint32)))
        start = (jnp.zeros((), jnp.int32), tuple(operands[first + second :]))

        def advance(state: tuple[Any, tuple[Any, ...]]) -> tuple[Any, tuple[Any, ...]]:
            return state[0] + 1, tuple(step(*state))

        return jax.lax.while_loop(lambda state: test(*state)[0], advance, start)[1]


def _under(form: Form, constants: tuple[Any, ...], key: jax.Array) -> Callable[..., list[jax.Array]]:
    run = emit(form)
    return lambda index, values: run(fold_in(key, index), *constants, *values)[0]
