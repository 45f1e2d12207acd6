"""The Bayesian fit: evidence by quadrature where there is one expert, units, and what has no names in it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.findings.evidence import pooled_evidence
from lawful.models.gaussian_moe import (
    Gate,
    GaussianMoE,
    Mixture,
    Posterior,
    Priors,
    compare_experts,
    merge_tree,
    mixture_with_priors,
    posterior_of,
)
from lawful.models.gaussian_moe.bayes import started
from lawful.models.gaussian_moe.parameters import permuted
from lawful.models.gaussian_moe.program import parameters_of
from tests.models.gaussian_moe.cases import TRUTH


def line(n=12):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n, 1))
    return x, 1.0 + 2.0 * x[:, 0] + 0.5 * rng.normal(size=n)


def exact_log_evidence(x, y, mean=0.0, level=1.5):
    """One expert: given sigma a normal law, and a sum over a fine grid of sigma, which is half-normal."""
    z, v = (x[:, 0] - x.mean()) / x.std(), (y - y.mean()) / y.std()
    covariance = level**2 + (4.0 / np.ptp(z)) ** 2 * np.outer(z, z)
    sigma = np.linspace(1e-3, 4.0, 4000)
    terms = [
        stats.multivariate_normal.logpdf(v, np.full(len(v), mean), covariance + s**2 * np.eye(len(v))) for s in sigma
    ]
    mass = np.exp(np.array(terms) + stats.halfnorm.logpdf(sigma, scale=0.5))
    return np.log(np.trapezoid(mass, sigma)) - len(y) * np.log(y.std())


@pytest.mark.slow
def test_the_evidence_of_one_expert_is_that_of_quadrature():
    """Within five standard errors of four runs, which are small; other units of y divide the evidence."""
    x, y = line()
    found = posterior_of(x, y, 1, key=0, particles=500)
    assert found.result.ok and "UNREAD_ARGUMENT" not in {reason.code for reason in found.result.reasons}
    assert found.log_evidence_error < 0.1
    assert abs(found.log_evidence - exact_log_evidence(x, y)) < 5 * found.log_evidence_error + 1e-3
    other = posterior_of(x, 4 * y, 1, key=0, particles=500)
    assert other.log_evidence == pytest.approx(found.log_evidence - 12 * np.log(4), abs=1e-9)
    np.testing.assert_allclose(other.predict(x), 4 * found.predict(x), rtol=1e-9)
    each = [Mixture(Gate(), jax.tree.map(lambda v: v[i], found.draws)) for i in range(2000)]
    density = np.mean([np.exp(m.log_density(x[:2], y[:2])) for m in each[::500]], axis=0)
    few = replace(found, draws=jax.tree.map(lambda v: v[::500], found.draws))
    np.testing.assert_allclose(np.exp(few.log_density(x[:2], y[:2])), density, rtol=1e-12)


def low(X, y, k, gate, priors):
    """Another prior: levels are about -0.5, too, with an SD of 0.1."""
    found = mixture_with_priors(X, y, k, gate, priors)
    lawful.factor("low", dist.Normal(-0.5, 0.1).log_prob(found.b).sum())
    return found


@pytest.mark.slow
def test_the_fit_is_that_of_its_program():
    """With another prior of the level, the evidence is that of quadrature with the normal of both, and draws follow."""
    x, y = line()
    found = posterior_of(x, y, 1, key=0, particles=500, program=low)
    both = 1.5**2 + 0.1**2
    exact = exact_log_evidence(x, y, -0.5 * 1.5**2 / both, 0.15 / both**0.5) + stats.norm.logpdf(-0.5, 0, both**0.5)
    assert found.log_evidence_error < 0.1
    assert abs(found.log_evidence - exact) < 5 * found.log_evidence_error + 1e-3
    assert abs(found.log_evidence - exact_log_evidence(x, y)) > 1
    assert float(found.result.posterior["b"].mean()) < -0.2


@pytest.mark.slow
@pytest.mark.optimised
def test_nuts_on_the_same_program_agrees():
    """E[y | x] of two experts by six chains and by six runs of SMC: within six errors, at 1e-3 for all five places."""
    x = jax.random.uniform(jax.random.key(0), (60, 1))
    y = Mixture(Gate(), TRUTH).sample(jax.random.key(1), x)
    z, v = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    summed, given = inference.marginalise()(mixture_with_priors), (z, v, 2, Gate(), Priors())
    best = inference.maximise(summed, starts=8)(0, *given).optima[0].values
    chains = inference.mcmc(summed, chains=6, warmup=300, draws=300, init=best)(0, *given)
    at = z[:5]
    predict = jax.jit(jax.vmap(jax.vmap(lambda drawn: Mixture(Gate(), parameters_of(Gate(), drawn)).predict(at))))
    by_chain = np.asarray(predict({name: jnp.asarray(a) for name, a in chains.posterior.items()})).mean(axis=1)
    by_run = np.array([posterior_of(x, y, 2, key=i, particles=512, runs=1).predict(x[:5]) for i in range(6)])
    apart = by_chain.mean(axis=0) - (by_run.mean(axis=0) - float(y.mean())) / float(y.std())
    error = np.hypot(by_chain.std(axis=0, ddof=1), by_run.std(axis=0, ddof=1) / float(y.std())) / 6**0.5
    assert error.max() < 0.05 and (abs(apart) < 6 * error).all()


@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", ["softmax", "activated"])
def test_experts_from_a_mixture_leave_the_posterior_as_it_is(kind):
    """The density of coordinates is that of the plain program at their values, and of the map to them."""
    k, gate, rng, priors = 3, Gate(kind), np.random.default_rng(0), Priors()
    x, y = jnp.asarray(rng.normal(size=(6, 2))), jnp.asarray(rng.normal(size=6))
    d = 2 + 1 + 2 + 1 + 1
    point = jnp.asarray(0.5 * rng.normal(size=(k, d)))  # of each expert: its row of the gate, a, b, log sigma
    one = dist.MultivariateStudentT(5.0, jnp.zeros(d), jnp.eye(d))
    sites = (("row", 3), ("a", 2), ("b", 1), ("sigma", 1))
    far = inference.SymmetricMixture(jnp.zeros(1), one.expand((1, k)), one, plate="expert", sites=sites)
    there = lawful.density(inference.marginalise()(started(mixture_with_priors)), x, y, k, gate, priors, far)
    tau = {"tau": jnp.asarray(0.3)} if kind == "activated" else {}
    choices = {"row": point[:, :3], "a": point[:, 3:5], "b": point[:, 5], "sigma": jnp.exp(point[:, 6])}
    choices |= {name: jnp.exp(value) for name, value in tau.items()}
    plain = lawful.trace(inference.marginalise()(mixture_with_priors), x, y, k, gate, priors)
    exact = plain.log_density(choices, x, y, k, gate, priors) + point[:, 6].sum() + sum(tau.values())
    np.testing.assert_allclose(float(there.logp({"expert.start": point, **tau})), float(exact), rtol=1e-11)


@pytest.mark.slow
@pytest.mark.optimised
def test_the_evidence_finds_the_number_of_experts():
    """An expert that nobody needs roams its prior, and the runs agree on what it costs.

    Log evidence of three experts has a standard deviation of .25 over runs: that of four is above .75 once in 10^5
    times, as is log odds more than 1 from .92, what eight runs give with an error of .08. Without experts drawn anew
    the standard deviation of four runs of 2,000 particles was 2.2, and 1.5 with 8,000.
    """
    places, answers = jax.random.split(jax.random.key(0))
    x = jax.random.uniform(places, (150, 1))
    y = Mixture(Gate(), TRUTH).sample(answers, x)
    compared = compare_experts(x, y, [1, 2, 3], key=0, particles=6000)
    table = compared.table
    assert compared.best == compared.best_by("bic") == 2
    assert (table["spread"][:2] < 0.5).all() and table["spread"][3] < 0.75
    assert abs(table["log_evidence"][2] - table["log_evidence"][3] - 0.92) < 1.0
    assert merge_tree(GaussianMoE(3).fit(x, y), x, y).best == compared.best


@pytest.mark.slow
@pytest.mark.optimised
def test_the_evidence_of_two_experts_is_that_of_a_million_draws_of_the_prior():
    """On six rows of a line, which needs one: within six standard errors, at 2e-4 by Student's law of ten runs."""
    x, y = line(6)
    z, v = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    summed = inference.marginalise()(mixture_with_priors)
    exact = inference.importance(summed, particles=125_000, runs=8, keep="last")(0, z, v, 2)
    found = posterior_of(x, y, 2, key=0, particles=4000, runs=10)
    error = np.hypot(found.log_evidence_error, exact.log_evidence_error)
    assert error < 0.1
    assert abs(found.log_evidence + 6 * np.log(y.std()) - pooled_evidence(exact.log_evidence)[0]) < 6 * error


def test_experts_get_names_and_what_has_none_does_not_ask_for_them():
    """Draws near the truth whose experts are shuffled: names put them back, the largest expert first."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(60, 1)))
    y = Mixture(Gate(), TRUTH).sample(jax.random.key(1), x)
    draws = [permuted(TRUTH._replace(b=TRUTH.b + 0.05 * rng.normal(size=2)), rng.permutation(2)) for _ in range(20)]
    whole = Posterior(Gate(), jax.tree.map(lambda *v: jnp.stack(v), *draws), np.zeros(2))
    assert len(np.unique(np.sign(whole.draws.a[:, 0, 0]))) == 2
    named = whole.named(x, y)
    assert np.all(named.draws.a[:, :, 0] == [-20.0, 20.0]) and np.all(named.draws.beta1[:, 0] > named.draws.beta1[:, 1])
    assert named.memberships(x, y).mean(axis=(0, 1))[0] > 0.5
    np.testing.assert_allclose(named.together(x, y), whole.together(x, y), rtol=1e-12)
    by_hand = np.mean([Mixture(Gate(), p).predict(x) for p in draws], axis=0)
    np.testing.assert_allclose(whole.predict(x), by_hand, rtol=1e-12)
    same = np.asarray(Mixture(Gate(), TRUTH).responsibilities(x, y)).argmax(1)
    assert ((whole.together(x, y) > 0.5) == (same[:, None] == same)).mean() > 0.95


def test_data_without_spread_are_refused():
    with pytest.raises(LawfulError, match="one of them has none. Fix"):
        posterior_of(np.ones((5, 1)), np.arange(5.0), 1, key=0)
    with pytest.raises(LawfulError, match="all answers are 1.0"):
        posterior_of(np.arange(5.0)[:, None], np.ones(5), 1, key=0)
