"""Row 17: a run that was killed anywhere goes on to the arrays of one that was not, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lawful
from lawful.inference import RunOptions, resume
from lawful.inference.checkpoints import checkpoint_folder as checkpoints
from lawful.inference.running import saving
from tests.inference.running.test_resume import KEY, PLANS, Y, assert_same, watched


@pytest.mark.fault(17)
@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PLANS)
def test_f17_a_resumed_run_has_the_bits_of_a_whole_one(name, tmp_path, monkeypatch):
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcmc", "streamed", "smc", "tempered"])
def test_f17_a_run_that_is_killed_twenty_times_gives_the_arrays_of_one_that_was_not(method, tmp_path):
    """Kill -9 after a random chunk and a random time, also while a checkpoint is written; then go on."""
    rng = np.random.default_rng(17)
    script = str(Path(__file__).parents[1] / "inference" / "running" / "killed_run.py")
    cached = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
              "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip

    def start(folder, out):
        command = [sys.executable, script, method, str(folder), str(out)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cached)

    with start("-", tmp_path / "whole.npz") as process:
        assert process.wait(300) == 0
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
            if (folder / "draws.zarr").exists():  # it shows draws of the whole alone
                shown = lawful.open_run(folder / "draws.zarr")["posterior"].mu.values
                np.testing.assert_array_equal(shown, whole["posterior mu"][:, : shown.shape[1]])
        found = np.load(out)
        assert sorted(found) == sorted(whole)
        for name in whole:
            np.testing.assert_array_equal(found[name], whole[name], err_msg=name)
