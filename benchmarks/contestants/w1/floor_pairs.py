"""The floor of W1 with the normals of the library, two from a block of words, in place of its own.

It shows what the rest of the library costs: reported, with no bar.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from benchmarks.contestants.staged import KeyedRun
from benchmarks.contestants.w1.floor import DTYPE, filter_program
from benchmarks.workloads import MODELS, observations
from lawful.distributions.sampling.normal import standard_normals

PACKAGES = ("lawful", "jax", "jaxlib")

__all__ = ["DTYPE", "PACKAGES", "build"]


def build(settings: dict[str, Any]) -> KeyedRun:
    """The contestant for one variant."""
    program = filter_program(MODELS[settings["model"]], settings["particles"], standard_normals)
    return KeyedRun(program, jnp.asarray(observations(settings["model"]), DTYPE))
