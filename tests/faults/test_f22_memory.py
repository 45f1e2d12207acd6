"""Row 22: where memory is missing, the error says how much is asked for and what fits, and holds what is finished."""

import json
import subprocess
import sys

import jax
import numpyro.distributions as dist
import pytest

from lawful import inference, sample
from lawful.errors import MemoryLimitError
from lawful.inference import kernels
from lawful.inference.running import memory
from lawful.inference.running.memory import Free
from tests.inference.running.test_driver import KEY, PLAN, Y, assert_prefix, run, whole

__all__ = ["KEY", "whole"]

MEGA = 10**6


@pytest.mark.fault(22)
def test_f22_the_error_says_how_much_and_what_fits(whole, monkeypatch):
    (steps,) = PLAN.prepare((Y,)).built.steps.values()
    advance, calls = type(steps).advance, []

    def fails(self, *args):
        calls.append(args)
        if len(calls) == 4:
            raise MemoryError
        return advance(self, *args)

    monkeypatch.setattr(type(steps), "advance", fails)
    with pytest.raises(MemoryLimitError, match="bytes") as caught:
        run(PLAN)
    assert_prefix(caught.value.result, whole, 4)
    assert caught.value.needed > 0 and caught.value.chunk >= 1


def wide():
    sample("x", dist.Normal(0.0, 1.0).expand([100]).to_event(1))


PLANS = {
    "mcmc": lambda **more: inference.mcmc(wide, kernels.random_walk(0.1), chains=4, warmup=50, draws=200, **more),
    "smc": lambda **more: inference.smc(wide, particles=1000, runs=2, **more),
}


@pytest.mark.fault(22)
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("options", [{}, {"run": inference.RunOptions(chunk=16)}], ids=["whole", "chunks"])
def test_f22_a_run_that_does_not_fit_is_refused_before_anything_of_it_runs(name, options, monkeypatch):
    """Nor is anything compiled for it: what would run it is out of reach."""
    plan = PLANS[name](**options)
    told = plan.memory()
    monkeypatch.setattr(memory, "free_memory", lambda: [Free(10**12, "much"), Free(told - 1, "the memory of the test")])
    monkeypatch.setattr(memory, "LITTLE", 0)
    home = sys.modules[type(plan).__module__]
    for runner in {"timed", "run_chains", "run_population", "_two_keys"} & vars(home).keys():
        monkeypatch.setattr(home, runner, None)
    with pytest.raises(MemoryLimitError, match=f"^{name}: .*the memory of the test.* Fix: ") as caught:
        plan(KEY)
    assert (caught.value.needed, caught.value.available) == (told, told - 1) and caught.value.chunk >= 1
    assert 4 * caught.value.chunk * plan.prepare(()).built.need.step <= told


def test_f22_a_device_that_refuses_on_the_way_is_told_by_the_same_error():
    need = memory.Need("a run", 1000, 10, lambda free, chunk: "less")
    refused = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1000 bytes.")
    for error in (refused, MemoryError("no")):
        with pytest.raises(MemoryLimitError, match="refused on the way") as caught, memory.memory_for(need):
            raise error
        assert caught.value.__cause__ is error and caught.value.needed == 1000
    other = jax.errors.JaxRuntimeError("INTERNAL: another fault")
    with pytest.raises(jax.errors.JaxRuntimeError, match="another fault"), memory.memory_for(need):
        raise other


def in_a_process(*words):
    command = [sys.executable, "-m", "tests.faults.memory_run", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcmc", "smc"])
def test_f22_the_estimate_is_within_a_factor_of_two_of_the_true_peak(method):
    found = in_a_process(method)
    assert found["took"] > 150 * MEGA, "too small to tell storage from the rest"
    assert 0.5 <= found["told"] / found["took"] <= 2.0, found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcmc", "smc"])
def test_f22_a_limit_of_the_address_space_is_told_before_the_run(method):
    found = in_a_process(method, 100 * MEGA)
    assert found["needed"] > found["available"] and found["available"] <= 100 * MEGA
    assert "address space" in found["message"] and 1 <= found["chunk"]
