"""Row 13: in float32 equal weights leave every particle one offspring, and no count is off by one or more.

Up to ten million particles in tests/regressions/test_r06_ten_million_particles.py; here a whole filter, whose weights
are computed by the program, and what a plain cumulative sum would do.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import binomtest

from lawful import factor, inference, sample, scan
from lawful.inference.check import ALPHA, key_of
from lawful.inference.laws.resampling_schemes import SCHEMES
from tests.tiers import rest_slow

pytestmark = pytest.mark.usefixtures("single_precision")
STEPS = 3
MANY = 300_000


def even(level):
    """Every particle is weighed alike, by a number that single precision cannot hold beside one."""

    def step(x, _):
        x = sample("x", dist.Normal(x, 1.0))
        factor("weight", level + jnp.where(jnp.isfinite(x), 0.0, 1.0))
        return x, None

    return scan(step, 0.0, None, length=STEPS)[0]


@pytest.mark.fault(13)
@pytest.mark.parametrize("level", rest_slow([-0.1, 1e4]))
@pytest.mark.parametrize("scheme", rest_slow(["systematic", "stratified", "residual"]))
def test_f13_a_filter_of_equal_weights_loses_no_particle(scheme, level):
    plan = inference.smc(even, particles=MANY, resampling=scheme, resample_below=None)
    result = plan(key_of("f13/even"), level)
    assert result.stats["n_roots"].tolist() == [MANY]
    np.testing.assert_allclose(result.log_evidence, STEPS * level, rtol=1e-6)
    assert result.posterior["x"].dtype == np.float32


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", [10**3, 10**6])
def test_f13_systematic_counts_of_random_weights_are_those_of_float64_weights(size):
    weights = np.random.default_rng(size).exponential(size=size).astype(np.float32) ** 3
    draw = jax.jit(lambda key, weights: SCHEMES["systematic"].draw(key, weights, size))
    counts = np.bincount(draw(key_of("f13/random"), weights), minlength=size)
    exact = weights.astype(np.float64)
    assert counts.sum() == size and np.abs(counts - size * exact / exact.sum()).max() < 1


@pytest.mark.slow
def test_f13_the_count_of_a_group_has_its_mean():
    """Of the whole parts nothing is random; the rest is one coin. False alarms: ALPHA by the binomial law."""
    size, group, repeats = 10**5, 777, 400
    weights = np.random.default_rng(13).exponential(size=size).astype(np.float32)
    share = float(size * weights[:group].astype(np.float64).sum() / weights.astype(np.float64).sum())
    first = jax.jit(lambda key, w: jnp.sum(SCHEMES["systematic"].draw(key, w, size) < group))
    keys = jax.random.split(key_of("f13/group"), repeats)
    excess = np.array([int(first(key, jnp.asarray(weights))) for key in keys]) - int(share)
    assert 0 <= excess.min() and excess.max() <= 1
    assert binomtest(int(excess.sum()), repeats, share % 1).pvalue > ALPHA


def test_f13_a_plain_cumulative_sum_would_lose_particles():
    """The textbook: sums of 1 / n in float32, searched for (i + u) / n."""
    edges = np.cumsum(np.full(MANY, np.float32(1) / MANY, np.float32), dtype=np.float32)
    places = (np.arange(MANY, dtype=np.float32) + np.float32(0.5)) / np.float32(MANY)
    chosen = np.minimum(np.searchsorted(edges, places), MANY - 1)
    assert len(np.unique(chosen)) < MANY
