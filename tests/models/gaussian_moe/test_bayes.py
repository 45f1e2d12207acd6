"""The Bayesian fit: evidence by quadrature where there is one expert, units, and what has no names in it."""

import jax
import numpy as np
import pytest
from scipy import stats

from lawful.errors import LawfulError
from lawful.models.gaussian_moe import Gate, Mixture, compare_experts, posterior_of
from tests.models.gaussian_moe.cases import TRUTH


def line(n=12):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n, 1))
    return x, 1.0 + 2.0 * x[:, 0] + 0.5 * rng.normal(size=n)


def exact_log_evidence(x, y):
    """One expert: given sigma a normal law, and a sum over a fine grid of sigma, which is half-normal."""
    z, v = (x[:, 0] - x.mean()) / x.std(), (y - y.mean()) / y.std()
    covariance = 1.5**2 + (4.0 / np.ptp(z)) ** 2 * np.outer(z, z)
    sigma = np.linspace(1e-3, 4.0, 4000)
    terms = [stats.multivariate_normal.logpdf(v, np.zeros(len(v)), covariance + s**2 * np.eye(len(v))) for s in sigma]
    mass = np.exp(np.array(terms) + stats.halfnorm.logpdf(sigma, scale=0.5))
    return np.log(np.trapezoid(mass, sigma)) - len(y) * np.log(y.std())


def test_the_evidence_of_one_expert_is_that_of_quadrature():
    """Within five standard errors of four runs, which are small; other units of y divide the evidence."""
    x, y = line()
    found = posterior_of(x, y, 1, key=0, particles=500)
    assert found.log_evidence_error < 0.1
    assert abs(found.log_evidence - exact_log_evidence(x, y)) < 5 * found.log_evidence_error + 1e-3
    other = posterior_of(x, 4 * y, 1, key=0, particles=500)
    assert other.log_evidence == pytest.approx(found.log_evidence - 12 * np.log(4), abs=1e-9)
    np.testing.assert_allclose(other.predict(x), 4 * found.predict(x), rtol=1e-9)
    each = [Mixture(Gate(), jax.tree.map(lambda v: v[i], found.draws)) for i in range(2000)]
    density = np.mean([np.exp(m.log_density(x[:2], y[:2])) for m in each[::500]], axis=0)
    few = type(found)(found.gate, jax.tree.map(lambda v: v[::500], found.draws), 0.0, 0.0, found.result)
    np.testing.assert_allclose(np.exp(few.log_density(x[:2], y[:2])), density, rtol=1e-12)


@pytest.mark.slow
def test_the_evidence_finds_the_number_of_experts():
    places, answers = jax.random.split(jax.random.key(0))
    x = jax.random.uniform(places, (150, 1))
    y = Mixture(Gate(), TRUTH).sample(answers, x)
    table = compare_experts(x, y, [1, 2, 3], key=0, particles=2000)
    assert table["probability"].idxmax() == 1 and table["probability"][1] > 0.8
    assert (table["error"] < 0.5).all()
    found = posterior_of(x, y, 2, key=1, particles=2000)
    together = np.asarray(found.together(x[:40], y[:40]))
    same = np.asarray(Mixture(Gate(), TRUTH).responsibilities(x[:40], y[:40])).argmax(1)
    assert ((together > 0.5) == (same[:, None] == same)).mean() > 0.95
    # Experts have no order: with chances of 1/2 each, the mean of either is that of both.
    slopes = np.asarray(found.draws.a[:, :, 0])
    assert np.abs(np.sort(slopes, axis=1).mean(0) - [-20, 20]).max() < 2.0


def test_data_without_spread_are_refused():
    with pytest.raises(LawfulError, match="one of them has none. Fix"):
        posterior_of(np.ones((5, 1)), np.arange(5.0), 1, key=0)
