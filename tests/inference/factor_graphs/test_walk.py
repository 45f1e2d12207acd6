"""Draws of graphs with counts: each step of a walk leaves the law of all variables, and draws have it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError, WidthError
from lawful.inference.graphs import FactorGraph, draws
from lawful.inference.graphs.moves.redraws import labels_of
from lawful.inference.graphs.moves.walk import drawn_across, drawn_apart, drawn_together
from tests.inference.factor_graphs.truth import bagged_graph, member_scores

DRAWS = 20_000
MOVING = {  # graphs whose assignments differ by what a step does: in most others a state has nearly all mass
    drawn_apart: (0, 2, 6, 17, 26, 38),
    drawn_together: (2, 8, 10, 21, 26, 31),
    drawn_across: (1, 3, 5, 13, 26, 28),
}


def law(graph):
    """All assignments with right counts, and their probabilities."""
    x, scores = member_scores(graph)
    return x, np.exp(scores - np.logaddexp.reduce(scores))


@pytest.mark.slow
@pytest.mark.parametrize(("step", "seed"), [(step, seed) for step, seeds in MOVING.items() for seed in seeds])
def test_each_step_leaves_the_law(step, seed):
    """Exact draws, one step each: frequencies by a chi-square of false alarm rate 1e-6; `make law` is exact."""
    graph = bagged_graph(seed, 6)
    structure, potentials = graph.structure, jax.tree.map(jnp.asarray, graph.potentials)
    pairs = labels_of(structure)[np.arange(DRAWS) % len(labels_of(structure))].T
    more = () if step is drawn_across else tuple(jnp.asarray(pairs))
    x, p = law(graph)
    start = np.random.default_rng(seed).choice(len(x), DRAWS, p=p)
    moved = jax.jit(jax.vmap(lambda key, own, *pair: step(structure, potentials, own, key, *pair)))
    after = np.asarray(moved(jax.random.split(jax.random.key(seed), DRAWS), jnp.asarray(x[start], jnp.int32), *more))
    place = {tuple(row): k for k, row in enumerate(x.tolist())}
    ends = np.array([place[tuple(row)] for row in after.tolist()])
    found, expected = np.bincount(ends, minlength=len(x)), DRAWS * p
    assert found[p == 0].sum() == 0 and np.mean(ends != start) > 0.01
    often = expected > 5
    excess = np.sum((found[often] - expected[often]) ** 2 / expected[often]) - often.sum()
    assert excess < 5.5 * np.sqrt(2 * often.sum()) + 15


def graph_of_pairs():
    """Two bags whose members all meet, one count known and the other one noisy."""
    rng, graph = np.random.default_rng(0), FactorGraph()
    y = graph.variables("y", (2, 3), 2, rng.normal(size=(2, 3, 2)))
    graph.factors("pair", [y[:, [0, 0, 1]], y[:, [1, 2, 2]]], 0.8 * np.eye(2))
    graph.factors("read", [y[0, :1], y[1, :1]], -0.5 * np.eye(2))
    inf = np.inf
    graph.count("n", y, np.array([[-inf, 0.0, -inf, -inf], [0.0, 0.5, -0.5, 0.2]]))
    return graph


@pytest.mark.slow
def test_a_walk_has_the_law_of_all_variables_from_its_worst_state():
    graph = graph_of_pairs()
    x, p = law(graph)
    worst = x[np.argmin(np.where(p > 0, p, np.inf))]
    found = draws(graph, jax.random.key(0), 2000, method="gibbs", steps=8, start={"y": worst[:6].reshape(2, 3)})
    assert found.method == "gibbs" and np.all(found.states["n"] == found.states["y"].sum(axis=2))
    truth = (p @ x[:, :6]).reshape(2, 3)
    # Eight steps leave little of the last draw: a false alarm rate of 1e-6 with half as many draws.
    assert np.all(np.abs(np.asarray(found.states["y"]).mean(axis=0) - truth) < 5.5 * np.sqrt(0.25 / 1000))
    exact = draws(graph, jax.random.key(0), 2000)
    assert exact.method == "exact"
    assert np.all(np.abs(np.asarray(exact.states["y"]).mean(axis=0) - truth) < 5.5 * np.sqrt(0.25 / 2000))


def test_draws_that_cannot_be_are_refused():
    graph = graph_of_pairs()
    with pytest.raises(LawfulError, match="method: expected one of auto, exact, gibbs"):
        draws(graph, jax.random.key(0), method="walk")
    with pytest.raises(LawfulError, match=r"start has no mass.*Fix"):
        draws(graph, jax.random.key(0), method="gibbs", start={"y": np.ones((2, 3), int)})
    with pytest.raises(WidthError):
        draws(graph, jax.random.key(0), method="exact", budget=1)
    with pytest.raises(LawfulError, match=r"0 draws of 100 steps.*Fix"):
        draws(graph, jax.random.key(0), 0)
