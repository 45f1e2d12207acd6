"""Who solves a graph: planned once, run as planned, and never by a search that cannot pay."""

import math
from itertools import combinations

import numpy as np
import pytest

from lawful import inference
from lawful.errors import LawfulError, WidthError
from lawful.inference.graphs import FactorGraph, Potentials, eliminated, infer, plan
from lawful.inference.graphs import planning as running
from lawful.inference.graphs.best_assignment import most_probable
from lawful.inference.graphs.bounds import mean_field
from lawful.inference.graphs.exact import orders
from lawful.inference.graphs.exact.orders import best_order, least_largest, neighbours_of, orders_of
from lawful.inference.graphs.inference import pushed
from lawful.inference.graphs.planning import planned
from tests.inference.factor_graphs.truth import Truth, counted_graph, grid, random_graph


def least_possible(structure):
    """Entries of the largest table of the best of all orders, by sets of variables that are gone."""
    cards, near = structure.cardinalities.tolist(), neighbours_of(structure)

    def table(gone, v):
        """What a variable leaves where others are gone: itself and all that are reached through these."""
        seen, left = {v}, [v]
        while left:
            new = near[left.pop()] - seen
            seen |= new
            left += new & gone
        return math.prod(cards[u] for u in seen - gone)

    best = {frozenset(): 1}
    for size in range(1, structure.size + 1):
        for gone in map(frozenset, combinations(range(structure.size), size)):
            best[gone] = min(max(best[gone - {v}], table(gone - {v}, v)) for v in gone)
    return best[frozenset(range(structure.size))]


def mixed(seed):
    """A graph of pairs, of variables with few states and with many."""
    rng, graph = np.random.default_rng(seed), FactorGraph()
    x = [graph.variables(f"x{k}", cardinality=int(rng.choice([2, 2, 3, 9]))) for k in range(6)]
    for k, pair in enumerate(combinations(x, 2)):
        if rng.random() < 0.55:
            graph.factors(f"f{k}", list(pair), np.zeros([one.family.cardinality for one in pair]))
    return graph


@pytest.mark.kills("39l")
def test_the_bound_is_below_the_best_of_all_orders_and_these_are_at_most_what_is_found():
    tight = 0
    for graph in (*(random_graph(seed, 6, 9, most=5) for seed in range(24)), *map(mixed, range(50, 66))):
        structure = graph.structure
        least, bound = least_possible(structure), least_largest(structure)
        part = orders._contracted(structure, orders._part(neighbours_of(structure), 4), math.inf)
        assert max(bound, part) <= math.log2(least) + 1e-4
        assert least <= min(order.largest for order in orders_of(structure) if order.whole)
        tight += bound >= math.log2(least) - 1e-4
    assert tight >= 20


def labels(rows, bag=32, neighbours=6):
    """A graph as label proportions have it: rows, counts of bags, and pairs of rows that are near each other."""
    rng, graph = np.random.default_rng(0), FactorGraph()
    y = graph.variables("y", (rows,), 2, rng.normal(size=(rows, 2)))
    near = rng.integers(0, rows, (rows * neighbours // 2, 2))
    near = near[near[:, 0] != near[:, 1]]
    graph.factors("near", [y[near[:, 0]], y[near[:, 1]]], 0.1 * np.eye(2))
    graph.count("sum", y, rng.normal(size=bag + 1), bags=np.arange(rows) // bag)
    return graph


def test_messages_that_are_asked_for_plan_no_elimination(monkeypatch):
    def sought(*given):
        raise AssertionError("an order was sought")

    for name in ("best_order", "least_largest", "unfolded_structure", "unfolding_entries", "worth_loops"):
        monkeypatch.setattr(f"lawful.inference.graphs.planning.{name}", sought)
    graph = labels(96)
    told = plan(graph, "loopy")
    assert (told.solver, told.reason, told.order) == ("loopy", "it was asked for", None)
    assert inference.bp(graph, method="loopy").plan().solver == "loopy"
    with pytest.raises(AssertionError, match="an order was sought"):
        planned(labels(64).structure)


def test_an_order_is_not_sought_where_none_can_fit(monkeypatch):
    """A bound rules the exact answer out from a small part of the graph; without it the search itself ends early."""
    graph = labels(2048)
    monkeypatch.setattr(orders, "greedy", lambda *given: pytest.fail("an order was sought"))
    told = plan(graph)
    assert told.solver == "loopy" and "whatever the order: 2^2" in told.reason
    monkeypatch.undo()
    assert not any(order.whole for order in orders_of(planned(labels(96).structure, "exact").tables))
    graph = labels(96)
    with pytest.raises(WidthError, match=r"an exact answer was asked for.*(at least \d+ entries|operations).*Fix"):
        infer(graph, approximate=False)


def test_a_search_ends_after_its_operations(monkeypatch):
    structure = grid(np.random.default_rng(0), 12, 12).structure
    assert all(order.whole for order in orders_of(structure))
    orders_of.cache_clear()
    monkeypatch.setattr(orders, "AT_LEAST", 0)
    monkeypatch.setattr(orders, "OPERATIONS", 4)
    assert not any(order.whole for order in orders_of(structure))
    assert not planned.__wrapped__(structure, "exact").order.whole
    assert "has no order that was found within" in planned.__wrapped__(structure).reason
    orders_of.cache_clear()


def test_of_the_orders_that_fit_the_one_of_least_work_is_taken():
    structure = paths([40]).structure
    found = orders_of(structure)
    assert len({order.largest for order in found}) > 1
    least = min(order.largest for order in found)
    assert best_order(structure, budget=least).largest == least == best_order(structure, budget=1).largest
    work = min(order.entries + orders.ROUND * len(order.rounds) for order in found)
    chosen = best_order(structure)
    assert chosen.entries + orders.ROUND * len(chosen.rounds) == work
    assert planned(structure, "exact", least).order is best_order(structure, budget=least)


def dense(variables):
    graph = FactorGraph()
    x = graph.variables("x", (variables,), 2, np.random.default_rng(1).normal(size=(variables, 2)))
    first, second = np.array(list(combinations(range(variables), 2))).T
    graph.factors("pair", [x[first], x[second]], 0.3 * np.eye(2))
    return graph


def paths(lengths):
    rng, graph = np.random.default_rng(2), FactorGraph()
    for k, length in enumerate(lengths):
        z = graph.variables(f"z{k}", (length,), 2, rng.normal(size=(length, 2)))
        graph.factors(f"step{k}", [z[:-1], z[1:]], rng.normal(size=(2, 2)))
    return graph


def impossible():
    graph = dense(3)
    return graph.replace(Potentials(graph.potentials.unary, (np.full((1, 2, 2), -np.inf),)))


KINDS = {  # the graph, and who solves it, also with tables of at most 6 entries
    "tree": (lambda: random_graph(4, 6, 5, tree=True, most=2), "elimination", "elimination"),
    "grid": (lambda: grid(np.random.default_rng(0), 3, 3), "elimination", "loopy"),
    "a chain": (lambda: paths([40]), "elimination", "elimination"),
    "many chains": (lambda: paths([9000, 9000]), "chains", "chains"),
    "counts as tables": (lambda: counted_graph(0), "elimination", "loopy"),
    "counts on a forest": (lambda: counted_graph(0, forest=True), "elimination", "loopy"),
    "large counts on a forest": (lambda: labels(64, neighbours=0), "messages on a forest", "messages on a forest"),
    "counts in a field": (lambda: labels(640), "loopy", "loopy"),
    "dense": (lambda: dense(5), "elimination", "loopy"),
    "too dense": (lambda: dense(40), "loopy", "loopy"),
    "apart": (lambda: random_graph(7, 6, 2), "elimination", "loopy"),
    "impossible": (impossible, "elimination", "loopy"),
    "nothing": (FactorGraph, "elimination", "elimination"),
}


class Stood(Exception):
    """In place of messages that would have to be compiled."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["stand-ins", "real"])
def test_a_run_is_what_was_planned_for_every_kind_of_graph(kind, real, monkeypatch):
    make, *expected = KINDS[kind]
    graph, ran = make(), []

    def stands(name):
        def run(*given, schedule="", **settings):
            ran.append(f"loopy ({schedule})" if name == "loopy" else name)
            raise Stood

        return run

    if not real:
        monkeypatch.setattr(running, "propagated", stands("loopy"))
        monkeypatch.setattr(running, "by_messages", stands("messages on a forest"))
        monkeypatch.setattr(running, "_chains", lambda *given: running.Runner(stands("chains")))
        running.runner_of.cache_clear()
    for solver, budget in zip(expected, (1 << 24, 6), strict=True):
        told = plan(graph, "auto", budget)
        asked = inference.bp(graph, width_budget=budget)
        assert told.solver == solver and asked.plan() is told
        name = f"loopy ({told.schedule})" if told.method == "loopy" else told.solver
        try:
            found = asked(0)
        except Stood:
            assert ran.pop() == name
            continue
        assert found.run["solver"] == name and str(found.run["plan"]) == str(told)
        assert (found.certificate == "exact") == (told.method == "exact" or graph.structure.is_forest)
        if told.method == "exact" and graph.structure.size < 12:
            truth = Truth(graph)
            assert found.log_evidence_pooled == pytest.approx(truth.log_z, abs=1e-11)
            for name, own in found.marginals.items():
                np.testing.assert_allclose(own, truth.variables[name], atol=1e-12)
    assert not ran
    running.runner_of.cache_clear()


def test_best_assignments_draws_and_bounds_go_by_the_same_plan(monkeypatch):
    graph = grid(np.random.default_rng(0), 3, 3)
    planned.cache_clear()
    orders_of.cache_clear()
    asked = []

    def runner_of(structure, order, pendants, what):
        asked.append((what, order))
        return made(structure, order, pendants, what)

    made = running.runner_of
    monkeypatch.setattr(running, "runner_of", runner_of)
    eliminated(graph)
    most_probable(graph)
    pushed(graph, np.full(9, 0.5))
    infer(graph)
    order = plan(graph).order
    assert asked == [("marginals", order), ("map", order), ("draw", order), ("marginals", order)]
    wide = dense(40)
    monkeypatch.setattr("lawful.inference.graphs.bounds.most_probable", lambda graph: pytest.fail("it is too dense"))
    tables = tuple(np.where(np.arange(2) == 1, -np.inf, t) for t in wide.potentials.tables)
    assert np.isfinite(mean_field(wide.replace(Potentials(wide.potentials.unary, tables)), sweeps=1))


def test_a_schedule_is_planned_and_one_that_is_none_is_refused():
    graph = grid(np.random.default_rng(0), 2, 2)
    assert plan(graph, "loopy", schedule="auto").schedule == "flooding"
    assert plan(paths([3]), "loopy", schedule="auto").schedule == "tree"
    assert "in a sweep (residual)" in str(inference.bp(graph, method="loopy", schedule="residual").plan())
    with pytest.raises(LawfulError, match="schedule: expected one of auto, flooding, residual, tree, got 'best'"):
        plan(graph, "loopy", schedule="best")
