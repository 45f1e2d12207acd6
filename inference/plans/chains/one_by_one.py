"""One by one: chains that run after each other in one compiled program, for models whose chains do not fit in memory.

Law: every chain is a chain of the kernel, with a key of its own number; a kernel that tunes itself does so in each
chain alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True, eq=False)
class OneByOne:
    """The loop of one chain, run for many.

    Attributes:
        loop: a loop of one chain.
        chains: how many.
    """

    loop: Any
    chains: int

    def __call__(self, key: jax.Array, inputs: Sequence[Any], state: Sequence[Any]) -> dict[str, Any]:
        """Run all chains; what comes out is ordered as from a loop of many."""

        def one(chain: jax.Array) -> dict[str, Any]:
            own = [jnp.asarray(x)[chain][None] for x in state]
            return dict(self.loop(jax.random.fold_in(key, chain), inputs, own))

        out = jax.lax.map(one, jnp.arange(self.chains))
        kept, numbers = jax.tree.map(lambda x: jnp.moveaxis(x[:, :, 0], 0, 1), (out["kept"], out["numbers"]))
        return {"last": [x[:, 0] for x in out["last"]], "kept": kept, "numbers": numbers, "tuned": out["tuned"]}

    @property
    def warmup(self) -> int:
        """Steps before the first draw."""
        return int(self.loop.warmup)

    def parts(self, kept: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Any]]:
        """Give the states of the warmup and the draws, from what a run kept."""
        warm, drawn = self.loop.parts(kept)
        return warm, drawn
