"""Modes: programs whose mode is known in closed form, for the row of what maximises them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import plate, sample


def conjugate() -> None:
    """Sites of all kinds of support, each with a conjugate prior and data of its own."""
    share = sample("share", dist.Beta(2.0, 3.0))
    rate = sample("rate", dist.Gamma(3.0, 2.0))
    level = sample("level", dist.Normal(0.0, 1.0))
    weights = sample("weights", dist.Dirichlet(jnp.array([2.0, 3.0, 1.0])))
    sample("heads", dist.Binomial(10, share), obs=7)
    sample("count", dist.Poisson(rate), obs=4)
    sample("y", dist.Normal(level, 0.5), obs=1.0)
    sample("votes", dist.Multinomial(6, weights), obs=jnp.array([3, 1, 2]))


def misread() -> None:
    """Coins of one probability that are read with errors: heads are seen as such at 0.9, tails at 0.2."""
    share = sample("share", dist.Uniform(0.0, 1.0))
    with plate("coin", 10):
        coin = sample("coin", dist.Bernoulli(share))
        sample("seen", dist.Bernoulli(0.2 + 0.7 * coin), obs=jnp.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]))


# Each with its mode, and what is summed; the share of the misread coins solves 0.2 + 0.7 share = 6 / 10.
MODES: tuple[tuple[Any, dict[str, Any], Any], ...] = (
    (
        conjugate,
        {"share": 8 / 13, "rate": 2.0, "level": 0.8, "weights": np.array([4.0, 3.0, 2.0]) / 9.0},
        None,
    ),
    (misread, {"share": 4 / 7}, "coin"),
)

SUMMED_MODES = tuple(mode for mode in MODES if mode[2] is not None)
