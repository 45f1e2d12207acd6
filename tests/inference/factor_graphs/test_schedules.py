"""Schedules: every message has its turn, none waits for another of its turn, and all stay at the same fixed points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.graphs import FactorGraph, propagated
from lawful.inference.graphs.loopy.exchange import Logs
from lawful.inference.graphs.loopy.messages import net_of, scores_of, start
from lawful.inference.graphs.loopy.schedules import ends_of, turns_of
from lawful.inference.graphs.loopy.sweeping import steps_of, swept
from tests.inference.factor_graphs.networks import exact, largest_error, network
from tests.inference.factor_graphs.truth import Truth, grid, random_graph


def branches(seed=0):
    """Two trees with factors of three, and a variable alone."""
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    x = graph.variables("x", (9,), 2, rng.normal(size=(9, 2)))
    graph.factors("pair", [x[[0, 1, 4, 6]], x[[1, 2, 5, 7]]], rng.normal(size=(4, 2, 2)))
    graph.factors("three", [x[1], x[3], x[4]], rng.normal(size=(2, 2, 2)))
    return graph


def test_every_message_has_a_turn_and_reads_none_of_its_own():
    ends = ends_of(net_of(branches().structure))
    turns = turns_of(ends).tolist()
    senders = list(zip(ends.factor.tolist(), ends.variable.tolist(), strict=True))
    for (factor, variable), turn in zip(senders, turns, strict=True):
        others = {v for f, v in senders if f == factor and v != variable}
        heard = [t for (f, v), t in zip(senders, turns, strict=True) if v in others and f != factor]
        assert turn >= 0 and turn not in heard


@pytest.mark.kills("39j")
def test_a_step_sends_what_flooding_would_send_from_there():
    """A sweep against the update of one message after the other, damped and with counting numbers."""
    graph = branches(3)
    rng, net, logs = np.random.default_rng(1), net_of(graph.structure), Logs()
    counting = net.by_block([rng.uniform(0.6, 1.1, g.size) for g in graph.structure.groups])
    scores = scores_of(net, graph.potentials, counting)
    first = start(net, jnp.float64)
    whole = jax.jit(lambda m: logs.sweep(net, scores, scores.tables, m))
    flat, shape = jax.flatten_util.ravel_pytree(jax.tree.map(lambda m: m[0], first))
    wanted, ends = first, ends_of(net)
    assert shape(flat) is not None and len(flat) == len(ends.factor)
    turns = turns_of(ends)
    for turn in range(turns.max() + 1):
        new, sent = whole(wanted), shape(jnp.asarray(turns == turn, float))
        wanted = jax.tree.map(lambda a, b, s: jnp.where(s[None] > 0, logs.damped(a, b, 0.3), b), new, wanted, sent)
    found = jax.jit(lambda first: swept(net, scores, logs, steps_of(graph.structure), first, 0.3))(first)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("schedule", ["tree", "auto"])
@pytest.mark.parametrize("damping", [0.0, 0.3, 0.5, 0.9])
def test_bp_2_schedules_in_turns_are_exact_on_a_tree(data, schedule, damping):
    graph, truth = network(data, "tree_chain_potts"), exact(data, "tree_chain_potts")
    found = propagated(graph, damping=damping, schedule=schedule, max_iters=5000, tol=1e-13)
    assert (found.verdict, found.certificate) == ("converged", "exact")
    assert float(found.log_z) == pytest.approx(113.10420875487114, abs=1e-10)
    assert largest_error(found.beliefs, truth["marginals"]) <= 1e-10
    if damping == 0:
        assert int(found.info["iterations"]) == 1


@pytest.mark.slow
def test_two_passes_end_on_random_forests_with_hard_zeros():
    for seed in (1, 4):
        graph = random_graph(seed, 6, 5, tree=True)
        found = propagated(graph, damping=0.0, schedule="tree")
        assert found.verdict == "infeasible" or (found.verdict, int(found.info["iterations"])) == ("converged", 1)


def test_a_sweep_of_a_long_caterpillar_is_a_scan_of_few_wide_steps():
    """Leaves first, all at once, then a path: steps have one width, and hold no more than twice the messages."""
    n = 200
    graph = FactorGraph()
    x = graph.variables("x", (2 * n,), 2)
    graph.factors("legs", [x[:n], x[n:]], np.zeros((2, 2)))
    graph.factors("spine", [x[: n - 1], x[1:n]], np.zeros((2, 2)))
    sent, messages = steps_of(graph.structure).sent, 2 * (2 * n - 1)
    blocks = net_of(graph.structure).blocks
    assert sum(int((numbers < blocks[k].size).sum()) for (k, _), numbers in sent.items()) == messages
    assert sum(numbers.size for numbers in sent.values()) <= 4 * messages


@pytest.mark.slow
def test_all_sweeps_in_turns_can_be_differentiated():
    rng = np.random.default_rng(2)
    graph = FactorGraph()
    x = graph.variables("x", (4,), 2, rng.normal(size=(4, 2)))
    graph.factors("pair", [x[[0, 1, 1]], x[[1, 2, 3]]], rng.normal(size=(3, 2, 2)))

    def told(p):
        return propagated(graph.replace(p), damping=0.1, schedule="tree", max_iters=30, gradient="unrolled").log_z

    wanted, found = Truth(graph), jax.grad(told)(graph.potentials)
    np.testing.assert_allclose(found.unary[0], wanted.variables["x"], atol=1e-9)
    np.testing.assert_allclose(found.tables[0], wanted.factors["pair"], atol=1e-9)


@pytest.mark.parametrize(("schedule", "made", "message"), [
    ("tree", lambda: grid(np.random.default_rng(0), 2, 2), "schedule='tree': the graph has a cycle"),
    ("best", lambda: random_graph(3, 4, 0), "schedule: expected one of auto, flooding, residual, tree, got"),
])  # fmt: skip
def test_a_schedule_that_does_not_fit_the_graph_is_refused(schedule, made, message):
    with pytest.raises(LawfulError, match=message):
        propagated(made(), schedule=schedule)


def test_a_graph_without_messages_has_nothing_to_send():
    graph = FactorGraph()
    graph.variables("x", (3,), 2, np.arange(6.0).reshape((3, 2)))
    assert propagated(graph, schedule="tree").verdict == "converged"


@pytest.mark.slow
def test_what_counts_have_to_tell_is_sent_at_the_end_of_a_sweep():
    rng = np.random.default_rng(0)
    graph = FactorGraph()
    y = graph.variables("y", (6,), 2, rng.normal(size=(6, 2)))
    graph.factors("pair", [y[:2], y[4:]], 0.5 * rng.normal(size=(2, 2, 2)))
    graph.count("seen", y[:4])
    graph = graph.observe({"seen": 2})
    wanted, found = (propagated(graph, damping=0.2, tol=1e-13, schedule=s) for s in ("flooding", "tree"))
    assert (wanted.verdict, found.verdict) == ("converged", "converged")
    np.testing.assert_allclose(found.beliefs["y"], wanted.beliefs["y"], atol=1e-10)
