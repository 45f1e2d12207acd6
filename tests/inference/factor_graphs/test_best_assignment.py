"""Most probable assignments of graphs with counts: against all assignments, and beneath bounds that always hold."""

import math

import numpy as np
import pytest

from lawful.errors import LawfulError, WidthError
from lawful.inference.graphs import FactorGraph, bracket, infer, most_probable
from lawful.inference.graphs.best_assignment import _by_messages
from lawful.inference.graphs.bounds import upper_bound
from lawful.inference.graphs.dual_bound import decoded, dual_bound
from lawful.inference.graphs.inference import drawn_states, uniforms_of
from lawful.inference.graphs.integer_program import programmed
from lawful.inference.graphs.mean_field import mean_field
from lawful.inference.graphs.model.potentials import scores_at
from lawful.inference.graphs.moves.cells import layout_of
from lawful.inference.graphs.moves.exchanges import improved
from lawful.inference.graphs.planning import exactly
from tests.inference.factor_graphs.truth import bagged_graph, member_scores
from tests.tiers import rest_slow


def check(graph):
    """Compare all answers with all assignments; give whether the search alone was right."""
    x, scores = member_scores(graph)
    best, log_z = scores.max(), np.logaddexp.reduce(scores)
    for solver in ("exact", "program"):
        found = most_probable(graph, solver)
        np.testing.assert_allclose([found.log_score, graph.log_score(found.states)], best, rtol=1e-10, atol=1e-10)
        assert found.bound >= best - 1e-9 and found.proved
    above = dual_bound(graph)
    searched = max(
        float(scores_at(graph.structure, graph.potentials, improved(graph, start)))
        for start in (decoded(graph), above.states)
    )
    assert searched <= best + 1e-9 and best <= above.value + 1e-9
    assert mean_field(graph) <= log_z + 1e-9 and log_z <= upper_bound(graph, 8) + 1e-9
    found, p = infer(graph, "exact"), np.exp(scores - log_z)
    np.testing.assert_allclose(found.log_z, log_z, rtol=1e-10, atol=1e-10)
    for family, own in zip(graph.structure.families, found.variables, strict=True):
        columns = x[:, family.offset : family.offset + family.size].T
        known = [np.bincount(column, p, family.cardinality) for column in columns]
        np.testing.assert_allclose(own.reshape(-1, family.cardinality), known, atol=1e-10)
    for group, own in zip(graph.structure.groups, found.factors, strict=True):
        cells = [np.ravel_multi_index(tuple(x[:, scope].T), group.cardinalities) for scope in group.scopes]
        known = [np.bincount(cell, p, math.prod(group.cardinalities)) for cell in cells]
        np.testing.assert_allclose(own.reshape(group.size, -1), known, atol=1e-10)
    return searched >= best - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("seed", rest_slow(range(4)))
def test_all_solvers_and_bounds_agree_with_all_assignments(seed):
    check(bagged_graph(seed, 7))


def surprises(graph, rng, number=8):
    """How far log scores of exact draws, all of them possible, are from their mean, in standard deviations."""
    x, scores = member_scores(graph)
    p, plan = np.exp(scores - np.logaddexp.reduce(scores)), exactly(graph.structure)
    known = np.where(p > 0, scores, 0.0)
    mean = p @ known
    spread = (p @ (known - mean) ** 2) ** 0.5
    found = [drawn_states(plan, graph, rng.random(uniforms_of(plan)), compiled=False) for _ in range(number)]
    place = {tuple(row): k for k, row in enumerate(x.tolist())}
    drawn = [scores[place[tuple(np.asarray(row).tolist())]] for row in found]
    assert np.isfinite(drawn).all()
    return [(one - mean) / spread for one in drawn if spread > 1e-6]


@pytest.mark.slow
def test_a_hundred_graphs_of_up_to_sixteen_members():
    """Most probable assignments, bounds, log Z and all marginals exactly; 800 draws by the mean of their log scores.

    That is within five standard errors: a false alarm in 10^6 runs, and a shift by .4 of a deviation is always seen.
    """
    right, away = [], []
    for seed in range(100):  # of two labels up to sixteen members, of three up to nine
        labels = 2 + (seed % 3 == 0)
        graph = bagged_graph(seed, 3 + seed % (14 if labels == 2 else 7), labels=labels)
        right.append(check(graph))
        away += surprises(graph, np.random.default_rng(seed))
    assert np.mean(right) > 0.5  # the search alone is no exact method
    assert abs(np.mean(away)) < 5 / len(away) ** 0.5


@pytest.mark.slow
def test_bounds_of_fifty_larger_graphs_hold():
    """Against the exact answers of integer programs."""
    for seed in range(50):
        graph = bagged_graph(1000 + seed, 24 + seed)
        exact, above = programmed(graph, 3600.0), dual_bound(graph)  # as long as it takes on a busy machine
        truth = float(scores_at(graph.structure, graph.potentials, exact.states))
        assert exact.bound - truth < 1e-5 * max(1, abs(truth))
        for start in (decoded(graph), above.states):
            found = float(scores_at(graph.structure, graph.potentials, improved(graph, start)))
            assert found <= truth + 1e-5 and truth <= above.value + 1e-9, seed


@pytest.mark.slow
def test_a_search_takes_the_best_of_its_starts_beneath_one_bound():
    graph = bagged_graph(3, 7)
    found, (_, scores) = most_probable(graph, "search"), member_scores(graph)
    assert found.solver.startswith("search from") and found.log_score <= scores.max() <= found.bound
    np.testing.assert_allclose(found.log_score, graph.log_score(found.states), rtol=1e-12)
    start = _by_messages(graph)
    assert float(scores_at(graph.structure, graph.potentials, improved(graph, start))) <= found.log_score + 1e-9


@pytest.mark.kills("40p", seed=0)
@pytest.mark.parametrize("seed", range(3))
def test_a_search_ends_where_no_exchange_and_no_change_of_one_helps(seed):
    graph = bagged_graph(20 + seed, 6, overlap=False, labels=2 + seed % 2)
    x, scores = member_scores(graph)
    layout = layout_of(graph.structure)
    score = {tuple(row): value for row, value in zip(x.tolist(), scores, strict=True)}
    free = np.flatnonzero(layout.owners >= 0)
    for start in x[np.flatnonzero(np.isfinite(scores))][:: max(1, np.isfinite(scores).sum() // 6)]:
        found = improved(graph, start)
        here = score[tuple(found.tolist())]
        assert here >= score[tuple(start.tolist())]
        y = layout.labels(found)
        for i in free:
            for j in free[free < i]:
                if layout.owners[i] == layout.owners[j]:
                    other = y.copy()
                    other[[i, j]] = y[[j, i]]
                    assert score[tuple(layout.settled(layout.labels(other)).tolist())] <= here + 1e-9
            simple = all(layout.bags.simple[layout.bags.of[layout.bags.members == i]])
            for state in range(graph.structure.cardinalities[i] if simple else 0):
                other = np.where(np.arange(len(found)) == i, state, found)
                assert score[tuple(layout.settled(other).tolist())] <= here + 1e-9


def test_a_search_brings_counts_to_what_is_known():
    graph = FactorGraph()
    y = graph.variables("y", (12,), 3, np.random.default_rng(0).normal(size=(12, 3)))
    n, m = (graph.count(f"n{k}", y, bags=np.repeat([0, 1], 6), state=k) for k in (0, 1))
    seen = graph.observe({"n0": [2, 5], "n1": [1, 0]})
    found = improved(seen, np.zeros(seen.structure.size, int))
    assert found[n.numbers].tolist() == [2, 5] and found[m.numbers].tolist() == [1, 0]
    assert np.isfinite(scores_at(seen.structure, seen.potentials, found))


@pytest.mark.slow
@pytest.mark.kills("40q")
def test_the_bound_is_the_best_score_on_a_forest_and_a_bound_however_short_the_search():
    rng, graph = np.random.default_rng(0), FactorGraph()
    y = graph.variables("y", (9,), 2, rng.normal(size=(9, 2)))
    graph.factors("near", [y[[2, 7]], y[[3, 8]]], rng.normal(size=(2, 2, 2)))
    n = graph.count("n", y, bags=np.repeat([0, 1, 2], 3))
    forest = graph.observe({"n": ([0, 1], [1, 2])})
    graph.factors("more", [y[[0, 3, 4]], y[[1, 5, 8]]], rng.normal(size=(3, 2, 2)))
    assert n.family.cardinality == 4
    for given, room in ((forest, 1e-6), (graph.observe({"n": ([0, 1], [1, 2])}), np.inf)):
        best = member_scores(given)[1].max()
        bounds = [dual_bound(given, steps=steps).value for steps in (1, 30)]
        assert all(bound >= best - 1e-9 for bound in bounds) and bounds[1] <= bounds[0] + 1e-9
        assert bounds[1] <= best + room


def test_what_is_not_possible_is_said():
    graph = FactorGraph()
    y = graph.variables("y", (3,))
    graph.count("n", y[:2])
    graph.count("m", y)
    clash = graph.observe({"n": 2, "m": 1})
    for solver in ("exact", "program"):
        assert most_probable(clash, solver).log_score == -np.inf
    assert most_probable(clash, "program").bound == -np.inf and mean_field(clash) == -np.inf
    with pytest.raises(LawfulError, match="solver: expected one of auto, exact, program, search"):
        most_probable(graph, "best")
    with pytest.raises(WidthError):
        most_probable(graph, "exact", budget=1)


@pytest.mark.slow
def test_brackets_hold_log_z_of_graphs_with_counts():
    graph = bagged_graph(5, 7)
    found, log_z = bracket(graph), np.logaddexp.reduce(member_scores(graph)[1])
    assert found.lower <= log_z <= found.upper and found.upper - found.lower < 12
