"""Proposals from loopy beliefs: importance sampling, MH and SMC stay exact where belief propagation is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.graphs import to_factor_graph, to_program, tree_proposal
from tests.inference.factor_graphs.networks import exact, network
from tests.inference.factor_graphs.truth import Truth, cases, grid, random_graph


def frustrated():
    """A ring that pulls three ways: beliefs are wrong, and one pair of states is excluded."""
    with lawful.plate("i", 3):
        z = lawful.sample("z", dist.Bernoulli(jnp.array([0.3, 0.6, 0.5])))
    w = lawful.sample("w", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    signs = jnp.array([1.4, -1.4, 1.4])
    lawful.factor("pull", jnp.sum(signs * jnp.where(z == jnp.roll(z, 1), 1.0, -1.0)))
    lawful.factor("never", jnp.where((z[0] == 1) & (w == 2), -jnp.inf, 0.3 * w * z[1]))


def sequence():
    """The same in two steps of a loop beside a site that is not proposed."""
    p = lawful.sample("p", dist.Bernoulli(0.4))

    def step(z, y):
        z = lawful.sample("z", dist.Bernoulli(0.3 + 0.4 * z - 0.2 * p))
        lawful.sample("y", dist.Bernoulli(0.2 + 0.5 * z), obs=y)
        return z, z

    last, path = lawful.scan(step, jnp.asarray(0), jnp.array([1, 0]))
    lawful.factor("ends", jnp.where(path[0] == last, 0.8, 0.0))


@pytest.mark.kills("39h", floor=0.01)
@pytest.mark.slow
@pytest.mark.tier0
@pytest.mark.parametrize("floor", [0.01, 1.0])
def test_moves_by_beliefs_keep_the_posterior_exactly(floor):
    q = tree_proposal(frustrated, floor=floor)
    report = invariant(kernels.mh(kernels.independence(q) if floor < 1 else q), frustrated)
    assert report.passed and report.tv < 1e-14, report


@pytest.mark.kills("39g")
@pytest.mark.tier0
def test_beliefs_that_follow_the_other_sites_keep_the_posterior_exactly():
    q = tree_proposal(sequence, sites=["z"], follow=True)
    report = invariant(kernels.cycle(kernels.mh(q), kernels.on("p", kernels.mh())), sequence)
    assert report.passed and report.tv < 1e-14, report
    fixed = tree_proposal(sequence, sites=["z"], given={"p": 1})
    report = invariant(kernels.mixture([1, 1], kernels.mh(fixed), kernels.mh()), sequence)
    assert report.passed and report.tv < 1e-14, report


def sometimes():
    """A site that runs beside one state of `z` alone, where it is not what a site that does not run is taken to be."""
    z = lawful.sample("z", dist.Bernoulli(0.4))
    lawful.cond(z == 0, lambda: lawful.sample("w", dist.DiscreteUniform(1, 2)), lambda: 0)


@pytest.mark.tier0
def test_a_state_that_is_possible_beside_other_values_is_in_the_floor():
    q = tree_proposal(sometimes, sites=["z"], given={"w": 0})
    report = inference.check.preserves(lambda form: inference.propose(q)(form), sometimes)
    assert report.passed, report
    moves = kernels.mh(tree_proposal(sometimes, sites=["z"], follow=True))
    matrix = invariant(kernels.mixture([1, 1], moves, kernels.on("w", kernels.mh())), sometimes)
    assert matrix.passed, matrix


def usable(graph):
    """Whether every variable has a state that it does not exclude."""
    return not any(np.isneginf(np.asarray(u)).all(axis=1).any() for u in graph.potentials.unary)


@pytest.mark.slow
@pytest.mark.tier0
@pytest.mark.parametrize(
    "case",
    [
        (1, 3, 4),
        (5, 2, 3),
        *(pytest.param((k, 3, 4), marks=pytest.mark.slow) for k in (*range(10, 18), 23, 26, 27, 28)),
    ],
    ids=str,
)
def test_weighted_draws_have_the_measure_of_the_graph(case):
    graph = random_graph(*case)
    truth = Truth(graph)
    assert usable(graph), "choose another case"
    found = inference.check.enumerate_measure(inference.propose(tree_proposal(graph))(to_program(graph)))
    assert float(found.total()) == pytest.approx(np.exp(truth.log_z), rel=1e-12)
    for name in (f.name for f in graph.structure.families if f.size):
        marginal = np.zeros_like(truth.variables[name]).reshape((-1, truth.variables[name].shape[-1]))
        for trace, weight in found.traces():
            states = np.asarray(dict(trace.choices)[(name,)]).reshape(-1)
            marginal[np.arange(len(states)), states] += float(weight)
        wanted = np.exp(truth.log_z) * truth.variables[name].reshape(marginal.shape)
        np.testing.assert_allclose(marginal, wanted, rtol=1e-12, atol=1e-14)


@settings(max_examples=8)
@given(case=cases(variables=4, factors=4, least=1))
def test_a_graph_read_off_its_program_has_its_measure(case):
    graph = random_graph(*case)
    if not usable(graph):
        return
    again = to_factor_graph(to_program(graph))
    truth, other = Truth(graph), Truth(again)
    assert other.log_z == pytest.approx(truth.log_z, abs=1e-12)
    for name in other.variables:
        np.testing.assert_allclose(other.variables[name], truth.variables[name], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_populations_take_it_as_their_proposal():
    graph = grid(np.random.default_rng(2), 3, 3, strength=1.2)
    log_z = Truth(graph).log_z
    result = inference.smc(to_program(graph), particles=2000, runs=4, proposal=tree_proposal(graph))(jax.random.key(3))
    assert abs(result.log_evidence_pooled - log_z) < 4 * result.log_evidence_error
    assert result.log_evidence_error < 0.02


@pytest.mark.slow
def test_weighted_draws_on_the_grid_of_the_reference_data_are_right(data):
    """Beliefs are off by 0.0142 there; what is weighed by them is right within four standard errors."""
    graph, known = network(data, "ising_grid_6x8"), exact(data, "ising_grid_6x8")
    program, n = to_program(graph), 4000
    result = inference.importance(program, particles=n, runs=8, proposal=tree_proposal(graph))(jax.random.key(0))
    ratio = np.exp(np.asarray(result.log_evidence) - known["log_partition"])
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / 8**0.5 < 0.1
    assert 0.3 < np.mean(result.stats["ess"]) / n < 1
    weights = np.exp(np.asarray(result.weighted.log_weight) + np.asarray(result.log_evidence)[:, None])
    weights = weights / weights.sum()
    ones = np.asarray(result.weighted.values["x"]) == 1
    mean = (weights[..., None] * ones).sum(axis=(0, 1))
    error = np.sqrt((weights[..., None] ** 2 * (ones - mean) ** 2).sum(axis=(0, 1)))
    assert np.abs((mean - np.array(known["marginals"])[:, 1]) / error).max() < 4


@pytest.mark.slow
def test_chains_on_the_grid_of_the_reference_data_are_right(data):
    graph, known = network(data, "ising_grid_6x8"), exact(data, "ising_grid_6x8")
    moves = kernels.mh(kernels.independence(tree_proposal(graph)))
    result = inference.mcmc(to_program(graph), moves, chains=16, warmup=20, draws=1000)(jax.random.key(1))
    assert np.asarray(result.stats["acceptance_rate"]).mean() > 0.4
    means = (np.asarray(result.posterior["x"]) == 1).mean(axis=1)
    error = means.std(axis=0, ddof=1) / 16**0.5
    assert np.abs((means.mean(axis=0) - np.array(known["marginals"])[:, 1]) / error).max() < 4


def test_what_cannot_be_proposed_is_refused():
    with pytest.raises(LawfulError, match=r"floor: expected a share in \[0, 1\], got 2.0"):
        tree_proposal(frustrated, floor=2.0)
    with pytest.raises(LawfulError, match="make the proposal depend on the past"):
        tree_proposal(frustrated, init=None)
    with pytest.raises(LawfulError, match="tree_proposal: 'v' is no latent site. The finite sites .* are: z, w"):
        tree_proposal(frustrated, sites=["v"])
    with pytest.raises(LawfulError, match="p: neither proposed nor given"):
        tree_proposal(sequence, sites=["z"])
    graph = grid(np.random.default_rng(2), 2, 2)
    with pytest.raises(LawfulError, match="a factor graph takes no arguments"):
        tree_proposal(graph, sites=["z"])
    with pytest.raises(LawfulError, match="some variable of 'z' excludes all of its states"):
        to_program(graph.observe({"z": (0, np.array([0, 0]))}).observe({"z": (1, np.array([1, 1]))}).replace(
            graph.potentials._replace(unary=(np.full((4, 2), -np.inf),))))  # fmt: skip
