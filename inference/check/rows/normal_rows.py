"""Programs with normal sites, in a plate and in a loop, for the rows of what integrates them out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from lawful import mask, plate, sample, scan


def effects() -> None:
    """Groups whose effects have a common mean, which is normal, too."""
    scale = sample("scale", dist.HalfNormal(1.0))
    mean = sample("mean", dist.Normal(0.0, 5.0))
    with plate("group", 3):
        effect = sample("effect", dist.Normal(mean, scale))
        sample("y", dist.Normal(effect, 1.0), obs=jnp.array([0.3, -1.0, 2.0]))


def trend() -> None:
    """A level with a slope that all steps share, seen through noise at some of them."""
    scale = sample("scale", dist.HalfNormal(1.0))
    slope = sample("slope", dist.Normal(0.0, 1.0))

    def step(level: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        seen, y = row
        level = sample("level", dist.Normal(0.9 * level + slope, scale))
        with mask(seen):
            sample("y", dist.Normal(level, 0.5), obs=y)
        return level, None

    scan(step, jnp.asarray(0.0), (jnp.array([True, False, True]), jnp.array([0.3, 0.0, -0.4])))
