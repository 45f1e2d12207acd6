"""One class drawn anew: its density is that of brute force and of its draws, and nothing but one class moves."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from lawful.models.latent_classes.redrawing import BROAD, OneClassRedrawn
from lawful.models.latent_classes.reference import FREEDOM
from tests.models.latent_classes.test_reference import reference

CURRENT = np.array([[-1.0, 0.5], [0.0, 0.0], [4.0, -2.0]])


def parts(at):
    """The t laws of a class: their shares, means and scale matrices."""
    shares = np.exp(np.asarray(at.log_weight) - np.logaddexp.reduce(np.asarray(at.log_weight)))
    ends, k, d = at.loc.shape
    weights = np.append((1 - BROAD) * np.repeat(shares, k) / k, BROAD)
    means = np.append(np.asarray(at.loc).reshape(-1, d), [at.centre], axis=0)
    roots = np.append(np.asarray(at.root).reshape(-1, d, d), [at.spread], axis=0)
    return list(zip(weights, means, roots @ np.swapaxes(roots, 1, 2), strict=True))


def test_the_density_is_that_of_the_class_that_moved():
    at, rng = reference(), np.random.default_rng(2)
    law = OneClassRedrawn(jnp.asarray(CURRENT), at)
    for place in range(3):
        value = CURRENT.copy()
        value[place] = 2.0 * rng.normal(size=2)
        each = [s * stats.multivariate_t.pdf(value[place], m, c, df=FREEDOM) for s, m, c in parts(at)]
        np.testing.assert_allclose(float(law.log_prob(jnp.asarray(value))), np.log(sum(each) / 3), rtol=1e-12)
    assert float(law.log_prob(jnp.asarray(CURRENT + 1.0))) == -np.inf


def test_draws_have_the_density_and_move_one_class():
    """30,000 draws; three tests of Kolmogorov at 1e-6, which see a share of .47 for .5, and a transposed root."""
    at = reference()
    law = OneClassRedrawn(jnp.asarray(CURRENT), at)
    draws = np.asarray(jax.jit(lambda key: law.sample(key, (30_000,)))(jax.random.key(0)))
    moved = (draws != CURRENT).any(axis=-1)
    assert (moved.sum(axis=1) == 1).all()
    assert stats.chisquare(moved.sum(axis=0)).pvalue > 1e-6
    for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, -1.0]):
        a = np.array(direction)

        def cdf(x, a=a):
            return sum(s * stats.t.cdf(x, FREEDOM, a @ m, np.sqrt(a @ c @ a)) for s, m, c in parts(at))

        assert stats.kstest(draws[moved] @ a, cdf).pvalue > 1e-6
