"""Mesh runner: the compiled program of an algorithm whose particles are spread over the devices of a mesh.

Law: it computes what the emitted Form computes, with particles in parts; the number of devices changes the measure in
nothing, and with exact resampling no bit of a filter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lawful.backends.xla import emit
from lawful.form import Form, Plate, Var, walk
from lawful.form.liveness import without_dead_code
from lawful.inference.running.resumable_form import Portions
from lawful.passes.rolling.roll import rolled

from ..devices.local_form import Share, local_form
from ..devices.mesh import auto, axis_of, readable, replicated


@dataclass(frozen=True)
class Devices:
    """The devices of a mesh of one axis, each of which runs a local form on its shares."""

    mesh: Mesh

    def place(self, value: Var | None, rows: bool = False) -> PartitionSpec:
        """Say which axis of a value is in parts; `rows` stands for one more axis, before all others."""
        own = None if value is None else _shared_axis(value)
        return PartitionSpec() if own is None else PartitionSpec(*[None] * (own + rows), self.mesh.axis_names[0])

    def shape(self, value: Var) -> tuple[int, ...]:
        """Give the shape of a value with the shares of all devices."""
        own, size = _shared_axis(value), axis_of(self.mesh).size
        return tuple(n * size if i == own else n for i, n in enumerate(value.full_shape))

    def put(self, arrays: Any, places: Any) -> Any:
        """Bring arrays to their places."""

        def put(place: PartitionSpec, tree: Any) -> Any:
            return jax.device_put(tree, NamedSharding(auto(self.mesh), place))

        return jax.tree.map(put, places, arrays, is_leaf=lambda x: isinstance(x, PartitionSpec))

    def mapped(self, function: Callable[..., Any], ins: Any, outs: Any) -> Callable[..., Any]:
        """Run a function on every device."""
        return jax.shard_map(function, mesh=auto(self.mesh), in_specs=ins, out_specs=outs, check_vma=False)


def sharded_runner(algorithm: Form, runs: int, mesh: Mesh, particles: Plate) -> Callable[..., Any]:
    """Compile `(key, inputs) -> (outputs, log weights)` of independent runs, one after the other.

    The devices share the plate of the particles, and chains, too, where their number allows it.
    """
    local, devices = _local(algorithm, mesh, particles), Devices(mesh)
    run = emit(local, ())

    def part(key: jax.Array, inputs: list[jax.Array]) -> Any:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(runs))
        if runs == 1:
            return jax.tree.map(lambda x: x[None], run(keys[0], *inputs))
        return jax.lax.map(lambda k: run(k, *inputs), keys)

    same = devices.place(None)
    outs = [devices.place(v, rows=True) for v in local.outputs], same
    compiled = jax.jit(devices.mapped(part, (same, same), outs))
    return lambda key, inputs: readable(mesh, compiled(*replicated(mesh, (key, list(inputs)))))


def sharded_portions(algorithm: Form, longest: int | None, mesh: Mesh, particles: Plate) -> Portions:
    """Cut the algorithm, spread over the devices of one process, at its loops; see `sharded_runner` and `Portions`."""
    return Portions(_local(algorithm, mesh, particles), longest=longest, placing=Devices(mesh))


def _local(algorithm: Form, mesh: Mesh, particles: Plate) -> Form:
    """Write what one device runs; steps are rolled first, since what looks across devices makes no step of its own."""
    algorithm = rolled(algorithm)
    axis, chains = axis_of(mesh), _chains(algorithm)
    plates = (particles, *(p for p in chains if p.size % axis.size == 0))
    return without_dead_code(local_form(algorithm, axis, plates, [p for p in chains if p not in plates]))


def _chains(form: Form) -> list[Plate]:
    """Find the chains that start at some of the particles."""
    seen = {p for node in walk(form) for v in node.outs for p in v.plates if p.name == "chain"}
    return sorted(seen, key=lambda p: p.size)


def _shared_axis(value: Var) -> int | None:
    """Find the axis of a value of which a device has a share."""
    return next((i for i, p in enumerate(value.plates) if isinstance(p, Share)), None)
