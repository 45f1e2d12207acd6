"""One call for every method: exact where it fits, approximate only where that was allowed, and said so."""

import numpy as np
import pytest

from lawful.errors import LawfulError, WidthError
from lawful.inference.graphs import FactorGraph, infer, plan
from lawful.inference.graphs.exact.orders import orders_of
from tests.inference.factor_graphs.networks import exact, largest_error, network
from tests.inference.factor_graphs.truth import grid


def test_the_method_follows_the_budget():
    graph = grid(np.random.default_rng(0), 5, 5, strength=0.3)
    assert (plan(graph).method, infer(graph).certificate) == ("exact", "exact")
    narrow = plan(graph, width_budget=8)
    assert narrow.method == "loopy" and "the largest table is over the budget of 8 entries" in str(narrow)
    assert infer(graph, width_budget=8).method == "loopy (flooding)"
    assert infer(graph, "loopy").method == "loopy (flooding)"


def test_an_approximation_that_was_not_allowed_is_refused():
    graph = grid(np.random.default_rng(0), 5, 5)
    with pytest.raises(
        WidthError, match=r"an exact answer was asked for, and elimination needs a table of \d+ entries"
    ):
        infer(graph, width_budget=8, approximate=False)
    with pytest.raises(WidthError, match="more than the budget of 8"):
        infer(graph, "exact", width_budget=8)


def test_a_tree_has_to_be_one(data):
    chain = network(data, "tree_chain_potts")
    assert largest_error(infer(chain, "tree").beliefs, exact(data, "tree_chain_potts")["marginals"]) <= 1e-10
    with pytest.raises(LawfulError, match="method='tree': the graph has a cycle. Fix: method='exact', or"):
        infer(grid(np.random.default_rng(0), 2, 2), "tree")
    with pytest.raises(
        LawfulError, match="method: expected one of auto, exact, eliminate, junction, tree, chain, loopy, got 'best'"
    ):
        infer(chain, "best")


def test_a_plan_says_what_it_would_take():
    shown = str(plan(grid(np.random.default_rng(0), 3, 4)))
    assert shown.startswith("exact: its largest table fits the budget of 16777216 entries. The graph is with cycles;")
    assert "table entries (" in shown


def test_a_summary_has_a_line_for_each_name_and_the_plan():
    graph = grid(np.random.default_rng(0), 3, 4).observe({"z": ([0, 1], [[1, 1, 0, 0], [0, 0, 1, 1]])})
    shown = graph.summary().splitlines()
    assert shown[0] == "FactorGraph(12 variables, 17 factors)"
    assert shown[1].split() == "z 12 variables (3, 4), 2 states, 8 observed".split()
    assert shown[2].split() == "down 8 factors of 2 variables, tables of 32 B in all".split()
    assert shown[-1].startswith("1 component. exact: its largest table fits the budget")
    assert graph._repr_html_().startswith("<pre>FactorGraph(12 variables")


def test_parts_that_hang_together_are_counted_and_forests_are_told():
    graph = FactorGraph()
    x = graph.variables("x", (5,), 2)
    graph.factors("pair", [x[[0, 1]], x[[1, 2]]], np.zeros((2, 2)))
    assert (graph.structure.components, graph.structure.is_forest) == (3, True)
    graph.factors("constant", [], 0.5)
    assert (graph.structure.components, graph.structure.is_forest) == (4, True)
    graph.factors("again", [x[0], x[2]], np.zeros((2, 2)))
    assert (graph.structure.components, graph.structure.is_forest) == (4, False)


def test_a_junction_tree_is_the_elimination_there_and_back():
    """Its tables agree with each other and with the marginals, in every part; other evidence is not planned again."""
    graph = grid(np.random.default_rng(0), 3, 3)
    graph.variables("apart", (2,), 3, np.arange(6.0).reshape((2, 3)))
    graph.factors("pair", [graph["apart"][0], graph["apart"][1]], 0.5 * np.eye(3))
    assert infer(graph, "junction").log_z == infer(graph, "eliminate").log_z == infer(graph, "exact").log_z
    planned = orders_of.cache_info().misses
    for state in (0, 1):
        found = infer(graph.observe({"z": ([0], [[state, 1, state]])}), "junction")
        for group, tables in zip(graph.structure.groups, found.factors, strict=True):
            for axis in range(2):
                family = graph.structure.family("apart" if group.name == "pair" else "z")
                own = np.asarray(found.beliefs[family.name]).reshape((family.size, -1))
                np.testing.assert_allclose(
                    tables.sum(axis=2 - axis), own[group.scopes[:, axis] - family.offset], atol=1e-12
                )
    assert orders_of.cache_info().misses == planned
