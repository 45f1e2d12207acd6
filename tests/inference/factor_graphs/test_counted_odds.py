"""Log odds of pairs and counts: the fixed points and messages are those of the general form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.graphs import (
    FactorGraph,
    eliminated,
    propagated,
)
from lawful.inference.graphs.loopy.counted_odds import CountedOdds
from lawful.inference.graphs.loopy.exchange import Logs
from lawful.inference.graphs.loopy.forms import exchange_for
from lawful.inference.graphs.loopy.log_odds import LogOdds
from lawful.inference.graphs.loopy.messages import net_of, scores_of
from tests.inference.factor_graphs.truth import counted_graph


def paired_bags(states=1):
    """Binary variables in pairs, in ragged bags that do not overlap, some counts known exactly and some vaguely."""
    rng, graph = np.random.default_rng(2), FactorGraph()
    y = graph.variables("y", (12,), 2, rng.normal(size=(12, 2)))
    graph.factors("pairs", [y[[0, 3, 5, 7, 1, 9]], y[[4, 8, 0, 2, 6, 3]]], rng.normal(size=(6, 2, 2)))
    scores = np.full((3, 6), -np.inf)
    scores[0, 2], scores[1, 0], scores[2, :4] = 0.0, 0.0, rng.normal(size=4)
    graph.count("n", y[:11], scores, bags=np.repeat([0, 1, 2], [5, 3, 3]), state=states)
    return graph


@pytest.mark.slow
@pytest.mark.parametrize("states", [1, [0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0]])
def test_log_odds_of_pairs_and_counts_have_the_fixed_point_of_the_general_form(states, monkeypatch):
    graph = paired_bags(states)
    assert exchange_for(graph.structure, graph.potentials, 1.0) == CountedOdds(LogOdds(("any",)))
    fast = propagated(graph, tol=1e-12, certify=False)
    early = propagated(graph, max_iters=1, damping=0.7, certify=False, factors=False)
    again = propagated(graph, tol=1e-12, certify=False, init=fast)
    monkeypatch.setattr("lawful.inference.graphs.loopy.propagation.exchange_for", lambda *_: Logs(True, 1.0))
    plain = propagated(graph, tol=1e-12, certify=False)
    assert fast.verdict == plain.verdict == "converged" and int(again.info["iterations"]) == 10
    assert float(fast.log_z) == pytest.approx(float(plain.log_z), rel=1e-10)
    for name in ("y", "n"):
        np.testing.assert_allclose(fast.beliefs[name], plain.beliefs[name], atol=1e-9)
    np.testing.assert_allclose(fast.factor_beliefs("pairs"), plain.factor_beliefs("pairs"), atol=1e-9)
    with pytest.raises(LawfulError, match="factors=False"):
        early.factor_beliefs("pairs")
    assert set(early.beliefs) == {"y"} and early.factors == (None,)
    with pytest.raises(LawfulError, match="count 'n' was left out"):
        early.factor_beliefs("n")
    counts_at_once = np.where(np.broadcast_to(states, 11), early.beliefs["y"][:11, 1], early.beliefs["y"][:11, 0])
    np.testing.assert_allclose(counts_at_once[:5].sum(), 2, atol=1e-9)  # after one sweep, as at all times
    np.testing.assert_allclose(counts_at_once[5:8], 0, atol=1e-12)


def test_log_odds_are_kept_only_where_they_say_all():
    graph = paired_bags()
    known = graph.observe({"y": ([0], [1])})
    read = paired_bags()
    n = read["n"]
    read.factors("read", [n[[0]], n[[1]]], np.zeros((6, 6)))
    twice = paired_bags()
    twice.count("again", twice["y"][[0, 1]])
    for other in (known, read, twice, counted_graph(11)):
        assert isinstance(exchange_for(other.structure, other.potentials, 1.0), Logs)
    assert isinstance(exchange_for(graph.structure, graph.potentials, None), Logs)


@pytest.mark.slow
def test_log_odds_tell_members_what_logs_do():
    rng = np.random.default_rng(4)
    graph = FactorGraph()
    y = graph.variables("y", (12,), 2, rng.normal(size=(12, 2)))
    graph.variables("alone", cardinality=3, log_potential=rng.normal(size=3))
    graph.count("n", y[rng.permutation(12).reshape((3, 4))], rng.normal(size=(3, 5)), state=rng.integers(0, 2, (3, 4)))
    graph.count("m", y[[0, 3, 7]], rng.normal(size=4))
    graph.factors("pairs", [y, y[np.roll(np.arange(12), 5)]], rng.normal(size=(12, 2, 2)))
    net, plain = net_of(graph.structure), Logs(leaves=True)
    fast = exchange_for(graph.structure, graph.potentials, 1.0)
    assert fast == LogOdds(("any",))
    scores = scores_of(net, graph.potentials, net.by_block([1.0]))
    noise = jax.tree.map(lambda m: jnp.asarray(rng.normal(size=m.shape)), plain.start(net, float))
    messages = plain.as_logs(net, noise)
    wanted = plain.sweep(net, scores, plain.prepared(net, scores), messages)
    sent = fast.as_logs(net, fast.sweep(net, scores, fast.prepared(net, scores), fast.of_logs(net, messages)))
    told = [[*found[0], *(members for members, _ in found[1:])] for found in (sent, wanted)]
    for ours, theirs in zip(*told, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    # What the counts hear is added at the end, from the messages that the members have then.
    done = fast.completed(net, scores, fast.as_logs(net, fast.of_logs(net, messages)))
    for (_, ours), (_, theirs) in zip(done[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    found, exact = propagated(graph, damping=0.3), eliminated(graph)
    assert found.converged
    np.testing.assert_allclose(found.beliefs["alone"], exact.beliefs["alone"], atol=1e-12)
    np.testing.assert_allclose(found.beliefs["n"].sum(axis=-1), 1, atol=1e-12)


def test_a_bag_of_one_member_has_a_count_of_two_states():
    graph = FactorGraph()
    y = graph.variables("y", (2,), 2, np.array([[0.0, 0.3], [0.2, 0.0]]))
    graph.factors("pair", [y[[0]], y[[1]]], np.array([[0.5, 0.0], [0.0, 1.0]]))
    graph.count("n", y[:1], np.array([0.0, 0.7]))
    found, exact = propagated(graph), eliminated(graph)
    assert float(found.log_z) == pytest.approx(float(exact.log_z), rel=1e-12)
    for name in ("y", "n"):
        np.testing.assert_allclose(found.beliefs[name], exact.beliefs[name], atol=1e-12)
