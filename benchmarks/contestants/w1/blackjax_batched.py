"""BlackJAX on W1 with one key a step: only the resampler is its own, the move is one batched normal.

No documented use of BlackJAX draws like this; it is reported so that the cost of a key per particle can be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.contestants.staged import KeyedRun
from benchmarks.contestants.w1.blackjax import DTYPE, PACKAGES, filter_program
from benchmarks.workloads import MODELS, observations

__all__ = ["DTYPE", "PACKAGES", "build"]


def one_key(key: jax.Array, x: jax.Array, move: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """Move all particles with one key."""
    return move(key, x)


def build(settings: dict[str, Any]) -> KeyedRun:
    """The contestant for one variant."""
    program = filter_program(MODELS[settings["model"]], settings["particles"], one_key)
    return KeyedRun(program, jnp.asarray(observations(settings["model"]), DTYPE))
