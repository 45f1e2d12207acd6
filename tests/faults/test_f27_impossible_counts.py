"""Row 27: a bag that cannot have its count is refused, or has no mass and is named; no other bag notices."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError, ObservationError
from lawful.inference import Status
from lawful.inference.graphs import FactorGraph, infer, propagated
from lawful.inference.graphs import counts as counting
from lawful.models.llp import count_log_likelihood, posterior_given_counts
from lawful.models.llp.bags.bags import Bags
from tests.tiers import rest_slow

SIZES = [0, 1, 2]


@pytest.mark.parametrize(("size", "count"), [(size, count) for size in SIZES for count in (-1, size + 1)])
def test_f27_a_count_outside_its_bag_is_refused_with_the_bag(size, count):
    ids = [0] * 2 + [1] * size + [2]
    with pytest.raises(ObservationError, match=rf"bag 1 has {size} members and the count {count}.*Fix:") as caught:
        Bags.from_ids(ids, [1, count, 1])
    assert caught.value.bag == 1
    Bags.from_ids(ids, [1, 0, 1])
    Bags.from_ids(ids, [1, size, 1])


def test_f27_a_proportion_or_a_class_count_that_cannot_be_is_refused():
    with pytest.raises(ObservationError, match="proportion of bag 1 is 1.5"):
        Bags.from_ids([0, 0, 1], proportions=[0.5, 1.5])
    with pytest.raises(ObservationError, match="bag 0 has 2 members.*add up to the size"):
        Bags.from_ids([0, 0], [[1, 2, 0]])


def brute(z, count):
    """P(count) of independent members with log odds z, which may be infinite, by listing all of their states."""
    p = 1 / (1 + np.exp(-np.asarray(z)))
    states = itertools.product([0, 1], repeat=len(z))
    return sum(np.prod(np.where(s, p, 1 - p)) for s in map(np.array, states) if s.sum() == count)


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2])
def test_f27_probabilities_of_zero_and_one_exclude_exactly_what_they_should(size, dtype):
    with jax.enable_x64(dtype == np.float64):
        for z in itertools.product([-np.inf, 0.3, np.inf], repeat=size):
            for count in range(size + 1):
                bags = Bags.from_ids([0] * size, [count])
                found = float(count_log_likelihood(np.array(z, dtype), bags)[0])
                with np.errstate(divide="ignore"):
                    assert found == pytest.approx(np.log(brute(z, count)), abs=2e-6 if dtype == np.float32 else 1e-12)


@pytest.mark.slow
@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("mode", "dtype"),
    rest_slow([("jit", np.float64), ("vmap", np.float32), ("eager", np.float32), ("vmap", np.float64)], 2),
)
def test_f27_an_excluded_bag_has_no_mass_and_no_posterior_and_the_others_do_not_notice(mode, dtype):
    with jax.enable_x64(dtype == np.float64):
        bags = Bags.from_ids([0, 0, 1, 1, 2, 2, 2], [1, 0, 2])
        fine = np.array([0.3, -0.2, 0.1, -0.4, 0.5, 1.5, -1.0], dtype)
        broken = fine.copy()
        broken[2] = np.inf  # one of bag 1 is certain, and its count is 0

        def run(z):
            log_l, posterior = count_log_likelihood(z, bags), posterior_given_counts(z, bags)
            slope = jax.grad(lambda z: jnp.sum(jnp.where(jnp.isfinite(x := count_log_likelihood(z, bags)), x, 0)))(z)
            return log_l, posterior, slope

        if mode == "vmap":
            both = jax.vmap(run)(jnp.stack([fine, broken]))
            (want, before, slope_before), (got, after, slope) = ([x[lane] for x in both] for lane in (0, 1))
        else:
            function = jax.jit(run) if mode == "jit" else run
            want, before, slope_before = function(jnp.asarray(fine))
            got, after, slope = function(jnp.asarray(broken))
        others, rest = np.array([0, 2]), np.array([0, 1, 4, 5, 6])
        assert float(got[1]) == -np.inf and np.isfinite(want).all()
        assert np.isnan(after[2:4]).all() and np.isfinite(slope).all()
        np.testing.assert_array_equal(got[others], want[others])
        np.testing.assert_array_equal(after[rest], before[rest])
        np.testing.assert_array_equal(slope[rest], slope_before[rest])


def test_f27_the_count_has_no_law_where_none_is_possible():
    h, g = jnp.array([jnp.inf, 0.0]), jnp.array([0.0, -jnp.inf, -jnp.inf])
    assert counting.count_posterior(h, g).tolist() == [0.0, 0.0, 0.0]
    solved = counting.solve(h, g)
    assert float(solved.log_evidence) == -np.inf and not np.isnan(solved.messages).any()


def two_bags(pairs):
    graph = FactorGraph()
    y = graph.variables("y", (5,), log_potential=np.array([0.0, 0.4]))
    if pairs:
        graph.factors("alike", [y[:-1], y[1:]], 0.3 * np.eye(2))
    graph.count("n", y, bags=[0, 0, 1, 1, 1])
    return graph


@pytest.mark.slow
@pytest.mark.parametrize("method", ["loopy", "auto"])
@pytest.mark.parametrize("pairs", [False, True])
def test_f27_a_graph_names_the_bag_that_evidence_excludes(pairs, method):
    clash = two_bags(pairs).observe({"n": [0, 2], "y": ([0], [1])})
    found = propagated(clash) if method == "loopy" else infer(clash)
    assert found.verdict == "infeasible" and float(found.log_z) == -np.inf
    assert not found.ok and found.status == Status.DEAD
    (finding,) = found.reasons
    assert "there are no marginals" in finding.message
    assert finding.sites == ("n[0]",) and "n[0] has no possible count" in finding.message
    assert infer(two_bags(pairs).observe({"n": [1, 2], "y": ([0], [1])})).ok


@pytest.mark.slow
def test_f27_a_graph_refuses_a_count_that_its_bag_cannot_have():
    graph = FactorGraph()
    y = graph.variables("y", (3,))
    graph.count("n", y, bags=[0, 0, 1])
    for count in ([1, 3], [-1, 1]):
        with pytest.raises(LawfulError, match="'n': expected a state from 0 to 2"):
            graph.observe({"n": count})
    found = propagated(graph.observe({"n": [1, 2]}))  # a state of the larger bag, which the smaller one cannot be in
    assert [finding.sites for finding in found.reasons] == [("n[1]",)]
