"""15.6: in single precision equal log weights give every particle one offspring, and no count is off by one or more.

A textbook systematic resampler leaves 1,491,919 of ten million equal particles without offspring: its cumulative sum
rounds, and its uniform has 24 bits. Linear weights of every size are in
tests/inference/numerics/test_resampling_float32.py; here they come from log weights, as in a population.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest

from lawful.inference.check import ALPHA, key_of
from lawful.inference.laws.resampling_schemes import SCHEMES, ResampleLaw
from lawful.inference.representations.population import mean_weights

pytestmark = pytest.mark.usefixtures("single_precision")
SMALLER = [10**3, 10**4, 10**5, 10**6]
SIZES = [*SMALLER, pytest.param(10**7, marks=pytest.mark.optimised)]
OFFSETS = [-3.7, 88.9, -1e4]  # the second overflows and the third vanishes, unless the maximum is subtracted first


def resampled(scheme, key, log_weights):
    """Ancestors as a population draws them."""
    return _drawn(scheme, log_weights.size)(key, log_weights)


@functools.cache
def _drawn(scheme, n):
    law = ResampleLaw(SCHEMES[scheme], n, n)
    return jax.jit(lambda key, log_weights: law.draw(key, mean_weights(log_weights)[0]))


@pytest.mark.rest_slow
@pytest.mark.regression("15.6a")
@pytest.mark.parametrize(
    ("scheme", "n"),
    [
        *itertools.product(["systematic", "stratified", "residual"], SMALLER),
        pytest.param("systematic", 10**7, marks=pytest.mark.optimised),
        *(pytest.param(name, 10**7, marks=pytest.mark.slow) for name in ("stratified", "residual")),
    ],
)
def test_equal_log_weights_give_each_particle_one_offspring(scheme, n):
    for offset in OFFSETS if n <= 10**4 else OFFSETS[:1]:
        ancestors = resampled(scheme, key_of(f"r06/{scheme}"), jnp.full(n, offset, jnp.float32))
        np.testing.assert_array_equal(ancestors, np.arange(n))


@pytest.mark.rest_slow
@pytest.mark.regression("15.6b")
@pytest.mark.parametrize("n", SIZES)
def test_systematic_counts_of_random_weights_are_within_one(n):
    """The shares are those of the log weights in double precision, up to the rounding of one exponential."""
    log_weights = np.random.default_rng(n).normal(0.0, 2.0, n).astype(np.float32)
    counts = np.bincount(resampled("systematic", key_of("r06/random"), jnp.asarray(log_weights)), minlength=n)
    weights = np.asarray(mean_weights(jnp.asarray(log_weights))[0], np.float64)
    assert counts.size == n and counts.sum() == n
    assert np.abs(counts - n * weights / weights.sum()).max() < 1
    exact = np.exp(log_weights.astype(np.float64))
    np.testing.assert_allclose(weights / weights.sum(), exact / exact.sum(), rtol=1e-5)


@pytest.mark.regression("15.6c")
@pytest.mark.rest_slow
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_the_mean_count_of_a_group_is_its_share(scheme):
    """Exactly: what is not decided beforehand in the count of the first 300 is binomial."""
    n, group = 10**4, 300
    log_weights = np.random.default_rng(6).normal(0.0, 1.0, n).astype(np.float32)
    weights = np.asarray(mean_weights(jnp.asarray(log_weights))[0], np.float64)
    shares = n * weights / weights.sum()
    if scheme in ("systematic", "stratified"):  # the whole part of its mean, or one more
        decided, trials, probability = int(shares[:group].sum()), 1, shares[:group].sum() % 1
        repeats = 1_000
    else:
        whole = np.floor(shares) * (scheme == "residual")
        decided, trials = int(whole[:group].sum()), int(n - whole.sum())
        probability, repeats = (shares - whole)[:group].sum() / trials, 100
    law = ResampleLaw(SCHEMES[scheme], n, n)
    first = jax.jit(lambda key, w: jnp.sum(law.draw(key, mean_weights(w)[0]) < group))
    keys = jax.random.split(key_of(f"r06/group/{scheme}"), repeats)
    excess = np.array([int(first(key, log_weights)) for key in keys]) - decided
    assert 0 <= excess.min() and excess.max() <= trials
    assert binomtest(int(excess.sum()), repeats * trials, probability).pvalue > ALPHA
