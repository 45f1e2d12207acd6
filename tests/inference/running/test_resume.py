"""A run that was stopped anywhere goes on to the result of the run that was never stopped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import inference, sample, scan
from lawful.errors import CheckpointError, CheckpointMismatch, LawfulError, UnsafeCheckpoint
from lawful.inference import RunOptions, kernels, resume
from lawful.inference.checkpoints import checkpoint_folder as checkpoints
from lawful.inference.checkpoints.recipes import decode, encode
from lawful.inference.kernels.particles.default_move import PopulationMoves
from lawful.inference.transformers.temperatures import ladder_of
from tests.tiers import rest_slow

KEY = jax.random.key(5)
Y = jnp.array([0.3, -0.2, 1.1, 0.4, 0.9])


def model(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    sample("y", dist.Normal(mu, 1.0).expand([5]).to_event(1), obs=y)


def walk(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def walk_with_scale(y):
    sigma = sample("sigma", dist.LogNormal(0.0, 1.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, sigma))
        sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def arrays(result):
    found = {f"draws {k}": x for k, x in result.posterior.items()} | {f"stats {k}": x for k, x in result.stats.items()}
    if result.warmup is not None:
        found |= {f"warmup {k}": x for k, x in {**result.warmup.posterior, **result.warmup.stats}.items()}
    return found if result.log_evidence is None else found | {"evidence": result.log_evidence}


def assert_same(one, other):
    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert one.interrupted == other.interrupted and one.finished == other.finished


PLANS = {
    "chains": (
        model,
        lambda run: inference.mcmc(model, kernels.random_walk(0.8), chains=2, warmup=4, draws=6, run=run),
    ),
    "tuned, thinned": (
        model,
        lambda run: inference.mcmc(model, kernels.hmc(n_steps=2), chains=2, warmup=5, draws=4, thin=2, run=run),
    ),
    "filter": (walk, lambda run: inference.smc(walk, particles=20, runs=2, run=run)),
    "tempered": (model, lambda run: inference.tempered_smc(model, particles=20, run=run)),
}


def watched(plan):
    return getattr(plan, "inner", plan)


def test_settings_are_read_from_the_checkpoint(tmp_path):
    program, build = PLANS["chains"]
    whole = build(None)(KEY, Y)
    stop = RunOptions(chunk=3, checkpoint=tmp_path, callbacks=[lambda p: p.phase == "sampling"])
    part = build(stop)(KEY, Y)
    assert part.finished == 3 and "stopped_by" in part.run
    assert_same(resume(tmp_path, program, Y, run=RunOptions(chunk=2)), whole)


OTHERS = {
    "annealed": (model, lambda run: inference.annealed_importance(model, particles=20, ladder=6, runs=2, run=run)),
    "squared": (
        walk_with_scale,
        lambda run: inference.smc2(
            walk_with_scale, kernels.random_walk(0.5), ["sigma"], particles=6, inner=5, resample_below=0.9, run=run
        ),
    ),
    "copies": (
        model,
        lambda run: inference.parallel_tempering(
            model, kernels.random_walk(0.8), powers=(0.2, 1.0), chains=2, warmup=4, draws=6, init={"mu": 0.1}, run=run
        ),
    ),
    "moved": (walk, lambda run: inference.smc(walk, particles=20, move=kernels.mh(), keep="last", run=run)),
    "correlated pairs": (
        walk_with_scale,
        lambda run: inference.pmmh(
            walk_with_scale,
            kernels.random_walk(0.5),
            ["sigma"],
            particles=5,
            correlation=0.9,
            chains=2,
            warmup=2,
            draws=6,
            run=run,
        ),
    ),
    "path and scale": (
        walk_with_scale,
        lambda run: inference.particle_gibbs(
            walk_with_scale,
            "x",
            kernels.on("sigma", kernels.random_walk(0.5)),
            particles=5,
            chains=2,
            warmup=2,
            draws=6,
            run=run,
        ),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_slow(OTHERS, 1))
def test_every_method_is_built_again_from_its_checkpoint(tmp_path, name):
    """The program and the data are enough: nothing else of the call is given again."""
    program, build = OTHERS[name]
    part = build(RunOptions(chunk=2, checkpoint=tmp_path, callbacks=lambda p: True))(KEY, Y)
    assert "stopped_by" in part.run
    assert_same(resume(tmp_path, program, Y), build(None)(KEY, Y))


def test_another_run_is_refused_by_what_differs(tmp_path):
    program, build = PLANS["chains"]
    build(RunOptions(chunk=5, checkpoint=tmp_path, callbacks=[lambda p: True]))(KEY, Y)
    with pytest.raises(CheckpointMismatch, match="data"):
        resume(tmp_path, program, Y + 1)
    with pytest.raises(CheckpointMismatch, match="site"):
        resume(tmp_path, lambda y: sample("x", dist.Normal(0.0, 1.0)), Y)
    with pytest.raises(CheckpointMismatch, match="draws"):
        resume(tmp_path, inference.mcmc(model, kernels.random_walk(0.8), chains=2, warmup=4, draws=7), Y)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resume(tmp_path / "nowhere", program, Y)


def test_a_setting_of_the_user_needs_the_plan(tmp_path):
    def proposal(y):
        return sample("mu", dist.Normal(0.5, 1.0))

    plan = inference.mcmc(model, kernels.mh(kernels.independence(proposal)), chains=2, warmup=0, draws=4)
    plan.run = RunOptions(chunk=2, checkpoint=tmp_path, callbacks=[lambda p: True])
    plan(KEY, Y)
    with pytest.raises(LawfulError, match="give the plan"):
        resume(tmp_path, model, Y)
    plan.run = None
    assert_same(resume(tmp_path, plan, Y), plan(KEY, Y))


def test_a_checkpoint_that_cannot_be_written_costs_no_draw(tmp_path, monkeypatch):
    def full(*args):
        raise CheckpointError("the disk is full.")

    monkeypatch.setattr(checkpoints, "save", full)
    program, build = PLANS["chains"]
    with pytest.warns(UserWarning, match="disk is full.*goes on in memory") as warned:
        result = build(RunOptions(chunk=2, checkpoint=tmp_path))(KEY, Y)
    assert len(warned) == 1
    assert [finding.code for finding in result.found].count("NOT_SAVED") == 1
    assert_same(result, build(None)(KEY, Y))


def test_recipes_hold_the_librarys_own_settings_alone():
    for value in [
        None, 3, 0.1, "x", (1, [2.5, None]), {"a": (1,)}, kernels.random_walk(0.5), kernels.hmc(0.1, 3).move,
        kernels.cycle(kernels.on("mu", kernels.random_walk(0.5)), kernels.gibbs()), kernels.particle_gibbs(5),
        kernels.repeat(kernels.mixture([1, 2], kernels.slice(), kernels.elliptical_slice()), 2), kernels.conjugate(),
        kernels.nuts(0.1).move, kernels.block_gibbs(), kernels.split_merge("z"), kernels.barker(kernels.independence()),
        kernels.refresh(kernels.random_walk(0.5), ["s"], keep="parameters"),
        kernels.refresh(kernels.random_walk(0.5), ["s"]), inference.population_hmc(), inference.by_ess(),
        kernels.cycle(inference.population_walk(), inference.population_walk()), PopulationMoves(),
        inference.prior_to_posterior(), inference.data_by_data(block=2), ladder_of([0.5, 1.0]), inference.Islands(4),
    ]:  # fmt: skip
        assert decode(json.loads(json.dumps(encode(value)))) == value
    for bad in ({"made": "os:system", "fields": {}}, {"made": "lawful.inference.results.result:Result", "fields": {}},
                {"x": 1}, {"scheme": "mine"}):  # fmt: skip
        with pytest.raises(UnsafeCheckpoint):
            decode(bad)
