"""Row 16: Ctrl-C gives back what is finished, and no draw of the warm-up for one of the posterior."""

import itertools
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lawful.inference import Result, RunOptions, Status, resume
from lawful.inference.checkpoints import checkpoint_folder as checkpoints
from lawful.inference.running import saving
from tests.inference.running.test_driver import FILTER, PLAN, Y, assert_prefix, at, interrupt, run, whole

__all__ = ["whole"]  # a fixture


@pytest.mark.fault(16)
def test_f16_what_is_finished_comes_back(whole):
    before = signal.getsignal(signal.SIGINT)
    result = run(PLAN, callbacks=[at("sampling", 4, interrupt)])
    assert signal.getsignal(signal.SIGINT) is before
    assert result.interrupted and Status.INTERRUPTED in result.status and not result.ok
    assert result.finished == 4
    assert_prefix(result, whole, 4)
    assert "INTERRUPTED" in repr(result).splitlines()[0]


def test_f16_draws_of_the_warm_up_are_never_draws_of_the_posterior(whole):
    result = run(PLAN, callbacks=[at("warmup", 4, interrupt)])
    assert result.interrupted
    assert {name: x.shape[:2] for name, x in result.posterior.items()} == {"mu": (2, 0), "twice": (2, 0)}
    np.testing.assert_array_equal(result.warmup.posterior["mu"], whole.warmup.posterior["mu"][:, :4])
    assert result.finished == 0 and not result.ok


def test_f16_finished_runs_of_a_population_come_back():
    whole = run(FILTER)
    result = run(FILTER, chunk=1, callbacks=[at("run 2 of 3", 1, interrupt)])
    assert result.interrupted and not result.ok
    np.testing.assert_array_equal(result.log_evidence, whole.log_evidence[:1])
    np.testing.assert_array_equal(result.posterior["x"], whole.posterior["x"][:1])
    nothing = run(FILTER, chunk=1, callbacks=[at("run 1 of 3", 1, interrupt)])
    assert nothing.posterior["x"].shape[0] == 0 and not nothing.ok and "INTERRUPTED" in repr(nothing)
    assert math.isnan(nothing.log_evidence_pooled)


def test_f16_the_second_interrupt_raises_at_once():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(PLAN, callbacks=[at("sampling", 4, lambda: (interrupt(), interrupt()))])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("moment", ["between chunks", "in the middle of a write"])
def test_f16_a_second_interrupt_leaves_a_checkpoint_that_goes_on_to_the_whole_run(moment, whole, tmp_path, monkeypatch):
    calls = itertools.count(1)

    def twice():
        interrupt()
        interrupt()

    def fsync(file, own=os.fsync):
        if next(calls) == 5:  # of the file of the third checkpoint, which has no name yet
            twice()
        own(file)

    monkeypatch.setattr(saving, "SHARE", 0)
    callbacks = [at("sampling", 8, twice)] if moment == "between chunks" else []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if not callbacks:
            patch.setattr(os, "fsync", fsync)
        run(PLAN, checkpoint=tmp_path, callbacks=callbacks)
    assert checkpoints.load(tmp_path).skipped == () and len(checkpoints.generations(tmp_path)) == 2
    PLAN.run = RunOptions(chunk=4)
    assert_prefix(resume(tmp_path, PLAN, Y), whole, 10)


def test_f16_outside_the_main_thread_signals_are_left_alone(whole):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(PLAN)))
    thread.start()
    thread.join()
    assert_prefix(found[0], whole, 10)


INTERRUPTED = """
import sys, time
import numpyro.distributions as dist
from lawful import inference, sample
from lawful.inference import RunOptions, Status, kernels

def model(y):
    sample("y", dist.Normal(sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)

def told(progress):
    print(progress.phase, progress.step, flush=True)
    time.sleep(0.01)

run = RunOptions(chunk=5, callbacks=[told])
plan = inference.mcmc(model, kernels.random_walk(1.0), chains=2, warmup=10, draws=100_000, run=run)
plan(3, 0.5).save(sys.argv[1])
"""


@pytest.mark.slow
def test_f16_the_result_of_an_interrupted_process_can_be_kept(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "part.nc")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while "sampling 20" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 0
    result = Result.load(tmp_path / "part.nc")
    assert result.interrupted and Status.INTERRUPTED in result.status and not result.ok
    assert "INTERRUPTED" in [finding.code for finding in result.reasons]
    chains, draws = result.posterior["mu"].shape
    assert chains == 2 and 20 <= draws < 100_000 and result.finished == draws
    assert result.warmup.posterior["mu"].shape == (2, 10)
    assert np.isfinite(result.posterior["mu"]).all() and result.stats["lp"].shape == (2, draws)


@pytest.mark.slow
def test_f16_an_interrupt_at_any_time_leaves_draws_of_the_whole_run(tmp_path):
    """Fifty processes, each interrupted after a random chunk and a random time."""
    rng = np.random.default_rng(16)
    script = str(Path(__file__).parents[1] / "inference" / "running" / "killed_run.py")
    cached = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
              "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip

    def start(folder, out):
        command = [sys.executable, script, "mcmc", str(folder), str(out)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cached)

    with start("-", tmp_path / "whole.npz") as process:
        assert process.wait(300) == 0
    whole = np.load(tmp_path / "whole.npz")
    lengths = set()
    for number in range(50):
        out = tmp_path / f"{number}.npz"
        process = start(tmp_path / f"run {number}", out)
        for _ in range(rng.integers(1, 30)):
            process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.03))
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.stdout.close()
        assert process.wait(60) == 0
        found = np.load(out)
        assert sorted(found) == sorted(whole)
        for name in whole:
            np.testing.assert_array_equal(found[name], whole[name][:, : found[name].shape[1]], err_msg=name)
        draws, warmup = found["posterior mu"].shape[1], found["warmup mu"].shape[1]
        assert warmup == whole["warmup mu"].shape[1] or draws == 0
        lengths.add((warmup, draws))
    assert len(lengths) > 10
