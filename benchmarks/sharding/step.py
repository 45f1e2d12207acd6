"""A contestant: a step of many particles in eight dimensions, on some devices that are parts of one processor.

"resampling": log weights and particles are given, and drawn anew by a scheme. "step": the particles move, are weighed
and resampled. "filter": four such steps by `inference.smc`, as a user has them. Weights spread by 0.8 on the log scale;
"uneven" weights fall by a further factor of e^8 from the first particle to the last, so that the first device has
nearly all of them.

Law: exact resampling by neighbours and by gathering give the same particles, bit for bit; a move draws the same on
every number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import lawful
from lawful import inference
from lawful.inference.devices import Axis, exchanged
from lawful.inference.devices.axis import blocks_of
from lawful.inference.devices.island_resampling import Apart
from lawful.inference.devices.routing import Whole, Within, draw_ends
from lawful.inference.laws.systematic_resampling import ancestors_from_ends, systematic

PACKAGES = ("jax", "jaxlib", "numpy", "numpyro")
DTYPE = "float32"
DIMENSION, STEPS, SPREAD, SLOPE = 8, 4, 0.8, 8.0
ONE = "one device"
SCHEMES = ("exact, neighbours", "exact, gather", "islands")
FILTERS = {"exact, neighbours": "exact", "islands": "islands"}


class Step:
    """`run(i)` with key i; `told` gives the evidence, and the first coordinate's mean."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, i: int) -> Any:
        """One step."""
        return jax.block_until_ready(self._function(jax.random.key(i)))

    def told(self, found: Any) -> dict[str, float]:
        """Read what a step gave."""
        x, log_means = (np.asarray(part, np.float64) for part in found)
        return {"mean": x[:, 0].mean(), "log_evidence": np.logaddexp.reduce(log_means) - np.log(len(log_means))}


def build(settings: Mapping[str, Any]) -> Step:
    """Make the step of one scheme; `devices`, `particles`, `scheme`, `what`, and `uneven` are the settings."""
    devices, particles, what = settings["devices"], settings["particles"], settings["what"]
    jax.config.update("jax_num_cpu_devices", devices)
    mesh = Mesh(jax.devices()[:devices], ("p",), axis_types=(AxisType.Auto,))
    if what == "filter":
        return Step(_filter(settings["scheme"], particles, mesh))
    axis, scheme = Axis("p", devices), settings["scheme"]
    renew = one if scheme == ONE else partial(SHARDED[scheme], axis)
    log_weight, x = start(particles, settings.get("uneven", False))
    split = NamedSharding(mesh, PartitionSpec("p"))
    if what == "step":
        function, given = partial(_step, axis, renew, particles), (x,)
    else:
        function, given = renew, (log_weight, x)
    if scheme != ONE:
        parts = PartitionSpec("p")
        specs = {"in_specs": (PartitionSpec(), *(parts for _ in given)), "out_specs": (parts, parts)}
        function = jax.shard_map(function, mesh=mesh, check_vma=False, **specs)
    placed = [jax.device_put(a, split) for a in given]
    compiled = jax.jit(function)
    return Step(lambda key: compiled(key, *placed))


def start(particles: int, uneven: bool) -> tuple[jax.Array, jax.Array]:
    """Draw log weights and particles."""
    one, other = jax.random.split(jax.random.key(20261))
    log_weight = SPREAD * jax.random.normal(one, (particles,))
    ramp = jnp.linspace(0.0, -SLOPE, particles) if uneven else 0.0
    return log_weight + ramp, jax.random.normal(other, (particles, DIMENSION))


def one(key: jax.Array, log_weight: jax.Array, x: jax.Array) -> Any:
    """Resample on one device, by the library's scheme; the evidence is the mean weight."""
    top = jnp.max(log_weight)
    weight = jnp.exp(log_weight - top)
    return x[systematic.draw(key, weight, len(x))], (top + jnp.log(jnp.mean(weight)))[None]


def gathered(axis: Axis, ends: jax.Array, x: jax.Array) -> jax.Array:
    """Take the particles of a device from the whole population in its memory."""
    size = ends.shape[0]
    parents = ancestors_from_ends(jnp.clip(axis.gather(ends) - axis.index() * size, 0, size), size)
    return axis.gather(x)[parents]


def exact(move: Callable[..., jax.Array], axis: Axis, key: jax.Array, log_weight: jax.Array, x: jax.Array) -> Any:
    """Resample across devices."""
    top = axis.maximum(log_weight)
    weight = jnp.exp(log_weight - top)
    log_mean = top + jnp.log(axis.total(weight) / axis.count(weight))
    return move(axis, draw_ends(axis, key, weight), x), log_mean[None]


def islands(axis: Axis, key: jax.Array, log_weight: jax.Array, x: jax.Array) -> Any:
    """Resample on each device, and mix devices that have drifted apart."""
    own, other = jax.random.split(key)
    top = jnp.max(log_weight)
    weight = jnp.exp(log_weight - top)
    level = top + jnp.log(jnp.mean(weight))
    within, whole = Within(axis, systematic), Whole(axis, len(x))
    (x,) = within.move(within.draw(own, weight), x)
    levels = axis.gather(level[None])
    share = jnp.exp(levels - jnp.max(levels))

    def mixed(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        (moved,) = whole.move(whole.draw(other, axis.own(share)), x)
        return moved, jnp.max(levels) + jnp.log(jnp.mean(share))

    apart = Apart(axis.size, 0.5).of_levels(share)
    x, level = jax.lax.cond(apart, mixed, lambda x: (x, level), x)
    return x, level[None]


SHARDED: dict[str, Callable[..., Any]] = {
    "exact, neighbours": partial(exact, exchanged),
    "exact, gather": partial(exact, gathered),
    "islands": islands,
}


def _step(axis: Axis, renew: Callable[..., Any], particles: int, key: jax.Array, x: jax.Array) -> Any:
    """Move and weigh, with a key for each block of particles, then resample."""
    blocks, own = blocks_of(particles), len(x) * blocks_of(particles) // particles
    first = axis.index() * own if len(x) < particles else 0
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(own))
    noise = jax.vmap(lambda k: jax.random.normal(k, (particles // blocks, DIMENSION), x.dtype))(keys)
    x = 0.9 * x + 0.5 * noise.reshape(x.shape)
    y = jnp.linspace(-0.5, 0.5, DIMENSION)
    return renew(jax.random.fold_in(key, blocks), -0.5 * jnp.sum((x - y) ** 2, axis=1), x)


def _walk(flow: jax.Array) -> jax.Array:
    def step(x: jax.Array, y: jax.Array) -> tuple[jax.Array, None]:
        x = lawful.sample("x", dist.Normal(0.9 * x, 0.5).to_event(1))
        lawful.sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)
        return x, None

    return lawful.scan(step, jnp.zeros(DIMENSION), flow)[0]


def _filter(scheme: str, particles: int, mesh: Mesh) -> Callable[..., Any]:
    """A filter that resamples at every step, and keeps what its program returns."""
    spread = {} if scheme == ONE else {"resampling": FILTERS[scheme], "mesh": mesh}
    plan = inference.smc(_walk, particles=particles, resample_below=None, keep="last", **spread)
    flow = jnp.linspace(-0.5, 0.5, STEPS * DIMENSION).reshape(STEPS, DIMENSION)

    def run(key: jax.Array) -> Any:
        result = plan(key, flow)
        (values,) = result.posterior.values()
        return values[0], result.log_evidence

    return run
