"""The floor of W5c: one contraction of all tables with a weight for each state, and its gradient by the weights.

The network polynomial (Darwiche 2003): with weights one for all states but those that were not observed, it is the mass
of the evidence, and its derivative by a weight is the joint mass of the evidence and that state.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contestants.alarm import MANY, AlarmRun
from benchmarks.workloads import ALARM_EVIDENCE, alarm_states, alarm_tables

PACKAGES = ("jax", "jaxlib", "opt_einsum")
DTYPE = "float32"


def build(settings: dict[str, Any]) -> AlarmRun:
    """The contestant for one variant."""
    states, tables = alarm_states(), alarm_tables()
    number = {name: k for k, name in enumerate(states)}
    own = [jnp.asarray(table, DTYPE) for _, table in tables]
    scopes = [[number[v] for v in scope] for scope, _ in tables]
    hidden = [name for name in states if name not in ALARM_EVIDENCE]

    def log_mass(weights: dict[str, jax.Array], tables: list[jax.Array]) -> jax.Array:
        operands = [x for table, scope in zip(tables, scopes, strict=True) for x in (table, scope)]
        operands += [x for name, weight in weights.items() for x in (weight, [number[name]])]
        return jnp.log(jnp.einsum(*operands, [], optimize="greedy"))

    @jax.jit
    def query(weights: dict[str, jax.Array], tables: list[jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        value, slopes = jax.value_and_grad(log_mass)(weights, tables)
        return value, {name: slopes[name] for name in hidden}  # the weight of each state is one

    def run() -> Any:
        seen = {
            v: np.eye(len(s), dtype=DTYPE)[s.index(ALARM_EVIDENCE[v])] for v, s in states.items() if v not in hidden
        }
        weights = {v: np.ones(len(states[v]), DTYPE) for v in hidden} | seen
        return jax.block_until_ready(query(weights, own))

    return AlarmRun(run, MANY)
