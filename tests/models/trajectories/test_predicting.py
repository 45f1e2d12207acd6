"""Curves of persons and densities of outcomes are those of the mixture over draws and classes, whatever their names."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from lawful.errors import LawfulError
from lawful.inference.results.collect import from_chains
from lawful.models.trajectories import Model, Parameters, panel
from lawful.models.trajectories.likelihood import expected_outcomes
from lawful.models.trajectories.likelihood.density import factor_scores, log_memberships
from lawful.models.trajectories.posterior import predictions

from .test_posterior import CHAINS, DRAWS, draws, posterior, renamed

TIMES = np.array([0.0, 2.5, 9.0])


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        yield posterior(patch, from_chains(draws(vague=True)))


def parts(found):
    """Weights (D, K, n), means and standard deviations (D, K, n, m) of the curves, draw by draw."""
    seen = panel(found.data.y, found.data.t, found.data.gate, found.data.growth)
    flat = jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(CHAINS * DRAWS, *leaf.shape[2:])), found.parameters)
    loads = np.stack([np.ones(3), TIMES])

    @jax.jit
    def told(at):
        return (jnp.exp(log_memberships(at, seen, found.model)), *factor_scores(at, seen, found.model))

    for d in range(CHAINS * DRAWS):
        weights, mean, cov = map(np.asarray, told(jax.tree.map(lambda leaf, d=d: leaf[d][..., None], flat)))
        yield weights, mean @ loads, np.einsum("qm,knqr,rm->knm", loads, cov, loads)


@pytest.mark.slow
def test_curves_of_persons_are_mixtures_over_draws_and_classes(found, monkeypatch):
    weights, mean, variance = (np.stack(each) for each in zip(*parts(found), strict=True))
    curves = found.person_curves(TIMES, level=0.9)
    np.testing.assert_allclose(curves[..., 0], np.einsum("dkn,dknm->nm", weights, mean) / len(weights), rtol=1e-10)
    for ends, more in ((curves, 0.0), (found.person_curves(TIMES, level=0.9, outcomes=True), 1.0)):
        noise = more * found.parameters.noise.reshape(-1, 3)[..., None, None]
        for end, probability in ((1, 0.05), (2, 0.95)):
            below = norm.cdf(ends[None, None, ..., end], mean, np.sqrt(variance + noise))
            share = np.einsum("dkn,dknm->nm", weights, below) / len(weights)
            np.testing.assert_allclose(share, probability, rtol=1e-9)
    np.testing.assert_allclose(found.person_curves(TIMES, [4, 1], 0.9), curves[[4, 1]], rtol=1e-12)
    monkeypatch.setattr(predictions, "BLOCK", 5 * CHAINS * DRAWS * 3 * len(TIMES))  # persons five by five
    np.testing.assert_allclose(found.person_curves(TIMES, level=0.9), curves, rtol=1e-12)


def test_the_density_of_outcomes_is_one_and_that_of_persons_like_these(found):
    grid = np.linspace(-200, 900, 1201)
    density = found.mixture_density(grid, 4.0)
    assert np.sum(density) * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-6)
    p = jax.tree.map(lambda leaf: leaf.reshape(CHAINS * DRAWS, *leaf.shape[2:]), found.parameters)
    expected, load = 0.0, np.array([1.0, 4.0])
    gates = np.c_[np.ones(len(found.data.y)), found.data.gate]
    for d in range(CHAINS * DRAWS):
        logits = gates @ p.gate[d].T
        for k in range(3):
            own = norm.logpdf(found.data.growth[:, 0], p.x_mean[d, k, 0], abs(p.x_chol[d, k, 0, 0]))
            logits[:, k] += own
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        for k in range(3):
            centre = p.mean[d, k] @ load + found.data.growth[:, 0] * (p.slope[d, k, :, 0] @ load)
            spread = np.sqrt(load @ p.chol[d, k] @ p.chol[d, k].T @ load + p.noise[d, k])
            expected += np.mean(share[:, k, None] * norm.pdf(grid[None, ::100], centre[:, None], spread), axis=0)
    np.testing.assert_allclose(density[::100], expected / (CHAINS * DRAWS), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("curve", ["EXP", "JB", "BLS"])
def test_a_random_shape_loads_by_the_slope_of_the_curve_and_comes_first(curve):
    """By differences; other loadings are those of the basis."""
    model, times = Model(curve, 1, intrinsic=True), jnp.asarray([0.3, 1.7, 4.0])
    form, g = model.form, 0.9
    a = jnp.asarray(np.arange(1.0, 1 + form.q))
    at = Parameters(None, a, jnp.asarray([g]), None, None, None, None, None)
    loads = expected_outcomes.loadings(at, times, model, 0.0)
    slope = (form.value(times, g + 1e-6, a) - form.value(times, g - 1e-6, a)) / 2e-6
    np.testing.assert_allclose(loads[0], slope, rtol=1e-6, atol=1e-8)
    for row, column in zip(loads[1:], form.basis(times, g, 0.0), strict=True):
        np.testing.assert_allclose(row, np.broadcast_to(column, 3))


def test_names_of_classes_change_neither(found):
    rng = np.random.default_rng(3)
    order = np.argsort(rng.uniform(size=(CHAINS, DRAWS, 3)), axis=2)
    other = replace(found, result=from_chains(renamed(found.result.posterior, order)))
    np.testing.assert_allclose(other.person_curves(TIMES), found.person_curves(TIMES), rtol=1e-9)
    grid = [250.0, 300.0]
    np.testing.assert_allclose(other.mixture_density(grid, 1.0), found.mixture_density(grid, 1.0), rtol=1e-9)


def test_what_cannot_be_predicted_is_refused(found):
    for call, named in (
        (lambda: found.person_curves([np.nan]), "times"),
        (lambda: found.person_curves(["soon"]), "times is an array of <U4"),
        (lambda: found.person_curves([1.0], [99]), "places from 0 to 17"),
        (lambda: found.person_curves([1.0], draws=0), "draws=0"),
        (lambda: found.mixture_density(3.0, 1.0), "y is an array of float64 and shape"),
        (lambda: found.mixture_density([3.0], [1.0, 2.0]), "expected one finite number"),
    ):
        with pytest.raises(LawfulError, match=named):
            call()
    with pytest.raises(LawfulError):
        found.person_curves([1.0], level=1.5)
