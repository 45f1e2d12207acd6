"""Marginals of partial states: the mass of all states of a grid of spins that agree with what is seen of some sites.

Where the grid is narrow enough the sites that are not seen are eliminated, exactly and for many sets of values at once.
Where it is too wide, the probability of a site given those before it is learned on a narrow grid, whose exact draws
cost little, and guides draws of the wide one, which `unmask` weighs for their law.

Law: `log_marginal` is the log of a sum over the states that agree, so that the masses of both values of a site add up
to that without it; weights of guided draws have the mean Z whatever was learned.

Reference: Liu, Ramadge and Adams (2024), Generative marginalization models, ICML, arXiv:2310.12920.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.inference import graphs

__all__ = ["guided", "log_density", "log_marginal", "next_value", "patch", "torus"]

REACH = 2  # how far a patch goes to each side
PLUS = np.isin(np.arange(24), (7, 11, 12, 16))  # the four neighbours among the 24


def torus(rows: int, columns: int, coupling: Any = 0.2, field: Any = 0.2) -> jax.Array:
    """Draw a grid of spins that is closed to a ring both ways, with density exp(coupling sum ss' + field sum s).

    Args:
        rows: of the grid, 3 or more.
        columns: of the grid, 3 or more.
        coupling: what an edge between neighbours of equal sign adds.
        field: what a spin up adds.

    Returns: (rows, columns), 1 for up and 0 for down.

    >>> from lawful import inference
    >>> inference.graphs.to_factor_graph(torus, 3, 3)
    FactorGraph(9 variables, 37 factors)
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

    The sites that are seen drop out of the graph that is eliminated, and pull at their neighbours. Under `jax.vmap`
    many values of one set of sites share a program.

    Args:
        up: (rows, columns), 1 or 0 where it is seen; may be traced.
        seen: (rows, columns), which sites are seen; known when the function is traced.
        coupling: as that of `torus`.
        field: as that of `torus`.

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


def patch(state: Any, site: Any) -> jax.Array:
    """Give what is known around a site: spins of the sites within two steps to each side, 0 where they are masked.

    Args:
        state: (rows, columns) of 1, 0, and -1 where a site is masked.
        site: its number, row by row; may be traced.

    Returns: (25,): 24 spins and a one.

    >>> float(patch(jnp.full((5, 5), -1).at[0, 1].set(1), 0).sum())
    2.0
    """
    rows, columns = state.shape
    down, right = np.delete(np.indices((2 * REACH + 1,) * 2).reshape(2, -1) - REACH, 12, 1)
    near = jnp.asarray(state)[(site // columns + down) % rows, (site % columns + right) % columns]
    return jnp.append(jnp.where(near < 0, 0.0, 2.0 * near - 1.0), 1.0)


def next_value(patches: Any, up: Any) -> None:
    """Regress the value of a site on what is known around it, in logits.

    weight ~ N(0, 1), 25 of them; up ~ Bernoulli(logit = patch . weight).

    Args:
        patches: (n, 25), as `patch` gives them.
        up: (n,), values of the sites, 1 or 0.

    >>> lawful.trace(next_value, jnp.ones((3, 25)), jnp.array([0, 1, 1]))
    Form(2 inputs, 1 latent sites, 1 observed, 4 nodes)
    """
    weight = lawful.sample("weight", dist.Normal(jnp.zeros(25), 1.0).to_event(1))
    with lawful.plate("site", len(up)):
        lawful.sample("up", dist.Bernoulli(logits=jnp.asarray(patches) @ weight), obs=up)


def guided(weight: Any, rows: int, columns: int, coupling: Any = 0.2, field: Any = 0.2) -> jax.Array:
    """Draw a torus site by site from what was learned, weighed for its law by what a site adds over its probability.

    Args:
        weight: (25,), of `next_value`; what it is changes the weights, and not the law.
        rows: as those of `torus`.
        columns: as those of `torus`.
        coupling: as that of `torus`.
        field: as that of `torus`.

    Returns: (rows, columns), 1 for up and 0 for down.

    >>> from lawful import inference
    >>> inference.smc(guided, particles=50)(jax.random.key(0), jnp.zeros(25), 3, 3).log_evidence.shape
    (1,)
    """

    def pulls(state: jax.Array, site: Any) -> jax.Array:
        return field + coupling * jnp.sum(jnp.where(PLUS, patch(state, site)[:-1], 0.0))

    def step(state: jax.Array, site: Any) -> tuple[jax.Array, None]:
        logit = patch(state, site) @ weight
        up = lawful.sample("up", dist.Bernoulli(logits=logit))
        adds = (2.0 * up - 1.0) * pulls(state, site)
        lawful.factor("weight", adds + jax.nn.softplus(jnp.where(up == 1, -logit, logit)))
        return state.at[site // columns, site % columns].set(up), None

    state, _ = lawful.scan(step, jnp.full((rows, columns), -1), jnp.arange(rows * columns))
    return state
