"""Mutants of random numbers: keys that are used twice, lanes that share a draw, samplers that lose the tail."""

import jax
import jax.numpy as jnp

from lawful.backends import site_keys
from lawful.backends import xla as emitter
from lawful.distributions import batched as lanes
from lawful.distributions import families
from lawful.inference.laws import systematic_resampling as strata
from tests.mutants.patching import patched


def one_key():
    """The coin of a move is tossed with the key of its proposal."""

    def make(original):
        return lambda address: original(("~mh", "step") if address[:2] == ("~mh", "accept") else address[:2])

    return patched(site_keys, "address_code", make)


def _shared(owner):
    def make(original):
        def draw(law, key, shape, parameters, laned):
            drawn = original(law, key, shape, parameters, laned)
            return jnp.broadcast_to(drawn[(slice(0, 1),) * len(shape)], drawn.shape)

        return draw

    return patched(owner, "draw_lanes", make)


def one_draw_for_all_chains():
    """Every chain, and every particle, gets the random numbers of the first."""
    return _shared(emitter)


def one_draw_for_all_lanes():
    """A site under `jax.vmap` makes one draw for all lanes."""
    return _shared(lanes)


def gumbel():
    """Categorical sites are drawn by the default sampler of JAX."""
    default = jax.random.categorical
    return patched(families, "sample_categorical", lambda original: lambda key, logits: default(key, logits))


def one_uniform_for_all_strata():
    """Stratified resampling takes the uniform of the first stratum for all."""

    def make(original):
        return lambda u, weights, m: jnp.broadcast_to(original(u, weights, m)[..., :1], u.shape)

    return patched(strata, "uniform_units", make)
