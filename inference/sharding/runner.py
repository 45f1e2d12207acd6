"""Runner: the compiled program of an algorithm whose particles are spread over the devices of a mesh.

Law: it computes what the emitted Form computes, with particles in parts; the number of devices changes the measure in
nothing, and with exact resampling no bit of a filter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from lawful.analysis import without_dead_code
from lawful.emitter import emit
from lawful.form import Form, Plate, Var, walk

from .local_form import local_form
from .mesh import auto, axis_of, readable, replicated


def sharded_runner(algorithm: Form, runs: int, mesh: Mesh, particles: Plate) -> Callable[..., Any]:
    """Compile `(key, inputs) -> (outputs, log weights)` of independent runs, one after the other.

    Args:
        algorithm: the algorithm.
        runs: how many.
        mesh: the devices, one axis.
        particles: the plate of the particles, which they share; they share chains, too, where their number allows it.
    """
    axis = axis_of(mesh)
    chains = _chains(algorithm)
    plates = (particles, *(p for p in chains if p.size % axis.size == 0))
    whole = [p for p in chains if p not in plates]
    run = emit(without_dead_code(local_form(algorithm, axis, plates, whole)))

    def part(key: jax.Array, inputs: list[jax.Array]) -> Any:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(runs))
        if runs == 1:
            return jax.tree.map(lambda x: x[None], run(keys[0], *inputs))
        return jax.lax.map(lambda k: run(k, *inputs), keys)

    same, specs = PartitionSpec(), [_spec(v, axis.name, plates) for v in algorithm.outputs]
    mapped = jax.shard_map(part, mesh=auto(mesh), in_specs=(same, same), out_specs=(specs, same), check_vma=False)
    compiled = jax.jit(mapped)
    return lambda key, inputs: readable(mesh, compiled(*replicated(mesh, (key, list(inputs)))))


def _chains(form: Form) -> list[Plate]:
    """Find the chains that start at some of the particles."""
    seen = {p for node in walk(form) for v in node.outs for p in v.plates if p.name == "chain"}
    return sorted(seen, key=lambda p: p.size)


def _spec(value: Var, name: str, plates: tuple[Plate, ...]) -> PartitionSpec:
    """Say which axis of an output is in parts; the runs come first."""
    place = next((i for i, p in enumerate(value.plates) if p in plates), None)
    return PartitionSpec() if place is None else PartitionSpec(*[None] * (place + 1), name)
