"""Counts in a graph: the measure is that of the indicator that each count is right, however it is computed."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful import inference
from lawful.errors import LawfulError, ObservationError, WidthError
from lawful.inference.graphs import (
    FactorGraph,
    Potentials,
    eliminated,
    infer,
    most_probable,
    plan,
    planning,
    propagated,
    unfolded,
)
from lawful.inference.graphs.counts import potentials
from lawful.inference.graphs.inference import pushed, uniforms_of
from lawful.inference.graphs.loopy.exchange import Logs
from lawful.inference.graphs.loopy.forests import by_messages, mass_and_marginals
from lawful.inference.graphs.loopy.free_energy import free_energy, point_at
from lawful.inference.graphs.loopy.loopy import Settings, run
from lawful.inference.graphs.loopy.messages import net_of, scores_of
from lawful.inference.graphs.model.restriction import Restriction
from lawful.inference.graphs.model.structure import Group, Structure
from lawful.inference.graphs.reading.to_program import to_program
from tests.inference.factor_graphs.truth import Truth, assignments, counted_graph, log_scores
from tests.tiers import rest_slow


def as_tables(graph):
    """The same graph with each count as one table of all its members and of the count, in the same order."""
    groups, tables = list(graph.structure.groups), list(graph.potentials.tables)
    cards = graph.structure.cardinalities
    for count in graph.structure.counted:
        for bag, holder in enumerate(count.totals.tolist()):
            own = slice(count.starts[bag], count.starts[bag + 1])
            scope = [*count.members[own].tolist(), holder]
            sizes = tuple(cards[scope].tolist())
            grid = np.indices(sizes)
            right = (
                sum((grid[k] == s for k, s in enumerate(count.states[own].tolist())), np.zeros(sizes, int)) == grid[-1]
            )
            groups.append(Group(f"{count.name} {bag}", np.array([scope]), sizes, True))
            tables.append(np.where(right, 0.0, -np.inf)[None])
    other = FactorGraph()
    for family, scores in zip(graph.structure.families, graph.potentials.unary, strict=True):
        other.variables(family.name, family.shape, family.cardinality, np.reshape(scores, (*family.shape, -1)))
    return other.extended(Structure(graph.structure.families, tuple(groups)), (), tables[: len(groups)])


@pytest.mark.rest_slow
@pytest.mark.parametrize("seed", range(3))
def test_elimination_sums_every_assignment_whose_counts_are_right(seed):
    graph = counted_graph(seed)
    truth, found = Truth(graph), eliminated(graph)
    np.testing.assert_allclose(found.log_z, truth.log_z, rtol=1e-12)
    for name, marginals in truth.variables.items():
        np.testing.assert_allclose(found.beliefs[name], marginals, atol=1e-12)
    for name, marginals in truth.factors.items():
        np.testing.assert_allclose(found.factor_beliefs(name), marginals, atol=1e-12)
    best = most_probable(graph)
    states, score = best.states, best.log_score
    np.testing.assert_allclose([score, graph.log_score(states)], truth.largest, rtol=1e-12)


@pytest.mark.kills("40c", temperature=1.0)
@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, None, 0.6])
def test_a_sweep_sends_the_messages_of_the_table_of_all_members(temperature):
    graph = counted_graph(11)
    tables = as_tables(graph)
    settings = Settings(max_iters=3, watched=False)
    ended = []
    for g in (graph, tables):
        net = net_of(g.structure)
        scores = scores_of(net, g.potentials, net.by_block([1.0] * len(g.structure.groups)))
        found = run(net, scores, Logs(True, temperature), settings, 0.0, 0.3)
        ended.append((point_at(net, scores, found.messages, True), net))
    for card, _ in ended[0][1].cardinalities:
        ours, theirs = (np.asarray(e[0].variables[card]) for e in ended)
        read = slice(0, -1 if card == 3 else None)  # nothing reads the last count, so it hears of the end at once
        np.testing.assert_allclose(
            (ours - ours.max(axis=0))[:, read], (theirs - theirs.max(axis=0))[:, read], atol=1e-11
        )


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, None])
def test_fixed_points_are_those_of_tables(temperature):
    graph = counted_graph(11, zeros=0.0)
    settings = {"tol": 1e-12, "certify": False, "temperature": temperature}
    found, tables = propagated(graph, **settings), propagated(as_tables(graph), **settings)
    assert found.verdict == tables.verdict == "converged"
    np.testing.assert_allclose(found.log_z, tables.log_z, rtol=1e-10)
    for name, beliefs in tables.beliefs.items():
        np.testing.assert_allclose(found.beliefs[name], beliefs, atol=1e-9)
    if temperature == 1.0:
        net = net_of(graph.structure)
        scores = scores_of(net, graph.potentials, net.by_block([1.0] * len(graph.structure.groups)))
        point = point_at(net, scores, found.messages, True)
        np.testing.assert_allclose(free_energy(net, scores, point), found.log_z, rtol=1e-10)


@pytest.mark.slow
def test_a_tenth_of_the_messages_at_a_time_has_the_same_fixed_point():
    graph = counted_graph(11, zeros=0.0)
    flooding, turns = (propagated(graph, tol=1e-12, certify=False, schedule=s) for s in ("flooding", "residual"))
    assert turns.verdict == "converged"
    np.testing.assert_allclose(turns.log_z, flooding.log_z, rtol=1e-10)


@pytest.mark.slow
def test_the_derivative_of_log_z_at_a_fixed_point_is_the_beliefs():
    graph, rng = FactorGraph(), np.random.default_rng(0)
    y = graph.variables("y", (3,), 2, rng.normal(size=(3, 2)))
    graph.factors("ring", [y, y[[1, 2, 0]]], rng.normal(size=(2, 2)))
    graph.count("n", y, rng.normal(size=4))

    def log_z(unary):
        other = graph.replace(Potentials(unary, graph.potentials.tables))
        return propagated(other, tol=1e-12, certify=False).log_z

    for slope, beliefs in zip(jax.grad(log_z)(graph.potentials.unary), propagated(graph).variables, strict=True):
        np.testing.assert_allclose(slope, np.reshape(beliefs, slope.shape), atol=1e-7)


@pytest.mark.slow
def test_derivatives_at_a_fixed_point_are_those_of_tables():
    graph = counted_graph(11, zeros=0.0)
    tables = as_tables(graph)

    def asked(of):
        def function(unary):
            potentials = Potentials(unary, of.potentials.tables)
            found = propagated(of.replace(potentials), tol=1e-12, certify=False)
            return found.log_z + jnp.sum(found.beliefs["y"][:, 1] * jnp.arange(6.0)) + found.beliefs["m"][0, 1]

        return jax.grad(function)(of.potentials.unary)

    for ours, theirs in zip(asked(graph), asked(tables), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_messages_on_a_forest_are_exact(seed):
    graph = counted_graph(seed, forest=True)
    assert graph.structure.is_forest and not counted_graph(seed).structure.is_forest
    truth, found = Truth(graph), by_messages(graph)
    assert (found.verdict, found.certificate) == ("exact", "exact")
    np.testing.assert_allclose(found.log_z, truth.log_z, rtol=1e-12)
    for name, marginals in truth.variables.items():
        np.testing.assert_allclose(found.beliefs[name], marginals, atol=1e-12)
    np.testing.assert_allclose(found.factor_beliefs("read"), truth.factors["read"], atol=1e-12)


@pytest.fixture
def by_descent(monkeypatch):
    """Forests with counts are never written as tables."""
    monkeypatch.setattr(planning, "UNFOLDED_UP_TO", 0)
    planning.planned.cache_clear()
    yield
    planning.planned.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("ternary", [False, True])
def test_draws_from_a_forest_have_the_law_of_all_variables_and_the_best_one_is_best(by_descent, ternary):
    graph = counted_graph(5, forest=True) if not ternary else FactorGraph()
    if ternary:
        rng = np.random.default_rng(0)
        z = graph.variables("z", (3,), 3, rng.normal(size=(3, 3)))
        graph.count("n", z, rng.normal(size=4), state=[0, 2, 1])
    truth, draws = Truth(graph), 20_000
    u = np.random.default_rng(7).random((draws, uniforms_of(plan(graph))))
    found = jax.vmap(lambda row: pushed(graph, row))(jnp.asarray(u))
    flat = np.concatenate([np.reshape(found[f.name], (draws, -1)) for f in graph.structure.families], axis=1)
    listed, p = assignments(graph), truth.probabilities
    place = {tuple(row): k for k, row in enumerate(listed.tolist())}
    seen = np.bincount([place[tuple(row)] for row in flat.tolist()], minlength=len(p)) / draws
    # No assignment out of so many is off by 5.5 standard errors of a binomial share: 1e-7 for each in a normal tail.
    assert np.all(np.abs(seen - p) <= 5.5 * np.sqrt(p * (1 - p) / draws) + 1e-3 * (p > 0))
    assert 0.5 * np.abs(seen - p).sum() < 0.5 * np.sqrt(np.sum(p > 0) / draws) + 0.02
    best = most_probable(graph)
    states, score = best.states, best.log_score
    np.testing.assert_allclose([score, graph.log_score(states)], truth.largest, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_label_proportions_have_the_published_answers(data, dtype):
    """Every bag of the reference file in one graph, by one call, the bags ragged."""
    file = json.loads((data / "exact" / "llp_bags.json").read_text())
    bags, truth = file["data"]["bags"], file["exact"]["bags"]
    p = np.concatenate([bag["p"] for bag in bags])
    ids = np.repeat(np.arange(len(bags)), [len(bag["p"]) for bag in bags])
    graph = FactorGraph()
    y = graph.variables("y", p.shape, 2, jnp.asarray(np.log(np.stack([1 - p, p], axis=1)), dtype))
    n = graph.count("n", y, bags=ids, log_potential=jnp.zeros(129, dtype))
    seen = graph.observe({"n": np.array([bag["count"] for bag in bags])})
    found, tol = infer(seen), 1e-10 if dtype == "float64" else 1e-5
    assert found.certificate == "exact" and n.family.cardinality == 129
    total = file["exact"]["total_log_evidence"]
    np.testing.assert_allclose(found.log_z, total, rtol=tol)
    expected = np.concatenate([bag["marginals"] for bag in truth])
    np.testing.assert_allclose(found.beliefs["y"][:, 1], expected, atol=tol)
    states = most_probable(seen).states
    for k, bag in enumerate(truth):
        assert np.flatnonzero(np.asarray(states["y"])[ids == k]).tolist() == bag["map_positive_set"]
    if dtype == "float64":
        for k, bag in enumerate(bags):  # the evidence of one bag, and the joint of its first two members
            first = int(np.flatnonzero(ids == k)[0])
            both = infer(seen.observe({"y": ([first, first + 1], [1, 1])}))
            joint = np.exp(float(both.log_z) - total)
            np.testing.assert_allclose(joint, truth[k]["joint_first_two_both_one"], rtol=1e-9, atol=1e-12)
            assert both.verdict == ("exact" if joint else "infeasible")
            assert np.flatnonzero(both.info["impossible"]["n"]).tolist() == ([] if joint else [k])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tables", "messages"])
def test_gradients_of_log_z_are_beliefs(way):
    graph = counted_graph(6, forest=True, zeros=0.3)
    assert np.isneginf(np.asarray(graph.potentials.tables[0])).any()

    def log_z(x):
        def moved(arrays):
            return tuple(a + x * jnp.cos(jnp.arange(a.size, dtype=float)).reshape(a.shape) for a in arrays)

        other = graph.replace(Potentials(*map(moved, graph.potentials)))
        return (eliminated(other, compiled=True) if way == "tables" else by_messages(other)).log_z

    slope = (log_z(1e-4) - log_z(-1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(log_z)(0.0), slope, rtol=1e-6)


def test_other_evidence_and_potentials_compile_nothing(by_descent):
    graph = counted_graph(3, forest=True)
    program = mass_and_marginals(graph.structure)
    for evidence in ({"n": ([0], [1])}, {"n": ([0, 2], [2, 0]), "y": ([1], [0])}):
        infer(graph.observe(evidence))
    assert program._cache_size() == 1


@pytest.mark.slow
def test_a_bag_without_a_possible_count_is_named():
    graph = FactorGraph()
    y = graph.variables("y", (4,))
    with pytest.raises(ObservationError, match=r"bag n\[1\] has 1 members, and no count from 0 to 1 has a finite"):
        graph.count("n", y, potentials.hard_count(jnp.array([1, 2]), 3), bags=[0, 0, 0, 1])
    graph.count("n", y, bags=[0, 0, 0, 1])
    clash = graph.observe({"n": [3, 0], "y": ([0, 1], [1, 0])})
    for found in (infer(clash, "loopy"), by_messages(clash)):
        assert (found.verdict, float(found.log_z)) == ("infeasible", -np.inf)
        assert found.info["impossible"]["n"].tolist() == [True, False]
    assert infer(clash).verdict == "infeasible"


@pytest.mark.slow
def test_bags_may_be_empty():
    graph = FactorGraph()
    y = graph.variables("y", (0, 3), log_potential=np.zeros(2))
    graph.count("none", y)
    x = graph.variables("x", (2, 0))
    graph.count("zero", x, np.array([0.7]))
    for found in (infer(graph), propagated(graph), by_messages(graph)):
        np.testing.assert_allclose(found.log_z, 1.4, rtol=1e-12)
        assert found.beliefs["zero"].tolist() == [[1.0], [1.0]] and found.beliefs["none"].shape == (0, 4)


@pytest.mark.parametrize("seed", rest_slow(range(4), 2))
def test_a_restricted_graph_has_the_counts_of_the_graph_where_the_others_are_held(seed):
    """Elimination of a block, given the states of the others, is the conditional mass of the graph."""
    graph, rng = counted_graph(seed, zeros=0.0), np.random.default_rng(seed)
    listed, scores = assignments(graph), log_scores(graph)
    held = listed[rng.choice(np.flatnonzero(np.isfinite(scores)))]
    totals = np.concatenate([count.totals for count in graph.structure.counted])
    block = np.union1d(np.flatnonzero(rng.random(graph.structure.size) < 0.4), totals)
    restriction = Restriction(graph.structure, block)
    assert set(block) <= set(restriction.variables) and restriction.structure.counted
    junk = held.copy()
    junk[block] = 0
    potentials = restriction.potentials(graph.potentials, junk)
    rest = np.setdiff1d(np.arange(graph.structure.size), block)
    there = np.exp(scores) * (listed[:, rest] == held[rest]).all(axis=1)
    family = restriction.structure.families[0]
    marginals = drawn_marginals(restriction.structure, potentials)
    for k, v in enumerate(restriction.variables[: family.size]):
        expected = [there[listed[:, v] == s].sum() / there.sum() for s in range(family.cardinality)]
        np.testing.assert_allclose(marginals[k], expected, atol=1e-12)


def drawn_marginals(structure, potentials):
    """Marginals of the first family, by elimination."""
    graph = FactorGraph()
    for family, scores in zip(structure.families, potentials.unary, strict=True):
        graph.variables(family.name, family.shape, family.cardinality, np.asarray(scores))
    for group, tables in zip(structure.groups, potentials.tables, strict=True):
        graph.add(group.name, group.scopes, group.cardinalities, np.asarray(tables), shared=group.shared)
    for count in structure.counted:
        graph.add_count(count)
    return eliminated(graph).variables[0]


def test_a_program_of_a_graph_has_its_counts():
    graph = FactorGraph()
    y = graph.variables("y", (3,), 2, np.array([0.0, 0.4]))
    graph.count("n", y, np.array([0.0, 0.2, -np.inf, 0.5]))
    exact = inference.enumerate(to_program(graph))()
    np.testing.assert_allclose(exact.log_evidence, eliminated(graph).log_z, rtol=1e-12)


def test_counts_of_assignments_may_be_left_out():
    graph = counted_graph(1)
    both = {f.name: x for f, x in zip(graph.structure.families, assignments(graph)[0:1].T, strict=False)}
    listed = assignments(graph)
    scores = log_scores(graph)
    best = int(np.argmax(scores))
    whole = graph.structure.by_name(listed[best])
    free = {name: x for name, x in whole.items() if name in ("y", "z")}
    assert both and float(graph.log_score(free)) == pytest.approx(scores[best], rel=1e-12)
    with pytest.raises(LawfulError, match="expected states of y, z"):
        graph.log_score({"y": whole["y"]})


def test_what_does_not_fit_is_refused():
    graph = FactorGraph()
    y = graph.variables("y", (4,))
    for kwargs, error in (
        ({"bags": [0, 0, 1]}, r"expected the number of the bag of each member, integers from 0 of shape \(4,\)"),
        ({"state": 2}, "expected a state from 0 to 1, got 2"),
        ({"state": [0, 1]}, r"states of shape \(2,\), expected one for all members"),
        ({"log_potential": np.zeros(4)}, r"expected shape \(5,\)"),
    ):
        with pytest.raises(LawfulError, match=error):
            graph.count("n", y, **kwargs)
    with pytest.raises(LawfulError, match="a bag holds a variable twice"):
        graph.count("n", y[[0, 0]])
    with pytest.raises(ObservationError, match="got a single variable"):
        graph.count("n", y[0])


def test_a_count_over_a_chain_is_solved_by_tables_of_three():
    rng = np.random.default_rng(0)
    graph = FactorGraph()
    y = graph.variables("y", (12,), 2, rng.normal(size=(12, 2)))
    graph.factors("step", [y[:-1], y[1:]], np.eye(2))
    graph.count("n", y, rng.normal(size=13))
    assert plan(graph).method == "exact" and plan(graph).largest <= 2 * 2 * 13 * 12
    listed = np.array(list(itertools.product([0, 1], repeat=12)))
    unary, g = np.asarray(graph.potentials.unary[0]), np.asarray(graph.potentials.unary[1])[0]
    scores = unary[np.arange(12), listed].sum(axis=1) + (listed[:, 1:] == listed[:, :-1]).sum(axis=1)
    np.testing.assert_allclose(eliminated(graph).log_z, np.logaddexp.reduce(scores + g[listed.sum(axis=1)]), rtol=1e-12)
    with pytest.raises(WidthError, match="counts as tables of"):
        infer(graph, "exact", width_budget=500)
    assert "counts as tables are over the budget" in plan(graph, width_budget=500).reason


def test_files_hold_counts_or_say_that_they_cannot(tmp_path):
    graph = counted_graph(2).observe({"y": ([1], [0])})
    graph.save(tmp_path / "g.npz")
    back = FactorGraph.load(tmp_path / "g.npz")
    assert back.structure == graph.structure
    np.testing.assert_array_equal(log_scores(back), log_scores(graph))
    for write in (graph.to_uai, graph.to_networkx):
        with pytest.raises(LawfulError, match="this format holds tables alone, and 'n' is a count"):
            write()
    text = unfolded(graph).to_uai()
    np.testing.assert_allclose(infer(FactorGraph.from_uai(text)).log_z, infer(graph).log_z, rtol=1e-12)
    with pytest.raises(LawfulError, match="counting='trw'"):
        propagated(graph, counting="trw")
    assert "count" in graph.to_dot() and "n" in graph.to_mermaid(False) and "counts of bags of" in graph.summary()


@pytest.mark.slow
def test_what_a_plan_says_is_what_is_done(by_descent):
    rng = np.random.default_rng(0)
    graph = FactorGraph()
    z = graph.variables("z", (40,), 2, rng.normal(size=(40, 2)))
    graph.factors("step", [z[:-1], z[1:]], rng.normal(size=(2, 2)))
    graph.count("n", graph.variables("y", (3,), 2, rng.normal(size=(3, 2))), rng.normal(size=4))
    by_messages, by_chains = plan(graph), plan(graph, "chain")
    assert (by_messages.solver, by_chains.solver, by_chains.chains) == ("messages on a forest", "chains", 1)
    one, other = infer(graph), infer(graph, "chain")
    assert (one.method, other.method) == ("messages on a forest", "chains")
    np.testing.assert_allclose(one.log_z, other.log_z, rtol=1e-12)
    np.testing.assert_allclose(one.beliefs["y"], other.beliefs["y"], atol=1e-12)


def test_tables_and_counts_are_the_same_graph():
    graph = counted_graph(4)
    np.testing.assert_allclose(log_scores(as_tables(graph)), log_scores(graph))
