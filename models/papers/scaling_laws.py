"""Scaling laws: the loss of larger models from smaller ones, with the uncertainty that extrapolation has.

The loss of a model of N parameters is E + A N^-alpha. The floor E is what no model can learn; A and alpha may differ
from mixture to mixture of the training data, around what they have in common. A few small models of one mixture tell
little about its floor, and the floor decides where the curve ends; many mixtures that share it tell more, as those with
large losses and those with small ones come near it at different speeds.

Law: given floor and scales, the logarithms of losses above the floor are a linear regression on log N, with a normal
intercept and a normal slope for each mixture, which have a closed form.

Reference: Xiao, Cai, Zhao, Zeng, Lin, Zhou, Zheng, Han, Liu and Sun (2024), Densing Law of LLMs, arXiv 2412.04315; Li
and others (2025), Predictable Scale: Part I, arXiv 2503.04715.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["scaling_laws"]


def scaling_laws(size: Any, mixture: Any, loss: Any, mixtures: int, error: Any = 0.0, ahead: Any = None) -> None:
    """Fit a power law with a common floor to the losses of models of several sizes, trained on several mixtures.

    The floor is uniform between 0 and the least loss, level ~ N(0, 3), exponent ~ N(0.2, 0.2), spread ~ HalfNormal(1),
    bend ~ HalfNormal(0.05), noise ~ HalfNormal(0.1). Each mixture has own_level ~ N(level, spread) and own_exponent
    ~ N(exponent, bend); log(loss - floor) ~ N(own_level - own_exponent log size, noise).

    Args:
        size: (n,), the size of each model, in units of a typical one.
        mixture: (n,), the number of the mixture that each was trained on.
        loss: (n,), the loss of each.
        mixtures: how many mixtures there are.
        error: (n,) or one for all: standard deviation of an error of the loss itself, where it is a forecast.
        ahead: a size, for which each mixture has a site `ahead`, (mixtures,), the loss of a model of it; or None.

    >>> from lawful import handlers
    >>> import jax
    >>> size, loss = jnp.array([1.0, 10.0, 1.0, 10.0]), jnp.array([4.0, 3.0, 3.0, 2.5])
    >>> seeded = handlers.seed(scaling_laws, jax.random.key(0))
    >>> seeded(size, jnp.array([0, 0, 1, 1]), loss, 2, ahead=100.0) is None
    True
    """
    floor = lawful.sample("floor", dist.Uniform(0.0, jnp.min(loss)))
    level = lawful.sample("level", dist.Normal(0.0, 3.0))
    exponent = lawful.sample("exponent", dist.Normal(0.2, 0.2))
    spread = lawful.sample("spread", dist.HalfNormal(1.0))
    bend = lawful.sample("bend", dist.HalfNormal(0.05))
    noise = lawful.sample("noise", dist.HalfNormal(0.1))
    with lawful.plate("mixture", mixtures):
        own_level = lawful.sample("own_level", dist.Normal(level, spread))
        own_exponent = lawful.sample("own_exponent", dist.Normal(exponent, bend))
    above = loss - floor
    with lawful.plate("model", len(loss)):
        line = own_level[mixture] - own_exponent[mixture] * jnp.log(size)
        lawful.sample("height", dist.Normal(line, jnp.sqrt(noise**2 + (error / above) ** 2)), obs=jnp.log(above))
        lawful.factor("logarithm", -jnp.log(above))  # the density of the loss is that of its logarithm over it
    if ahead is not None:
        with lawful.plate("mixture", mixtures):
            far = lawful.sample("height_ahead", dist.Normal(own_level - own_exponent * jnp.log(ahead), noise))
            lawful.deterministic("ahead", floor + jnp.exp(far))
