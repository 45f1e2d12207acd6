"""Models of NumPyro under our inferences, without an edit: particles, chains, exact sums, against exact answers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats
from numpyro import handlers
from numpyro.infer import MCMC
from numpyro.infer import NUTS as NUTS_OF_NUMPYRO
from numpyro.infer.util import log_density

import lawful
from lawful import from_numpyro, inference
from lawful.inference import kernels
from tests.ppl.numpyro_models import CASES

pytestmark = pytest.mark.tier3
KEY = jax.random.key(11)
ORDINARY = {"queue", "lamp"}
NAMES = [pytest.param(n, marks=[] if n in ORDINARY else [pytest.mark.slow, pytest.mark.optimised]) for n in CASES]


def program_of(name):
    return from_numpyro(CASES[name].model, params=CASES[name].params, subsample=CASES[name].subsample)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_runs_under_particles_and_under_chains(name):
    program, args = program_of(name), CASES[name].args
    smc = inference.smc(program, particles=100, runs=2)(KEY, *args)
    mh = inference.mcmc(program, kernels.single_site(), chains=2, warmup=10, draws=20)(KEY, *args)
    assert np.isfinite(smc.log_evidence_pooled)
    sites = {c.name for c in lawful.form.choices.choices_of(lawful.trace(program, *args))}
    assert sites <= set(smc.posterior) and sites <= set(mh.posterior)
    for draws in (*smc.posterior.values(), *mh.posterior.values()):
        assert np.all(np.isfinite(draws))


def close(draws, truth):
    """Within 5.7 Monte Carlo standard errors: a false alarm in 1e-8 runs."""
    error = float(array_stats.mcse(np.asarray(draws), chain_axis=0, draw_axis=1, method="mean"))
    assert 0 < error < 0.15 * np.std(draws)
    assert abs(np.mean(draws) - truth) < 5.7 * error


NUTS = [
    "orchard", "parcels", "ballots", "gauge", "garden", "tide", "spring", "oven", "team", "twins",
    "workshop", "queue",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", NUTS)
def test_a_model_has_the_posterior_of_numpyro(name):
    """Means and squares of every element, by their NUTS and by ours: about 150 pairs in all models together.

    A difference of 6 joint Monte Carlo standard errors has probability 2e-9 where these are known; they are estimated
    from 4000 draws to about a tenth, which makes 1e-7 of it, and 2e-5 for all pairs.
    """
    case, args = CASES[name], jax.tree.map(np.nan_to_num, CASES[name].args)  # what is masked has a slope there
    model = handlers.substitute(case.model, data={**case.params, **case.subsample})
    theirs = MCMC(NUTS_OF_NUMPYRO(model, target_accept_prob=0.95), num_warmup=500, num_samples=1000, num_chains=4,
                  chain_method="vectorized", progress_bar=False)  # fmt: skip
    theirs.run(jax.random.key(3), *args)
    nuts = kernels.nuts(target_acceptance=0.95)
    ours = inference.mcmc(program_of(name), nuts, chains=4, warmup=500, draws=1000)(KEY, *case.args).posterior
    for site, draws in theirs.get_samples(group_by_chain=True).items():
        if site.replace("/", ".") in ours:
            same_moments(np.asarray(draws), np.asarray(ours[site.replace("/", ".")]))
    sites = {c.name for c in lawful.form.choices.choices_of(lawful.trace(program_of(name), *case.args))}
    assert sites <= {site.replace("/", ".") for site in theirs.get_samples()}


def same_moments(one, other):
    assert one.shape == other.shape
    for place in np.ndindex(one.shape[2:]):
        columns = one[(..., *place)], other[(..., *place)]
        if all(np.ptp(column) == 0 for column in columns):  # the ones and zeros of a triangle
            assert columns[0].flat[0] == columns[1].flat[0]
            continue
        for power in (1, 2):
            means, errors = zip(*(_mean(column**power) for column in columns), strict=True)
            assert abs(means[0] - means[1]) < 6 * np.hypot(*errors), (place, power, means, errors)


def _mean(column):
    error = float(array_stats.mcse(column, chain_axis=0, draw_axis=1, method="mean"))
    assert 0 < error < 0.2 * np.std(column)
    return np.mean(column), error


def of_grid(score, points, weights):
    """Mean of each coordinate under a log density on a grid."""
    scores = np.asarray(jax.jit(jax.vmap(score))(points))
    mass = weights * np.exp(scores - scores.max())
    return points.T @ mass / mass.sum()


def canal_means():
    """Three levels between 0 and 1, by Gauss's rule on NumPyro's density."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    nodes, weights = (nodes + 1) / 2, weights / 2
    points = np.stack([x.ravel() for x in np.meshgrid(nodes, nodes, nodes, indexing="ij")], axis=1)
    case = CASES["canal"]
    return of_grid(
        lambda level: log_density(case.model, case.args, {}, {"canal/level": level})[0],
        points, np.prod(np.meshgrid(weights, weights, weights), axis=0).ravel(),
    )  # fmt: skip


def archive_means():
    """All is normal: the mean of dust and wear, from slope and curvature of a density by hand."""
    pages = CASES["archive"].args[0]

    def score(x):
        dust, worn = x[:2], x[2:].reshape(2, 3)
        before = jnp.concatenate([jnp.array([0.0]), worn[:1, -1]])
        rows = dist.Normal(before, 1.0).log_prob(dust).sum() + dist.Normal(worn, 1.0).log_prob(pages).sum()
        last = jnp.concatenate([dust[:, None], worn[:, :-1]], axis=1)
        return rows + dist.Normal(last + dust[:, None], 0.5).log_prob(worn).sum()

    origin = jnp.zeros(8)
    return -np.linalg.solve(jax.hessian(score)(origin), jax.grad(score)(origin))


def lamp_means():
    """Light under both kinds, by a grid: bulb Gamma(3, 1) with 0.7, tube Gamma(6, 2)."""
    light = (np.arange(20_000) + 0.5) / 1000
    prior = 0.7 * np.exp(dist.Gamma(6.0, 2.0).log_prob(light)) + 0.3 * np.exp(dist.Gamma(3.0, 1.0).log_prob(light))
    weight = np.asarray(prior * np.exp(dist.Normal(light, 0.5).log_prob(2.5)))
    return np.sum(light * weight) / weight.sum()


def letters_means():
    """Stamps of two of six letters, which count three times: by sums over rate and stamp.

    NUTS of NumPyro has another answer: it counts the Jacobian of a choice in a scaled plate as often as its density, so
    that the law which it samples depends on the coordinates.
    """
    rate, stamp = (np.arange(3000)[:, None] + 0.5) / 100, (np.arange(1000) + 0.5) / 1000
    weight, means = np.log(rate[:, 0]) - rate[:, 0], []
    for gram in CASES["letters"].args[0][np.array([5, 1])]:
        score = 3 * (2 * np.log(stamp) + 2 * np.log1p(-stamp) + np.log(rate) - rate * stamp * gram)
        most = score.max(axis=1)
        mass = np.exp(score - most[:, None])
        weight += most + np.log(mass.sum(axis=1))
        means.append((mass * stamp).sum(axis=1) / mass.sum(axis=1))
    return np.array(means) @ np.exp(weight - weight.max()) / np.exp(weight - weight.max()).sum()


EXACT = {
    "letters": ("stamp", kernels.nuts, letters_means),
    "canal": ("canal.level", kernels.nuts, canal_means),
    "archive": ("dust", kernels.nuts, lambda: archive_means()[:2]),
    "lamp": ("light", kernels.single_site, lamp_means),
    "relay": ("a.missing", kernels.nuts, lambda: np.array([np.nan, 21.0 / 17.0, np.nan])),  # N(1, 1), 2.5 of 2 a
}


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", EXACT)
def test_chains_have_the_exact_means(name):
    site, kernel, truth = EXACT[name]
    draws = 1000 if kernel is kernels.nuts else 8000
    result = inference.mcmc(program_of(name), kernel(), chains=4, warmup=500, draws=draws)(KEY, *CASES[name].args)
    columns = np.asarray(result.posterior[site])
    for place, mean in np.ndenumerate(truth()):
        if np.isfinite(mean):
            close(columns[(..., *place)], mean)


MEANS = {
    "queue": ("rate", (3.0 + 3) / (2.0 + 1.5)),
    "parcels": ("rate", (2.0 + 2 * 3) / (1.0 + 2 * 3.1)),  # three of six: each counts twice
    "ballots": ("share", 10.0 / 22.0),  # Beta(1 + 3/2 + 7/2 + 4, 1 + 7/2 + 5/2 + 5)
    "diary": ("calm", (-0.3 / 0.49) / (1.0 + 3 / 0.49)),
    "oven": ("warm", (0.5 / np.exp(-0.4) + 1.5) / (1.0 / np.exp(-0.4) + 1.0)),
}


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", MEANS)
def test_chains_have_the_conjugate_mean(name):
    site, truth = MEANS[name]
    result = inference.mcmc(program_of(name), kernels.random_walk(0.8), chains=4, warmup=500, draws=4000)
    close(result(KEY, *CASES[name].args).posterior[site], truth)


@pytest.mark.slow
def test_particles_have_the_conjugate_evidence_and_mean():
    result = inference.smc(program_of("queue"), particles=20_000, runs=8)(KEY, *CASES["queue"].args)
    a, b = 6.0, 3.5
    truth = jax.scipy.special.gammaln(a) - jax.scipy.special.gammaln(3.0) + 3 * jnp.log(2.0) - a * jnp.log(b)
    # eight runs: the error is itself known to a quarter, so 8 of its units for a false alarm below 1e-4
    assert abs(float(result.log_evidence_pooled) - float(truth)) < 8 * float(result.log_evidence_error)
    assert float(result.log_evidence_error) < 0.02
    assert np.mean(result.posterior["rate"]) == pytest.approx(a / b, abs=0.02)  # standard error 0.0017


def sums(name):
    """Log evidence of a finite model, by hand."""
    (data,) = CASES[name].args
    if name == "dice":
        pairs = np.add.outer(np.arange(6), np.arange(6)).ravel()
        return float(jax.scipy.special.logsumexp(dist.Normal(pairs + 2.0, 1.0).log_prob(data)) - np.log(36))
    step, seen = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0.1, 0.9])
    total = 0.0
    for path in itertools.product((0, 1), repeat=len(data)):
        steps = [step[a, b] for a, b in itertools.pairwise((0, *path))]
        total += np.prod(steps) * np.prod([seen[s] if y else 1 - seen[s] for s, y in zip(path, data, strict=True)])
    return float(np.log(total))


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].finite])
def test_finite_models_are_summed_exactly_and_by_belief_propagation(name):
    program, args = program_of(name), CASES[name].args
    exact, graph = inference.enumerate(program)(*args), inference.bp(program).beliefs(*args)
    assert float(exact.log_evidence) == pytest.approx(sums(name), rel=1e-12)
    assert graph.converged and float(graph.log_evidence) == pytest.approx(sums(name), rel=1e-10)


@pytest.mark.slow
@pytest.mark.optimised
def test_finite_sites_are_summed_beside_chains():
    """The share of bees with their kinds summed, against a grid."""
    (size,) = CASES["bees"].args
    result = inference.mcmc(program_of("bees"), kernels.random_walk(0.8), chains=4, warmup=300, draws=3000,
                            enumerate=["kind"])(KEY, size)  # fmt: skip
    p = (np.arange(2000) + 0.5) / 2000
    parts = np.exp(np.asarray(dist.Normal(jnp.array([1.0, 2.0]), 0.5).log_prob(size[:, None])))
    weight = p * (1 - p) * np.prod(p[:, None] * parts[:, 0] + (1 - p[:, None]) * parts[:, 1], axis=1)
    close(result.posterior["share"][..., 0], float(np.sum(p * weight) / np.sum(weight)))
