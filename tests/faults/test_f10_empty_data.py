"""Row 10: without data the posterior is the prior and the log evidence 0, in every mode and by every algorithm."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference, plate, sample, scan, scope
from lawful.emitter import compiled

KEY = jax.random.key(3)
NONE = np.zeros(0)
BIAS = 0.25


def plated(y):
    heads = sample("heads", dist.Bernoulli(BIAS))
    with plate("data", len(y)):
        z = sample("z", dist.Bernoulli(0.5))
        sample("y", dist.Normal(heads + z, 1.0), obs=y)
    return heads


def looped(y):
    heads = sample("heads", dist.Bernoulli(BIAS))

    def step(x, y):
        x = sample("x", dist.Bernoulli(0.3 + 0.4 * x))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    scan(step, heads, y)
    return heads


def nested(y):
    """A plate of size 0 in a loop of no steps, and beside it."""
    heads = sample("heads", dist.Bernoulli(BIAS))

    def step(x, y):
        with plate("inner", 0):
            sample("y", dist.Normal(x, 1.0), obs=jnp.zeros(0))
        return x, y

    scan(step, heads, y)
    with scope("again"):
        scan(step, heads, jnp.zeros(2))
    return heads


def vmapped(y):
    heads = sample("heads", dist.Bernoulli(BIAS))
    jax.vmap(lambda y: sample("y", dist.Normal(heads, 1.0), obs=y))(y)
    return heads


EAGER = [plated, looped, nested]  # a plain vmap is for traced programs
PROGRAMS = [*EAGER, vmapped]
programs = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)


@programs
def test_f10_the_density_is_that_of_the_prior(program):
    form = lawful.trace(program, NONE)
    prior = {1: np.log(BIAS), 0: np.log1p(-BIAS)}
    for heads in (0, 1):
        np.testing.assert_allclose(form.log_density({"heads": heads}, NONE), prior[heads], rtol=1e-12)
        if program in EAGER:
            np.testing.assert_allclose(handlers.log_density(program, _all(form, heads))(NONE), prior[heads], rtol=1e-12)
    many = jax.vmap(lambda h: form.log_density({"heads": h}, NONE))(jnp.array([0, 1]))
    np.testing.assert_allclose(many, [prior[0], prior[1]], rtol=1e-12)


def _all(form, heads):
    empty = {c.address: np.zeros(c.full_shape, c.dtype) for c in lawful.record.choices_of(form)}
    return empty | {("heads",): np.asarray(heads)}


@programs
def test_f10_staged_and_vmapped_runs_weigh_nothing(program):
    run = compiled(lawful.trace(program, NONE))
    _, weight = run(KEY, NONE)
    assert weight == 0.0
    (draws,), weights = jax.vmap(lambda key: run(key, NONE))(jax.random.split(KEY, 8))
    assert draws.shape == (8,) and not weights.any()


@pytest.mark.parametrize("program", EAGER, ids=lambda p: p.__name__)
def test_f10_eager_runs_weigh_nothing(program):
    record = handlers.trace(handlers.seed(program, KEY))(NONE)
    assert record.log_density == record.log_prior
    assert record.choices[("heads",)] == handlers.seed(lawful.trace(program, NONE), KEY)(NONE)


@programs
def test_f10_enumeration_gives_the_prior_and_evidence_one(program):
    exact = inference.enumerate(program)(NONE)
    assert exact.log_evidence == pytest.approx(0.0, abs=1e-15)
    assert exact.marginal("heads") == pytest.approx({0: 1 - BIAS, 1: BIAS}, rel=1e-12)


@pytest.mark.parametrize(
    ("program", "build"),
    [(plated, inference.importance), *((program, inference.smc) for program in PROGRAMS)],
    ids=["importance", *(f"smc-{program.__name__}" for program in PROGRAMS)],
)
def test_f10_populations_have_evidence_one_and_equal_weights(program, build):
    result = build(program, particles=32, runs=2)(KEY, NONE)
    np.testing.assert_allclose(result.log_evidence, 0.0, atol=1e-15)
    weights = np.asarray(result.weighted.log_weight)
    np.testing.assert_allclose(weights, weights[:, :1] * np.ones_like(weights), atol=1e-15)
    assert set(np.unique(result.posterior["heads"])) <= {0, 1}


@pytest.mark.parametrize("program", [plated, nested], ids=lambda p: p.__name__)
def test_f10_chains_score_the_prior(program):
    result = inference.mcmc(program, chains=2, warmup=2, draws=20)(KEY, NONE)
    heads = result.posterior["heads"]
    assert heads.shape == (2, 20)
    np.testing.assert_allclose(result.stats["lp"], np.where(heads == 1, np.log(BIAS), np.log1p(-BIAS)), rtol=1e-12)


@pytest.mark.parametrize("program", EAGER, ids=lambda p: p.__name__)
def test_f10_the_exact_law_of_a_population_on_no_data_is_the_prior(program):
    """The algorithm itself is enumerated: E[ Z-hat mean_i delta(x_i) ] for two particles."""
    from tests.inference.tier0 import law_error

    assert law_error(inference.importance(program, particles=2, keep="last"), program, NONE).error < 1e-12


def test_f10_a_program_without_any_statement_is_the_unit():
    form = lawful.trace(lambda: None)
    assert not form.nodes and form.log_density({}) == 0.0
    assert inference.enumerate(lambda: sample("heads", dist.Bernoulli(BIAS)))().log_evidence == pytest.approx(
        0.0, abs=1e-15
    )
