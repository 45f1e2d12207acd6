"""A method of 40 lines in `back_to_front.py` has what all methods have, without another line of the library."""

import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

from lawful import inference
from lawful.__main__ import main
from lawful.inference import RunOptions, kernels
from lawful.inference.algorithms.method import Populations

from . import back_to_front as example
from .back_to_front import back_to_front, coin, model
from .tier0 import law_error

FILE = Path(example.__file__)
Y = np.array([0.5, 2.0])


def run_of(run=None, **settings):
    return back_to_front(model, particles=8, runs=4, run=run, **settings)(7, Y)


def assert_equal(one, other):
    for name, values in one.posterior.items():
        np.testing.assert_array_equal(values, other.posterior[name], err_msg=name)
    np.testing.assert_array_equal(one.log_evidence, other.log_evidence)


def test_it_is_short_and_its_call_has_the_signature_of_its_fields():
    lines = inspect.getsource(example).split("@dataclass", 1)[1].split("def model")[0].strip().splitlines()
    assert len(lines) <= 40
    found = list(inspect.signature(back_to_front).parameters)
    assert found[:2] == ["model", "particles"] and {"moves", "kernel", "runs", "enumerate", "mesh", "run"} <= {*found}
    assert (
        "moves: see the class" in back_to_front.__doc__ and "runs: number of independent runs" in back_to_front.__doc__
    )


@pytest.mark.slow
def test_it_is_checked_by_the_law():
    """E[Z-hat] and E[Z-hat mean w f] on a program of finite sites, by listing all that it draws."""
    assert law_error(back_to_front(coin, particles=2), coin, np.array([1, 0])).error < 1e-12


@pytest.mark.slow
def test_it_goes_in_chunks_and_is_reported(tmp_path):
    whole = run_of()
    assert_equal(run_of(RunOptions(chunk=1)), whole)
    whole.report(tmp_path / "report.html")
    assert "inference.back_to_front(model, " in (tmp_path / "report.html").read_text()
    assert "pareto_k" in whole.to_datatree()["sample_stats_smc"]


@pytest.mark.slow
def test_it_runs_with_summed_sites(false_alarm):
    """16 runs of 200 particles against the evidence by quadrature, by Student's t."""
    grid = np.linspace(-8.0, 8.0, 4001)
    mixture = 0.75 * stats.norm.pdf(Y[1], grid, 1.0) + 0.25 * stats.norm.pdf(Y[1], grid, 3.0)
    evidence = np.trapezoid(stats.norm.pdf(grid) * stats.norm.pdf(Y[0], grid, 1.0) * mixture, grid)
    result = back_to_front(model, particles=200, runs=16, enumerate="outlier")(3, Y)
    ratio = np.exp(result.log_evidence) / evidence
    assert abs(ratio.mean() - 1) < stats.t.isf(false_alarm / 2, 15) * ratio.std(ddof=1) / 4
    assert result.posterior["outlier"].shape == (16, 200) and result.run["enumerated"] == ["outlier"]


@pytest.mark.slow
def test_it_is_run_from_the_command_line(tmp_path):
    (tmp_path / "data.json").write_text('{"y": [0.5, 2.0]}')
    words = ["run", f"{FILE}:model", "--data", f"{tmp_path}/data.json", "--out", f"{tmp_path}/out", "--seed", "7"]
    method = ["--algorithm", "back_to_front", "--particles", "200", "--set", "moves=2", "--set", "kernel=mh()"]
    assert main([*words, *method]) in (0, 3)
    told = json.loads((tmp_path / "out" / "diagnostics.json").read_text())
    assert told["sampler"] == "back_to_front" and told["run"]["moves"] == 2


def devices(folder):
    """Run on as many devices as there are, and then in chunks until the process kills itself; a process of its own."""
    four = jax.make_mesh((jax.device_count(),), ("p",), axis_types=(jax.sharding.AxisType.Auto,))
    result = run_of(mesh=four)
    np.savez(folder / "found.npz", devices=result.run["devices"], **result.posterior)

    def killed(progress):
        if progress.step == 2 and any((folder / "run").glob("generation-*")):
            os.kill(os.getpid(), signal.SIGKILL)

    run_of(RunOptions(chunk=1, checkpoint=folder / "run", callbacks=killed))


@pytest.mark.slow
def test_it_runs_on_four_devices_and_is_resumed_after_a_kill(root, tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "JAX_NUM_CPU_DEVICES": "4"}
    code = "import pathlib, sys; from tests.inference import test_new_method as t; t.devices(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, env=environment, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL
    found = np.load(tmp_path / "found.npz")
    assert found["devices"] == 4 and found["level"].shape == (4, 8) and np.isfinite(found["level"]).all()
    resumed = inference.resume(tmp_path / "run", model, Y)
    for name, values in run_of().posterior.items():
        np.testing.assert_allclose(resumed.posterior[name], values, 1e-12, err_msg=name)


def test_a_bare_proposal_means_its_kernel_here_too():
    settings = back_to_front(model, particles=8, kernel=kernels.random_walk(0.5)).method
    assert settings.kernel == kernels.mh(kernels.random_walk(0.5))


def test_a_method_without_a_composition_is_refused_when_its_settings_are_given():
    with pytest.raises(TypeError, match="abstract method 'compose'"):
        Populations(particles=2)
