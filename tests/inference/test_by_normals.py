"""Draws as functions of normals have the laws of the draws; a filter by normals estimates what the filter estimates."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.scipy.special import ndtr, ndtri

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import kernels
from lawful.inference.laws.resampling_schemes import ResampleLaw, scheme
from lawful.inference.representations.standard_normals import _ancestors, _picked, by_normals, quantile
from lawful.inference.transformers.evidence_estimate import Filter
from lawful.inference.transformers.nested import Nest
from tests.inference.unknown_step import walk

CONTINUOUS = {
    "normal": dist.Normal(1.0, 2.0),
    "log normal": dist.LogNormal(0.3, 0.5),
    "expanded": dist.Normal(1.0, jnp.array([0.5, 2.0])).expand([3, 2]).to_event(1),
    "exponential": dist.Exponential(2.0),
    "uniform": dist.Uniform(-1.0, 3.0),
    "half normal": dist.HalfNormal(2.0),
    "cauchy": dist.Cauchy(0.5, 2.0),
    "laplace": dist.Laplace(0.5, 2.0),
}
GRID = (np.arange(100_000) + 0.5) / 100_000


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_value_of_a_noise_is_its_quantile(name):
    law = CONTINUOUS[name]
    noise = jax.random.normal(jax.random.key(0), law.shape())
    core = law
    while isinstance(core, dist.Independent | dist.ExpandedDistribution):
        core = core.base_dist
    np.testing.assert_allclose(core.cdf(quantile(law, noise)), ndtr(noise), rtol=1e-10)


@pytest.mark.parametrize("law", [dist.Bernoulli(0.3), dist.Categorical(jnp.array([0.2, 0.0, 0.5, 0.3]))])
def test_a_discrete_value_has_its_probability(law):
    """Over all noises: a grid of their probabilities, fine enough to tell every share to 1e-5."""
    found = np.bincount(np.asarray(jax.jit(jax.vmap(lambda u: quantile(law, u)))(ndtri(GRID))).astype(int), minlength=2)
    expected = np.exp(jax.jit(law.log_prob)(np.arange(len(found))))
    np.testing.assert_allclose(found / len(GRID), expected, atol=2e-5)


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("u", [-40.0, -6.0, 6.0, 40.0])
def test_what_is_impossible_is_never_made_also_where_probabilities_round_to_one(u):
    noise = jnp.float32(u)
    assert not quantile(dist.Bernoulli(jnp.float32(0.0)), noise)
    assert quantile(dist.Bernoulli(jnp.float32(1.0)), noise)
    law = dist.Categorical(jnp.array([0.1] * 7 + [0.3, 0.0], jnp.float32))
    assert float(law.log_prob(quantile(law, noise))) > -10.0


@pytest.mark.slow
def test_picks_and_ancestors_have_their_laws():
    weights = jnp.array([0.5, 0.0, 1.5, 2.0])
    picks = np.bincount(np.asarray(jax.vmap(lambda u: _picked(u, weights))(ndtri(GRID))), minlength=4)
    np.testing.assert_allclose(picks / len(GRID), weights / 4.0, atol=2e-5)
    law, key = ResampleLaw(scheme("systematic"), 4, 4), jnp.array([3.0, 1.0, 2.0, 0.0])
    drawn = np.asarray(jax.vmap(lambda u: _ancestors(law, u, weights, key))(ndtri(GRID)))
    counts = (drawn[:, :, None] == np.arange(4)).sum(axis=1)
    np.testing.assert_allclose(counts.mean(axis=0), weights, atol=2e-5)
    assert np.abs(counts - np.asarray(weights)).max() <= 1.0
    assert (np.diff(np.asarray(key)[drawn], axis=1) >= 0).all(), "offspring stand in the order of their key"


Y = jnp.array([0.4, -0.7, 1.5, 0.9])


def evidence():
    decay = np.tril(0.9 ** (np.subtract.outer(np.arange(4), np.arange(4))).clip(0))
    return float(dist.MultivariateNormal(jnp.zeros(4), 0.64 * decay @ decay.T + 0.25 * np.eye(4)).log_prob(Y))


def step(x, y):
    x = lawful.sample("x", dist.Normal(0.9 * x, 0.8))
    lawful.sample("y", dist.Normal(x, 0.5), obs=y)
    return x, None


@pytest.mark.slow
def test_a_filter_by_normals_has_an_unbiased_evidence():
    """20 000 runs of 8 particles; the mean lies within 6 standard errors, but once in 10^9."""
    form = by_normals(Filter(8, scheme("systematic"), None)(lawful.trace(lambda y: lawful.scan(step, 0.0, y), Y)))
    assert all(site.address[-1] == "~normal" for site in form.sites() if site.observed is None)
    logs = jax.jit(jax.vmap(lambda key: emit(form)(key, Y)[1]))(jax.random.split(jax.random.key(2), 20_000))
    ratios = np.exp(np.asarray(logs) - evidence())
    assert abs(ratios.mean() - 1.0) < 6 * ratios.std() / np.sqrt(len(ratios))


@pytest.mark.slow
def test_the_more_the_numbers_stay_the_more_moves_are_accepted():
    def rate(correlation):
        plan = inference.pmmh(
            walk,
            kernels.random_walk(0.3),
            ["sigma"],
            particles=4,
            correlation=correlation,
            chains=20,
            warmup=20,
            draws=100,
        )
        return float(plan(jax.random.key(0), Y).stats["acceptance_rate"].mean())

    assert rate(0.0) + 0.1 < rate(0.99)


@pytest.mark.slow
def test_the_noise_of_a_filter_is_no_part_of_the_posterior():
    plan = inference.pmmh(
        walk, kernels.random_walk(0.3), ["sigma"], particles=4, correlation=0.9, chains=2, warmup=1, draws=3
    )
    result = plan(jax.random.key(0), Y)
    assert {name: x.shape for name, x in result.posterior.items()} == {"sigma": (2, 3), "x": (2, 3, 4)}
    assert "a step of correlation 0.9" in plan.plan(Y)
    assert set(plan.sampler(Y)(jax.random.key(0), Y)) == {"sigma"}


@pytest.mark.slow
def test_a_start_of_the_parameters_is_taken_and_the_noise_is_drawn():
    plan = inference.pmmh(
        walk, kernels.random_walk(1e-9), ["sigma"], particles=4, correlation=0.9, chains=2, warmup=0, draws=1,
        init={"sigma": 0.7},
    )  # fmt: skip
    np.testing.assert_allclose(plan(jax.random.key(0), Y).posterior["sigma"], 0.7, rtol=1e-6)


def test_what_cannot_be_done_by_normals_is_refused():
    form = lawful.trace(lambda: lawful.sample("x", dist.Dirichlet(jnp.ones(3))))
    with pytest.raises(UnsupportedProgramError, match="by_normals: site 'x' .* has the law Dirichlet, whose quantile"):
        by_normals(form)
    sticks = dist.transforms.StickBreakingTransform()
    longer = dist.TransformedDistribution(dist.Normal(jnp.zeros(2), 1.0).to_event(1), sticks)
    with pytest.raises(UnsupportedProgramError, match="by_normals: site 'x' .* whose quantile"):
        by_normals(lawful.trace(lambda: lawful.sample("x", longer)))
    with pytest.raises(UnsupportedProgramError, match="with a correlation, site 'x' .* has to be a noise"):
        kernels.refresh(kernels.random_walk(0.3), ["sigma"], correlation=0.5).build(lawful.trace(walk, Y))
    with pytest.raises(LawfulError, match="a correlation needs parameters"):
        inference.pmmh(walk, particles=4, correlation=0.5)
    for correlation in (-0.1, 1.0):
        with pytest.raises(LawfulError, match="expected a correlation of at least 0 and below 1"):
            kernels.refresh(kernels.random_walk(0.3), ["sigma"], correlation=correlation)


def test_the_program_with_its_noise_has_the_parameters_and_one_noise_for_each_number():
    nest = Nest(walk, ("sigma",), Filter(8, scheme("systematic"), None), normals=True)
    shapes = {c.name: c.full_shape for c in choices_of(lawful.trace(nest, Y))}
    assert shapes.pop("sigma") == ()
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 4 * 8 + 4 + 1  # draws, offsets, one pick
