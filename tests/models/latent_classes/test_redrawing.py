"""One class drawn anew: its density is that of its draws, and nothing but one class moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lawful.models.latent_classes.redrawing import OneAnew
from lawful.models.latent_classes.reference import Reference

CLASSES = 3


@pytest.fixture(scope="module")
def law():
    rng = np.random.default_rng(0)
    loc, root = rng.normal(size=(2, CLASSES, 1)), rng.uniform(0.2, 0.6, size=(2, CLASSES, 1, 1))
    at = Reference(
        jnp.log(jnp.array([0.7, 0.3])), jnp.asarray(loc), jnp.asarray(root), jnp.zeros(1), jnp.full((1, 1), 2.0)
    )
    return OneAnew(jnp.array([[-1.0], [0.0], [4.0]]), at)


def density(law, place, grid):
    points = jnp.asarray(np.where(np.arange(CLASSES)[:, None] == place, grid[:, None, None], law.current))
    return np.exp(np.asarray(jax.vmap(law.log_prob)(points)))


def test_each_class_has_an_equal_share_of_the_density(law):
    """By quadrature in the quantile of a Cauchy law, whose tails are heavier."""
    u = (np.arange(20000) + 0.5) / 20000
    grid, weight = stats.cauchy.ppf(u), 1 / stats.cauchy.pdf(stats.cauchy.ppf(u))
    for place in range(CLASSES):
        assert np.mean(density(law, place, grid) * weight) == pytest.approx(1 / CLASSES, rel=1e-6)


def test_draws_have_the_density_and_move_one_class(law):
    """3,000 draws: a Kolmogorov test at 1e-6; a spread off by a tenth, or a share of .4 for .5, would fail it."""
    draws = np.asarray(law.sample(jax.random.key(0), (3000,)))
    moved = (draws != np.asarray(law.current)).any(axis=-1)
    assert (moved.sum(axis=1) == 1).all()
    assert stats.chisquare(moved.sum(axis=0)).pvalue > 1e-6
    grid = np.sort(np.concatenate([np.linspace(-12, 12, 20001), stats.t(5).ppf([1e-9, 1 - 1e-9]) * 4]))
    heights = CLASSES * density(law, 0, grid)
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (heights[1:] + heights[:-1]) * np.diff(grid))])
    assert stats.kstest(draws[moved][:, 0], lambda v: np.interp(v, grid, mass)).pvalue > 1e-6


def test_nothing_leads_to_where_two_classes_differ(law):
    assert float(law.log_prob(law.current + 1.0)) == -np.inf
