"""Our NUTS, NumPyro's and BlackJAX's agree on small posteriors, and mixed programs have the same answer either way."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats

import lawful
from lawful import inference
from lawful.errors import UnsupportedProgramError
from lawful.inference import kernels
from tests.inference.peers import blackjax_nuts, numpyro_nuts

pytestmark = pytest.mark.tier3
Y = np.array([1.3, 0.2, 2.1, 0.9])


def model(y):
    """A location and a scale: the posterior is skewed and correlated."""
    mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
    sigma = lawful.sample("sigma", dist.HalfNormal(2.0))
    with lawful.plate("i", 4):
        lawful.sample("y", dist.Normal(mu, sigma), obs=y)


def exact():
    """Means and squares of mu and log sigma, by a grid."""
    mu, log = np.linspace(-8, 10, 1201)[:, None], np.linspace(-4, 3.5, 1501)[None]
    sigma = np.exp(log)
    lp = -0.5 * (mu / 2) ** 2 - 0.5 * (sigma / 2) ** 2 + log - 4 * log
    lp = lp - 0.5 * sum(((y - mu) / sigma) ** 2 for y in Y)
    p = np.exp(lp - lp.max())
    p /= p.sum()
    return {name: (np.sum(p * x), np.sum(p * x**2)) for name, x in (("mu", mu), ("log", log))}


def columns(result):
    return {"mu": np.asarray(result.posterior["mu"]), "log": np.log(np.asarray(result.posterior["sigma"]))}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda **o: inference.mcmc(model, kernels.nuts(target_acceptance=0.9), **o),
        pytest.param(lambda **o: numpyro_nuts(model, target_acceptance=0.9, **o), marks=pytest.mark.slow),
        pytest.param(
            lambda **o: pytest.importorskip("blackjax") and blackjax_nuts(model, target_acceptance=0.9, **o),
            id="blackjax",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["ours", "numpyro", None],
)
def test_samplers_agree_with_a_grid(make):
    """Means and squares within 5.7 Monte Carlo standard errors of the exact ones, each error below 8 % of an sd."""
    result = make(chains=4, warmup=500, draws=1000)(3, Y)
    truth = exact()
    for name, draws in columns(result).items():
        sd = np.sqrt(truth[name][1] - truth[name][0] ** 2)
        for power in (1, 2):
            values = draws**power
            error = float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean"))
            assert abs(values.mean() - truth[name][power - 1]) < 5.7 * error, (name, power)
        assert float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean")) < 0.08 * sd
    assert {"acceptance_rate", "n_steps", "diverging", "energy"} <= set(result.stats)


def mixture(y):
    """Two groups with labels; the weight and the means have gradients."""
    w = lawful.sample("w", dist.Beta(2.0, 2.0))
    m = lawful.sample("m", dist.Normal(jnp.array([-2.0, 2.0]), 1.0).to_event(1))
    with lawful.plate("i", 12):
        z = lawful.sample("z", dist.Bernoulli(w))
        lawful.sample("y", dist.Normal(m[z], 1.0), obs=y)


DATA = np.random.default_rng(1).normal(np.repeat([-2.2, 1.6], [5, 7]), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (kernels.cycle(kernels.on(["w", "m"], kernels.nuts()), kernels.on(["z"], kernels.gibbs())), {}),
        (kernels.nuts(), {"enumerate": ["z"]}),
    ],
    ids=["cycle with gibbs", "labels summed"],
)
def test_mixed_programs_by_either_way_have_the_same_posterior(kernel, options):
    """Against long random-walk chains on the marginal program: 5.7 standard errors of the difference."""
    ours = inference.mcmc(mixture, kernel, chains=4, warmup=300, draws=1500, **options)(0, DATA)
    walk = kernels.repeat(kernels.random_walk(0.5), 5)
    other = inference.mcmc(mixture, walk, chains=8, warmup=500, draws=2000, enumerate=["z"])(1, DATA)
    for pick in (lambda r: r.posterior["w"], lambda r: r.posterior["m"][..., 0], lambda r: r.posterior["z"].mean(-1)):
        values = [np.asarray(pick(r), float) for r in (ours, other)]
        errors = [float(array_stats.mcse(v, chain_axis=0, draw_axis=1, method="mean")) for v in values]
        assert abs(values[0].mean() - values[1].mean()) < 5.7 * np.hypot(*errors)
    assert ours.posterior["z"].shape == (4, 1500, 12)


def named(y):
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    with lawful.plate("i", 4):
        twice = lawful.deterministic("twice", 2.0 * x + y)
        lawful.sample("y", dist.Normal(twice, 1.0), obs=y)


@pytest.mark.slow
@pytest.mark.parametrize("peer", [numpyro_nuts, blackjax_nuts])
def test_results_of_peers_hold_the_data_and_the_named_values(peer):
    result = peer(named, chains=2, warmup=5, draws=3)(0, Y)
    np.testing.assert_array_equal(result.groups["observed_data"]["y"], Y)
    np.testing.assert_allclose(result.posterior["twice"], 2.0 * result.posterior["x"][..., None] + Y, rtol=1e-6)
    assert result.to_datatree()["observed_data"].y.dims == ("i",)


def test_peers_refuse_what_has_no_gradient():
    with pytest.raises(UnsupportedProgramError, match="discrete sites 'z'"):
        numpyro_nuts(mixture, chains=1, warmup=1, draws=1)(0, DATA)
