"""Chains of every kernel, in chunks, are those of one call, bit for bit, whatever the chunks."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, sample
from lawful.inference import RunOptions, kernels
from lawful.inference.laws.resampling_schemes import scheme
from lawful.inference.transformers.evidence_estimate import Filter
from lawful.inference.transformers.nested import Nest
from tests.inference.running.same import KEY, Y, assert_same, walk


def model(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(mu, sd).expand([4]).to_event(1), obs=y)


def precise(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    precision = sample("precision", dist.Gamma(2.0, 1.0))
    with lawful.plate("i", 4):
        sample("y", dist.Normal(mu, precision**-0.5), obs=y)


def field(y):
    x = sample("x", dist.Normal(jnp.zeros(4), 1.0).to_event(1))
    sample("y", dist.Normal(x, 0.5).to_event(1), obs=y)


def mixture(y):
    with lawful.plate("group", 2):
        mean = sample("mean", dist.Normal(0.0, 1.0))
    with lawful.plate("i", 4):
        z = sample("z", dist.Bernoulli(0.5))
        sample("y", dist.Normal(mean[z], 0.5), obs=y)


def one_or_two(y):
    two = sample("two", dist.Bernoulli(0.5))
    a = sample("a", dist.Normal(0.0, 1.0))
    b = lawful.cond(two == 1, lambda: sample("b", dist.Normal(0.0, 1.0)), lambda: a)
    with lawful.plate("i", 4):
        sample("y", dist.Normal((a + b) / 2, 1.0), obs=y)


def rough(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(mu, sd).expand([2]).to_event(1), obs=y[:2])


def elsewhere(log_density):
    """A step of another library."""

    def step(key, position):
        key, coin = jax.random.split(key)
        new = {**position, "mu": position["mu"] + jax.random.normal(key, position["mu"].shape)}
        better = log_density(new) - log_density(position) > jnp.log(jax.random.uniform(coin))
        return {**position, "mu": jnp.where(better, new["mu"], position["mu"])}

    return step


def by(current):
    sample("log_factor", dist.Normal(0.0, 0.5))


def stretched(choices, auxiliary):
    factor = auxiliary["log_factor"]
    return {"sd": choices["sd"] * jnp.exp(factor)}, {"log_factor": -factor}


def half(current):
    sample("d", dist.Normal(0.0, 1.0))


def apart(x, u):
    return {"a": x["a"] - u["d"], "b": x["a"] + u["d"]}, {}


def together(x, u):
    return {"a": (x["a"] + x["b"]) / 2}, {"d": (x["b"] - x["a"]) / 2}


WALK = kernels.random_walk(0.5)
CASES = {
    "single_site": (model, kernels.mh()),
    "hmc": (model, kernels.hmc(n_steps=2)),
    "nuts": (model, kernels.nuts()),
    "mala": (model, kernels.mala()),
    "barker": (model, kernels.barker(WALK)),
    "slice": (model, kernels.slice()),
    "independence": (model, kernels.independence()),
    "cycle": (model, kernels.cycle(kernels.on("mu", WALK), kernels.on("sd", kernels.hmc(n_steps=2)))),
    "mixture": (model, kernels.mixture([1, 1], WALK, kernels.mh())),
    "repeat": (model, kernels.repeat(WALK, 2)),
    "random_walk": (model, WALK),
    "delayed_acceptance": (model, kernels.delayed_acceptance(rough, WALK, steps=2)),
    "foreign": (model, kernels.cycle(kernels.foreign(elsewhere), kernels.mh())),
    "involutive": (model, kernels.cycle(kernels.involutive(stretched, by), kernels.on("mu", WALK))),
    "conjugate": (precise, kernels.conjugate()),
    "elliptical_slice": (field, kernels.elliptical_slice()),
    "gibbs": (mixture, kernels.cycle(kernels.on("z", kernels.gibbs()), kernels.on("mean", WALK))),
    "block_gibbs": (mixture, kernels.cycle(kernels.block_gibbs(), kernels.on("mean", WALK))),
    "bag_gibbs": (mixture, kernels.cycle(kernels.bag_gibbs(), kernels.on("mean", WALK))),
    "redraw": (mixture, kernels.cycle(kernels.on("z", kernels.gibbs()), kernels.redraw("group"))),
    "split_merge": (mixture, kernels.cycle(kernels.on("mean", WALK), kernels.split_merge("z"))),
    "jump": (one_or_two, kernels.cycle(kernels.jump("two", (0, 1), apart, together, auxiliary=half), kernels.mh())),
    "particle_gibbs": (walk, kernels.cycle(kernels.on("x", kernels.particle_gibbs(4)), kernels.on("sd", WALK))),
    "refresh": (Nest(walk, ("sd",), Filter(6, scheme("systematic"), None)), kernels.refresh(WALK, ["sd"])),
}
METHODS = {
    "pmmh": lambda: inference.pmmh(walk, WALK, ["sd"], particles=6, chains=3, warmup=11, draws=8),
    "pmmh, parameters": lambda: inference.pmmh(
        walk, WALK, ["sd"], particles=6, keep="parameters", chains=3, warmup=11, draws=8
    ),
    "pmmh, correlated": lambda: inference.pmmh(
        walk, WALK, ["sd"], particles=6, correlation=0.9, chains=3, warmup=11, draws=8
    ),
    "particle_gibbs": lambda: inference.particle_gibbs(
        walk, "x", kernels.on("sd", WALK), particles=4, ancestors="backward", chains=3, warmup=11, draws=8
    ),
}
# What is no chain of its own: parts and types of kernels, one with weights.
OTHERS = {"mh", "on", "scored", "Kernel", "Proposal", "Proposed", "State", "smcp3"}


def test_no_kernel_is_left_out():
    assert set(CASES) | OTHERS == set(kernels.__all__)


def check(plan):
    whole = plan(KEY, Y)
    for chunk in (16, 7, 1):
        plan.run = RunOptions(chunk=chunk)
        assert_same(plan(KEY, Y), whole)


@pytest.mark.slow
@pytest.mark.parametrize("thin", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_every_kernel_gives_the_same_chains_in_chunks(name, thin):
    program, kernel = CASES[name]
    check(inference.mcmc(program, kernel, chains=3, warmup=11, draws=8, thin=thin))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_particle_mcmc_in_chunks_is_that_of_one_call(name):
    check(METHODS[name]())
