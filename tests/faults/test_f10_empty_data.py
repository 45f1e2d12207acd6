"""Row 10: without data the posterior is the prior and the log evidence 0, in every mode and by every algorithm."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import binom, chi2, norm

import lawful
from lawful import handlers, inference, plate, sample, scan, scope
from lawful.backends.xla import compile
from lawful.inference import kernels

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
    empty = {c.address: np.zeros(c.full_shape, c.dtype) for c in lawful.form.choices.choices_of(form)}
    return empty | {("heads",): np.asarray(heads)}


@pytest.mark.rest_slow
@programs
def test_f10_staged_and_vmapped_runs_weigh_nothing(program):
    run = compile(lawful.trace(program, NONE))
    _, weight = run(KEY, NONE)
    assert weight == 0.0
    (draws,), weights = jax.vmap(lambda key: run(key, NONE))(jax.random.split(KEY, 8))
    assert draws.shape == (8,) and not weights.any()


@pytest.mark.parametrize("program", EAGER, ids=lambda p: p.__name__)
def test_f10_eager_runs_weigh_nothing(program):
    record = handlers.trace(handlers.seed(program, KEY))(NONE)
    assert record.log_density == record.log_prior
    assert record.choices[("heads",)] == handlers.seed(lawful.trace(program, NONE), KEY)(NONE)


@pytest.mark.fault(10)
@programs
def test_f10_enumeration_gives_the_prior_and_evidence_one(program):
    exact = inference.enumerate(program)(NONE)
    assert exact.log_evidence == pytest.approx(0.0, abs=1e-15)
    assert exact.marginal("heads") == pytest.approx({0: 1 - BIAS, 1: BIAS}, rel=1e-12)


@pytest.mark.rest_slow
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


@pytest.mark.rest_slow
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


def steps(y):
    """A loop of no steps, beside one normal parameter."""
    mu = sample("mu", dist.Normal(0.5, 2.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, mu, y)


WALK = kernels.random_walk(2.0)
ON_MU = kernels.random_walk(2.0, sites=["mu"])
CHAINS = {"chains": 1000, "warmup": 2, "draws": 1}  # each starts at a draw from the prior, and has to keep its law
RUNS = {"particles": 4, "runs": 500}
METHODS = {
    "smc2": (steps, inference.smc2(steps, WALK, ["mu"], inner=3, **RUNS)),
    "hmc": (steps, inference.mcmc(steps, kernels.hmc(0.8, 3), **CHAINS)),
    "nuts": (steps, inference.mcmc(steps, kernels.nuts(0.8), **CHAINS)),
    "parallel tempering": (
        steps, inference.parallel_tempering(steps, ON_MU, powers=(0.0, 0.5, 1.0), **CHAINS),
    ),
    "pmmh": (steps, inference.pmmh(steps, WALK, ["mu"], particles=3, **CHAINS)),
    **{
        f"particle Gibbs, {how}": (
            steps, inference.particle_gibbs(steps, "x", kernels.on("mu", WALK), particles=3, ancestors=how, **CHAINS),
        )
        for how in ("sampled", "retained", "backward")
    },
    "tempered smc": (steps, inference.tempered_smc(steps, kernel=WALK, **RUNS)),
    "annealed importance": (steps, inference.annealed_importance(steps, kernel=WALK, ladder=3, **RUNS)),
}  # fmt: skip


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
def test_f10_every_method_gives_the_prior(method, false_alarm):
    """One draw of each chain, or the last particle of each run: they are independent, and exactly of the prior.

    Sums of independent normal numbers and of their squares have known laws.
    """
    program, plan = METHODS[method]
    result = plan(KEY, NONE)
    draws = np.asarray(result.posterior["mu"])[:, -1]
    z = (draws - 0.5) / 2.0
    square, n = np.sum(z**2), len(z)
    tails = norm.sf(abs(np.sum(z)) / np.sqrt(n)), chi2.cdf(square, n), chi2.sf(square, n)
    assert min(tails) > false_alarm / 4
    assert len(np.unique(draws)) > 0.9 * n
    if "accepted" in result.stats:
        assert np.mean(result.stats["accepted"]) > 0.2  # and they do move
    if program is steps:
        assert result.posterior["x"].shape == (*result.posterior["mu"].shape, 0)
    if result.log_evidence is not None:
        assert (result.log_evidence == 0.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("build", [inference.tempered_smc, inference.annealed_importance], ids=lambda b: b.__name__)
@programs
def test_f10_a_path_to_a_posterior_without_data_costs_nothing(program, build, false_alarm):
    result = build(program, particles=4, kernel=kernels.mh(), runs=400)(KEY, NONE)
    assert (result.log_evidence == 0.0).all()
    heads = int(np.sum(np.asarray(result.posterior["heads"])[:, -1]))  # one of each run
    assert min(binom.cdf(heads, 400, BIAS), binom.sf(heads - 1, 400, BIAS)) > false_alarm / 2


def test_f10_a_program_without_any_statement_is_the_unit():
    form = lawful.trace(lambda: None)
    assert not form.nodes and form.log_density({}) == 0.0
    assert inference.enumerate(lambda: sample("heads", dist.Bernoulli(BIAS)))().log_evidence == pytest.approx(
        0.0, abs=1e-15
    )
