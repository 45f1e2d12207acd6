"""The same program in two processes, each of which has two devices, by the recipe of docs/many_devices.md."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.inference.sharding.test_devices import assert_moments, found

MOST_S = 120


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def together(root, jobs):
    """What each of two processes found, and what it said beside that.

    Whoever waits for the other for too long is killed, for it would wait on.
    """
    settings = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "JAX_NUM_CPU_DEVICES": "2"}
    module, port = "tests.inference.sharding.processes", str(free_port())
    running = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(number), "2", port, *jobs], cwd=root, env={**os.environ, **settings},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    try:
        said = [each.communicate(timeout=MOST_S) for each in running]
    finally:
        for each in running:
            each.kill()
            each.wait()
    for each, (_, errors) in zip(running, said, strict=True):
        assert each.returncode == 0, errors[-4000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in said], [errors for _, errors in said]


@pytest.mark.slow
def test_no_bit_of_a_filter_or_of_chains_depends_on_the_number_of_processes(root):
    jobs = ["exact:4", "importance:4", "chains:4"]
    (one, other), _ = together(root, jobs)
    assert one == other == found(root, jobs)


@pytest.mark.slow
def test_evidence_and_moments_are_unbiased_in_two_processes(root):
    """A false alarm has probability 1e-6 (normal approximation, 400 runs of 32 particles)."""
    (one, other), _ = together(root, ["islands:4"])
    assert one == other
    assert_moments(one["islands:4"])


@pytest.mark.slow
def test_a_process_that_waits_says_for_whom(root):
    (one, other), (waits, comes) = together(root, ["late:4"])
    assert one == other
    for call in (1, 2):
        assert f"s in call {call} on its mesh for process 1, which has not begun it." in waits
    assert "process 0, which" not in comes
