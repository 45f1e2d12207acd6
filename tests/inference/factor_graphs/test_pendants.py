"""Long chains in graphs: their answers are those of elimination, whatever they hang from, at K^2 operations a step."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.graphs import FactorGraph, Potentials, eliminated, infer, most_probable, plan
from lawful.inference.graphs.exact import chained
from lawful.inference.graphs.exact.pendants import pendants_of
from lawful.inference.graphs.inference import pushed
from tests.inference.factor_graphs.truth import holed
from tests.tiers import rest_slow

LENGTHS, STATES = (40, 36), 3


def hanging(seed, zeros=0.0):
    """A core with a cycle and a factor of three; two chains of different lengths hang from it, and one alone.

    One chain starts where it hangs, so its factors are turned round; one has two factors on each pair.
    """
    rng = np.random.default_rng(seed)

    def scores(*shape):
        return holed(rng, shape, zeros)

    graph = FactorGraph()
    core = graph.variables("core", (4,), STATES, scores(4, STATES))
    graph.factors("ring", [core, core[[1, 2, 3, 0]]], scores(4, STATES, STATES))
    graph.factors("three", [core[:1], core[1:2], core[2:3]], scores(STATES, STATES, STATES))
    square = (STATES, STATES)
    for k, length in enumerate(LENGTHS):
        z = graph.variables(f"z{k}", (length,), STATES, scores(length, STATES))
        graph.factors(f"step {k}", [z[:-1], z[1:]], scores(*square) if k else scores(length - 1, *square))
        graph.factors(f"hangs {k}", [core[k], z[0] if k else z[-1]], scores(*square))
    graph.factors("again", [z[3:9], z[2:8]], scores(6, *square))
    graph.factors("one", [z[[0, 5]]], scores(STATES))
    alone = graph.variables("alone", (33,), 2, scores(33, 2))
    graph.factors("alone, too", [alone[:-1], alone[1:]], scores(2, 2))
    return graph


def by_rounds(graph):
    return eliminated(graph, compiled=False, chains=False)


def largest_difference(a, b):
    pairs = zip(a.variables + a.factors, b.variables + b.factors, strict=True)
    return max(np.abs(np.asarray(x) - np.asarray(y)).max() for x, y in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_chains_on_a_core_have_the_marginals_of_elimination(seed):
    graph = hanging(seed)
    found, truth = infer(graph, "chain"), by_rounds(graph)
    assert (found.method, truth.method) == ("chains", "elimination")
    assert float(found.log_z) == pytest.approx(float(truth.log_z), rel=1e-13)
    assert largest_difference(found, truth) <= 1e-12


@pytest.mark.parametrize("seed", rest_slow(range(3), 2))
def test_hard_zeros_and_evidence_are_kept(seed):
    graph = hanging(seed, zeros=0.04).observe({"z0": ([3, 38], [1, 2]), "core": ([2], [0])})
    found, truth = infer(graph, "chain"), by_rounds(graph)
    assert found.verdict == truth.verdict
    np.testing.assert_allclose(found.log_z, truth.log_z, rtol=1e-13)
    assert largest_difference(found, truth) <= 1e-12


def test_a_state_that_the_core_forces_is_right_however_unlikely_the_chain_finds_it():
    """The message of a chain is right for each state, not beside the others alone."""
    graph = FactorGraph()
    z = graph.variables("z", (40,), 2, np.array([0.0, -1000.0]))
    hub, leaf = graph.variables("hub", (), 3), graph.variables("leaf", (), 3)
    graph.factors("step", [z[:-1], z[1:]], np.array([[0.0, -1000.0], [0.0, 0.0]]))
    graph.factors("ties", [z[-1], hub], np.array([[-np.inf] * 3, [0.0, 1.0, 2.0]]))
    graph.factors("more", [hub, leaf], np.zeros((3, 3)))
    found, truth = infer(graph, "chain"), by_rounds(graph)
    assert float(found.log_z) == pytest.approx(float(truth.log_z), rel=1e-14)
    assert largest_difference(found, truth) <= 1e-12


def test_a_graph_without_a_possible_assignment_has_mass_zero_and_no_nan():
    graph = hanging(0).observe({"alone": ([4], [1])})
    tables = list(graph.potentials.tables)
    tables[-1] = jnp.array([[[0.0, -jnp.inf], [0.0, -jnp.inf]]])
    found = infer(graph.replace(Potentials(graph.potentials.unary, tuple(tables))), "chain")
    assert (float(found.log_z), found.verdict) == (-np.inf, "infeasible")
    assert all(np.abs(x).max() == 0 for x in (*found.variables, *found.factors))


@pytest.mark.slow
def test_the_gradient_of_the_mass_is_the_beliefs():
    graph = hanging(1, zeros=0.02)
    found = infer(graph, "chain")
    grads = jax.grad(lambda p: infer(graph.replace(p), "chain").log_z)(graph.potentials)
    for own, belief, family in zip(grads.unary, found.variables, graph.structure.families, strict=True):
        np.testing.assert_allclose(own, belief.reshape((-1, family.cardinality)), atol=1e-12)
    for own, belief, group in zip(grads.tables, found.factors, graph.structure.groups, strict=True):
        np.testing.assert_allclose(own, belief.sum(0, keepdims=True) if group.shared else belief, atol=1e-12)


@pytest.mark.slow
def test_a_map_over_evidence_is_the_loop():
    graph = hanging(2)

    def mass(state):
        return infer(graph.observe({"z1": ([20], state)}), "chain").log_z

    states = jnp.arange(STATES)
    np.testing.assert_allclose(jax.vmap(mass)(states), [float(mass(s)) for s in range(STATES)], rtol=1e-14)


def test_the_best_assignment_has_the_best_score():
    graph = hanging(0)
    truth = most_probable(graph, compiled=False, chains=False).log_score
    best = most_probable(graph, chains=True)
    states, score = best.states, best.log_score
    assert float(score) == pytest.approx(float(truth), rel=1e-14)
    assert float(graph.log_score(states)) == pytest.approx(float(truth), rel=1e-14)


@pytest.mark.slow
def test_draws_have_the_marginals():
    """Frequencies of pairs in 4,000 draws; six deviations, so below 1e-6 for all of the pairs together."""
    graph, count = hanging(1), 4000
    found = by_rounds(graph)
    uniforms = np.random.default_rng(20261).random((count, graph.structure.size))
    draws = jax.vmap(lambda u: pushed(graph, u, chains=True))(jnp.asarray(uniforms))
    x = np.concatenate([np.asarray(draws[f.name]).reshape((count, -1)) for f in graph.structure.families], axis=1)
    for group, p in zip(graph.structure.groups, found.factors, strict=True):
        hits = np.zeros(p.shape)
        for k, scope in enumerate(group.scopes):
            np.add.at(hits, (k, *x[:, scope].T), 1 / count)
        assert np.all(np.abs(hits - p) <= 6 * np.sqrt(p * (1 - p) / count) + 6 / count)


def test_only_paths_with_a_free_end_are_chains():
    graph = FactorGraph()
    ring, bridge = graph.variables("ring", (40,), 2), graph.variables("bridge", (40,), 2)
    hubs = graph.variables("hubs", (2, 3), 2)
    graph.factors("round", [ring, ring[np.roll(np.arange(40), 1)]], np.zeros((2, 2)))
    graph.factors("over", [bridge[:-1], bridge[1:]], np.zeros((2, 2)))
    graph.factors("hub", [hubs[:, 0], hubs[:, 1], hubs[:, 2]], np.zeros((2, 2, 2)))
    graph.factors("ends", [bridge[[0, 39]], hubs[:, 0]], np.zeros((2, 2)))
    assert pendants_of(graph.structure) is None
    with pytest.raises(LawfulError, match="method='chain': no path of 32 variables or more"):
        infer(graph, "chain")
    mixed = graph.variables("mixed", (40,), 3)
    graph.factors("narrow", [mixed[:-1], mixed[1:]], np.zeros((3, 3)))
    graph.factors("to another", [mixed[:1], hubs[0, :1]], np.zeros((3, 2)))
    found = pendants_of(graph.structure)
    assert (found.paths, found.variables) == (1, 40)
    (places,), last = found.places, int(mixed.numbers[0])
    assert places.variables[0].tolist() == list(range(last + 39, last - 1, -1))
    assert found.core.size == graph.structure.size - 39


def test_a_plan_says_that_chains_are_run():
    graph = hanging(0)
    assert "3 chains of 109 variables in all, summed by loops; of the rest elimination" in str(plan(graph, "chain"))
    assert plan(graph).chains == 0, "few variables take less time in rounds"


def test_beliefs_of_pairs_that_are_too_many_are_left_out(monkeypatch):
    monkeypatch.setattr(chained, "PAIR_ENTRIES", 100)
    graph = FactorGraph()
    z = graph.variables("z", (50,), 2)
    graph.factors("step", [z[:-1], z[1:]], np.eye(2))
    found = infer(graph, "chain")
    np.testing.assert_allclose(found.beliefs["z"], 0.5, atol=1e-14)
    with pytest.raises(LawfulError, match="factor_beliefs: 'step' has 49 factors with tables .* were left out"):
        found.factor_beliefs("step")


def markov(data):
    """The reference chain of the data, with evidence as scores of the states."""
    case = json.loads((data / "exact" / "hmm_categorical.json").read_text())
    model, y = case["model"], np.array(case["data"]["y"])
    scores = np.log(np.array(model["emission"]))[:, y].T
    scores[0] += np.log(model["init"])
    return scores, np.log(np.array(model["transition"])), case["exact"]


def test_bp_3_a_chain_as_a_graph_has_the_reference_answers(data):
    scores, step, exact = markov(data)
    graph = FactorGraph()
    z = graph.variables("z", (len(scores),), 3, scores)
    graph.factors("step", [z[:-1], z[1:]], step)
    found = infer(graph, "chain")
    assert float(found.log_z) == pytest.approx(exact["log_evidence"], abs=1e-10)
    np.testing.assert_allclose(found.beliefs["z"], exact["smoother"], atol=1e-10)
    best = most_probable(graph, chains=True)
    states, score = best.states, best.log_score
    assert states["z"].tolist() == exact["viterbi_path"]
    assert float(score) == pytest.approx(exact["viterbi_log_joint"], abs=1e-10)


@pytest.mark.slow
def test_a_long_chain_is_taken_by_loops_and_keeps_its_digits_in_float32():
    rng, steps = np.random.default_rng(3), 100_000
    scores, step = 3 * rng.normal(size=(steps, 4)), rng.normal(size=(4, 4))

    def solved(dtype):
        graph = FactorGraph()
        z = graph.variables("z", (steps,), 4, jnp.asarray(scores, dtype))
        graph.factors("step", [z[:-1], z[1:]], jnp.asarray(step, dtype))
        return infer(graph)

    single, double = solved(jnp.float32), solved(jnp.float64)
    assert (single.method, single.log_z.dtype) == ("chains", jnp.float32)
    assert abs(float(single.log_z) / float(double.log_z) - 1) <= 1e-6
    assert np.abs(np.asarray(single.beliefs["z"]) - np.asarray(double.beliefs["z"])).max() <= 1e-5
    assert np.all(np.isfinite(single.factor_beliefs("step")))


@pytest.mark.rest_slow
@pytest.mark.parametrize("seed", range(2))
def test_the_mass_alone_is_that_of_the_marginals(seed):
    graph = hanging(seed)
    found = plan(graph, "chain")
    split = chained.Chained(found.pendants, found.order)
    mass = jax.jit(split.total)(split.where, graph.potentials)
    assert float(mass) == pytest.approx(float(by_rounds(graph).log_z), rel=1e-13)
