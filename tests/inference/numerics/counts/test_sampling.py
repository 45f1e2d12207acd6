"""Draws: the law of the uniforms pushed through is the posterior, on the tree and in the log domain alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lawful.inference.graphs import counts
from lawful.inference.graphs.counts import sampling
from tests.inference.numerics.counts import exact
from tests.inference.numerics.counts.cases import marginals, members, potentials

DRAWS = 20_000
ALPHA = 1e-7  # a false alarm in a hundred thousand runs of this file


def chi_square_fits(draws, h, g):
    """Compare the numbers of assignments with their probabilities."""
    y, p = exact.posterior(h, g)
    code = 1 << np.arange(len(h))[::-1]
    seen = np.bincount(np.asarray(draws, int) @ code, minlength=len(y))[y @ code]
    assert seen[p == 0].sum() == 0
    expected = p * len(draws)
    often = expected >= 5
    seen, expected = np.append(seen[often], seen[~often].sum()), np.append(expected[often], expected[~often].sum())
    keep = expected > 0
    statistic = ((seen[keep] - expected[keep]) ** 2 / expected[keep]).sum()
    assert statistic <= stats.chi2.isf(ALPHA, max(keep.sum() - 1, 1)), statistic


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5])
def test_draws_have_the_law_of_the_table(size):
    g = potentials(size)[[0, 3, 5, 12, 18]]
    h = np.stack([members(size, kind) for kind in ("plain", "plain", "known", "plain", "wide")])
    possible = [exact.posterior(a, b)[1].any() for a, b in zip(h, g, strict=True)]
    u = np.random.default_rng(size).random((DRAWS, len(g), counts.uniforms_needed(size)))
    draws = counts.push_members(jnp.asarray(u), jnp.asarray(h), jnp.asarray(g))
    for row in np.flatnonzero(possible):
        chi_square_fits(draws[:, row], h[row], g[row])


@pytest.mark.slow
def test_draws_in_logs_have_the_law_of_the_table():
    """None or all, both of probability 1e-300 and less before the factor."""
    h = np.array([900.0, -900.5, 901.0, -900.7])
    g = np.array([0.0, -np.inf, -np.inf, -np.inf, 0.5])
    u = np.random.default_rng(9).random((DRAWS, counts.uniforms_needed(4)))
    chi_square_fits(counts.push_members(jnp.asarray(u), jnp.asarray(h), jnp.asarray(g)), h, g)


@pytest.mark.slow
def test_both_ways_to_draw_agree_in_law():
    h, g = members(4, "plain"), potentials(4)[18]
    u = jnp.asarray(np.random.default_rng(10).random((DRAWS, 1, 4)))
    draws = jax.jit(sampling.backward)(u, h[None], g[None])[..., 0]
    chi_square_fits(draws, h, g)


def test_a_uniform_is_cut_where_the_probabilities_say():
    """Exactly one of two: the split takes the first member if its uniform lies above the probability of the second."""
    h, g = jnp.asarray([0.4, -0.3]), counts.potentials.hard_count(1, 2)
    second = float(marginals(h, g)[1])
    u = jnp.asarray([[0.5, second - 1e-9], [0.5, second + 1e-9]])
    assert jax.jit(counts.push_members)(u, h, g).tolist() == [[False, True], [True, False]]


@pytest.mark.slow
def test_counts_of_a_large_bag_are_as_asked():
    rng = np.random.default_rng(11)
    h = jnp.asarray(rng.normal(size=(2, 40)), jnp.float32)
    g = counts.potentials.hard_count(jnp.asarray([17, 38]), 40, jnp.float32)
    u = jnp.asarray(rng.random((3, 2, counts.uniforms_needed(40))), jnp.float32)
    assert (counts.push_members(u, h, g).sum(axis=-1) == jnp.asarray([17, 38])[None]).all()


@pytest.mark.slow
def test_negated_members_are_drawn_turned():
    g = counts.potentials.hard_count(0, 3)
    u = jnp.asarray(np.random.default_rng(0).random((4, 4)))
    draws = counts.push_members(u, jnp.zeros(3), g, negated=jnp.asarray([True, False, True]))
    assert (draws == jnp.asarray([[True, False, True]])).all()
