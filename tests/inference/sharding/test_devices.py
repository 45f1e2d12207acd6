"""The same program on 1, 2 and 4 devices.

Devices are parts of one processor, which JAX takes for devices: they have to be counted before JAX starts, so the
programs run in processes of their own.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lawful.inference.check.statistics.power import z_critical

ALPHA = 1e-6
TRUTH = (1.0, 0.25, 0.5625)  # of Z-hat / Z, and that times the means of x and x^2


def found(root, jobs):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "JAX_NUM_CPU_DEVICES": "4"}
    command = [sys.executable, "-m", "tests.inference.sharding.devices", *jobs]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def z_score(values, truth):
    values = np.asarray(values)
    return abs(values.mean() - truth) / (values.std(ddof=1) / len(values) ** 0.5)


def assert_moments(values):
    for column, truth in zip(values, TRUTH, strict=True):
        assert z_score(column, truth) < z_critical(ALPHA / 6)


@pytest.mark.slow
def test_no_bit_of_a_filter_or_of_chains_depends_on_the_number_of_devices(root):
    jobs = ["exact:1", "exact:2", "exact:4", "chains:0", "chains:1", "chains:4"]
    values = found(root, jobs)
    assert values["exact:1"] == values["exact:2"] == values["exact:4"]
    assert values["chains:0"] == values["chains:1"] == values["chains:4"]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["walk in chunks", "tuned in chunks"])
def test_chains_on_a_mesh_go_in_chunks_and_are_resumed(root, job):
    """On 4 devices, and without a mesh: stopped and resumed equals the whole."""
    values = found(root, [f"{job}:0", f"{job}:4"])
    assert all(whole == resumed for whole, resumed in values.values())
    assert job != "walk in chunks" or values[f"{job}:0"] == values[f"{job}:4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "job",
    [
        "filter in chunks",
        "islands in chunks",
        "tempered in chunks",
        "importance in chunks",
        "later in chunks",
        "written out in chunks",
    ],
)
def test_populations_on_a_mesh_go_in_chunks_and_are_resumed(root, job):
    """On 4 devices: in chunks, and stopped and resumed, equals the whole; without moves that of one device, too."""
    alike = job in ("filter in chunks", "importance in chunks")
    found_on = found(root, [f"{job}:{devices}" for devices in ((1, 4) if alike else (4,))])
    assert len({bits for values in found_on.values() for bits in values}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "job", ["waste-free", "annealed importance", "smc2", "pmmh", "particle gibbs", "parallel tempering"]
)
def test_every_method_runs_on_a_mesh_as_on_one_device(root, job):
    """Up to rounding: a processor works on eight numbers at a time, and on a rest one by one."""
    values = found(root, [f"{job}:1", f"{job}:4"])
    np.testing.assert_allclose(values[f"{job}:1"], values[f"{job}:4"], rtol=1e-11)


@pytest.mark.slow
def test_no_bit_of_importance_sampling_depends_on_the_number_of_devices(root):
    values = found(root, ["importance:1", "importance:4"])
    assert values["importance:1"] == values["importance:4"]


@pytest.mark.slow
def test_evidence_and_moments_are_unbiased_on_four_devices(root):
    """A false alarm has probability 1e-6 (normal approximation, 400 runs of 32 particles)."""
    assert_moments(found(root, ["islands:4"])["islands:4"])
