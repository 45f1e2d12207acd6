"""Small networks of many kinds of tables: widened, merged and computed by NumPy first, with the same answers."""

import math

import numpy as np
import pytest

from lawful.form.operations.on_numpy import evaluate
from lawful.inference.graphs import FactorGraph, propagated
from lawful.inference.graphs.loopy import propagation as owner
from lawful.inference.graphs.loopy import widening as module
from lawful.inference.graphs.loopy.first_runs import FirstRuns
from lawful.inference.graphs.loopy.messages import net_of
from lawful.inference.graphs.loopy.widening import widened


def many_kinds(seed=0, size=14, zeros=0.3):
    """A network with variables of two to five states, each a family of its own, and up to three parents."""
    rng, graph, variables = np.random.default_rng(seed), FactorGraph(), []
    for k in range(size):
        parents = [variables[j] for j in rng.choice(k, size=min(k, int(rng.integers(1, 4))), replace=False)]
        own = graph.variables(f"v{k}", cardinality=2 + k % 4)
        shape = tuple(v.family.cardinality for v in (*parents, own))
        weights = rng.uniform(0.2, 1.0, size=shape) * (rng.uniform(size=shape) < 1 - zeros)
        weights[..., 0] += weights.sum(axis=-1) == 0
        with np.errstate(divide="ignore"):
            graph.factors(f"p(v{k})", [*parents, own], np.log(weights / weights.sum(axis=-1, keepdims=True)))
        variables.append(own)
    return graph.observe({f"v{size - 1}": 0})


def test_a_network_of_many_kinds_is_updated_in_as_many_blocks_as_there_are_arities():
    structure = many_kinds().structure
    assert len(net_of(widened(structure).structure).blocks) == len({g.arity for g in structure.groups if g.arity > 1})
    assert widened(many_kinds(size=3).structure) is None


@pytest.fixture
def few_entries(monkeypatch):
    """So few that the tables of the test's networks are not widened to the largest number of states."""
    monkeypatch.setattr(module, "ENTRIES", 2000)
    widened.cache_clear()
    yield
    widened.cache_clear()


def test_tables_that_would_grow_too_large_are_of_few_kinds_in_place_of_one(few_entries):
    given = many_kinds().structure
    wide = widened(given).structure
    tables = [g for g in wide.groups if g.arity > 1]
    assert sum(g.size * math.prod(g.cardinalities) for g in tables) <= module.ENTRIES
    assert 1 < len(set(wide.cardinalities)) < len(set(given.cardinalities))
    assert len(net_of(wide).blocks) < len(net_of(given).blocks)
    assert (wide.cardinalities >= given.cardinalities).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "counting", "temperature"), [("few", "bethe", 1.0), ("one", "bethe", 1.0), ("one", "trw", None)]
)
def test_widening_and_numpy_change_no_answer(kinds, counting, temperature, monkeypatch, request):
    if kinds == "few":
        request.getfixturevalue("few_entries")
    graph = many_kinds(size=9 if kinds == "one" else 14)
    assert len(set(widened(graph.structure).structure.cardinalities)) == (1 if kinds == "one" else 2)

    def answer(**settings):
        owner._program.cache_clear()
        return propagated(graph, counting=counting, temperature=temperature, max_iters=40, damping=0.3, **settings)

    wide = answer()
    again = answer(init=wide)
    monkeypatch.setattr(owner, "widened", lambda structure: None)
    monkeypatch.setattr(FirstRuns, "__call__", lambda self, *args: self.compiled(*args))
    compiled = answer()
    assert wide.verdict == compiled.verdict
    np.testing.assert_allclose(wide.log_z, compiled.log_z, rtol=1e-11)
    for name, belief in compiled.beliefs.items():
        np.testing.assert_allclose(wide.beliefs[name], belief, atol=1e-10)
    np.testing.assert_allclose(wide.info["inconsistency"], compiled.info["inconsistency"], atol=1e-10)
    assert again.info["iterations"] <= wide.info["iterations"]


def test_numpy_gives_way_to_the_compiler_after_as_many_sweeps_as_compiling_costs(monkeypatch):
    runs, evaluated = FirstRuns(lambda x: {"twice": 2.0 * x}, sweeps=lambda found: 300), []

    def counting(*args):
        evaluated.append(args)
        return evaluate(*args)

    monkeypatch.setattr("lawful.inference.graphs.loopy.first_runs.evaluate", counting)
    assert [float(runs(np.float64(x))["twice"]) for x in range(4)] == [0.0, 2.0, 4.0, 6.0]
    assert len(evaluated) == 2
