"""Programs with normal sites, in a plate and in a loop, for the rows of what integrates them out or fits guides."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


def levels(y: Any) -> None:
    """A level, in which the log density given two finite sites is quadratic."""
    a = sample("a", dist.Bernoulli(0.3))
    b = sample("b", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    level = sample("level", dist.Normal(0.5 * a, 1.0 + b))
    sample("y", dist.Normal(level + 2.0 * a - b, 1.0), obs=y)


LEVELS: dict[str, Any] = {
    "law": {"loc": np.array([0.7]), "log_scale": np.array([-0.4])},
    "tables": {"a": np.array([0.3, -0.2]), "b": np.array([0.1, 0.5, -0.3])},
}
