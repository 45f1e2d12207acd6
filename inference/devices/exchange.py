"""Exchange: particles go to the devices on which their offspring live.

Law: slot j of the new population is a copy of the first particle whose running count of offspring exceeds j; moving
changes no bit. Where `is_near` says, the same on all devices, that offspring live on the device of their parent or not
far beyond its borders, `fetched` looks at these alone. That is the usual case: particles that are spread at random have
about as many offspring on one device as on another, and only an eighth of a device's particles goes to each neighbour.
Else particles with offspring go to every device that needs them in 2 ceil(log2 P) rounds of one buffer each, and no
device ever holds more than two buffers.

Both families, running counts and slots, are ordered, so particles move in one direction at a time, and those that go
stand side by side, as do those that stay. First they are packed: a particle that is number k among those with offspring
goes down to device k // M, in hops of 1, 2, 4, ... devices. Then it goes up to its slots in hops of ..., 4, 2, 1, and
where its slots lie on both sides of a hop a copy stays. No buffer overflows. Packing: particles on one device at hop h
differ in number by less than h M, for they came from fewer than h M places, and those between them, (h - 1) M at least
if they aim at two devices, are elsewhere. Going up: the same count of slots, of which every particle has one at least.
Packets that meet come from two devices at most, so that one run follows the other.

Reference: Varsi, Maskell and Spirakis (2021), An O(log2 N) fully-balanced resampling algorithm for particle filters on
distributed memory architectures, whose rotations these rounds are, device by device.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lawful.distributions.sampling.integer_weights import running_sum

from ..laws.systematic_resampling import ancestors_from_ends
from .axis import Axis

type Packets = dict[str, Any]


class Run(NamedTuple):
    """Packets that stand side by side in a buffer: where the first one is, and how many there are."""

    first: Int[Array, ""]
    length: Int[Array, ""]


def exchanged(axis: Axis, ends: Int[Array, " M"], values: Any) -> Any:
    """Give this device's slots, from near the borders of its neighbours or else by rounds between devices.

    `ends` are the offspring of all particles up to each of this device's; the last of all is the number of particles.
    """
    before = jnp.where(axis.reaches(1), axis.rotated(ends[-1:], 1), 0)
    starts = jnp.concatenate([before, ends[:-1]])
    near, far = partial(fetched, axis, ends), partial(in_rounds, axis, starts, ends)
    return jax.lax.cond(is_near(axis, starts, ends), near, far, values)


def in_rounds(axis: Axis, starts: Int[Array, " M"], ends: Int[Array, " M"], values: Any) -> Any:
    """Give this device's slots, by rounds between devices, wherever their parents are.

    `starts` and `ends` are the offspring of all particles before and up to each of this device's.
    """
    size, rounds, own = ends.shape[0], (axis.size - 1).bit_length(), axis.index()
    alive = ends > starts
    places = running_sum(alive.astype(jnp.int32))
    count, slots = places[-1], jnp.arange(size, dtype=jnp.int32)
    source = jnp.zeros(size, jnp.int32).at[jnp.where(alive, places - 1, size)].set(slots, mode="drop")
    before = jnp.sum(jnp.where(jnp.arange(axis.size) < own, axis.gather(count[None]), 0), dtype=jnp.int32)
    packets: Packets = jax.tree.map(lambda x: x[source], {"start": starts, "end": ends, "value": values})
    packets["home"] = (before + slots) // size
    for hop in (1 << s for s in range(rounds)):
        goes = (slots < count) & (((own - packets["home"]) & hop) != 0)
        many, first = jnp.sum(goes, dtype=jnp.int32), goes[0]
        going, staying = Run(jnp.where(first, 0, count - many), many), Run(jnp.where(first, many, 0), count - many)
        packets, count = _passed(axis, packets, going, packets, staying, -hop)
    del packets["home"]
    for hop in (1 << s for s in reversed(range(rounds))):
        border = (own + hop) * size
        up = packets | {"start": jnp.maximum(packets["start"], border)}
        stay = packets | {"end": jnp.minimum(packets["end"], border)}
        alive = slots < count
        many = jnp.sum(alive & (packets["end"] > border), dtype=jnp.int32)
        few = jnp.sum(alive & (packets["start"] < border), dtype=jnp.int32)
        packets, count = _passed(axis, up, Run(count - many, many), stay, Run(jnp.zeros_like(few), few), hop)
    counts = jnp.where(slots < count, packets["end"] - own * size, size)
    parents = ancestors_from_ends(counts, size)
    return jax.tree.map(lambda x: x[parents], packets["value"])


def _passed(
    axis: Axis, sent: Packets, going: Run, kept: Packets, staying: Run, by: int
) -> tuple[Packets, Int[Array, ""]]:
    """Send a run of the packets of every device, and put what arrives beside the run that stays.

    Packets stand in the order of their slots, and all of one run come before all of the other, for whole devices of
    packets stand between. One buffer holds both.
    """
    arrived = jax.tree.map(lambda x: axis.rotated(x, by), sent)
    first, count = axis.rotated(jnp.stack(going), by)
    count = jnp.where(axis.reaches(by), count, 0)  # nothing that went round the circle is there
    earlier = (count > 0) & ((staying.length == 0) | (arrived["start"][first] < kept["start"][staying.first]))
    place = jnp.where(earlier, count, 0)  # of the run that stays
    slots = jnp.arange(kept["start"].shape[0], dtype=jnp.int32)
    stays = (slots >= place) & (slots < place + staying.length)

    def joined(here: jax.Array, there: jax.Array) -> jax.Array:
        chosen = stays.reshape(stays.shape + (1,) * (here.ndim - 1))
        other = jnp.where(earlier, 0, staying.length)
        return jnp.where(chosen, _shifted(here, staying.first - place), _shifted(there, first - other))

    return jax.tree.map(joined, kept, arrived), staying.length + count


def _shifted(buffer: jax.Array, by: jax.Array) -> jax.Array:
    """Give the buffer from a place on; what lies outside of it is of no account."""
    size = buffer.shape[0]
    widths = [(size, size, 0), *((0, 0, 0) for _ in buffer.shape[1:])]
    padded = jax.lax.pad(buffer, jnp.zeros((), buffer.dtype), widths)
    return jax.lax.dynamic_slice_in_dim(padded, size + by, size)


# Where offspring are near


def margin(size: int) -> int:
    """Give the number of particles at a border of a device that the neighbour there is told of.

    >>> margin(1 << 18), margin(20), margin(1)
    (32768, 2, 1)
    """
    return max(size // 8, 1)


def is_near(axis: Axis, starts: Int[Array, " M"], ends: Int[Array, " M"]) -> Bool[Array, ""]:
    """Tell whether offspring that live elsewhere live next door, and their parents within the margin.

    `starts` and `ends` are the offspring of all particles before and up to each of this device's.
    """
    size = ends.shape[0]
    most, first = margin(size), axis.index() * size
    inside = (ends[most - 1] >= first) & (starts[size - most] <= first + size)
    return jnp.all(axis.gather(inside[None]))


def fetched(axis: Axis, ends: Int[Array, " M"], values: Any) -> Any:
    """Give this device's slots, from its own particles and those at the near borders of its neighbours.

    `ends` are the offspring of all particles up to each of this device's.
    """
    size = ends.shape[0]
    most, first = margin(size), axis.index() * size
    below, own, above = _window(axis, ends, most)
    # Nobody stands before the first device or after the last: what came round the circle has no offspring here.
    below, above = jnp.where(axis.reaches(1), below, 0), jnp.where(axis.reaches(-1), above, axis.count(ends))
    counts = jnp.clip(jnp.concatenate([below, own, above]) - first, 0, size)
    parents = ancestors_from_ends(counts, size)
    return jax.tree.map(lambda x: jnp.concatenate(_window(axis, x, most))[parents], values)


def _window(axis: Axis, part: jax.Array, most: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    return axis.rotated(part[-most:], 1), part, axis.rotated(part[:most], -1)
