"""A run in chunks is the run as a whole, bit for bit, whatever the chunks: kernels, tuned or not, and populations."""

import signal

import jax.numpy as jnp
import numpy as np
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


@pytest.mark.slow
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


def rows(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    with lawful.plate("i", 4):
        sample("y", dist.Normal(mu, 1.0), obs=y)


POPULATIONS = {
    "smc": lambda: inference.smc(walk, particles=30, runs=2),
    "smc with moves": lambda: inference.smc(walk, particles=30, move=kernels.mh()),
    "tempered smc": lambda: inference.tempered_smc(model, particles=40, runs=2),
    "annealed importance": lambda: inference.annealed_importance(model, particles=20, ladder=8),
    "smc2": lambda: inference.smc2(walk, kernels.random_walk(0.5), ["sd"], particles=8, inner=5),
    "smc, residual resampling": lambda: inference.smc(walk, particles=30, runs=2, resampling="residual"),
    "ibis": lambda: inference.ibis(rows, particles=20, runs=2),
    "ibis, stratified resampling": lambda: inference.ibis(rows, kernels.mh(), particles=20, resampling="stratified"),
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
    for chunk in (16, 3, 1):
        assert_same(plan(RunOptions(chunk=chunk))(KEY, Y), whole)
    plan(RunOptions(chunk=3, checkpoint=part, callbacks=lambda p: p.phase == "sampling"))(KEY, Y)
    assert_same(inference.resume(part, plan(RunOptions(chunk=4)), Y), whole)
    assert_same(plan(RunOptions(chunk=3, store=tmp_path / "draws.zarr"))(KEY, Y), whole)


def coin(y):
    x = sample("x", dist.Normal(0.0, 1.0))
    lawful.deterministic("twice", 2 * x)
    sample("y", dist.Normal(x, 1.0).expand([4]).to_event(1), obs=y)


WITHOUT_A_LOOP = {
    "smc": lambda: inference.smc(coin, particles=20, runs=3),
    "importance": lambda: inference.importance(coin, particles=20, runs=3),
    "the last values": lambda: inference.importance(coin, particles=20, runs=3, keep="last"),
    "one rung": lambda: inference.annealed_importance(coin, particles=12, ladder=[1.0], runs=3),
    "tempered smc": lambda: inference.tempered_smc(coin, particles=20, ladder=[1.0], runs=3),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", WITHOUT_A_LOOP)
def test_without_a_loop_a_chunk_is_one_run_and_the_runs_are_those_of_one_call(name):
    check_whole_runs(WITHOUT_A_LOOP[name]())


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", WITHOUT_A_LOOP)
def test_without_a_loop_the_runs_are_those_of_one_call_as_users_compile(name):
    check_whole_runs(WITHOUT_A_LOOP[name]())


def check_whole_runs(plan):
    whole, inner = plan(KEY, Y), getattr(plan, "inner", plan)
    assert not inner.prepare((Y,)).built.portions(None).parts
    for chunk in ("auto", 2, 1):
        seen = []
        inner.run = RunOptions(chunk=chunk, callbacks=seen.append)
        result = plan(KEY, Y)
        assert_same(result, whole)
        assert [(p.phase, p.step, p.total) for p in seen] == [(f"run {i} of 3", 1, 1) for i in (1, 2, 3)]
        assert [p.log_evidence for p in seen] == whole.log_evidence.tolist() and result.run["chunks"] == 3
    chunks = list(plan.iterate(KEY, Y))
    assert [(c.phase, c.start, c.stop, c.draws) for c in chunks] == [(f"run {i} of 3", 0, 1, {}) for i in (1, 2, 3)]
    for name in chunks[0].info.keys() & whole.stats.keys():
        np.testing.assert_array_equal([c.info[name] for c in chunks], whole.stats[name])
    assert {"log_evidence", "ess", "log_evidence_increment"} <= chunks[0].info.keys()


def test_without_a_loop_finished_runs_are_kept_and_a_run_resumes(tmp_path):
    plan = WITHOUT_A_LOOP["importance"]()
    whole = plan(KEY, Y)
    acts = {1: lambda: True, 2: lambda: signal.raise_signal(signal.SIGINT)}
    options = RunOptions(checkpoint=tmp_path, callbacks=lambda p: acts.get(int(p.phase.split()[1]), int)())
    plan.run = options
    first = plan(KEY, Y)
    assert_first_runs(first, whole, 1)
    assert first.run["stopped_by"] and not first.interrupted and first.finished == 1
    second = inference.resume(tmp_path, plan, Y, run=options)
    assert_first_runs(second, whole, 2)
    assert second.interrupted and second.finished == 2
    plan.run = None
    for program in (plan, coin):  # a run that is complete is given again
        assert_same(inference.resume(tmp_path, program, Y), whole)


def test_without_a_loop_an_error_of_a_callback_leaves_the_finished_runs():
    plan = WITHOUT_A_LOOP["importance"]()
    whole = plan(KEY, Y)

    def broken(progress):
        assert progress.phase != "run 2 of 3", "enough"

    plan.run = RunOptions(callbacks=broken)
    with pytest.raises(LawfulError, match="a callback raised AssertionError after 2 steps") as error:
        plan(KEY, Y)
    assert_first_runs(error.value.result, whole, 2)


def assert_first_runs(result, whole, runs):
    assert result.log_evidence.tolist() == whole.log_evidence[:runs].tolist()
    np.testing.assert_array_equal(result.weighted.log_weight, whole.weighted.log_weight[:runs])
    for name, array in whole.weighted.values.items():
        np.testing.assert_array_equal(result.weighted.values[name], array[:runs], err_msg=name)
    for name, array in whole.stats.items():
        np.testing.assert_array_equal(result.stats[name], array[:runs], err_msg=name)
