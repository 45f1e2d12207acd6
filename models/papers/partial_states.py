"""Marginals of partial states: the mass of all states of a grid of spins that agree with what is seen of some sites.

Where the grid is narrow enough the sites that are not seen are eliminated, exactly and for many sets of values at once.
Where it is too wide, the probability of a site given those before it is learned on a narrow grid, whose exact draws
cost little, and guides draws of the wide one, which `unmask` weighs for their law.

Law: `log_marginal` is the log of a sum over the states that agree, so that the masses of both values of a site add up
to that without it; weights of guided draws have the mean Z whatever was learned.

Reference: Liu, Ramadge and Adams (2024), Generative marginalization models, ICML, arXiv:2310.12920.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.inference import graphs

__all__ = ["conditionals", "log_density", "log_marginal", "next_value", "patches", "torus"]

REACH = 2  # how far a patch goes to each side


def torus(rows: int, columns: int, coupling: Any = 0.2, field: Any = 0.2) -> jax.Array:
    """Draw a grid of spins that is closed to a ring both ways, with density exp(coupling sum ss' + field sum s).

    Args:
        rows, columns: size of the grid, 3 or more each.
        coupling: what an edge between neighbours of equal sign adds.
        field: what a spin up adds.

    Returns: (rows, columns), 1 for up and 0 for down.

    >>> from lawful import inference
    >>> inference.graphs.to_factor_graph(torus, 3, 3)
    FactorGraph(9 variables, 18 factors)
    """
    with lawful.plate("row", rows, dim=-2), lawful.plate("column", columns, dim=-1):
        up: jax.Array = lawful.sample("up", dist.Bernoulli(0.5))
    lawful.factor("energy", log_density(up, coupling, field) + rows * columns * jnp.log(2.0))
    return up


def log_density(up: Any, coupling: Any = 0.2, field: Any = 0.2) -> jax.Array:
    """Log density of a grid of spins (rows, columns), up to the constant log Z."""
    spin = 2.0 * jnp.asarray(up) - 1.0
    return jnp.sum(spin * (coupling * (jnp.roll(spin, 1, 0) + jnp.roll(spin, 1, 1)) + field))


def log_marginal(up: Any, seen: Any, coupling: Any = 0.2, field: Any = 0.2) -> jax.Array:
    """Sum exp(`log_density`) over the sites of a torus that are not seen, and give its log.

    The sites that are seen drop out of the graph that is eliminated, and pull at their neighbours. Under `jax.vmap` many
    values of one set of sites share a program.

    Args:
        up: (rows, columns), 1 or 0 where it is seen; may be traced.
        seen: (rows, columns), which sites are seen; known when the function is traced.
        coupling, field: as those of `torus`.

    Returns: the log of the mass; less that of no site seen, log Z, it is the log probability of what is seen.

    Raises: WidthError: too few sites are seen for an exact sum.

    >>> none, one = jnp.zeros((3, 3)), jnp.zeros((3, 3)).at[0, 0].set(1)
    >>> both = jnp.logaddexp(log_marginal(one, one == 1), log_marginal(none, one == 1))
    >>> bool(jnp.isclose(both, log_marginal(none, one == 2)))
    True
    """
    free = ~np.asarray(seen, bool)
    known = jnp.where(free, 0.0, 2.0 * jnp.asarray(up) - 1.0)
    pull = field + coupling * sum(jnp.roll(known, step, axis) for axis in (0, 1) for step in (1, -1))
    log_mass = jnp.sum(known * (coupling * (jnp.roll(known, 1, 0) + jnp.roll(known, 1, 1)) + field))
    place = np.where(free, np.cumsum(free).reshape(free.shape) - 1, -1)
    edges = np.concatenate([np.stack([place, np.roll(place, 1, axis)], -1).reshape(-1, 2) for axis in (0, 1)])
    edges, sign = edges[(edges >= 0).all(1)], np.array([-1.0, 1.0])
    if not free.any():
        return log_mass
    graph = graphs.FactorGraph()
    x = graph.variables("up", shape=(int(free.sum()),), cardinality=2, log_potential=pull[free][:, None] * sign)
    if len(edges):
        graph.factors("neighbours", [x[edges[:, 0]], x[edges[:, 1]]], coupling * sign[:, None] * sign)
    return log_mass + graphs.eliminated(graph).log_z


def patches(state: Any) -> jax.Array:
    """Give what is known around each site: spins of the sites within two steps to each side, 0 where they are masked.

    Args:
        state: (rows, columns) of 1, 0, and -1 where a site is masked.

    Returns: (rows, columns, 25): 24 spins and a one.

    >>> patches(jnp.full((5, 5), -1).at[0, 1].set(1))[0, 0].sum()
    Array(2., dtype=float32)
    """
    spin = jnp.where(jnp.asarray(state) < 0, 0.0, 2.0 * jnp.asarray(state) - 1.0)
    reach = range(-REACH, REACH + 1)
    around = [jnp.roll(spin, (i, j), (0, 1)) for i in reach for j in reach if (i, j) != (0, 0)]
    return jnp.stack([*around, jnp.ones_like(spin)], -1)


def next_value(patch: Any, up: Any) -> None:
    """Regress the value of a site on what is known around it, in logits.

    weight ~ N(0, 1), 25 of them; up ~ Bernoulli(logit = patch . weight).

    Args:
        patch: (n, 25), as `patches` gives them.
        up: (n,), values of the sites, 1 or 0.

    >>> lawful.trace(next_value, jnp.ones((3, 25)), jnp.array([0, 1, 1])).sites
    ('weight', 'up')
    """
    weight = lawful.sample("weight", dist.Normal(jnp.zeros(25), 1.0).to_event(1))
    with lawful.plate("site", len(up)):
        lawful.sample("up", dist.Bernoulli(logits=jnp.asarray(patch) @ weight), obs=up)


def conditionals(weight: Any, rows: int, columns: int) -> Callable[[Any], jax.Array]:
    """Make the function that gives each site's probabilities by what is known around it, as `unmask` takes it.

    Args:
        weight: (25,), of `next_value`.
        rows, columns: size of the grid.

    Returns: function of a state (rows * columns,), -1 where it is masked, to (rows * columns, 2).

    >>> conditionals(jnp.zeros(25), 3, 3)(jnp.full(9, -1))[0]
    Array([0.5, 0.5], dtype=float32)
    """

    def given(state: Any) -> jax.Array:
        up = jax.nn.sigmoid(patches(jnp.reshape(state, (rows, columns))) @ jnp.asarray(weight)).ravel()
        return jnp.stack([1.0 - up, up], -1)

    return given
