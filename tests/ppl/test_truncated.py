"""Truncated laws: the density over the mass that is kept, draws of that law, and coordinates without bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to
from scipy import integrate, stats

import lawful
from lawful import inference, plate, sample
from lawful.distributions.interval_probability import log_mass
from lawful.distributions.truncated import Between
from lawful.errors import LawfulError, ObservationError
from lawful.inference.check import enumerate_measure

KEY = jax.random.key(21)
LAWS = {
    "Normal": lambda: lawful.truncated(dist.Normal(0.0, 1.0), -1.0, 0.5),
    "Normal in its tail": lambda: lawful.truncated(dist.Normal(0.0, 1.0), lower=45.0),
    "Weibull": lambda: lawful.truncated(dist.Weibull(2.0, 1.5), lower=1.0),
    "Gamma": lambda: lawful.truncated(dist.Gamma(2.0, 1.5), upper=1.0),
    "LogNormal": lambda: lawful.truncated(dist.LogNormal(0.0, 1.0), 0.5, 3.0),
}
COUNTS = {
    "Poisson": lambda: lawful.truncated(dist.Poisson(1.5), lower=1),
    "Binomial": lambda: lawful.truncated(dist.Binomial(6, 0.3), 1, 4),
    "Categorical": lambda: lawful.truncated(dist.Categorical(probs=jnp.array([0.1, 0.2, 0.3, 0.4])), 1, 2),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", LAWS)
def test_the_density_integrates_to_one(name):
    law = LAWS[name]()
    low, high = (float(b) for b in (law.support.lower_bound, law.support.upper_bound))
    density = jax.jit(lambda x: jnp.exp(law.log_prob(x)))
    high = min(high, low + (10.0 if "tail" in name else 60.0))
    assert integrate.quad(lambda x: float(density(x)), low, high, epsabs=1e-12)[0] == pytest.approx(1.0, rel=1e-9)
    assert law.log_prob(low - 0.5) == -np.inf and np.isfinite(law.log_prob(low + 1e-9))


@pytest.mark.parametrize("name", COUNTS)
def test_the_masses_of_counts_add_up_to_one(name):
    law = COUNTS[name]()
    masses = np.exp(np.asarray(jax.vmap(law.log_prob)(jnp.arange(60)))) if name == "Poisson" else np.array(
        [float(np.exp(law.log_prob(k))) for k in range(4 if name == "Categorical" else 7)])  # fmt: skip
    assert masses.sum() == pytest.approx(1.0, rel=1e-12)
    assert masses[0] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_draws_follow_the_density(name):
    """Kolmogorov-Smirnov at level 1e-7 for each law."""
    law = LAWS[name]()
    draws = np.asarray(law.sample(jax.random.key(21), (4000,)))
    whole = log_mass(law.base_dist, law.lower, law.upper)
    uniform = np.exp(np.asarray(log_mass(law.base_dist, law.lower, draws) - whole))
    assert stats.kstest(uniform, "uniform").pvalue > 1e-7
    assert np.asarray(law.support(draws)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_draws_of_counts_follow_the_masses(name):
    """A chi-square test at level 1e-7 for each law; values of which fewer than 20 are expected are put together."""
    law = COUNTS[name]()
    draws = np.asarray(law.sample(jax.random.key(21), (4000,)))
    values = np.arange(1, 4 if name == "Categorical" else 7)
    expected = 4000 * np.array([float(np.exp(law.log_prob(k))) for k in values])
    counts = np.array([(draws == k).sum() for k in values])
    few = expected < 20
    rest = 4000 - expected[~few].sum(), 4000 - counts[~few].sum()
    pairs = [*zip(counts[~few], expected[~few], strict=True), *([rest[::-1]] if rest[0] > 1e-6 else [])]
    statistic = sum((c - e) ** 2 / e for c, e in pairs)
    assert stats.chi2.sf(statistic, len(pairs) - 1) > 1e-7
    assert draws.min() >= 1 and jnp.issubdtype(law.sample(jax.random.key(22)).dtype, jnp.integer)


@pytest.mark.slow
def test_it_is_a_choice_like_any_other():
    def model():
        with plate("row", 2):
            return sample("n", lawful.truncated(dist.Binomial(3, 0.25), lower=1))

    law = [3 * 0.25 * 0.75**2, 3 * 0.25**2 * 0.75, 0.25**3]
    exact = inference.enumerate(model)()
    assert exact.marginal("n")[(1, 3)] == pytest.approx(law[0] * law[2] / sum(law) ** 2, rel=1e-12)
    assert enumerate_measure(model).total() == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(ObservationError, match=r"observation 0 .*outside the support"):
        lawful.trace(lambda: sample("n", lawful.truncated(dist.Poisson(1.0), lower=1), obs=0))


@pytest.mark.slow
def test_chains_stay_inside():
    def model():
        mu = sample("mu", dist.Normal(0.0, 1.0))
        sample("x", lawful.truncated(dist.Normal(mu, 1.0), jnp.array(mu), 3.0))

    run = inference.mcmc(model, chains=2, warmup=20, draws=20, on_fault="flag")(KEY)
    assert (run.posterior["x"] >= run.posterior["mu"]).all() and (run.posterior["x"] <= 3.0).all()


def test_the_map_onto_an_interval_has_its_jacobian():
    between = Between(np.array([-np.inf, 1.0, -np.inf, 1.0]), np.array([np.inf, np.inf, 2.0, 2.0]))
    move = biject_to(between)

    @jax.jit
    def told(t):
        y = move(t)
        return between(y), move.inv(y), jnp.diagonal(jax.jacobian(move)(t)), move.log_abs_det_jacobian(t, y)

    for x in (-3.0, 0.0, 4.0):
        t = np.full(4, x)
        inside, back, slopes, log_slopes = told(t)
        assert np.asarray(inside).all()
        np.testing.assert_allclose(back, t, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(log_slopes, np.log(np.abs(slopes)), rtol=1e-12, atol=1e-14)


def test_what_is_no_interval_is_refused():
    with pytest.raises(LawfulError, match="expected lower <= upper"):
        lawful.truncated(dist.Normal(0.0, 1.0), 1.0, 0.0)
    with pytest.raises(LawfulError, match="masses of intervals of VonMises"):
        lawful.truncated(dist.VonMises(0.0, 1.0), 1.0)
