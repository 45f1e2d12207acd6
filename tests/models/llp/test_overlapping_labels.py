"""Rows in several bags with neighbours: labels are those of all labellings, or close to them where cycles close."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs import infer, to_factor_graph
from lawful.models.llp import Bags, Coupling, labelled, llp_program
from tests.models.llp.truth import posterior

MEMBERSHIP = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0]])


@pytest.mark.slow
def test_l10_overlapping_bags_with_neighbours_on_a_forest_are_exact():
    bags = Bags.from_membership(MEMBERSHIP, [2, 1])
    near = Coupling(np.array([[4, 5]]), 0.5, 0.35, np.nan)  # a row in no bag
    z = np.random.default_rng(0).normal(size=6)
    log_z, marginals = posterior(z, bags, near.edges, near.log_table)
    found = labelled(z, bags, near, max_iters=400, tol=1e-11)
    assert found.verdict == "converged" and found.log_z_kind == "bethe"
    np.testing.assert_allclose(found.log_z, log_z, rtol=1e-9)
    np.testing.assert_allclose(found.posterior, marginals, atol=1e-9)
    assert abs(posterior(z, bags)[1] - marginals).max() > 1e-3  # the neighbour is heard


@pytest.mark.slow
def test_l10_overlapping_bags_with_neighbours_in_cycles_are_close_and_have_their_sums():
    bags = Bags.from_membership(MEMBERSHIP, [2, 1])
    near = Coupling(np.array([[0, 3], [1, 4], [2, 5]]), 0.3, 0.35, np.nan)
    z = np.random.default_rng(1).normal(size=6)
    marginals = posterior(z, bags, near.edges, near.log_table)[1]
    found = labelled(z, bags, near, max_iters=400, tol=1e-9)
    assert found.verdict == "converged" and found.count_error < 1e-6
    np.testing.assert_allclose(found.posterior, marginals, atol=0.08)


@pytest.mark.slow
def test_l10_overlapping_bags_of_three_classes_are_those_of_all_labellings():
    bags = Bags.from_membership(MEMBERSHIP, [[1, 1, 1], [0, 2, 1]])
    near = Coupling(np.array([[0, 3], [4, 5]]), 0.3, np.array([0.2, 0.5, 0.3]), np.nan)
    z = np.random.default_rng(2).normal(size=(6, 3))
    log_z, marginals = posterior(z, bags, near.edges, near.log_table)
    exact = infer(to_factor_graph(partial(llp_program, bags=bags, coupling=near), jnp.asarray(z)), "exact")
    np.testing.assert_allclose(exact.beliefs["y"], marginals, atol=1e-10)
    np.testing.assert_allclose(exact.log_z, log_z, rtol=1e-10)
    found = labelled(z, bags, near, max_iters=400, tol=1e-9)
    assert found.verdict == "converged"
    np.testing.assert_allclose(found.posterior, marginals, atol=0.15)
