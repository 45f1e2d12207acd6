"""Loopy belief propagation: one sweep is the textbook update, and what stays is its fixed point, exact on forests."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import LawfulError
from lawful.inference.graphs import FactorGraph, Variables, eliminated, propagated
from lawful.inference.graphs.loopy.columns import Box, Index
from lawful.inference.graphs.loopy.exchange import Logs
from lawful.inference.graphs.loopy.forms import exchange_for
from lawful.inference.graphs.loopy.free_energy import free_energy, point_at
from lawful.inference.graphs.loopy.log_odds import LogOdds
from lawful.inference.graphs.loopy.loopy import Settings
from lawful.inference.graphs.loopy.messages import net_of, scores_of
from lawful.inference.graphs.loopy.propagation import _program
from tests.inference.factor_graphs.networks import exact, largest_error, network
from tests.inference.factor_graphs.truth import Truth, cases, grid, holed, random_graph
from tests.tiers import rest_slow


def textbook(graph, messages, counting, temperature=1.0):
    """One sweep, edge by edge, in NumPy: messages[group][axis] is (G, K)."""
    structure, potentials = graph.structure, graph.potentials
    edges = [
        (g, k, axis, int(v))
        for g, group in enumerate(structure.groups)
        if group.arity > 1
        for k, scope in enumerate(group.scopes)
        for axis, v in enumerate(scope)
    ]
    unary = [np.asarray(s)[k] for s in potentials.unary for k in range(len(s))]
    for g, group in enumerate(structure.groups):
        if group.arity == 1:
            for k, (v,) in enumerate(group.scopes):
                unary[v] = unary[v] + np.asarray(potentials.tables[g])[0 if group.shared else k]

    def send(g, k, axis, v):
        total = np.array(unary[v], float)
        for h, j, other, u in edges:
            if u == v:
                share = counting[h][j] - (1.0 if (h, j, other) == (g, k, axis) else 0.0)
                message = messages[h][other][j]
                own = (h, j, other) == (g, k, axis)
                finite = np.where(np.isneginf(message), 0.0, message)
                total += np.where(np.isneginf(message) & (not own), -np.inf, share * finite)
        return total

    sent = {edge[:3]: send(*edge) for edge in edges}
    found = {}
    for g, k, axis, _ in edges:
        group = structure.groups[g]
        table = np.asarray(potentials.tables[g])[0 if group.shared else k] / counting[g][k]
        out = np.full(group.cardinalities[axis], -np.inf)
        for states in itertools.product(*map(range, group.cardinalities)):
            score = table[states] + sum(sent[g, k, j][s] for j, s in enumerate(states) if j != axis)
            out[states[axis]] = (np.logaddexp if temperature else np.maximum)(out[states[axis]], score)
        found[g, k, axis] = out - (out.max() if np.isfinite(out.max()) else 0)
    return found


@pytest.mark.kills("39", "39c", temperature=1.0)
@pytest.mark.rest_slow
@pytest.mark.parametrize("temperature", [1.0, None], ids=["sum", "max"])
@settings(max_examples=40)
@given(case=cases(variables=4, factors=4))
def test_one_sweep_is_the_textbook_update(temperature, case):
    graph = random_graph(*case)
    rng, net = np.random.default_rng(case[0]), net_of(graph.structure)
    counting = [rng.uniform(0.4, 1.3, size=g.size) for g in graph.structure.groups]
    given = [[_level(holed(rng, (g.size, k), 0.1)) for k in g.cardinalities] for g in graph.structure.groups]
    wanted = textbook(graph, given, counting, temperature)
    messages = tuple(
        tuple(
            jnp.asarray(
                np.concatenate([given[p.group][p.order[axis]] for p in block.parts]).T.reshape((card, *block.shape))
            )
            for axis, card in enumerate(block.cardinalities)
        )
        for block in net.blocks
    )
    scores = scores_of(net, graph.potentials, net.by_block(counting))
    exchange = Logs(temperature=temperature)
    sent = exchange.sweep(net, scores, exchange.prepared(net, scores), messages)
    for block, of in zip(net.blocks, sent, strict=True):
        for axis, message in enumerate(of):
            rows = iter(np.asarray(message).reshape((len(message), -1)).T)
            for part in block.parts:
                for k in range(part.size):
                    np.testing.assert_allclose(next(rows), wanted[part.group, k, part.order[axis]], rtol=0, atol=1e-12)


def _level(message):
    top = message.max(axis=1, keepdims=True)
    return message - np.where(np.isfinite(top), top, 0)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "card, arity, kind", [(2, 2, "any"), (2, 2, "ising"), (2, 2, "weak"), (3, 2, ""), (2, 3, ""), (4, 2, "potts")]
)
def test_every_form_of_messages_sends_the_same(card, arity, kind):
    rng = np.random.default_rng(card)
    graph = FactorGraph()
    x = graph.variables("x", (6,), card, 3 * rng.normal(size=(6, card)))
    scopes = np.array([rng.permutation(6)[:arity] for _ in range(8)])
    tables = 4 * rng.normal(size=(8, *[card] * arity))
    if kind in ("ising", "weak", "potts"):
        low, high = {"ising": (-4, 4), "weak": (-0.5, 0.5), "potts": (0, 8)}[kind]
        tables = rng.uniform(low, high, size=(8, 1, 1)) * np.eye(card)
    graph.factors("f", [x[scopes[:, axis]] for axis in range(arity)], tables)
    net, plain = net_of(graph.structure), Logs()
    fast = exchange_for(graph.structure, graph.potentials, 1.0)
    pairs = (card, arity) == (2, 2)
    known = "weak" if kind == "weak" else "any"
    assert fast == (LogOdds((known,)) if pairs else Logs(False, 1.0, weights=True, potts=kind == "potts"))
    scores = scores_of(net, graph.potentials, net.by_block([1.0]))
    size = 0.15 if kind == "weak" else 5
    messages = tuple(
        tuple(jnp.asarray(_level(size * rng.normal(size=(8, card))).T) for _ in range(arity)) for _ in range(1)
    )

    @functools.partial(jax.jit, static_argnums=0)
    def send(form, messages):
        return form.as_logs(net, form.sweep(net, scores, form.prepared(net, scores), form.of_logs(net, messages)))

    @functools.partial(jax.jit, static_argnums=0)
    def mix(form, *pair):
        one, other = (form.of_logs(net, m) for m in pair)
        return form.as_logs(net, jax.tree.map(lambda a, b: form.damped(a, b, 0.3), one, other))

    wanted, sent = send(plain, messages), send(fast, messages)
    for ours, theirs in zip(jax.tree.leaves(sent), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    mixed = [mix(form, sent, messages) for form in (plain, fast)]
    for ours, theirs in zip(*map(jax.tree.leaves, mixed), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.kills("38")
@pytest.mark.slow
@settings(max_examples=25)
@given(case=cases(variables=5, factors=4))
def test_a_converged_run_on_a_forest_is_exact(case):
    graph = random_graph(*case, tree=True)
    truth, found = Truth(graph), propagated(graph, damping=0.3)
    if truth.log_z == -np.inf:
        assert found.verdict == "infeasible" and float(found.log_z) == -np.inf
        return
    assert (found.verdict, found.certificate) == ("converged", "exact")
    assert float(found.log_z) == pytest.approx(truth.log_z, abs=1e-9)
    for name, p in truth.variables.items():
        np.testing.assert_allclose(found.beliefs[name], p, atol=1e-8)
    for name, p in truth.factors.items():
        np.testing.assert_allclose(found.factor_beliefs(name), p, atol=1e-8)


@pytest.mark.parametrize("schedule", ["flooding", "residual"])
@pytest.mark.parametrize("damping", rest_slow([0.3, 0.0, 0.5, 0.9]))
def test_bp_2_damping_and_schedule_do_not_move_the_fixed_point(data, damping, schedule):
    graph, truth = network(data, "tree_chain_potts"), exact(data, "tree_chain_potts")
    found = propagated(graph, damping=damping, schedule=schedule, max_iters=5000, tol=1e-13)
    assert (found.verdict, found.certificate) == ("converged", "exact")
    assert float(found.log_z) == pytest.approx(113.10420875487114, abs=1e-10)
    assert largest_error(found.beliefs, truth["marginals"]) <= 1e-10
    if damping == 0.9:
        largest = propagated(graph, temperature=None, damping=damping, max_iters=5000, tol=1e-12)
        states = {"x": np.asarray(largest.beliefs["x"]).argmax(axis=-1)}
        assert float(graph.log_score(states)) == pytest.approx(74.1302, abs=1e-10)


FIXED_POINTS = [
    ("ising_grid_6x8", 0, 0.01420, -0.003086), ("asia", 0, 0.00334, 0.0), ("asia", 1, 0.0, 0.0), ("asia", 2, 0.0, 0.0),
    ("sachs", 0, 0.07130, 0.0), ("sachs", 1, 0.02727, 0.0), ("sachs", 2, 0.02861, 0.05146),
    ("alarm", 0, 0.23907, 0.0), ("alarm", 1, 0.15117, 0.0), ("alarm", 2, 0.01055, 0.0),
]  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "name, query, marginal_error, log_z_error",
    [pytest.param(*point, marks=[pytest.mark.slow] if point[0] == "alarm" else []) for point in FIXED_POINTS],
)
def test_bp_5_loopy_runs_reach_the_known_fixed_points(data, name, query, marginal_error, log_z_error):
    graph, truth = network(data, name), exact(data, name)
    asked = truth["queries"][query] if "queries" in truth else truth | {"log_evidence": truth["log_partition"]}
    for damping in (0.0, 0.5):
        found = propagated(graph.observe(asked.get("evidence", {})), damping=damping, tol=1e-12)
        unique = name == "ising_grid_6x8"
        assert (found.verdict, found.certificate) == ("converged", "unique-fixed-point" if unique else "none")
        assert largest_error(found.beliefs, asked["marginals"]) == pytest.approx(marginal_error, abs=1e-4)
        assert float(found.log_z) - asked["log_evidence"] == pytest.approx(log_z_error, abs=1e-4)
        assert float(found.info["inconsistency"]) < 1e-10


@pytest.mark.rest_slow
@pytest.mark.parametrize("seed", range(4))
def test_bp_7_both_forms_of_log_z_agree_at_a_fixed_point(seed):
    rng = np.random.default_rng(seed)
    graph = grid(rng, 3, 3, card=3, strength=0.4)
    counting = [[1.0, 1.0], [0.5, 0.7], [rng.uniform(0.6, 1.0, 6), rng.uniform(0.6, 1.0, 6)], [1.2, 0.9]][seed]
    found = propagated(graph, counting=counting, damping=0.3, max_iters=3000, tol=1e-13)
    assert found.verdict == "converged"
    net = net_of(graph.structure)

    def energy(potentials, messages):
        scores = scores_of(net, potentials, net.by_block(counting))
        return free_energy(net, scores, point_at(net, scores, messages, hard=True))

    assert float(jax.jit(energy)(graph.potentials, found.messages)) == pytest.approx(float(found.log_z), abs=1e-10)


@pytest.mark.slow
def test_residuals_are_of_the_undamped_change():
    """A damped run reports what an undamped sweep would still change: with damping 0.9 ten times the change made."""
    graph = grid(np.random.default_rng(5), 4, 4, strength=1.5)
    found = propagated(graph, damping=0.9, max_iters=30, tol=0.0)
    net = net_of(graph.structure)
    before = propagated(graph, damping=0.9, max_iters=29, tol=0.0).messages
    scores = scores_of(net, graph.potentials, (1.0, 1.0))
    logs = Logs()
    after = logs.sweep(net, scores, logs.prepared(net, scores), before)
    pairs = zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True)
    wanted = max(float(logs.changes(a, b).max()) for a, b in pairs)
    assert float(found.info["residual"]) == pytest.approx(wanted, rel=1e-9)


def test_a_state_that_was_excluded_can_come_back_under_damping():
    new, old = jnp.array([[0.0], [-1.0]]), jnp.array([[0.0], [-jnp.inf]])
    logs = Logs()
    np.testing.assert_array_equal(logs.damped(new, old, 0.9), new)
    np.testing.assert_array_equal(logs.damped(old, new, 0.0), old)
    assert float(logs.changes(new, old)[0]) == np.inf and float(logs.changes(old, old)[0]) == 0.0


@pytest.mark.parametrize("seed", rest_slow(range(3), 2))
def test_bp_11_strong_spin_glasses_are_never_called_converged_before_they_stay(seed):
    """With fields: without them messages that say nothing stay at once. Whatever tolerance is asked for."""
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    z = graph.variables("z", (20, 20), 2, rng.normal(size=(20, 20, 2)))
    signs = 2 * np.eye(2) - 1
    graph.factors("down", [z[:-1], z[1:]], 2 * rng.normal(size=(380, 1, 1)) * signs)
    graph.factors("right", [z[:, :-1], z[:, 1:]], 2 * rng.normal(size=(380, 1, 1)) * signs)
    found = propagated(graph, max_iters=200, tol=50.0)
    assert float(found.info["residual"]) > 1e-3
    assert found.verdict in ("oscillating", "slow") and not found.converged


def test_a_contradiction_is_infeasible():
    graph = FactorGraph()
    x = graph.variables("x", (3,), 2)
    graph.factors("equal", [x[:-1], x[1:]], np.log(np.eye(2), where=np.eye(2) > 0, out=np.full((2, 2), -np.inf)))
    found = propagated(graph.observe({"x": (np.array([0, 2]), np.array([0, 1]))}))
    assert found.verdict == "infeasible" and float(found.log_z) == -np.inf
    assert np.isfinite(np.asarray(found.beliefs["x"])).all()


@pytest.mark.kills("39b")
def test_hard_zeros_on_a_loop_are_kept_and_no_possible_state_is_lost():
    graph = FactorGraph()
    x = graph.variables("x", (4,), 3, np.random.default_rng(0).normal(size=(4, 3)))
    differ = np.where(np.eye(3) > 0, -np.inf, 0.0)
    graph.factors("differ", [x, x[np.array([1, 2, 3, 0])]], differ)
    found = propagated(graph)
    assert found.verdict == "converged"
    beliefs = np.asarray(found.factor_beliefs("differ"))
    assert (beliefs[:, np.eye(3) > 0] == 0).all() and (beliefs[:, np.eye(3) == 0] > 0).all()


def test_a_warm_start_needs_fewer_sweeps_and_the_same_structure():
    graph = grid(np.random.default_rng(2), 6, 6, strength=0.8)
    cold = propagated(graph, damping=0.5)
    warm = propagated(graph, damping=0.5, init=cold)
    assert int(warm.info["iterations"]) == 10 < int(cold.info["iterations"])
    np.testing.assert_allclose(warm.beliefs["z"], cold.beliefs["z"], atol=1e-8)
    with pytest.raises(LawfulError, match="init: expected the answer of belief propagation on a graph of this"):
        propagated(grid(np.random.default_rng(2), 5, 6), init=cold)
    with pytest.raises(LawfulError, match="got no messages"):
        propagated(graph, init=eliminated(graph))


@pytest.mark.parametrize("wrong, message", [
    ({"schedule": "random"}, "schedule: expected one of auto, flooding, residual, tree, got 'random'"),
    ({"damping": 1.0}, r"damping: expected a share in \[0, 1\), or None, got 1.0"),
    ({"max_iters": 0}, "max_iters: expected at least 1, got 0"),
    ({"counting": [1.0]}, "counting: expected numbers for 2 groups, got 1"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(LawfulError, match=message):
        propagated(grid(np.random.default_rng(0), 2, 2), **wrong)


@pytest.mark.slow
def test_a_map_over_evidence_is_the_loop():
    graph = grid(np.random.default_rng(1), 3, 4, strength=0.5)
    states = np.random.default_rng(2).integers(0, 2, size=(6, 4))
    run = jax.jit(jax.vmap(lambda row: propagated(graph.observe({"z": (0, row)}), damping=0.0)))
    found = run(states)
    for k in range(len(states)):
        alone = propagated(graph.observe({"z": (0, states[k])}), damping=0.0)
        np.testing.assert_allclose(found.beliefs["z"][k], alone.beliefs["z"], atol=1e-9)
        assert found.verdict[k] == alone.verdict


@pytest.mark.rest_slow
@pytest.mark.parametrize("scope", ["all", "rows", "every second", "several families"])
def test_slices_and_indices_exchange_the_same_messages(scope):
    """Variables in a box are read by slices; the same factors in another order are read by an index."""
    rng = np.random.default_rng(4)

    def built(order):
        graph = FactorGraph()
        graph.variables("a", (3,), 2, np.arange(6.0).reshape((3, 2)) / 5)
        z = graph.variables("z", (4, 5), 2, np.sin(np.arange(40.0)).reshape((4, 5, 2)))
        w = graph.variables("w", (4, 5), 2, np.cos(np.arange(40.0)).reshape((4, 5, 2)))
        first, second = {
            "all": (z, w), "rows": (z[:-1], z[1:]), "every second": (z[::2, 1::2], w[1::2, ::2][:, :2]),
            "several families": (z[1], w[2]),
        }[scope]  # fmt: skip
        tables = rng_tables[: first.numbers.size]
        keep = order(first.numbers.size)
        graph.factors("f", [Variables(x.family, x.numbers.reshape(-1)[keep]) for x in (first, second)], tables[keep])
        return graph

    rng_tables = rng.normal(size=(20, 2, 2))
    boxes, indices = built(np.arange), built(lambda n: np.random.default_rng(0).permutation(n))
    kinds = [net_of(g.structure).blocks[0].columns[0] for g in (boxes, indices)]
    assert isinstance(kinds[0], Box) and isinstance(kinds[1], Index)
    one, other = propagated(boxes, damping=0.2), propagated(indices, damping=0.2)
    for name in ("a", "z", "w"):
        np.testing.assert_allclose(one.beliefs[name], other.beliefs[name], atol=1e-9)
    assert float(one.log_z) == pytest.approx(float(other.log_z), abs=1e-9)


def test_other_potentials_evidence_and_damping_are_not_compiled_again():
    graph = grid(np.random.default_rng(1), 3, 3)
    observed = graph.observe({"z": (0, np.array([0, 1, 0]))})
    propagated(observed, damping=0.5)
    program = _program(graph.structure, Logs(), Settings(), None)
    before = program._cache_size()
    propagated(graph.observe({"z": (1, np.array([1, 1, 0]))}), damping=0.3, tol=1e-6)
    assert program._cache_size() == before == 1
