"""A run that was stopped anywhere goes on to the result of the run that was never stopped."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import inference, sample, scan
from lawful.errors import CheckpointError, CheckpointMismatch, LawfulError, UnsafeCheckpoint
from lawful.inference import RunOptions, kernels, resume
from lawful.inference.running import checkpoints, saving
from lawful.inference.running.recipes import decode, encode

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


@pytest.mark.parametrize("name", PLANS)
def test_a_run_goes_on_from_every_checkpoint(name, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "SHARE", 0)
    folder, copies = tmp_path / "run", []

    def copy(progress):
        if checkpoints.generations(folder):
            copies.append(shutil.copytree(folder, tmp_path / f"copy {len(copies)}"))

    chunk = 2 if name != "tempered" else 10
    plan = PLANS[name][1](RunOptions(chunk=chunk, checkpoint=folder, callbacks=[copy]))
    whole = plan(KEY, Y)
    watched(plan).run = RunOptions(chunk=chunk)
    for place in copies:
        assert_same(resume(place, plan, Y), whole)
    assert len(copies) >= 4
    assert_same(resume(folder, plan, Y), whole)  # nothing is left to do


def test_settings_are_read_from_the_checkpoint(tmp_path):
    program, build = PLANS["chains"]
    whole = build(None)(KEY, Y)
    stop = RunOptions(chunk=3, checkpoint=tmp_path, callbacks=[lambda p: p.phase == "sampling"])
    part = build(stop)(KEY, Y)
    assert part.finished == 3 and "stopped_by" in part.run
    assert_same(resume(tmp_path, program, Y, run=RunOptions(chunk=2)), whole)


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
        kernels.cycle(kernels.on("mu", kernels.random_walk(0.5)), kernels.gibbs()),
    ]:  # fmt: skip
        assert decode(encode(value)) == value
    for bad in ({"made": "os:system", "fields": {}}, {"made": "lawful.inference.mcmc:jax", "fields": {}}, {"x": 1}):
        with pytest.raises(UnsafeCheckpoint):
            decode(bad)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcmc", "smc", "tempered"])
def test_a_run_that_is_killed_twenty_times_gives_the_arrays_of_one_that_was_not(method, tmp_path):
    """Kill -9 after a random chunk and a random time, also while a checkpoint is written; then go on."""
    rng = np.random.default_rng(17)
    script = str(Path(__file__).with_name("killed_run.py"))
    cached = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
              "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip

    def start(folder, out):
        command = [sys.executable, script, method, str(folder), str(out)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cached)

    assert start("-", tmp_path / "whole.npz").wait(300) == 0
    whole = np.load(tmp_path / "whole.npz")
    kills, rounds = 0, 0
    while kills < 20:
        folder, out = tmp_path / f"run {rounds}", tmp_path / f"{rounds}.npz"
        rounds += 1
        while not out.exists():
            process = start(folder, out)
            for _ in range(rng.integers(1, 9)):
                if not process.stdout.readline():
                    break
            try:
                process.wait(rng.uniform(0.0, 0.03) if kills < 20 else 300)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.stdout.close()
            assert process.wait(60) in (0, -signal.SIGKILL)
        found = np.load(out)
        assert sorted(found) == sorted(whole)
        for name in whole:
            np.testing.assert_array_equal(found[name], whole[name], err_msg=name)
