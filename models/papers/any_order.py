"""Any order: a finite state whose masked sites are drawn in any order, some at once, as masked diffusion models do.

Each site has a time, uniform on (0, 1), at which it is unmasked, given those unmasked before. On a grid of steps, sites
of one step are drawn as if they were independent; their weights make up for it. Only what is unmasked counts, not when,
so that the conditionals are asked for once a step in which something is unmasked.

Law: whatever the schedule and the conditionals, weighed states have the law; one site at a time from exact conditionals
needs no weights.

Reference: Zheng et al. (2024), Masked diffusion models are secretly time-agnostic masked models and exploit inaccurate
categorical sampling, arXiv:2409.02908; Ou et al. (2024), Your absorbing discrete diffusion secretly models the
conditional distributions of clean data, arXiv:2406.03736.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from lawful import inference
from lawful.inference import graphs

__all__ = ["Law", "by_graph", "by_table", "calls_of", "expected_calls", "in_any_order", "steps_of"]

LEAST = -700.0  # log of the mass that a partial state without any is guessed at


class Law(NamedTuple):
    """Of a state (L,) of integers, with -1 where it is masked.

    Attributes:
        log_density: of a whole state, up to a constant.
        conditionals: (L, K) probabilities of the values of masked sites, given the others, up to a constant each.
        log_marginal: log of the mass of a partial state, or a finite guess at it.
    """

    log_density: Callable[[Any], Any]
    conditionals: Callable[[Any], Any]
    log_marginal: Callable[[Any], Any]


def by_table(table: Any) -> Law:
    """Take the law of a table of masses, one axis a site, all of the same length.

    >>> law = by_table(jnp.array([[0.4, 0.1], [0.1, 0.4]]))
    >>> law.conditionals(jnp.array([0, -1]))[1].round(3).tolist()
    [0.4, 0.1]
    """
    masses = jnp.asarray(table)
    sites, values = masses.ndim, masses.shape[0]
    states = jnp.indices(masses.shape).reshape(sites, -1).T

    def agreeing(state: Any) -> jax.Array:
        return jnp.where(jnp.all((states == state) | (jnp.asarray(state) < 0), 1), masses.ravel(), 0.0)

    def conditionals(state: Any) -> jax.Array:
        one_hot = jax.nn.one_hot(states, values)
        return _proper(jnp.einsum("n,nlk->lk", agreeing(state), one_hot))

    def log_marginal(state: Any) -> jax.Array:
        return jnp.maximum(jnp.log(jnp.sum(agreeing(state))), LEAST)

    return Law(lambda state: jnp.log(masses[tuple(jnp.asarray(state))]), conditionals, log_marginal)


def by_graph(graph: graphs.FactorGraph, method: Callable[[graphs.FactorGraph], Any] = graphs.eliminated) -> Law:
    """Take the law of a factor graph of one array of variables.

    Args:
        graph: the graph.
        method: what answers it given a partial state: `graphs.eliminated`, exactly, or `graphs.infer` with
            method="loopy", which passes messages; then conditionals and masses are guesses, exact on trees.

    >>> graph = graphs.FactorGraph()
    >>> x = graph.variables("x", shape=(3,))
    >>> graph.factors("alike", [x[:-1], x[1:]], [[1.0, 0.0], [0.0, 1.0]])
    >>> by_graph(graph).conditionals(jnp.array([0, -1, -1]))[1].round(3).tolist()
    [0.731, 0.269]
    """
    (name,) = (family.name for family in graph.structure.families)
    unary, tables = graph.potentials.unary[0], graph.potentials.tables

    def given(state: Any) -> Any:
        seen = jnp.reshape(jnp.asarray(state), (-1, 1))
        allowed = (seen < 0) | (seen == jnp.arange(unary.shape[1]))
        return method(graph.replace(graphs.Potentials((jnp.where(allowed, unary, -jnp.inf),), tables)))

    return Law(
        lambda state: graph.log_score({name: jnp.asarray(state)}),
        lambda state: _proper(given(state).beliefs[name].reshape(unary.shape)),
        lambda state: jnp.maximum(given(state).log_z, LEAST),
    )


def in_any_order(law: Law, sites: int, steps: int | None = None, *, look_ahead: bool = False) -> jax.Array:
    """Draw a state in an order that is drawn too, weighed for its law.

    time_l ~ Uniform(0, 1); the values of the sites of step t ~ conditionals given those of the steps before.

    Args:
        law: of the state; its conditionals propose.
        sites: L.
        steps: of the grid of times, of equal lengths; None unmasks one site after another, by their times.
        look_ahead: whether the mass of what is unmasked so far is in the weight of each step.

    Returns: (L,), the state.

    >>> alike = by_table(jnp.array([[0.4, 0.1], [0.1, 0.4]]))
    >>> result = inference.smc(in_any_order, particles=1000)(jax.random.key(0), alike, 2, 1)
    >>> abs(float(result.log_evidence_pooled)) < 0.1  # of a table that sums to one
    True
    """
    with lawful.plate("site", sites):
        time = lawful.sample("time", dist.Uniform())
    step = steps_of(time, steps)
    groups = step == jnp.arange(sites if steps is None else steps)[:, None]
    ahead = law.log_marginal if look_ahead else None
    state: jax.Array = inference.unmask(law.log_density, law.conditionals, groups, log_marginal=ahead)()
    return state


def steps_of(time: Any, steps: int | None = None) -> jax.Array:
    """Give the step (L,) in which each site is unmasked, by its time; None ranks the times.

    >>> steps_of(jnp.array([0.9, 0.1, 0.2]), 2).tolist(), steps_of(jnp.array([0.9, 0.1, 0.2])).tolist()
    ([1, 0, 0], [2, 0, 1])
    """
    if steps is None:
        return jnp.argsort(jnp.argsort(jnp.asarray(time)))
    return jnp.floor(jnp.asarray(time) * steps).astype(int)


def calls_of(time: Any, steps: int) -> jax.Array:
    """Count the steps of a grid in which something is unmasked: so often are conditionals asked for.

    >>> int(calls_of(jnp.array([0.9, 0.1, 0.2]), 2))
    2
    """
    return jnp.sum(jnp.any(steps_of(time, steps) == jnp.arange(steps)[:, None], 1))


def expected_calls(sites: int, steps: int) -> float:
    """Give the mean of `calls_of` for uniform times: T (1 - (1 - 1/T)^L).

    >>> round(expected_calls(6, 128), 2)
    5.88
    """
    return float(steps * (1 - (1 - 1 / steps) ** sites))


def _proper(masses: jax.Array) -> jax.Array:
    """Let each row have a mass: where a partial state has none, its values are drawn alike, and weighed to nothing."""
    return jnp.where(jnp.sum(masses, 1, keepdims=True) > 0, masses, 1.0)
