"""Row 14: what 32-bit indices cannot count is refused before anything is allocated; shapes alone are looked at."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import inference, sample, scan
from lawful.errors import IndexRangeError
from lawful.inference import kernels

STEPS, PARTICLES = 3, 715_827_883
assert STEPS * PARTICLES == 2**31 + 1


def walk(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


@pytest.mark.fault(14)
def test_f14_a_history_of_more_than_two_to_the_31_elements_is_refused():
    y = np.zeros(STEPS, np.float32)
    with jax.enable_x64(False):
        with pytest.raises(IndexRangeError, match="2147483649 elements.*32-bit.*keep='last'") as caught:
            inference.smc(walk, particles=PARTICLES).form(y)
        assert (caught.value.size, caught.value.limit) == (2**31 + 1, 2**31 - 1)
        inference.smc(walk, particles=PARTICLES - 1).form(y)  # 2**31 - 2
        inference.smc(walk, particles=PARTICLES, keep="last").form(y)  # without histories nothing is that large


def test_f14_runs_stack_what_each_of_them_gives():
    y = np.zeros(STEPS, np.float32)
    with jax.enable_x64(False), pytest.raises(IndexRangeError, match="2 runs of shape"):
        inference.smc(walk, particles=PARTICLES // 2 + 1, runs=2).form(y)


def test_f14_with_64_bits_histories_may_be_longer_and_particles_may_not():
    inference.smc(walk, particles=PARTICLES).form(np.zeros(STEPS))
    with pytest.raises(IndexRangeError, match="2147483648"):
        inference.smc(walk, particles=2**31).form(np.zeros(STEPS))


def test_f14_chains_are_counted_with_their_steps():
    with jax.enable_x64(False), pytest.raises(IndexRangeError, match="history of a loop of 1073741825 steps"):
        inference.mcmc(walk, kernels.mh(), chains=2, warmup=0, draws=2**30 + 1).form(np.zeros(1, np.float32))


def test_f14_steps_between_draws_are_not_kept_and_not_counted():
    with jax.enable_x64(False):
        inference.mcmc(walk, kernels.mh(), chains=2, warmup=0, draws=2**20, thin=2**9).form(np.zeros(1, np.float32))
        with pytest.raises(IndexRangeError, match="history of a loop of 1073741825 steps"):
            inference.mcmc(walk, kernels.mh(), chains=2, warmup=0, draws=2**30 + 1, thin=2).form(
                np.zeros(1, np.float32)
            )
