"""Exchange: particles go to the devices on which their offspring live.

Law: slot j of the new population is a copy of the first particle whose running count of offspring exceeds j; moving
changes no bit. `gathered` puts the whole population on every device. `exchanged` never holds more than two shares of
it: particles with offspring go to every device that needs them in 2 ceil(log2 P) rounds of one buffer each.

Both families, running counts and slots, are ordered, so particles move in one direction at a time. First they are
packed: a particle that is number k among those with offspring goes down to device k // M, in hops of 1, 2, 4, ...
devices. Then it goes up to its slots in hops of ..., 4, 2, 1, and where its slots lie on both sides of a hop a copy
stays. No buffer overflows. Packing: particles on one device at hop h differ in number by less than h M, for they came
from fewer than h M places, and those between them, (h - 1) M at least if they aim at two devices, are elsewhere. Going
up: the same count of slots, of which every particle has one at least. Packets that meet come from two devices at most,
so that one buffer follows the other.

Reference: Varsi, Maskell and Spirakis (2021), An O(log2 N) fully-balanced resampling algorithm for particle filters on
distributed memory architectures, whose rotations these rounds are, device by device.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..numerics.offspring import ancestors_from_ends
from .axis import Axis

type Packets = dict[str, Any]


def gathered(axis: Axis, ends: Int[Array, " M"], values: Any) -> Any:
    """Give this device's slots, from the whole population in its memory."""
    parents = axis.own(ancestors_from_ends(axis.gather(ends), axis.count(ends)))
    return jax.tree.map(lambda x: axis.gather(x)[parents], values)


def exchanged(axis: Axis, ends: Int[Array, " M"], values: Any) -> Any:
    """Give this device's slots, by rounds between devices.

    Args:
        axis: the devices.
        ends: offspring of all particles up to each of this device's; the last of all is the number of particles.
        values: this device's particles, a tree of arrays (M, ...).
    """
    size, rounds = ends.shape[0], (axis.size - 1).bit_length()
    before = jnp.where(axis.reaches(1), axis.rotated(ends[-1:], 1), 0)
    starts = jnp.concatenate([before, ends[:-1]])
    alive = ends > starts
    number = axis.running(alive.astype(jnp.int32)) - 1
    packets: Packets = {"start": starts, "end": ends, "home": number // size, "value": values}
    for hop in (1 << s for s in range(rounds)):
        goes = alive & (((axis.index() - packets["home"]) & hop) != 0)
        arrived, came = _sent(axis, packets, goes, -hop)
        packets, alive = _joined(packets, alive & ~goes, arrived, came)
    for hop in (1 << s for s in reversed(range(rounds))):
        border = (axis.index() + hop) * size
        up = packets | {"start": jnp.maximum(packets["start"], border)}
        stay = packets | {"end": jnp.minimum(packets["end"], border)}
        arrived, came = _sent(axis, up, alive & (packets["end"] > border), hop)
        packets, alive = _joined(stay, alive & (packets["start"] < border), arrived, came)
    own = jnp.where(alive, packets["end"] - axis.index() * size, 0)
    # What is dead repeats the count before it, so that no slot is its own.
    parents = ancestors_from_ends(jax.lax.cummax(own), size)
    return jax.tree.map(lambda x: x[parents], packets["value"])


def _sent(axis: Axis, packets: Packets, goes: Bool[Array, " M"], by: int) -> tuple[Packets, Bool[Array, " M"]]:
    """Send a buffer of every device; nothing that went round the circle is alive."""
    return jax.tree.map(lambda x: axis.rotated(x, by), packets), axis.rotated(goes, by) & axis.reaches(by)


def _joined(
    here: Packets, here_alive: Bool[Array, " M"], there: Packets, there_alive: Bool[Array, " M"]
) -> tuple[Packets, Bool[Array, " M"]]:
    """Put the live packets of two buffers into one, in the order of their slots; one buffer always holds them.

    Each is in order, and all of one come before all of the other, for whole devices of packets stand between.
    """
    size = here_alive.shape[0]
    alive = jnp.concatenate([here_alive, there_alive])
    places = jnp.cumsum(alive, dtype=jnp.int32)
    last = jnp.iinfo(jnp.int32).max
    first_here, first_there = (
        jnp.min(jnp.where(own, packets["start"], last)) for own, packets in ((here_alive, here), (there_alive, there))
    )
    swapped = first_there < first_here
    count, total = places[size - 1], places[-1]
    shift = jnp.where(jnp.arange(2 * size) < size, total - count, -count)
    target = jnp.where(alive, places - 1 + jnp.where(swapped, shift, 0), size)
    source = jnp.zeros(size, jnp.int32).at[target].set(jnp.arange(2 * size, dtype=jnp.int32), mode="drop")
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b])[source], here, there)
    return both, jnp.arange(size) < total
