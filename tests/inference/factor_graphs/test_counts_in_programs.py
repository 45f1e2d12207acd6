"""Sums of a program that are used as a whole are counts in its graph, and the measure stays that of the program."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import ObservationError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.graphs import count, eliminated, infer, propagated, to_factor_graph
from lawful.inference.graphs.reading import discrete_part
from lawful.inference.graphs.reading.lifted import Table, Terms
from lawful.inference.graphs.reading.linear_counts import linear_count

P = np.random.default_rng(0).uniform(0.1, 0.9, 30)
BAGS = np.array([0] * 9 + [2] * 12 + [1] * 9)


def members(p=P):
    with lawful.plate("member", len(p)):
        return lawful.sample("y", dist.Bernoulli(p))


def log_law(p):
    """Log probabilities of the number of ones, member by member."""
    law = np.ones(1)
    for q in p:
        law = np.convolve(law, [1 - q, q])
    return np.log(law)


def normal(loc):
    return stats.norm(loc, 0.7).logpdf(5.0)


STATEMENTS = {
    "noisy": (
        lambda y: lawful.sample("S", dist.Normal(y.sum().astype(float), 0.7), obs=jnp.array(5.0)),
        normal(np.arange(31.0)),
    ),
    "penalty": (lambda y: lawful.factor("f", -0.3 * (y.sum() - 7.0) ** 2), -0.3 * (np.arange(31) - 7.0) ** 2),
    "product": (lambda y: lawful.factor("f", -y.sum() * (y.sum() - 2.0)), -np.arange(31) * (np.arange(31) - 2.0)),
    "comparison": (
        lambda y: lawful.factor("f", jnp.where(jnp.sum(1 - y) > 20, 0.0, -1.0)),
        np.where(30 - np.arange(31) > 20, 0.0, -1.0),
    ),
    "mean": (
        lambda y: lawful.sample("S", dist.Bernoulli(0.2 + 0.5 * (1.0 * y).mean()), obs=jnp.array(1)),
        np.log(0.2 + 0.5 * np.arange(31) / 30),
    ),
    "product with ones": (
        lambda y: lawful.factor("f", -jnp.abs(jnp.ones(30) @ (1.0 * y) - 4.0)),
        -np.abs(np.arange(31) - 4.0),
    ),
    "weights": (lambda y: count("S", y, noise=jnp.cos(jnp.arange(31.0))), np.cos(np.arange(31.0))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(STATEMENTS))
def test_a_sum_that_is_used_as_a_whole_is_one_count(name):
    statement, g = STATEMENTS[name]
    graph = to_factor_graph(lambda: (statement(members()), None)[1])
    (counted,) = graph.structure.counted
    assert counted.sizes.tolist() == [30] and max(group.arity for group in graph.structure.groups) == 1
    found = eliminated(graph)
    np.testing.assert_allclose(found.log_z, np.logaddexp.reduce(log_law(P) + g), rtol=1e-12)
    assert set(found.marginals) == {"y"}


def test_bags_of_segments_are_counts():
    seen = jnp.array([3, 4, 12])

    def by_hand():
        n = jax.ops.segment_sum(members(), BAGS, 3)
        with lawful.plate("bag", 3):
            lawful.sample("S", dist.Delta(n), obs=seen)

    truth = sum(log_law(P[BAGS == k])[s] for k, s in enumerate(seen.tolist()))
    for program in (by_hand, lambda: count("S", members(), bags=BAGS, obs=seen)):
        graph = to_factor_graph(program)
        assert graph.structure.counted[0].sizes.tolist() == [9, 9, 12]
        np.testing.assert_allclose(eliminated(graph).log_z, truth, rtol=1e-12)


def test_sums_that_are_only_added_up_are_no_counts():
    def program():
        y = members()
        lawful.factor("f", 0.3 * y.sum() + jnp.sum(jax.ops.segment_sum(1.0 * y, BAGS, 3) * jnp.arange(3.0)))

    graph = to_factor_graph(program)
    assert not graph.structure.counted
    weights = 0.3 + np.arange(3)[BAGS]
    np.testing.assert_allclose(eliminated(graph).log_z, np.log(1 - P + P * np.exp(weights)).sum(), rtol=1e-12)


@pytest.mark.slow
def test_a_count_is_made_once_and_may_be_read_with_other_variables():
    def program():
        y = members(P[:12])
        kind = lawful.sample("kind", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        lawful.sample("S", dist.Normal(1.0 * y.sum() + kind, 1.0), obs=jnp.array(4.0))
        lawful.sample("T", dist.Poisson(0.5 + y.sum()), obs=jnp.array(6))

    graph = to_factor_graph(program)
    assert len(graph.structure.counted) == 1
    s, kind = np.arange(13.0)[:, None], np.arange(3)
    scores = log_law(P[:12])[:, None] + np.log([0.2, 0.5, 0.3]) + stats.norm(s + kind, 1.0).logpdf(4.0)
    scores = scores + stats.poisson(0.5 + s).logpmf(6)
    found = eliminated(graph)
    np.testing.assert_allclose(found.log_z, np.logaddexp.reduce(scores.reshape(-1)), rtol=1e-12)
    posterior = np.exp(scores - np.logaddexp.reduce(scores.reshape(-1))).sum(axis=0)
    np.testing.assert_allclose(found.marginals["kind"], posterior, rtol=1e-10)


def test_a_state_of_a_categorical_choice_is_counted():
    def program():
        with lawful.plate("member", 8):
            z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        lawful.factor("f", -((jnp.sum(z == 2) - 3.0) ** 2))

    graph = to_factor_graph(program)
    assert graph.structure.counted[0].states.tolist() == [2] * 8
    g = -((np.arange(9) - 3.0) ** 2)
    np.testing.assert_allclose(eliminated(graph).log_z, np.logaddexp.reduce(log_law(np.full(8, 0.3)) + g), rtol=1e-12)


@pytest.mark.slow
def test_parameters_of_what_reads_a_count_may_be_traced():
    def log_z(x):
        def program():
            y = members(P[:6])
            lawful.sample("S", dist.Normal(x[0] * y.sum() + x[1], x[2]), obs=jnp.array(4.0))

        return eliminated(to_factor_graph(program)).log_z

    def truth(x):
        g = dist.Normal(x[0] * jnp.arange(7.0) + x[1], x[2]).log_prob(4.0)
        return jax.scipy.special.logsumexp(log_law(P[:6]) + g)

    x = jnp.array([0.8, 0.3, 1.2])
    value, slope = jax.value_and_grad(log_z)(x)
    np.testing.assert_allclose(value, truth(x), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.grad(truth)(x), rtol=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("kwargs", "g"),
    [
        ({"obs": jnp.array([1, 2])}, None),
        ({"obs": jnp.array([0.5, 2.5]), "noise": lambda n: dist.Normal(1.0 * n, 0.6)}, None),
        ({"noise": jnp.array([[0.0, -1.0, 0.5, -jnp.inf], [0.2, 0.1, 0.0, 0.3]])}, None),
    ],
    ids=["hard", "noisy", "weights"],
)  # fmt: skip
def test_a_count_has_the_same_measure_when_the_program_is_enumerated(kwargs, g):
    def program():
        with lawful.plate("bag", 2, dim=-2), lawful.plate("member", 3, dim=-1):
            y = lawful.sample("y", dist.Bernoulli(jnp.array([[0.2, 0.4, 0.7], [0.5, 0.6, 0.1]])))
        return count("S", y, **kwargs)

    exact, graph = inference.enumerate(program)(), to_factor_graph(program)
    assert not graph.structure.counted  # tables of so few are small
    np.testing.assert_allclose(infer(graph).log_z, exact.log_evidence, rtol=1e-12)
    found = to_factor_graph(program, count_from=4)
    assert found.structure.counted[0].sizes.tolist() == [3, 3]
    np.testing.assert_allclose(infer(found).log_z, exact.log_evidence, rtol=1e-12)


@pytest.mark.slow
def test_large_bags_of_a_program_are_exact():
    p = np.random.default_rng(1).uniform(0.2, 0.8, (2, 400))

    def program(seen):
        with lawful.plate("bag", 2, dim=-2), lawful.plate("member", 400, dim=-1):
            y = lawful.sample("y", dist.Bernoulli(p))
        count("S", y, obs=seen)

    found = inference.bp(program).beliefs(jnp.array([190, 230]))
    assert (found.verdict, found.certificate, found.method) == ("exact", "exact", "messages on a forest")
    truth = sum(log_law(q)[s] for q, s in zip(p, (190, 230), strict=True))
    np.testing.assert_allclose(found.log_evidence, truth, rtol=1e-10)
    np.testing.assert_allclose(found.marginals["y"][..., 1].sum(axis=1), [190, 230], rtol=1e-9)


@pytest.mark.slow
def test_counts_meet_pairs_in_loopy_belief_propagation():
    def program():
        y = members(P[:12])
        lawful.factor("same", 0.4 * jnp.sum(y[1:] == y[:-1]))
        count("S", y.reshape(3, 4), noise=lambda n: dist.Normal(1.0 * n, 0.5), obs=jnp.array([1.0, 3.0, 2.0]))

    graph = to_factor_graph(program, count_from=4)
    found, exact = propagated(graph), eliminated(to_factor_graph(program))
    assert len(graph.structure.counted[0].totals) == 3 and found.verdict == "converged"
    np.testing.assert_allclose(eliminated(graph).log_z, exact.log_z, rtol=1e-12)
    assert np.abs(found.beliefs["y"] - exact.beliefs["y"]).max() < 0.1


@pytest.mark.slow
def test_members_are_summed_out_of_a_program():
    def electorate(seen):
        noise = lawful.sample("noise", dist.HalfNormal(1.0))
        with lawful.plate("bag", 2, dim=-2), lawful.plate("member", 9, dim=-1):
            y = lawful.sample("y", dist.Bernoulli(P[:18].reshape(2, 9)))
        count("S", y, noise=lambda n: dist.Normal(1.0 * n, noise), obs=seen)

    seen, noise = jnp.array([3.3, 6.1]), 0.7
    form = inference.marginalise()(lawful.trace(electorate, seen))
    truth = float(dist.HalfNormal(1.0).log_prob(noise))
    for p, s in zip(P[:18].reshape(2, 9), seen, strict=True):
        truth += np.logaddexp.reduce(log_law(p) + np.asarray(dist.Normal(np.arange(10.0), noise).log_prob(s)))
    np.testing.assert_allclose(form.log_density({"noise": jnp.array(noise)}, seen), truth, rtol=1e-10)


@pytest.mark.parametrize("blocks", ["auto", [{"y": [0]}, {"y": [1, 2]}]], ids=["one block", "two blocks"])
def test_blocks_with_counts_keep_the_posterior(blocks, monkeypatch):
    """Also where a block cuts a bag: the members outside stay as they are held."""
    few = {"count_from": 4}
    monkeypatch.setattr(discrete_part, "to_factor_graph", lambda *args, **given: to_factor_graph(*args, **given | few))

    def three():
        with lawful.plate("member", 3):
            y = lawful.sample("y", dist.Bernoulli(P[:3]))
        lawful.factor("pair", jnp.where(y[0] == y[1], 0.7, 0.0))
        count("S", y, noise=jnp.array([0.3, -1.0, 0.4, 0.1]))

    report = invariant(kernels.block_gibbs("y", blocks), three)
    assert report.passed and report.tv < 1e-14, report


def test_unequal_weights_are_no_count():
    single = Table(jnp.array([[0.0, 0.0], [1.0, 2.0]]), np.arange(2)[:, None])
    summed = Terms((), (single,))
    assert linear_count(summed, 1) is None
    alike = Terms((), (Table(jnp.array([[0.5, 2.0], [1.5, 1.0]]), np.arange(2)[:, None]),))
    found = linear_count(alike, 1)
    assert (found.members.tolist(), found.states.tolist()) == ([0, 1], [1, 0])
    assert (float(found.offset), float(found.step)) == (1.5, 1.0)


def test_statements_about_counts_that_do_not_fit_are_refused():
    def stated(**kwargs):
        return lambda: count("S", members(), **kwargs)

    for kwargs, error in (
        ({"obs": jnp.zeros(2)}, r"obs has shape \(2,\), expected \(\)"),
        ({"bags": BAGS[:3]}, r"bags has shape \(3,\), expected that of the members"),
        ({"noise": jnp.zeros(31), "obs": jnp.array(1)}, "log weights say all that is known"),
        ({"noise": jnp.zeros((2, 31))}, r"log weights of shape \(2, 31\)"),
    ):
        with pytest.raises(ObservationError, match=error):
            lawful.trace(stated(**kwargs))
    with pytest.raises(ObservationError, match="expected zeros and ones along an axis, got float64"):
        count("S", jnp.zeros(3))
