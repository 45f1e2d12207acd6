"""Cliques: all pairs of disjoint sets are found and kept as squares, and what they send is what their pairs send."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs import FactorGraph, propagated
from lawful.inference.graphs.loopy.exchange import Logs
from lawful.inference.graphs.loopy.forms import exchange_for
from lawful.inference.graphs.loopy.free_energy import inconsistency, log_z, point_at, probabilities
from lawful.inference.graphs.loopy.layouts import Ends, Squares, pieces_of
from lawful.inference.graphs.loopy.log_odds import REACH, WEAK, LogOdds, _in_series
from lawful.inference.graphs.loopy.loopy import Settings
from lawful.inference.graphs.loopy.messages import net_of, scores_of
from lawful.inference.graphs.loopy.odds_beliefs import beliefs_at
from lawful.inference.graphs.loopy.propagation import _program
from lawful.inference.graphs.model.cliques import cliques_in


def all_pairs(rng, sizes, count):
    """All pairs of disjoint sets among `count` variables, in any order, each pair either way round."""
    members = np.split(rng.permutation(count)[: sum(sizes)], np.cumsum(sizes)[:-1])
    pairs = np.array([pair for own in members for pair in combinations(own.tolist(), 2)])
    pairs = rng.permutation(pairs)
    return np.where(rng.random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])


def pairs_graph(pairs, count, table=None, rng=None, dtype=np.float64):
    graph = FactorGraph()
    scores = np.zeros((count, 2)) if rng is None else rng.normal(size=(count, 2))
    y = graph.variables("y", (count,), 2, scores.astype(dtype))
    table = np.zeros((2, 2)) if table is None else table
    graph.factors("bag", [y[pairs[:, 0]], y[pairs[:, 1]]], np.asarray(table, dtype))
    return graph


def found(pairs, count):
    structure = pairs_graph(pairs, count).structure
    return structure, cliques_in(structure)[0]


@pytest.mark.parametrize("sizes", [(4,), (5, 5, 5), (6, 5, 4, 6)], ids=str)
def test_all_pairs_of_disjoint_sets_are_found_in_any_order(sizes):
    rng = np.random.default_rng(len(sizes))
    pairs = all_pairs(rng, sizes, 25)
    structure, cliques = found(pairs, 25)
    assert cliques.shape == (max(sizes), max(sizes), len(sizes))
    assert np.broadcast_to(cliques.joined, cliques.shape).sum() == 2 * len(pairs)
    for (first, second), to_first, to_second in zip(pairs, cliques.to_first, cliques.to_second, strict=True):
        to, of, number = np.unravel_index(to_first, cliques.shape)
        assert (cliques.members[to, number], cliques.members[of, number]) == (first, second)
        assert np.unravel_index(to_second, cliques.shape) == (of, to, number)
    given = [jnp.asarray(rng.normal(size=(1, len(pairs)))) for _ in range(2)]
    squares = jax.jit(cliques.squares)(*given)
    for ours, theirs in zip(jax.jit(cliques.ends)(squares), given, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    ends = Ends(net_of(structure).blocks[0].columns, (len(pairs),))
    ones = np.ones((1, 25))
    np.testing.assert_allclose(jax.jit(cliques.add)(ones, squares), jax.jit(ends.add)(ones, tuple(given)))


def test_what_is_not_all_pairs_of_disjoint_sets_is_none():
    rng = np.random.default_rng(0)
    pairs = all_pairs(rng, (5, 5), 12)
    assert found(pairs, 12)[1] is not None
    assert found(pairs[1:], 12)[1] is None
    assert found(np.concatenate([pairs, pairs[:1, ::-1]]), 12)[1] is None
    assert found(np.concatenate([pairs[1:], pairs[-1:]]), 12)[1] is None
    own = set(pairs[(pairs == pairs[0, 0]).any(axis=1)].reshape(-1).tolist())
    across = [pairs[0, 0], next(v for v in pairs.reshape(-1).tolist() if v not in own)]
    assert found(np.concatenate([pairs, [across]]), 12)[1] is None, "two sets that a pair joins"
    assert found(np.stack([np.zeros(10, int), np.arange(1, 11)], axis=1), 12)[1] is None, "a star"
    assert found(all_pairs(rng, (12, 2, 2, 2, 2, 2), 25), 25)[1] is None, "mostly empty squares"


KINDS = {"weak": 0.4, "ising": 2.5}


def mixed_graph(kind, sizes, shared, dtype=np.float64):
    """Cliques and other pairs, with tables of one kind."""
    rng = np.random.default_rng(3)
    pairs = all_pairs(rng, sizes, 20)
    strength = rng.uniform(-KINDS[kind], KINDS[kind], size=(1 if shared else len(pairs), 1, 1))
    strength[0] = KINDS[kind]
    tables = strength * np.eye(2)
    graph = pairs_graph(pairs, 20, tables[0] if shared else tables, rng, dtype)
    y = graph["y"]
    graph.factors("ring", [y, y[np.roll(np.arange(20), 7)]], rng.normal(size=(20, 2, 2)).astype(dtype))
    return graph, rng


@pytest.mark.kills("39k", kind="ising", sizes=(5, 5, 5), shared=True, dtype=np.float64)
@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("shared", [True, False], ids=["one table", "own tables"])
@pytest.mark.parametrize("sizes", [(5, 5, 5), (6, 5, 4)], ids=["alike", "unlike"])
@pytest.mark.parametrize("kind", KINDS)
def test_squares_send_what_their_pairs_send(kind, sizes, shared, dtype):
    graph, rng = mixed_graph(kind, sizes, shared, dtype)
    net, plain = net_of(graph.structure), Logs()
    fast = exchange_for(graph.structure, graph.potentials, 1.0)
    assert fast == LogOdds(("weak" if kind == "weak" else "any", "any"))
    assert [type(piece.layout) for piece in pieces_of(net)] == [Squares, Ends]
    messages = tuple(
        tuple(jnp.asarray(np.stack([np.zeros(block.size), rng.uniform(-0.5, 0.5, block.size)]), dtype) for _ in "ab")
        for block in net.blocks
    )
    messages = plain.as_logs(net, messages)
    scores = scores_of(net, graph.potentials, net.by_block([1.0, 1.0]))

    def send(form, messages):
        return form.as_logs(net, form.sweep(net, scores, form.prepared(net, scores), form.of_logs(net, messages)))

    wanted, sent = (jax.jit(send, static_argnums=0)(form, messages) for form in (plain, fast))
    for ours, theirs in zip(jax.tree.leaves(sent), jax.tree.leaves(wanted), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-13 if dtype == np.float64 else 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_beliefs_of_log_odds_are_those_of_the_general_form(kind):
    graph, rng = mixed_graph(kind, (6, 5, 4), True)
    net = net_of(graph.structure)
    odds = [[20 * rng.normal(size=block.size) for _ in "ab"] for block in net.blocks]
    messages = tuple(tuple(jnp.asarray(np.stack([np.minimum(-m, 0), np.minimum(m, 0)])) for m in b) for b in odds)
    scores = scores_of(net, graph.potentials, net.by_block([1.0, 1.0]))
    point, read = point_at(net, scores, messages, False), beliefs_at(net, scores, messages)
    np.testing.assert_allclose(read.log_z, log_z(net, scores, messages, point), rtol=1e-12)
    np.testing.assert_allclose(read.variables[2], probabilities(point.variables[2], 1), rtol=1e-10)
    for ours, theirs in zip(read.factors, point.factors, strict=True):
        np.testing.assert_allclose(ours, probabilities(theirs, 2), rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(read.inconsistency, inconsistency(net, point), rtol=1e-10)


@pytest.mark.slow
def test_a_run_on_cliques_is_that_of_their_pairs_and_starts_from_any_messages():
    graph, _ = mixed_graph("weak", (6, 5, 4), True)
    strong, _ = mixed_graph("ising", (6, 5, 4), True)
    first = propagated(strong, max_iters=30, tol=0.0)
    fast = propagated(graph, damping=0.5, max_iters=7, tol=0.0)
    net = net_of(graph.structure)
    plain = _program(graph.structure, Logs(False), Settings(False, 7), None)
    variables, factors, total, _, _, info = plain(
        net.places, graph.potentials, net.by_block([1.0, 1.0]), 0.0, 0.5, None
    )
    np.testing.assert_allclose(fast.variables[0], variables[0], atol=1e-12)
    for ours, theirs in zip(fast.factors, factors, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(fast.log_z, total, atol=1e-10)
    for name in ("residual", "inconsistency"):
        np.testing.assert_allclose(fast.info[name], info[name], atol=1e-12)
    assert first.structure == graph.structure
    kept = exchange_for(graph.structure, graph.potentials, 1.0).of_logs(net, first.messages)
    assert jnp.max(jnp.abs(kept[0][0])) <= REACH < jnp.max(jnp.abs(kept[1][0])), "a series is right for small numbers"
    for init in (None, first):
        ended = propagated(graph, init=init, certify=False)
        assert ended.verdict == "converged"
        np.testing.assert_allclose(ended.variables[0], propagated(graph, tol=1e-12).variables[0], atol=1e-9)


@pytest.mark.parametrize("dtype, near", [(np.float64, 6e-16), (np.float32, 2e-7)], ids=["f64", "f32"])
def test_weak_tables_lose_nothing_to_their_series(dtype, near):
    grid = np.linspace(-60, 60, 61), np.linspace(-REACH, REACH, 41), [-WEAK, -0.01, 0.1, WEAK]
    total, back, c = np.meshgrid(*grid, indexing="ij")
    sent = _in_series(jnp.asarray(c, dtype), jnp.tanh(jnp.asarray(total / 2, dtype)), jnp.asarray(back, dtype))
    np.testing.assert_allclose(sent, 2 * np.arctanh(c * np.tanh((total - back) / 2)), rtol=0, atol=near)
