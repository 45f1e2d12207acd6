"""The floor of W3b: single-site moves written by hand in JAX for this mixture, and nothing else.

Law: that of the library: a move picks one of the 103 sites, the same for all chains, draws it again from its prior, and
accepts by the likelihoods. Each chain by itself is such a chain.

What makes it fast: counts and sums of the observations of each component are carried, so that a move of a mean takes
as few operations as that of a label; sites, coins and labels are drawn before the loop, in one batch each; the labels
lie with the chains last, so that a move reads and writes one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.contestants.chains import ChainRun, told_in_order
from benchmarks.contestants.staged import Staged
from benchmarks.workloads import LABELLED, MIXTURE_PRIOR, MIXTURE_WEIGHT, mixture, mixture_starts

PACKAGES = ("jax", "jaxlib", "arviz-stats")
DTYPE = "float32"
SITES = LABELLED + 3

type State = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # means (3, C), labels (100, C), counts, sums (3, C)


def single_site_program(moves: int, thin: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The chains as a function of a key, the observations, and starts; gives means and labels (chain, draw, ...)."""
    prior = np.asarray(MIXTURE_PRIOR, np.float32)
    one, two = np.cumsum(np.asarray(MIXTURE_WEIGHT, np.float32))[:2]
    component = np.arange(3)[:, None]

    def run(key: jax.Array, y: jax.Array, means: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        chains = len(means)
        site_key, coin_key, label_key, mean_key = jax.random.split(key, 4)
        site = jax.random.randint(site_key, (moves,), 0, SITES)
        coin = jnp.log(jax.random.uniform(coin_key, (moves, chains)))
        unit = jax.random.uniform(label_key, (moves, chains))

        def label(state: State, i: jax.Array, coin: jax.Array, unit: jax.Array, key: jax.Array) -> State:
            means, labels, counts, sums = state
            old = lax.dynamic_index_in_dim(labels, i, 0, keepdims=False)
            new = (unit >= one).astype(jnp.int32) + (unit >= two).astype(jnp.int32)
            before, after = (jnp.where(z == 0, means[0], jnp.where(z == 1, means[1], means[2])) for z in (old, new))
            new = jnp.where(coin < (after - before) * (y[i] - 0.5 * (after + before)), new, old)
            change = (new == component).astype(y.dtype) - (old == component)
            labels = lax.dynamic_update_index_in_dim(labels, new, i, 0)
            return means, labels, counts + change, sums + y[i] * change

        def mean(state: State, i: jax.Array, coin: jax.Array, unit: jax.Array, key: jax.Array) -> State:
            means, labels, counts, sums = state
            k = i - LABELLED
            old, new = means[k], jnp.asarray(prior)[k] + jax.random.normal(key, (chains,))
            accept = coin < (new - old) * (sums[k] - 0.5 * counts[k] * (new + old))
            return means.at[k].set(jnp.where(accept, new, old)), labels, counts, sums

        def step(state: State, given: Any) -> tuple[State, None]:
            return lax.cond(given[0] < LABELLED, label, mean, state, *given), None

        def draw(state: State, given: Any) -> tuple[State, tuple[jax.Array, jax.Array]]:
            state, _ = lax.scan(step, state, given)
            return state, state[:2]

        given = (site, coin, unit, jax.random.split(mean_key, moves))
        grouped = [x.reshape((moves // thin, thin, *x.shape[1:])) for x in given]
        chosen = (labels.T == component[..., None]).astype(y.dtype)  # (3, 100, C)
        start = (means.T, labels.T, chosen.sum(axis=1), jnp.einsum("kic,i->kc", chosen, y))
        _, (drawn, labelled) = lax.scan(draw, start, grouped)
        return jnp.moveaxis(drawn, 2, 0), jnp.moveaxis(labelled, 2, 0)

    return run


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant; the first half of its draws is dropped."""
    program, drop = single_site_program(settings["moves"], settings["thin"]), settings["drop"]
    means, labels = mixture_starts(settings["chains"])
    data = (jnp.asarray(mixture(), DTYPE), jnp.asarray(means, DTYPE), jnp.asarray(labels))
    return ChainRun(Staged(lambda *given: [x[:, drop:] for x in program(*given)]), data, told_in_order)
