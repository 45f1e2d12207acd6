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


@pytest.mark.fault(48)
@pytest.mark.parametrize("method", rest_slow(METHODS))
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


def in_steps(x):
    """A logarithm in steps of 1/64, to which float32 adds 1e4 without an error."""
    return jnp.round(64 * x) / 64


def once(offset):
    x = sample("x", dist.Uniform(0.0, 1.0))
    factor("weight", in_steps(-4 * (x - 0.3) ** 2) + offset)


def twice(offset):
    x = sample("x", dist.Uniform(0.0, 1.0))
    factor("first", in_steps(-4 * (x - 0.3) ** 2) + offset)
    z = sample("z", dist.Uniform(0.0, 1.0))
    factor("second", in_steps(-4 * (x - z) ** 2) + offset)


def path(offset):
    s = prior_of_s()

    def step(last, t):
        x = sample("x", dist.Uniform(0.0, 1.0))
        factor("weight", in_steps(-4 * (x - last - 0.3 * s * t) ** 2) + offset)
        return x, None

    scan(step, 0.0, jnp.arange(3))


def prior_of_s(offset=None):
    return sample("s", dist.Uniform(0.0, 1.0))


ANEW = kernels.independence(prior_of_s)
LADDER = [0.25, 0.5, 1.0]
CHAINS = {"chains": 2, "warmup": 2, "draws": 8}
IN_STEPS = {
    "importance": (once, 1, lambda model: inference.importance(model, particles=200, runs=2)),
    "smc": (path, 3, lambda model: inference.smc(model, particles=200, runs=2)),
    "smc, always": (
        path, 3, lambda model: inference.smc(model, particles=200, resample_below=None, resampling="residual"),
    ),
    "smc, dead": (path, 3, lambda model: inference.smc(model, particles=200, nonfinite="dead")),
    "resample-move": (twice, 2, lambda model: inference.smc(model, particles=200, move=kernels.mh())),
    "tempered smc": (
        once, 1, lambda model: inference.tempered_smc(model, particles=200, kernel=kernels.mh(), ladder=LADDER),
    ),
    "annealed importance": (
        once, 1, lambda model: inference.annealed_importance(model, particles=200, kernel=kernels.mh(), ladder=LADDER),
    ),
    "smc2": (path, 3, lambda model: inference.smc2(model, ANEW, ["s"], particles=50, inner=10)),
    "mh": (once, 1, lambda model: inference.mcmc(model, **CHAINS)),
    "parallel tempering": (
        once, 1, lambda model: inference.parallel_tempering(model, powers=(0.0, 0.25, 1.0), **CHAINS),
    ),
    "pmmh": (path, 3, lambda model: inference.pmmh(model, ANEW, ["s"], particles=20, **CHAINS)),
    "particle Gibbs": (
        path,
        3,
        lambda model: inference.particle_gibbs(
            model, "x", kernels.on("s", kernels.mh()), particles=5, **CHAINS
        ),
    ),
}  # fmt: skip
PRECISIONS = ("float32", "float64")


@pytest.mark.parametrize(
    ("method", "precision"),
    rest_slow([(method, precision) for method in IN_STEPS for precision in PRECISIONS]),
)
def test_f48_an_offset_that_is_added_without_an_error_changes_no_bit_of_draws(method, precision):
    """In both precisions: whatever is rounded is rounded by the library.

    Numbers up to 3e4 have a distance of 2^-9 in float32, so that a sum of them is off by 2^-10 at most: four of those
    are allowed to the evidence. The weights of SMC2, and the acceptance rates of PMMH, are such sums: they are off by
    less than a half percent, which flips a decision of at most one run in ten, and of none with this key.
    """
    program, times, build = IN_STEPS[method]
    off = 4 * 2.0**-10 if precision == "float32" else 1e-10
    with jax.enable_x64(precision == "float64"):
        plan = build(program)
        plain = plan(KEY, jnp.asarray(0.0, precision))
        for offset in (1e4, -1e4):
            moved = plan(KEY, jnp.asarray(offset, precision))
            for name, draws in plain.posterior.items():
                assert draws.dtype == precision
                np.testing.assert_array_equal(moved.posterior[name], draws)
            if plain.log_evidence is not None:
                np.testing.assert_allclose(moved.log_evidence - times * offset, plain.log_evidence, rtol=0, atol=off)
                np.testing.assert_allclose(moved.weighted.log_weight, plain.weighted.log_weight, rtol=0, atol=off)
                np.testing.assert_allclose(moved.stats["ess"], plain.stats["ess"], rtol=2 * off)
