"""Row 48: weights with a common offset of 1e4 in the logarithm give the results without it, up to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample, scan
from lawful.inference import kernels
from tests.tiers import rest_slow

KEY = jax.random.key(0)
Y = jnp.array([0.3, -0.4, 1.1])


def one_factor(offset):
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("weight", -0.5 * x**2 + offset)


def straight(offset):
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("first", -0.5 * (x - 1) ** 2 + offset)
    z = sample("z", dist.Normal(x, 1.0))
    factor("second", -0.5 * z**2 + offset)


def in_a_loop(offset):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        factor("weight", -0.5 * (x - y) ** 2 + offset)
        return x, None

    scan(step, 0.0, Y)


def wide(x, y):
    sample("x", dist.Normal(x, 1.5))


METHODS = {
    "importance": (one_factor, 1, lambda model: inference.importance(model, particles=200, runs=2)),
    "smc, straight-line": (straight, 2, lambda model: inference.smc(model, particles=200, runs=2)),
    "smc": (in_a_loop, 3, lambda model: inference.smc(model, particles=200, runs=2)),
    "smc, always": (
        in_a_loop, 3, lambda model: inference.smc(model, particles=200, resample_below=None, resampling="residual"),
    ),
    "smc, dead": (in_a_loop, 3, lambda model: inference.smc(model, particles=200, nonfinite="dead")),
    "guided smc": (in_a_loop, 3, lambda model: inference.smc(model, particles=200, proposal=wide)),
    "resample-move": (
        straight, 2, lambda model: inference.smc(model, particles=50, move=kernels.random_walk(0.5)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", rest_slow(METHODS, 5))
def test_f48_an_offset_changes_the_evidence_by_itself_and_nothing_else(method):
    model, times, build = METHODS[method]
    plan = build(model)
    plain = plan(KEY, 0.0)
    for offset in (1e4, -1e4):
        moved = plan(KEY, offset)
        np.testing.assert_allclose(moved.log_evidence - times * offset, plain.log_evidence, atol=1e-10)
        np.testing.assert_allclose(moved.weighted.log_weight, plain.weighted.log_weight, atol=1e-10)
        np.testing.assert_allclose(moved.stats["ess"], plain.stats["ess"], rtol=1e-9)
        for name, draws in plain.posterior.items():
            np.testing.assert_allclose(moved.posterior[name], draws, rtol=1e-9)


def test_f48_chains_do_not_see_an_offset():
    plan = inference.mcmc(one_factor, kernels.random_walk(0.7), chains=2, warmup=10, draws=50)
    plain = plan(KEY, 0.0)
    for offset in (1e4, -1e4):
        np.testing.assert_allclose(plan(KEY, offset).posterior["x"], plain.posterior["x"], rtol=1e-9)
