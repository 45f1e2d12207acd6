"""Laws from which weights are near even: their scales, t laws about a normal one, and grids."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import UnsupportedProgramError
from lawful.inference.findings.evidence import kish_ess
from lawful.inference.laws.grid import COUNTS, TAILS, WIDE, Grid, centres
from lawful.inference.laws.tailed import MOST, Tailed
from lawful.inference.transformers.propose.guide import reaches_all
from lawful.inference.transformers.propose.stored_guide import restored, stored

from .known_line import known_line, line, line_data

FACTOR = np.array([[1.0], [0.5], [-2.0]])
LOW = dist.LowRankMultivariateNormal(jnp.array([1.0, 0.0, -1.0]), jnp.asarray(FACTOR), jnp.array([0.5, 1.0, 2.0]))


def test_independent_normals_go_to_those_of_the_same_precisions():
    """The ELBO of a normal posterior has its maximum there, so that the fit knows its answer (Bishop 2006, 10.1.2)."""
    x, y = line_data()
    mean, covariance, _ = known_line(x, y)
    law = inference.guide(line, family="normal")(0, x, y).guide.law.normal.base_dist
    np.testing.assert_allclose(law.loc, mean, atol=0.02)
    np.testing.assert_allclose(law.scale, 1 / np.sqrt(np.diag(np.linalg.inv(covariance))), rtol=0.05)


def test_the_mode_has_the_scales_of_each_coordinate_while_the_others_stay():
    """Of a normal posterior both are known to rounding: its mean, and the roots of the inverse precisions."""
    x, y = line_data()
    mean, covariance, _ = known_line(x, y)
    law = inference.guide(line, family="mode")(0, x, y).guide.law.normal.base_dist
    np.testing.assert_allclose(law.loc, mean, rtol=1e-5)
    np.testing.assert_allclose(law.scale, 1 / np.sqrt(np.diag(np.linalg.inv(covariance))), rtol=1e-5)


@pytest.mark.kills("59k", half=4)
@pytest.mark.parametrize("half", range(MOST + 1))
def test_tails_are_those_of_a_t_law_about_the_normal_one(half):
    with jax.enable_x64(True):
        points = np.random.default_rng(0).normal(scale=4.0, size=(6, 3))
        covariance = 1.5**2 * (FACTOR @ FACTOR.T + np.diag([0.5, 1.0, 2.0]))
        found = Tailed(LOW, half, 1.5).log_prob(jnp.asarray(points))
        law = stats.multivariate_t(LOW.loc, covariance, df=2 * half or np.inf)
        np.testing.assert_allclose(found, law.logpdf(points), rtol=1e-12)


def test_draws_have_the_density():
    """The squared distance of a t law over its size is of an F law; false alarms: 1e-9 each by K-S."""
    covariance = FACTOR @ FACTOR.T + np.diag([0.5, 1.0, 2.0])
    for half in (0, 2, 8):
        away = np.asarray(Tailed(LOW, half, 1.5).sample(jax.random.key(half), (20_000,))) - np.asarray(LOW.loc)
        square = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away) / 1.5**2
        law = stats.f(3, 2 * half, scale=3) if half else stats.chi2(3)
        assert stats.kstest(square, law.cdf).pvalue > 1e-9


def test_tails_are_normal_where_the_posterior_is():
    """The fit of a normal posterior keeps normal tails; a heavy one gets heavy ones, and even weights."""
    assert int(inference.guide(line)(0, *line_data()).guide.law.half) in (0, MOST)
    heavy = inference.guide(lambda: lawful.sample("x", dist.StudentT(3.0, 0.0, 1.0)))(0)
    assert int(heavy.guide.law.half) == 2 and heavy.ok
    assert kish_ess(heavy.weighted.log_weight).min() > 0.9 * 2000


@pytest.mark.kills("59l", size=1)
@pytest.mark.parametrize("size", [1, 2])
def test_a_grid_has_the_mass_one(size):
    """By sums over points in cells, and the share of the t law by its own distribution function."""
    with jax.enable_x64(True):
        log_mass = np.random.default_rng(size).normal(size=len(centres(size)))
        root = np.array([[2.0, 0.0], [1.0, 0.5]])[:size, :size]
        law = Grid(jnp.arange(1.0, 1.0 + size), jnp.asarray(root), jnp.asarray(log_mass))
        points = np.asarray(law.loc) + centres(size) @ root.T
        mass = (2 * WIDE / COUNTS[size - 1]) ** size * np.linalg.det(root)
        cells = np.exp(law.log_prob(points)) - TAILS * np.exp(law.tails.log_prob(points))
        share = np.exp(log_mass) / np.exp(log_mass).sum()
        np.testing.assert_allclose(cells * mass, (1 - TAILS) * share, rtol=1e-9)
        assert reaches_all(law) and np.isfinite(law.log_prob(points + 1e3)).all()


@pytest.mark.parametrize("size", [1, 2])
def test_a_scan_needs_no_fit(size):
    """The evidence and the means of a normal posterior, far narrower than the first cells; weights are nearly even."""

    def far(y):
        x = lawful.sample("x", dist.Normal(jnp.array([9.0, -4.0])[:size], jnp.array([1e-3, 2.0])[:size]).to_event(1))
        lawful.sample("y", dist.Normal(x.sum(), 1.0), obs=y)

    scale, middle = np.array([1e-3, 2.0])[:size], np.array([9.0, -4.0])[:size]
    y = middle.sum() + 0.5
    with jax.enable_x64(True):
        result = inference.guide(far, family="grid")(0, y)
        truth = stats.norm(middle.sum(), np.sqrt(1 + (scale**2).sum())).logpdf(y)
        assert result.ok and kish_ess(result.weighted.log_weight).min() > 0.93 * 2000
        assert abs(result.log_evidence_pooled - truth) < 5 * result.log_evidence_error
        known = middle + scale**2 * 0.5 / (1 + (scale**2).sum())
        sd = scale * np.sqrt(1 - scale**2 / (1 + (scale**2).sum()))
        assert np.all(np.abs(result.posterior["x"].mean((0, 1)) - known) < 5 * sd / np.sqrt(7000))
        again = inference.guide(far, family="grid")(0, y)
    np.testing.assert_array_equal(again.posterior["x"], result.posterior["x"])


def test_guides_with_tails_and_grids_are_stored(tmp_path):
    x, y = line_data()
    for law in (Tailed(LOW, 4, 1.25), Grid(jnp.zeros(1), jnp.eye(1), jnp.arange(384.0))):
        guide = inference.Guide(law, (("x", law.event_shape[0]),))
        back = restored(*stored(guide))
        points = jnp.ones((2, guide.size))
        np.testing.assert_array_equal(back.law.log_prob(points), law.log_prob(points))
    result = inference.guide(line, paths=2, steps=60)(0, x, y)
    result.save(tmp_path / "line.nc")
    found = inference.Result.load(tmp_path / "line.nc").guide
    np.testing.assert_array_equal(found.law.log_prob(jnp.ones(2)), result.guide.law.log_prob(jnp.ones(2)))


def test_a_grid_refuses_three_coordinates():
    with pytest.raises(UnsupportedProgramError, match=r"at most, and the model has 3.*integrate_normals"):
        inference.guide(lambda: lawful.sample("x", dist.Normal(jnp.zeros(3), 1.0).to_event(1)), family="grid")(0)
