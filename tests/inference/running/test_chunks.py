"""A run in chunks is the run as a whole, bit for bit, whatever the chunks: kernels, tuned or not, and populations."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, sample
from lawful.errors import LawfulError
from lawful.inference import RunOptions, kernels
from tests.inference.running.same import KEY, Y, assert_same, walk


def model(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    lawful.deterministic("twice", 2 * mu)
    sample("y", dist.Normal(mu, sd).expand([4]).to_event(1), obs=y)


def finite(y):
    def step(z, y):
        z = sample("z", dist.Bernoulli(jnp.where(z == 1, 0.8, 0.3)))
        sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
        return z, z

    return lawful.scan(step, 0, y)[1]


CHAINS = {
    "random walk": (model, kernels.random_walk(0.8), {}),
    "thinned": (model, kernels.random_walk(0.8), {"thin": 3, "warmup": 4}),
    "tuned": (model, kernels.hmc(n_steps=3), {"warmup": 12, "draws": 5}),
    "tuned and thinned": (model, kernels.hmc(n_steps=3), {"warmup": 9, "draws": 4, "thin": 2}),
    "gibbs": (finite, kernels.gibbs(), {}),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", CHAINS)
def test_chains_in_chunks_are_the_chains_of_one_call(name):
    program, kernel, settings = CHAINS[name]
    settings = {"chains": 2, "warmup": 5, "draws": 9, **settings}
    plan = inference.mcmc(program, kernel, **settings)
    whole = plan(KEY, Y)
    for chunk in (16, 4, 1):
        plan.run = RunOptions(chunk=chunk)
        assert_same(plan(KEY, Y), whole)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", CHAINS)
def test_chains_in_chunks_are_the_chains_of_one_call_as_users_compile(name):
    program, kernel, settings = CHAINS[name]
    settings = {"chains": 4, "warmup": 50, "draws": 101, **settings}
    plan = inference.mcmc(program, kernel, **settings)
    whole = plan(KEY, Y)
    for chunk in ("auto", 13, 8):
        plan.run = RunOptions(chunk=chunk)
        assert_same(plan(KEY, Y), whole)


POPULATIONS = {
    "smc": lambda: inference.smc(walk, particles=30, runs=2),
    "smc with moves": lambda: inference.smc(walk, particles=30, move=kernels.mh()),
    "tempered smc": lambda: inference.tempered_smc(model, particles=40, runs=2),
    "annealed importance": lambda: inference.annealed_importance(model, particles=20, ladder=8),
    "smc2": lambda: inference.smc2(walk, kernels.random_walk(0.5), ["sd"], particles=8, inner=5),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", POPULATIONS)
def test_a_population_in_chunks_is_that_of_one_call(name):
    check_population(POPULATIONS[name](), (16, 3, 1))


def check_population(plan, chunks):
    whole = plan(KEY, Y)
    for chunk in chunks:
        getattr(plan, "inner", plan).run = RunOptions(chunk=chunk)
        assert_same(plan(KEY, Y), whole)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", POPULATIONS)
def test_a_population_in_chunks_is_that_of_one_call_as_users_compile(name):
    check_population(POPULATIONS[name](), ("auto", 3, 1))


@pytest.mark.slow
def test_chains_at_many_powers_are_those_of_one_call_and_resume(tmp_path):
    def plan(run):
        settings = {"powers": (0.2, 1.0), "chains": 2, "warmup": 5, "draws": 8}
        return inference.parallel_tempering(model, kernels.random_walk(0.8), **settings, run=run)

    whole, part = plan(None)(KEY, Y), tmp_path / "run"
    assert_same(plan(RunOptions(chunk=3))(KEY, Y), whole)
    plan(RunOptions(chunk=3, checkpoint=part, callbacks=lambda p: p.phase == "sampling"))(KEY, Y)
    assert_same(inference.resume(part, plan(RunOptions(chunk=4)), Y), whole)
    with pytest.raises(LawfulError, match="all powers"):
        plan(RunOptions(store=tmp_path / "draws.zarr"))


def test_what_has_no_loop_runs_as_a_whole():
    def coin():
        sample("y", dist.Normal(sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=0.3)

    one, other = (inference.importance(coin, particles=20, runs=2, run=run)(KEY) for run in (RunOptions(), None))
    assert_same(one, other)
    assert list(inference.importance(coin, particles=20).iterate(KEY)) == []
