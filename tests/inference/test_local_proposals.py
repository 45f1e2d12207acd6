"""Local proposals keep the density of the program everywhere, and make the weights of Gaussian steps even."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Loop
from lawful.form.choices import choices_of
from tests.tiers import rest_slow

Y = jnp.array([0.7, -1.1, 2.0])


def scanned(step, start):
    return lambda y: lawful.scan(step, start, y)[1]


def gaussian(x, y):
    x = lawful.sample("x", dist.Normal(0.9 * x, 1.0))
    lawful.sample("y", dist.Normal(2.0 * x, 0.5), obs=y)
    return x, x


def volatility(x, y):
    x = lawful.sample("x", dist.Normal(-1.0 + 0.95 * x, 0.3))
    lawful.sample("y", dist.Normal(0.0, jnp.exp(x / 2)), obs=y)
    return x, x


def positive(x, y):
    x = lawful.sample("x", dist.LogNormal(jnp.log(x), 0.4))
    lawful.factor("seen", -jnp.abs(y) * x)
    return x, x


def plane(x, y):
    x = lawful.sample("x", dist.MultivariateNormal(0.5 * x, jnp.array([[1.0, 0.6], [0.6, 2.0]])))
    lawful.sample("y", dist.Normal(x[0] - x[1], 0.3), obs=y)
    return x, x


def two_sites(x, y):
    level = lawful.sample("level", dist.Normal(x, 1.0))
    share = lawful.sample("share", dist.Beta(2.0, 3.0))
    lawful.sample("y", dist.Normal(level * share, 0.3), obs=y)
    return level + share, level


def shares(x, y):
    s = lawful.sample("s", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
    lawful.sample("y", dist.Normal(x + s[0] - s[2], 0.3), obs=y)
    return s[1], s


def parameter(y):
    scale = lawful.sample("scale", dist.HalfNormal(1.0))

    def step(x, y):
        x = lawful.sample("x", dist.StudentT(3.0, x, scale))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    return lawful.scan(step, 0.0, y)[1]


PROGRAMS = {
    "gaussian": scanned(gaussian, 0.0),
    "volatility": scanned(volatility, 0.0),
    "positive": scanned(positive, 1.0),
    "plane": scanned(plane, jnp.zeros(2)),
    "two sites": scanned(two_sites, 0.0),
    "shares": scanned(shares, 0.0),
    "parameter": parameter,
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("scale", rest_slow([1.7, 1.0]))
def test_the_density_of_the_program_stays_everywhere(program, scale):
    """Draws of the prior are far from where the proposals draw."""
    densities = [lawful.density(p, Y) for p in (program, inference.local_proposals(scale=scale)(program))]

    @jax.jit
    @jax.vmap
    def both(key):
        choices = lawful.handlers.trace(lawful.handlers.seed(program, key))(Y).choices
        return [density.log_density(choices) for density in densities]

    expected, found = both(jax.random.split(jax.random.key(0), 20))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", ["gaussian", "plane"])
def test_the_weight_of_a_gaussian_step_does_not_depend_on_the_draw(program):
    """It is the density of the datum given where the particle stands; two Newton steps are as good as one."""
    for iterations in (1, 2):
        form = inference.local_proposals(iterations)(lawful.trace(PROGRAMS[program], Y))
        (loop,) = (node for node in form.nodes if isinstance(node, Loop))
        run = jax.jit(emit(loop.body))
        held = [dict(form.constants)[v] for v in loop.constants]
        carry = 0.3 * jnp.ones(loop.init[0].shape)
        logs = [float(run(jax.random.key(seed), *held, carry, Y[0])[1]) for seed in range(5)]
        assert np.ptp(logs) < 1e-10
        if program == "gaussian":
            exact = dist.Normal(2.0 * 0.9 * 0.3, np.sqrt(4.0 + 0.25)).log_prob(Y[0])
            assert logs[0] == pytest.approx(float(exact), abs=1e-10)


@pytest.mark.slow
def test_a_filter_has_the_exact_evidence_with_less_error_than_one_from_the_prior():
    """2000 runs of 8 particles; the mean of Z-hat lies within 6 standard errors, 10^-9 for a right filter."""
    y, steps = jnp.asarray(np.random.default_rng(3).normal(0.0, 1.5, 12)), np.arange(12)
    root = np.tril(0.9 ** (steps[:, None] - steps).clip(0))
    exact = dist.MultivariateNormal(jnp.zeros(12), 4.0 * root @ root.T + 0.25 * np.eye(12)).log_prob(y)
    model = PROGRAMS["gaussian"]
    spread = []
    for program in (model, inference.local_proposals()(model)):
        result = inference.smc(program, particles=8, runs=2000)(jax.random.key(1), y)
        ratios = np.exp(np.asarray(result.log_evidence) - float(exact))
        spread.append(ratios.std())
        if program is not model:
            assert abs(ratios.mean() - 1.0) < 6 * ratios.std() / np.sqrt(len(ratios))
    assert spread[1] < spread[0] / 3


@pytest.mark.slow
def test_choices_keep_their_names_and_shapes():
    form = lawful.trace(PROGRAMS["two sites"], Y)
    local = inference.local_proposals()(form)
    assert [(c.name, c.full_shape) for c in choices_of(local)] == [(c.name, c.full_shape) for c in choices_of(form)]
    result = inference.smc(inference.local_proposals()(PROGRAMS["two sites"]), particles=50)(jax.random.key(0), Y)
    assert set(result.posterior) >= {"level", "share"}
    assert ((result.posterior["share"] > 0) & (result.posterior["share"] < 1)).all()


def test_a_step_of_another_kind_is_refused_by_the_name_of_its_site():
    def discrete(x, y):
        k = lawful.sample("k", dist.Bernoulli(0.5))
        lawful.sample("y", dist.Normal(k, 1.0), obs=y)
        return x, k

    def inner(x, y):
        return x, lawful.cond(y > 0, lambda: lawful.sample("z", dist.Normal(0.0, 1.0)), lambda: 0.0)

    for step, words in ((discrete, "site 'k' .* is discrete"), (inner, "site 'z' .* is made in a branch")):
        with pytest.raises(UnsupportedProgramError, match=words):
            inference.local_proposals()(lawful.trace(scanned(step, 0.0), Y))
    with pytest.raises(UnsupportedProgramError, match="no loop of the program has a choice"):
        inference.local_proposals()(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))))
    with pytest.raises(LawfulError, match="expected iterations >= 1 and scale > 0, got 0"):
        inference.local_proposals(0)
