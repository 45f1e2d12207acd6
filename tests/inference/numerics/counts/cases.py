"""Bags for the laws of the count factor: every potential of the family on members that include known ones."""

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.graphs import counts
from lawful.inference.graphs.counts import potentials as p

INF = np.inf


def potentials(size):
    """One of each, as rows."""
    rng = np.random.default_rng(size)
    middle = size // 2
    rows = [
        p.hard_count(middle, size),
        p.hard_count(0, size),
        p.hard_count(size, size),
        p.soft_count(0.7 * size, 1.0, size),
        p.soft_count(-1.0, 60.0, size),
        p.at_least(middle, size),
        p.at_most(middle, size),
        p.interval(min(1, size), max(size - 1, 0), size),
        p.one_of(size),
        p.none_of(size),
        p.any_of(size),
        p.all_of(size),
        p.parity(1, size),
        p.normal_count(0.4 * size, 0.8, size),
        p.poisson_count(2, 0.7, size, background=0.2),
        p.thinned_count(1, 0.4, size),
        p.geometric_count(middle, 1.3, size),
        p.from_function(lambda s: jnp.cos(3 * s) * 4, size),
        jnp.asarray(rng.normal(size=size + 1) * 3),
        jnp.where(jnp.arange(size + 1) % max(size, 1) == 0, 0.0, -jnp.inf),  # none or all
        jnp.full(size + 1, -jnp.inf),
    ]
    return np.stack([np.asarray(row) for row in rows])


def members(size, kind):
    """Log odds: plain, wide, with known ones and zeros, or all known."""
    rng = np.random.default_rng(100 + size)
    h = rng.normal(size=size) * (1.5 if kind != "wide" else 30.0)
    if kind == "known":
        h[: size // 2] = np.resize([INF, -INF], size // 2)
    if kind == "decided":
        h = np.resize([INF, -INF, -INF], size)
    return h


KINDS = ("plain", "wide", "known", "decided")


def bags(size):
    """All potentials on all kinds of members, as rows."""
    g = potentials(size)
    h = np.stack([members(size, kind) for kind in KINDS])
    return np.repeat(h, len(g), axis=0), np.tile(g, (len(h), 1))


@jax.jit
def marginals(h, g):
    """P(y_i = 1) given the factor, by the messages; 0 in an impossible bag."""
    solved = counts.solve(h, g)
    real = solved.log_evidence[..., None] > -jnp.inf
    return jnp.where(real, jax.nn.sigmoid(jnp.where(real, h + solved.messages, 0)), 0)
