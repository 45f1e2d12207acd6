"""Simulated data follow the published design, and the truth is the density's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Design, Model, Parameters, log_likelihood_by_person, panel, simulate_trajectories
from lawful.models.trajectories.model.reports import reported
from lawful.models.trajectories.model.simulate import draw


def test_the_default_design_is_that_of_the_demonstration():
    design = Design()
    first = [(0.884948, 1.327422), (0.176990, 0.265484), (0.176990, 0.265484)]
    np.testing.assert_allclose(design.growth[0], first, atol=1e-6)
    np.testing.assert_allclose(design.growth[1, 0], (1.251505, 1.877258), atol=1e-6)
    np.testing.assert_allclose(np.diagonal(design.residual[0]), (21.75, 0.87, 0.87), atol=1e-9)
    np.testing.assert_allclose(design.residual[1][[1, 2, 2], [0, 0, 1]], (0.2, 0.2, 0.04), atol=1e-9)
    found = reported(jax.tree.map(jnp.asarray, design.parameters), Model("BLS", 2, 2, 2))
    np.testing.assert_allclose(found.mean, design.factors, rtol=1e-12)
    np.testing.assert_allclose(found.chol, design.residual, rtol=1e-9, atol=1e-12)


def test_a_design_may_have_three_classes_whose_sizes_follow_the_gate():
    """4,000 persons: shares of classes within six standard errors of the mean of the gate."""
    rows = ((0.3, 0.4, 0.5), (-0.3, -0.5, 0.3))
    factors, shapes = ((100.0, -5.0, -2.6), (100.0, -5.0, -3.8), (92.0, -4.0, -2.0)), (3.5, 5.5, 4.5)
    design = Design(factors=factors, shapes=shapes, explained=(0.13, 0.26, 0.2), gate=rows)
    assert [len(leaf) for leaf in design.parameters if leaf is not None] == [3] * 8
    data, labels = simulate_trajectories(jax.random.key(2), n=4000, waves=3, design=design)
    gate = np.stack([np.ones(4000), data["gx1"], data["gx2"]], axis=1)
    odds = np.exp(gate @ np.array([(0.0, 0.0, 0.0), *rows]).T)
    expected = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)
    shares = np.bincount(labels, minlength=4)[1:] / 4000
    np.testing.assert_allclose(shares, expected, atol=6 * 0.5 / 4000**0.5)
    assert np.ptp(expected) > 0.15 and abs(data["Y1"][labels == 3].mean() - 92) < 1.5


@pytest.mark.reference
def test_the_density_at_the_truth_of_the_demonstration_is_the_published_one(demo):
    y, t = (np.stack([demo[f"{name}{j}"] for j in range(1, 11)], axis=1) for name in "YT")
    seen = panel(y, t, np.c_[demo["gx1"], demo["gx2"]], np.c_[demo["ex1"], demo["ex2"]])
    truth = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], Design().parameters)
    total = log_likelihood_by_person(truth, seen, Model("BLS", 2, 2, 2)).sum()
    assert -2 * float(total) == pytest.approx(22956.757, abs=1e-3)


def test_moments_of_what_is_drawn_are_those_of_the_design():
    """5,000 persons; each bound is six standard errors or more, so a false alarm has odds of about 1e-8."""
    n, design = 5000, Design()
    data, labels = simulate_trajectories(jax.random.key(1), n=n)
    y = np.stack([data[f"Y{j}"] for j in range(1, 11)], axis=1)
    assert abs((labels == 2).mean() - 0.5) < 6 * 0.5 / n**0.5
    first = y[labels == 1]
    assert abs(first[:, 0].mean() - 100) < 6 * 5.1 / len(first) ** 0.5
    assert abs(first[:, 0].var() - 26) < 6 * 26 * (2 / len(first)) ** 0.5
    assert abs(first[:, -1].mean() - (100 - 5 * 3.5 - 2.6 * 5.5)) < 6 * 12 / len(first) ** 0.5
    again = simulate_trajectories(jax.random.key(1), n=n, design=design)
    np.testing.assert_array_equal(again.data["Y3"], data["Y3"])
    gaps = simulate_trajectories(jax.random.key(1), n=n, missing=0.4).data
    assert abs(np.isnan(gaps["Y5"]).mean() - 0.4) < 6 * 0.49 / n**0.5 and not np.isnan(gaps["Y1"]).any()


def test_covariates_are_drawn_with_the_mean_of_the_class_and_their_slopes_move_outcomes():
    """400 persons of class 2, whose covariate lies far from 0; six standard errors."""
    at = Parameters(
        np.array([[0.0], [50.0]]), np.array([[0.0, 0.0], [1.0, 0.0]]), np.zeros((2, 0)), np.full((2, 2, 1), 2.0),
        np.zeros((2, 2, 2)), np.full(2, 1e-12), np.array([[-9.0], [3.0]]), np.full((2, 1, 1), 0.5),
    )  # fmt: skip
    drawn = draw(jax.random.key(0), at, Model("LIN", 2, 0, 1), np.tile([0.0, 1.0], (400, 1)), np.zeros((400, 0)))
    assert set(drawn.labels) == {2} and abs(drawn.growth.mean() - 3.0) < 6 * 0.5 / 20
    np.testing.assert_allclose(drawn.y, 1.0 + 2.0 * drawn.growth * (1.0 + np.array([[0.0, 1.0]])), atol=1e-4)


@pytest.mark.slow
def test_a_shape_of_ones_own_is_drawn_as_its_density_has_it():
    """To first order the mean log density is minus the entropy; exactly, no noisier draws have a higher one."""
    rng = np.random.default_rng(0)
    t = np.tile(np.linspace(0.0, 4.0, 5), (4000, 1))
    for exact in (False, True):
        model = Model("EXP", 1, intrinsic=True, exact=exact)
        at = Parameters(
            np.zeros((1, 1)), np.array([[1.0, 5.0]]), np.array([[0.6]]), np.zeros((1, 3, 0)),
            np.array([[[0.1, 0.0, 0.0], [0.2, 0.5, 0.0], [0.0, 0.1, 0.4]]]), np.array([0.04]), np.zeros((1, 0)),
            np.zeros((1, 0, 0)),
        )  # fmt: skip
        drawn = draw(jax.random.key(2), at, model, t, np.zeros((4000, 0)))
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], at)
        each = np.asarray(log_likelihood_by_person(wide, panel(drawn.y, t), model))
        other = drawn.y + 0.1 * rng.normal(size=t.shape)  # noisier than the density
        worse = np.asarray(log_likelihood_by_person(wide, panel(other, t), model))
        assert each.mean() > worse.mean()
        if not exact:  # a normal law: its entropy is known, and six standard errors of a mean of 2.5 chi-squares
            cov = np.cov(drawn.y.T)
            entropy = -0.5 * (np.linalg.slogdet(cov)[1] + 5 * (1 + np.log(2 * np.pi)))
            assert abs(each.mean() - entropy) < 6 * (2.5 / 4000) ** 0.5
