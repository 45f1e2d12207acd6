"""The floor of W1 with `jax.random.normal` in place of the written-out generator.

It shows what the generator costs: reported, with no bar.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.contestants.staged import KeyedRun
from benchmarks.contestants.w1.floor import DTYPE, PACKAGES, filter_program
from benchmarks.workloads import MODELS, observations

__all__ = ["DTYPE", "PACKAGES", "build"]


def build(settings: dict[str, Any]) -> KeyedRun:
    """The contestant for one variant."""
    program = filter_program(MODELS[settings["model"]], settings["particles"], jax.random.normal)
    return KeyedRun(program, jnp.asarray(observations(settings["model"]), DTYPE))
