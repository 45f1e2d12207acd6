"""From programs to graphs: the graph has the program's measure, and as many small factors as its terms allow."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import FactorTooLarge, LawfulError, UnsupportedProgramError
from lawful.form.operations.equation import Equation
from lawful.inference.check import random_program
from lawful.inference.graphs import eliminated, to_factor_graph

COUPLING = np.array([[0.4, -0.2, 0.1], [-0.3, 0.5, 0.0], [0.2, -0.1, 0.7]])


def ring():
    with lawful.plate("site", 6):
        z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    first, second = np.arange(6), np.roll(np.arange(6), 1)
    lawful.factor("pair", jnp.sum(jnp.asarray(COUPLING)[z[first], z[second]]))


def mixture(y):
    w = lawful.sample("w", dist.Bernoulli(0.4))
    with lawful.plate("point", len(y)):
        z = lawful.sample("z", dist.Categorical(jnp.array([[0.2, 0.8], [0.6, 0.4]])[w]))
        lawful.sample("y", dist.Normal(jnp.array([-1.0, 2.0])[z], 0.5), obs=y)


def hidden_markov(y):
    def step(z, y):
        z = lawful.sample("z", dist.Categorical(jnp.array([[0.8, 0.2], [0.3, 0.7]])[z]))
        lawful.sample("y", dist.Normal(jnp.array([0.0, 1.5])[z], 1.0), obs=y)
        return z, None

    lawful.scan(step, jnp.array(0), y)


def noisy_or():
    a, b = lawful.sample("a", dist.Bernoulli(0.3)), lawful.sample("b", dist.Bernoulli(0.6))
    c = lawful.sample("c", dist.Categorical(jnp.array([0.5, 0.2, 0.3])))
    lawful.sample("d", dist.Bernoulli(jnp.where((a == 1) | (b == 1), 0.9, 0.1 + 0.2 * c)), obs=1)


def any_of_a_few():
    with lawful.plate("i", 4):
        z = lawful.sample("z", dist.Bernoulli(0.2))
    lawful.factor("some", jnp.where(jnp.max(z) > 0, 0.0, -jnp.inf))
    lawful.factor("square", -0.3 * (jnp.sum(z) - 2.0) ** 2)


def grid():
    with lawful.plate("row", 3, dim=-2), lawful.plate("column", 3, dim=-1):
        z = lawful.sample("z", dist.Bernoulli(0.45))
    spin = 2.0 * z - 1
    lawful.factor("pull", 0.4 * jnp.sum(spin[1:] * spin[:-1]) + 0.4 * jnp.sum(spin[:, 1:] * spin[:, :-1]))


def matrix():
    with lawful.plate("i", 4):
        z = lawful.sample("z", dist.Bernoulli(0.5))
    w = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)))
    lawful.factor("quadratic", z @ w @ z + jnp.dot(jnp.arange(4.0), z))


def branching():
    n = lawful.sample("n", dist.Categorical(jnp.array([0.3, 0.7])))

    def one():
        return lawful.sample("a", dist.Bernoulli(0.2))

    def other():
        b = lawful.sample("b", dist.Categorical(jnp.array([0.1, 0.4, 0.5])))
        lawful.factor("f", 0.5 * b)
        return b

    x = lawful.cond(n == 1, one, other)
    lawful.sample("y", dist.Bernoulli(0.1 + 0.3 * x), obs=1)


def sorted_values():
    with lawful.plate("i", 3):
        z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    lawful.factor("f", jnp.sum(jnp.sort(z) * jnp.array([0.1, 0.5, -0.7])))


def quotients():
    z, w = lawful.sample("z", dist.Categorical(jnp.ones(5) / 5)), lawful.sample("w", dist.Bernoulli(0.4))
    lawful.factor("f", 0.3 * (z // 2) + 0.1 * ((-z - w) // 2) + 0.2 * ((z + w) % 3) + 0.7 * jax.lax.div(z, 3))


PROGRAMS = {
    "ring": (ring, ()), "mixture": (mixture, (jnp.array([-1.2, 0.3, 1.9]),)), "noisy or": (noisy_or, ()),
    "hidden Markov": (hidden_markov, (jnp.array([0.1, 1.7, -0.4, 0.9]),)), "any of a few": (any_of_a_few, ()),
    "grid": (grid, ()), "matrix": (matrix, ()), "branching": (branching, ()), "sorted": (sorted_values, ()),
    "quotients": (quotients, ()),
}  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_graph_has_the_measure_of_the_program(name):
    program, args = PROGRAMS[name]
    truth = inference.enumerate(program)(*args)
    found = eliminated(to_factor_graph(program, *args))
    assert float(found.log_z) == pytest.approx(truth.log_evidence, abs=1e-12)
    for family in found.structure.families:
        if name == "branching" and family.name != "n":
            continue  # a site whose arm does not run counts as its first state here
        values = truth.support[family.name]
        for state in range(family.cardinality):
            p = np.tensordot(truth.probabilities, values == state, axes=1)
            np.testing.assert_allclose(found.beliefs[family.name][..., state], p, atol=1e-12)


@pytest.mark.parametrize("name", PROGRAMS)
def test_reading_known_numbers_leaves_no_operation_to_jax(name, monkeypatch):
    """Each operation would be compiled for itself."""
    program, args = PROGRAMS[name]
    plain, left = Equation.__call__, []

    def called(self, *operands):
        found = plain(self, *operands)
        left.extend([self.primitive.name] * (not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(found))))
        return found

    monkeypatch.setattr(Equation, "__call__", called)
    graph = to_factor_graph(program, *args)
    assert not left
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(graph.potentials))


def same_evidence(seed):
    """Compare with the enumeration of a random finite program with loops, branches, guards and plates."""
    program = random_program(seed)
    truth = inference.enumerate(program.program)(program.default_tables()).log_evidence
    found = eliminated(to_factor_graph(program.program, program.default_tables()))
    assert float(found.log_z) == pytest.approx(truth, abs=1e-11), seed


@pytest.mark.rest_slow
@pytest.mark.parametrize("seed", [1, 4, 9])
def test_a_random_program_has_its_evidence(seed):
    same_evidence(seed)


def same_evidence_of_shared_names(seed):
    """Compare a program whose arms draw sites of one name: in steps of loops, in switches and in arms of arms, too."""
    program = random_program(seed, shared=True, include=["branch", ("loop", "switch")[seed % 2]], max_paths=300)
    truth = inference.enumerate(program.program)(program.default_tables()).log_evidence
    found = eliminated(to_factor_graph(program.program, program.default_tables()))
    assert float(found.log_z) == pytest.approx(truth, abs=1e-11), seed


@pytest.mark.rest_slow
@pytest.mark.kills("41c", seed=23)
@pytest.mark.parametrize("seed", [23, 34, 54])
def test_a_site_that_several_arms_draw_has_one_law_in_each(seed):
    same_evidence_of_shared_names(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 240))
def test_sites_that_several_arms_draw_in_40_random_programs(seed):
    same_evidence_of_shared_names(seed)


def test_arms_that_draw_a_site_with_other_values_are_refused_and_what_works_is_named():
    def model():
        two, three = dist.Bernoulli(0.3), dist.Categorical(jnp.array([0.2, 0.3, 0.5]))
        k = lawful.sample("k", dist.Bernoulli(0.5))
        lawful.cond(k == 1, lambda: lawful.sample("a", two), lambda: lawful.sample("a", three))

    with pytest.raises(UnsupportedProgramError, match="site 'a'.*other values.*Fix: give it another name.*enumerate"):
        to_factor_graph(model)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_50_random_programs_have_their_evidence(seed):
    same_evidence(seed)


@pytest.mark.parametrize("name, sizes", [
    ("ring", {"p(z)": (6, 1), "pair": (6, 2)}), ("mixture", {"p(w)": (1, 1), "p(z)": (3, 2), "p(y)": (3, 1)}),
    ("grid", {"p(z)": (9, 1), "pull": (12, 2), "pull #2": (9, 1)}),
    ("any of a few", {"p(z)": (4, 1), "some": (1, 4), "square": (1, 4)}),
])  # fmt: skip
def test_a_sum_becomes_a_factor_for_each_summand(name, sizes):
    program, args = PROGRAMS[name]
    structure = to_factor_graph(program, *args).structure
    assert {g.name: (g.size, g.arity) for g in structure.groups if g.arity} == sizes


def test_a_square_of_a_quadratic_form_splits_into_pairs():
    """Z' W z has a factor for each pair, and one for each square."""
    structure = to_factor_graph(matrix).structure
    assert max(group.arity for group in structure.groups) == 2


def test_sites_that_are_no_variables_are_given():
    def program(y):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("point", 3):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)

    y = jnp.array([0.1, 2.0, -1.0])
    with pytest.raises(LawfulError, match=r"mu: neither a variable of the graph nor given. Fix: pass values of"):
        to_factor_graph(program, y)
    found = eliminated(to_factor_graph(program, y, given={"mu": 0.7}))
    form = lawful.trace(program, y)
    total = [form.log_density({"mu": 0.7, "z": z}, y) for z in np.ndindex(2, 2, 2)]
    assert float(found.log_z) == pytest.approx(float(jax.nn.logsumexp(jnp.array(total))), abs=1e-12)
    with pytest.raises(LawfulError, match="given: nu: no latent site beside the variables. These are: mu"):
        to_factor_graph(program, y, given={"mu": 0.7, "nu": 1.0})
    with pytest.raises(LawfulError, match="w: no finite site of the program. The finite sites are: z"):
        to_factor_graph(program, y, sites=["w"])


def test_only_the_sites_that_are_asked_for_become_variables():
    graph = to_factor_graph(noisy_or, sites=["a", "c"], given={"b": 1})
    assert [f.name for f in graph.structure.families] == ["a", "c"]


def test_a_term_over_budget_says_which_variables_meet():
    def program():
        with lawful.plate("i", 40):
            z = lawful.sample("z", dist.Bernoulli(0.3))
        lawful.factor("f", jnp.where(jnp.max(z) > 0, 0.0, -1.0))

    with pytest.raises(
        FactorTooLarge,
        match=r"'reduce_max' would need a table of \d+ entries \(budget 1048576\): these variables meet in it, with so "
        r"many states each: z\[0\] \(2\), z\[1\] \(2\)",
    ):
        to_factor_graph(program)


def test_values_of_states_need_not_count_from_zero():
    def program():
        k = lawful.sample("k", dist.DiscreteUniform(2, 5))
        lawful.factor("f", jnp.log(k * 1.0))

    graph = to_factor_graph(program)
    assert graph.structure.families[0].states == ("2", "3", "4", "5")
    assert float(eliminated(graph).log_z) == pytest.approx(np.log(14 / 4), abs=1e-12)


def test_bp_4_a_random_number_of_draws(data):
    exact = json.loads((data / "exact" / "branching_program.json").read_text())["exact"]

    def program():
        n = 1 + lawful.sample("n0", dist.Categorical(jnp.ones(6) / 6))

        def coin(carry, _):
            n, going = carry
            able = going & (n < 12)
            heads = lawful.cond(able, lambda: lawful.sample("heads", dist.Bernoulli(1 / 3)), lambda: jnp.zeros((), int))
            return (n + heads, able & (heads == 1)), None

        (n, _), _ = lawful.scan(coin, (n, jnp.array(True)), None, length=11)
        q = jnp.where(n % 2 == 0, 1 / 4, 2 / 3)

        def draw(total, k):
            d = lawful.cond(k < n, lambda: lawful.sample("d", dist.Bernoulli(q)), lambda: jnp.zeros((), int))
            return total + d, None

        total, _ = lawful.scan(draw, jnp.array(0), jnp.arange(12))
        lawful.factor("sum", jnp.where(total == 3, 0.0, -jnp.inf))

    graph = to_factor_graph(program)
    found = eliminated(graph)
    assert float(found.log_z) == pytest.approx(exact["log_evidence"], abs=1e-10)


def test_large_plates_compile_no_operation_of_their_own(monkeypatch):
    n = 30_000
    other = np.roll(np.arange(n), 7)
    operation = Equation.__call__

    def traced(equation, *operands):
        assert any(isinstance(x, jax.core.Tracer) for x in operands), f"left to JAX: {equation.primitive}"
        return operation(equation, *operands)

    def program(y):
        with lawful.plate("site", n):
            z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
            lawful.sample("y", dist.Normal(jnp.array([-1.0, 0.0, 1.0])[z], 1.0), obs=y)
        lawful.factor("pair", jnp.sum(jnp.where(z == z[other], 0.5, 0.0)))

    y = np.random.default_rng(0).normal(size=n)
    monkeypatch.setattr(Equation, "__call__", traced)
    graph = to_factor_graph(program, jnp.asarray(y))
    first, second, third, *_ = graph.structure.groups
    assert (first.shared, second.shared, third.shared) == (True, False, True)
    wanted = -0.5 * (y[:, None] - np.array([-1.0, 0.0, 1.0])) ** 2
    scores = graph.potentials.tables[1]
    np.testing.assert_allclose(scores - scores[:, 1:2], wanted - wanted[:, 1:2], rtol=1e-10)
    assert isinstance(graph.potentials.tables[1], jax.Array), "a call of what is compiled copies no array of NumPy"


def test_the_scores_of_many_elements_keep_their_digits(single_precision):
    """The check of a graph against its program holds to 1e-5 where hundreds of thousands of small numbers are added."""

    def labels():
        with lawful.plate("site", 100_000):
            z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        with lawful.plate("reading", 100_000):
            lawful.factor("read", -jnp.square(z - jnp.linspace(0.0, 4.0, 100_000)))

    graph = to_factor_graph(labels)
    z = np.arange(100_000) % 3
    tables = np.log([0.2, 0.3, 0.5])[z] - np.square(z - np.linspace(0.0, 4.0, 100_000, dtype=np.float32))
    assert float(graph.log_score({"z": z})) == pytest.approx(tables.sum(dtype=np.float64), rel=1e-6)
