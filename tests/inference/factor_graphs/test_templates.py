"""Loops read at once: the factors that the steps give one by one, from one walk of the body."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference.check import random_program
from lawful.inference.graphs import infer, most_probable, to_factor_graph
from lawful.inference.graphs.reading import loops
from lawful.passes.rolling.roll import rolled

MOVES = jnp.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.25, 0.25, 0.5]])
Y = jnp.array([0.3, -1.0, 2.0, 0.1, 0.9, 1.4, -0.2, 0.5])


def markov(y):
    def step(z, y):
        z = lawful.sample("z", dist.Categorical(MOVES[z]))
        lawful.sample("y", dist.Normal(jnp.array([0.0, 1.0, 2.5])[z], 1.0), obs=y)
        return z, z

    _, zs = lawful.scan(step, jnp.array(0), y)
    lawful.factor("ends", 0.3 * zs[0] * zs[-1])


def moving_parameters(y):
    """The moves change from step to step, by a random walk without variables, and some steps count for nothing."""

    def step(carry, xs):
        z, drift = carry
        y, there = xs
        z = lawful.sample("z", dist.Bernoulli(jax.nn.sigmoid(drift + z)))
        lawful.sample("y", dist.Normal(1.5 * z, 1.0).mask(there), obs=y)
        lawful.factor("bonus", jnp.where(there, 0.2 * z * drift, 0.0))
        return (z, 0.5 * drift - 0.1), None

    lawful.scan(step, (jnp.array(1), jnp.array(0.4)), (y, jnp.arange(len(y)) < 6))


def window(y):
    """Each step reads the states of the last three."""

    def step(carry, y):
        a, b, c = carry
        z = lawful.sample("z", dist.Bernoulli(jax.nn.sigmoid(a - 0.5 * b + 0.2 * c)))
        lawful.sample("y", dist.Normal(1.0 * z + 0.3 * a, 1.0), obs=y)
        return (z, a, b), None

    lawful.scan(step, (jnp.array(0), jnp.array(1), jnp.array(0)), y)


def backwards(y):
    start = lawful.sample("start", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))

    def step(z, y):
        z = lawful.sample("z", dist.Categorical(MOVES[z]))
        lawful.sample("y", dist.Normal(1.0 * z + start, 1.0), obs=y)
        return z, z * y

    _, weights = jax.lax.scan(step, start, y, reverse=True)
    lawful.factor("sum", -0.1 * jnp.sum(weights))


def two_states(y):
    """A factorial chain: two states that go on by themselves and are seen together."""

    def step(carry, y):
        a, b = carry
        a = lawful.sample("a", dist.Bernoulli(jnp.where(a == 1, 0.8, 0.3)))
        b = lawful.sample("b", dist.Categorical(MOVES[b]))
        lawful.sample("y", dist.Normal(a + 0.5 * b, 1.0), obs=y)
        return (a, b), None

    lawful.scan(step, (jnp.array(0), jnp.array(1)), y)


def plated(y):
    def step(z, y):
        with lawful.plate("track", 2):
            z = lawful.sample("z", dist.Categorical(MOVES[z]))
        lawful.sample("y", dist.Normal(jnp.sum(z), 1.0), obs=y)
        return z, None

    lawful.scan(step, jnp.zeros(2, int), y)


def arms(y):
    def step(z, t):
        z = lawful.sample("z", dist.Bernoulli(0.2 + 0.5 * z))
        extra = lawful.cond(
            (t % 2 == 0) & (z == 1), lambda: lawful.sample("extra", dist.Bernoulli(0.3)), lambda: jnp.zeros((), int)
        )
        lawful.factor("f", 0.4 * extra - 0.1 * t * z)
        return z, None

    lawful.scan(step, jnp.array(0), jnp.arange(7))


def counting(y):
    """The number of ones so far is no state of the last steps."""

    def step(n, y):
        n = n + lawful.sample("z", dist.Bernoulli(0.3))
        lawful.factor("f", jnp.where(n > 3, -0.5, 0.0) * y)
        return n, None

    lawful.scan(step, jnp.array(0), y)


def meeting(y):
    def step(z, y):
        with lawful.plate("pixel", 3):
            z = lawful.sample("z", dist.Bernoulli(0.2 + 0.5 * z))
        lawful.factor("sorted", jnp.sum(jnp.sort(z) * jnp.array([0.1, 0.5, -0.7]) * y))
        return z, None

    lawful.scan(step, jnp.zeros(3, int), y[:5])


PROGRAMS = (markov, moving_parameters, window, backwards, two_states, plated, arms, counting, meeting)


def one_by_one(monkeypatch, program, *args):
    with monkeypatch.context() as patch:
        patch.setattr(loops, "LEAST", 10**9)
        return to_factor_graph(program, *args)


def assert_same(ours, theirs):
    """The same variables and groups, and in each group the same factors."""
    assert ours.structure.families == theirs.structure.families
    assert [(g.name, g.scopes.shape) for g in ours.structure.groups] == [
        (g.name, g.scopes.shape) for g in theirs.structure.groups
    ]
    pairs = zip(
        ours.structure.groups, ours.potentials.tables, theirs.structure.groups, theirs.potentials.tables, strict=True
    )
    for mine, tables, other, others in pairs:
        orders = [np.lexsort(group.scopes.T[::-1]) if group.arity else [0] for group in (mine, other)]
        np.testing.assert_array_equal(mine.scopes[orders[0]], other.scopes[orders[1]])
        first, second = (np.broadcast_to(t, (mine.size, *mine.cardinalities)) for t in (tables, others))
        np.testing.assert_allclose(first[orders[0]], second[orders[1]], rtol=1e-13, atol=1e-15)


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_a_loop_read_at_once_is_the_loop_read_step_by_step(program, monkeypatch):
    assert_same(to_factor_graph(program, Y), one_by_one(monkeypatch, program, Y))


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", [markov, moving_parameters, window, backwards, two_states, plated, arms])
def test_the_steps_of_a_template_are_read_once(program, monkeypatch):
    """As many walks of the body as a step reads back, and one, however long the loop is."""
    walks = []
    original = loops.LoopReader.one_by_one
    monkeypatch.setattr(
        loops.LoopReader,
        "one_by_one",
        lambda self, order, *rest: (walks.append(len(order)), original(self, order, *rest))[1],
    )
    to_factor_graph(program, Y)
    assert sum(walks) == (3 if program is window else 1)


@pytest.mark.parametrize("seed", [2, 3, 11])
def test_random_programs_are_read_alike(seed, monkeypatch):
    program = random_program(seed)
    with monkeypatch.context() as patch:
        patch.setattr(loops, "LEAST", 1)
        ours = to_factor_graph(program.program, program.default_tables())
    assert_same(ours, one_by_one(monkeypatch, program.program, program.default_tables()))


def test_two_states_of_a_loop_have_the_exact_answers_of_enumeration():
    truth = inference.enumerate(two_states)(Y[:4])
    found = infer(to_factor_graph(two_states, Y[:4]))
    assert float(found.log_z) == pytest.approx(truth.log_evidence, abs=1e-12)
    for name, states in (("a", 2), ("b", 3)):
        for state in range(states):
            p = np.tensordot(truth.probabilities, truth.support[name] == state, axes=1)
            np.testing.assert_allclose(found.beliefs[name][..., state], p, atol=1e-12)


def test_bp_3_a_hidden_markov_model_as_a_program_has_the_reference_answers(data):
    case = json.loads((data / "exact" / "hmm_categorical.json").read_text())
    model, exact = {name: jnp.array(x) for name, x in case["model"].items()}, case["exact"]

    def program(y):
        def step(z, y):
            start, z = z
            z = lawful.sample("z", dist.Categorical(jnp.where(start, model["init"], model["transition"][z])))
            lawful.sample("y", dist.Categorical(model["emission"][z]), obs=y)
            return (jnp.array(False), z), None

        lawful.scan(step, (jnp.array(True), jnp.array(0)), y)

    plan = inference.bp(program, method="chain")
    y = jnp.array(case["data"]["y"])
    found = plan.beliefs(y)
    assert float(found.log_evidence) == pytest.approx(exact["log_evidence"], abs=1e-10)
    np.testing.assert_allclose(found.marginals["z"], exact["smoother"], atol=1e-10)
    best = most_probable(plan.graph(y), chains=True)
    states, score = best.states, best.log_score
    assert states["z"].tolist() == exact["viterbi_path"]
    assert float(score) == pytest.approx(exact["viterbi_log_joint"], abs=1e-10)


def test_a_long_loop_is_read_and_solved_as_a_chain():
    """20,000 steps, read in one walk, by loops; a shared table is stored once."""
    y = jnp.tile(Y, 2500)

    def program(y):
        def step(z, y):
            z = lawful.sample("z", dist.Categorical(MOVES[z]))
            lawful.sample("y", dist.Normal(jnp.array([0.0, 1.0, 2.5])[z], 1.0), obs=y)
            return z, None

        lawful.scan(step, jnp.array(0), y)

    graph = to_factor_graph(program, y)
    assert [(g.name, g.size, g.shared) for g in graph.structure.groups if g.arity == 2] == [("p(z)", len(y) - 1, True)]
    found = infer(graph)
    assert found.method == "chains"
    weights, total = np.eye(3)[0], 0.0
    seen = np.exp(dist.Normal(jnp.array([0.0, 1.0, 2.5]), 1.0).log_prob(y[:, None]))
    for row in np.asarray(seen):
        weights = (weights @ np.asarray(MOVES)) * row
        total += np.log(weights.sum())
        weights /= weights.sum()
    assert float(found.log_z) == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(found.beliefs["z"][-1], weights, atol=1e-12)


def test_a_loop_that_was_rolled_is_read_like_any_other():
    def program(y):
        z = 0
        for step in range(10):
            z = lawful.sample(f"z{step}", dist.Categorical(MOVES[z]))
            lawful.sample(f"y{step}", dist.Normal(1.0 * z, 1.0), obs=y[step % 8])

    form = lawful.trace(program, Y)
    apart, loop = to_factor_graph(form, Y), to_factor_graph(rolled(form, always=True), Y)
    assert [f.name for f in apart.structure.families] == [f"z{k}" for k in range(10)]
    assert max(f.size for f in loop.structure.families) >= 8
    assert float(infer(loop).log_z) == pytest.approx(float(infer(apart).log_z), abs=1e-12)
