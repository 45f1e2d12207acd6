"""lawful on W5d: `messages` of count factors, all bags in one call."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from benchmarks.contestants.bags import BagRun
from benchmarks.contestants.staged import Staged
from benchmarks.workloads import bags, count_potentials
from lawful.inference.graphs import counts

PACKAGES = ("lawful", "jax", "jaxlib")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> BagRun:
    """The contestant for one variant."""
    h, k = bags(settings["members"], settings["share"])
    data = jnp.asarray(h), jnp.asarray(count_potentials(settings["members"], k))
    return BagRun(Staged(counts.messages), data, settings)
