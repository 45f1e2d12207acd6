"""Forests of beliefs: normalised whatever the beliefs are, exact where the graph is a forest, positive where it is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.inference.graphs import propagated
from lawful.inference.graphs.loopy.belief_forests import COIN, forest_of, spanning_forest
from lawful.inference.graphs.model.graph import graph_of
from tests.inference.factor_graphs.truth import Truth, assignments, cases, grid, log_scores, random_graph


def random_beliefs(graph, seed):
    """Beliefs that agree with nothing, some of them zero, and one that is no number."""
    rng = np.random.default_rng(seed)
    structure = graph.structure

    def drawn(*shape):
        found = rng.random(shape) * (rng.random(shape) < 0.7)
        if found.size and rng.random() < 0.3:
            found.reshape(-1)[0] = np.nan
        return found

    variables = [drawn(*f.shape, f.cardinality) for f in structure.families]
    return variables, [drawn(g.size, *g.cardinalities) for g in structure.groups]


def density(forest, potentials):
    """The distribution of the variables of the graph, the coin summed out, by listing."""
    q = np.exp(log_scores(graph_of(forest.structure, jax.tree.map(np.asarray, potentials))))
    return q.reshape((-1, 2)).sum(axis=1) if forest.floor else q  # the coin is the last variable


@pytest.mark.slow
@settings(max_examples=20)
@given(case=cases(variables=4, factors=5, least=1))
def test_it_is_normalised_whatever_the_beliefs_are_and_a_share_is_uniform(case):
    graph = random_graph(*case)
    structure = graph.structure
    variables, factors = random_beliefs(graph, case[0])
    limbs = spanning_forest(structure, factors if case[0] % 2 else None)
    parts = {}
    for floor in (0.0, 0.2):
        forest = forest_of(structure, limbs, floor)
        parts[floor] = density(forest, forest.potentials(graph.potentials, variables, factors))
        assert parts[floor].sum() == pytest.approx(1.0, abs=1e-13)
    x, potentials = assignments(graph), graph.potentials
    flat = np.ones(len(x))
    for family, own in zip(structure.families, potentials.unary, strict=True):
        scores = np.array(own)
        for group, tables in zip(structure.groups, potentials.tables, strict=True):
            for row, (v,) in enumerate(group.scopes.tolist() if group.arity == 1 else ()):
                if family.offset <= v < family.offset + family.size:
                    scores[v - family.offset] += np.asarray(tables)[0 if group.shared else row]
        allowed = scores > -np.inf
        allowed = allowed | ~allowed.any(axis=1, keepdims=True)
        share = allowed / allowed.sum(axis=1, keepdims=True)
        for k in range(family.size):
            flat *= share[k, x[:, family.offset + k]]
    np.testing.assert_allclose(parts[0.2], 0.8 * parts[0.0] + 0.2 * flat, rtol=0, atol=1e-13)
    assert np.all(parts[0.2][log_scores(graph) > -np.inf] > 0)


@pytest.mark.slow
@settings(max_examples=12)
@given(case=cases(variables=5, factors=5, least=1))
def test_right_beliefs_of_a_forest_give_its_own_distribution(case):
    graph = random_graph(*case, tree=True)
    truth = Truth(graph)
    if truth.log_z == -np.inf:
        return
    forest = forest_of(graph.structure, spanning_forest(graph.structure, list(truth.factors.values())), 0.0)
    q = density(forest, forest.potentials(graph.potentials, list(truth.variables.values()),
                                          list(truth.factors.values())))  # fmt: skip
    np.testing.assert_allclose(q, truth.probabilities, rtol=0, atol=1e-13)


@settings(max_examples=80)
@given(case=cases(variables=7, factors=8, least=1))
def test_no_cycle_arises_and_nothing_that_hangs_together_is_left_apart(case):
    structure = random_graph(*case).structure
    limbs = spanning_forest(structure, None)
    forest = forest_of(structure, limbs, 0.0).structure
    assert forest.is_forest
    assert COIN not in {f.name for f in forest.families}
    # A limb without a factor begins a part; pairs are taken of what would close a cycle, so parts are as few as can be.
    constants = sum(g.size for g in structure.groups if not g.arity)
    assert sum(limb.group is None for limb in limbs) == structure.components - constants
    seen = set()
    for limb in limbs:
        given, rest = ((), limb.variables) if limb.group is None else (limb.variables[:1], limb.variables[1:])
        assert seen.issuperset(given) and seen.isdisjoint(rest)
        seen.update(rest)
    assert seen == set(range(structure.size))


def test_the_pairs_that_tell_most_are_chosen():
    graph = grid(np.random.default_rng(3), 2, 3, card=3, strength=1.5)
    structure, truth = graph.structure, Truth(graph)
    bits = {}
    for group in structure.groups:
        for scope, b in zip(group.scopes.tolist(), truth.factors[group.name], strict=True):
            apart = b.sum(axis=1, keepdims=True) * b.sum(axis=0, keepdims=True)
            bits[tuple(scope)] = float((b * np.log(b / apart)).sum())
    trees = [sum(bits[e] for e in tree) for tree in itertools.combinations(bits, 5) if _connected(tree)]
    limbs = spanning_forest(structure, [truth.factors[g.name] for g in structure.groups])
    chosen = [tuple(sorted(limb.variables)) for limb in limbs if limb.group is not None]
    assert sum(bits[e] for e in chosen) == pytest.approx(max(trees), rel=1e-12)


def _connected(edges):
    reached = {edges[0][0]}
    for _ in edges:
        reached |= {v for e in edges if reached & set(e) for v in e}
    return len(reached) == 6


def test_numbers_are_traced_and_differentiated():
    graph = grid(np.random.default_rng(3), 2, 2)
    found = propagated(graph)
    forest = forest_of(graph.structure, spanning_forest(graph.structure, found.factors), 0.1)
    unary = [jnp.asarray(u) for u in graph.potentials.unary]

    def total(variables):
        leaves = forest.potentials(graph.potentials._replace(unary=unary), variables, found.factors).tables
        return sum(jnp.sum(jnp.where(jnp.isfinite(t), t, 0.0)) for t in leaves)

    slopes = jax.jit(jax.grad(total))(found.variables)
    assert all(jnp.all(jnp.isfinite(s)) for s in slopes)
