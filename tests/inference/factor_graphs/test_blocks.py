"""Restricted graphs and blocks: the conditional of a set of variables given all others, and sets that cover all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawful.errors import WidthError
from lawful.inference.graphs.blocks import chosen_blocks, plan_of_block, refuse_wide_blocks
from lawful.inference.graphs.model.graph import graph_of
from lawful.inference.graphs.model.restriction import Restriction
from tests.inference.factor_graphs.truth import assignments, cases, counted_graph, grid, log_scores, random_graph

NONE = np.zeros(0, int)


@pytest.mark.slow
@settings(max_examples=30)
@given(case=cases(variables=5, factors=5, least=1), counted=st.booleans())
def test_a_restricted_graph_has_the_measure_of_the_graph_where_the_others_are_held(case, counted):
    graph = counted_graph(case[0]) if counted else random_graph(*case)
    rng = np.random.default_rng(case[0])
    n, x, scores = graph.structure.size, assignments(graph), log_scores(graph)
    own = np.flatnonzero(rng.random(n) < 0.6)
    held = x[rng.integers(len(x))]
    restriction = Restriction(graph.structure, own)
    assert set(own) <= set(restriction.variables)
    assert restriction.structure.cardinalities.tolist() == graph.structure.cardinalities[restriction.variables].tolist()
    junk = held.copy()
    junk[own] = 0  # what is inside is not read
    array = jnp.asarray if case[0] % 8 == 0 else np.asarray  # NumPy has nothing to compile
    whole, junk = jax.tree.map(array, graph.potentials), array(junk)
    potentials = jax.tree.map(np.asarray, restriction.potentials(whole, junk))
    smaller = graph_of(restriction.structure, potentials)
    found = dict(zip(map(tuple, assignments(smaller).tolist()), log_scores(smaller).tolist(), strict=True))
    rest = np.setdiff1d(np.arange(n), own)
    agree = (x[:, rest] == held[rest]).all(axis=1)
    theirs = np.array([found.pop(tuple(row)) for row in x[agree][:, restriction.variables].tolist()])
    assert all(score == -np.inf for score in found.values())  # members that stay beside are held
    left_out = float(restriction.held_score(whole, junk))
    np.testing.assert_allclose(theirs + left_out, scores[agree], rtol=0, atol=1e-13)


@settings(max_examples=100)
@given(case=cases(variables=7, factors=8, least=1))
def test_blocks_cover_all_variables_once_and_each_is_within_budget(case):
    structure = random_graph(*case).structure
    for budget in (3, 9, 27):
        blocks = chosen_blocks(structure, NONE, budget)
        assert sorted(np.concatenate(blocks).tolist()) == list(range(structure.size))
        assert all(plan_of_block(structure, block, budget).refusal is None for block in blocks)


def test_a_grid_is_covered_by_two_forests():
    structure = grid(np.random.default_rng(0), 12, 12).structure
    blocks = chosen_blocks(structure, NONE, 1 << 6)
    assert len(blocks) == 2
    assert all(Restriction(structure, block).structure.is_forest for block in blocks)
    assert len(chosen_blocks(structure, NONE, 1 << 24)) == 1


def test_what_the_others_decide_is_in_every_block():
    structure = grid(np.random.default_rng(0), 4, 4).structure
    blocks = chosen_blocks(structure, np.array([5]), 8)
    assert len(blocks) > 1 and all(5 in block for block in blocks)
    assert set(np.concatenate(blocks)) == set(range(16))


def test_a_variable_that_has_a_cycle_with_what_all_blocks_hold_is_a_block_of_its_own():
    structure = grid(np.random.default_rng(0), 2, 2).structure
    blocks = chosen_blocks(structure, np.array([0, 1, 2]), 3)
    assert [block.tolist() for block in blocks] == [[0, 1, 2, 3]]


def test_a_block_over_budget_is_refused_with_its_size():
    structure = grid(np.random.default_rng(0), 4, 4).structure
    with pytest.raises(WidthError, match=r"block 0 of 1, of 16 variables from z\[0, 0\] on") as error:
        refuse_wide_blocks(structure, [np.arange(16)], 8)
    assert error.value.budget == 8


def test_a_restriction_is_compiled_and_differentiated():
    graph = grid(np.random.default_rng(1), 3, 3, card=3)
    restriction = Restriction(graph.structure, np.array([0, 1, 4]))
    states = jnp.arange(9) % 3

    def total(tables):
        return sum(jnp.sum(t) for t in restriction.potentials(graph.potentials._replace(tables=tables), states).tables)

    found = jax.jit(jax.grad(total))(graph.potentials.tables)
    # Down, the pair (1, 4) is inside and reads nine entries of its table, (0, 3) and (4, 7) have one end there and
    # read three each; right, the pair (0, 1) is inside, and (1, 2), (3, 4) and (4, 5) have one end there.
    assert [float(jnp.sum(g)) for g in found] == [9 + 3 + 3, 9 + 3 + 3 + 3]
    never = jnp.asarray(graph.potentials.unary[0]).at[2, 2].set(-jnp.inf)

    def left_out(unary):
        return restriction.held_score(graph.potentials._replace(unary=(unary,)), states)

    value, slope = jax.jit(jax.value_and_grad(left_out))(never)
    assert value == -jnp.inf and jnp.isfinite(slope).all() and not slope[2].any()
