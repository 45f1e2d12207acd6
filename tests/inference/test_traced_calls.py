"""Calls inside jit, vmap and grad: samplers are mapped, results are refused with what can be, and nothing leaks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import UnsupportedProgramError
from lawful.inference import kernels

KEY, Y = jax.random.key(0), jnp.array(0.4)


def mixture(y):
    z = lawful.sample("z", dist.Bernoulli(0.3))
    x = lawful.sample("x", dist.Normal(2.0 * z, 1.0))
    lawful.sample("y", dist.Normal(x, 1.0), obs=y)


def level(y):
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)


def coin(y):
    lawful.sample("y", dist.Normal(1.0 * lawful.sample("z", dist.Bernoulli(0.3)), 1.0), obs=y)


def few(method, **settings):
    """Plans are made anew by each call, so that none has seen another one's trace."""
    sizes = {"warmup": 4, "draws": 4, "chains": 2} if method is inference.mcmc else {"particles": 8}
    return lambda model: method(model, **sizes, **settings)


STAGED = {
    "importance, summed": (mixture, few(inference.importance, enumerate=["z"])),
    "smc": (mixture, few(inference.smc)),
    "smc, summed": (mixture, few(inference.smc, enumerate=["z"])),
    "mcmc": (level, few(inference.mcmc)),
    "mcmc, summed": (mixture, few(inference.mcmc, kernel=kernels.mh(), enumerate=["z"])),
    "tempered smc": (level, few(inference.tempered_smc, kernel=kernels.mh())),
}
SLOW = ("smc", "smc, summed", "mcmc", "mcmc, summed", "tempered smc")
TRANSFORMED = {
    "jit": lambda run: jax.jit(run)(KEY, Y),
    "vmap over keys and data": lambda run: jax.vmap(run)(jax.random.split(KEY, 2), jnp.stack([Y, Y])),
    "data": lambda run: jax.jit(lambda y: run(KEY, y))(Y),
    "nothing, in a program": lambda run: jax.jit(lambda x: x + run(KEY, Y))(0.0),
}


@pytest.mark.parametrize("transformed", TRANSFORMED)
@pytest.mark.parametrize("name", STAGED)
def test_a_result_is_refused_inside_jit_or_vmap_with_the_sampler_that_can_be(name, transformed):
    model, made = STAGED[name]
    plan = made(model)
    with pytest.raises(
        UnsupportedProgramError, match=r"inside jit, vmap or grad.*Fix: draw = plan\.sampler\(\*arguments\)"
    ):
        TRANSFORMED[transformed](lambda key, y: plan(key, y).posterior["x"].mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["importance, summed", *(pytest.param(x, marks=pytest.mark.slow) for x in SLOW)])
def test_a_sampler_made_inside_jit_is_the_one_made_outside(name):
    """What is built while a caller is compiled is kept for later calls, so it must hold nothing of that caller."""
    model, made = STAGED[name]
    plan = made(model)
    inside = jax.jit(lambda key, y: plan.sampler(y)(key, y))(KEY, Y)
    for site, draws in plan.sampler(Y)(KEY, Y).items():
        np.testing.assert_allclose(inside[site], draws, rtol=1e-9)
    assert np.isfinite(plan(KEY, Y).posterior["x"]).all()


@pytest.mark.parametrize("made", [
    lambda: inference.smc(level, particles=4, mode="eager"),
    lambda: inference.mcmc(level, warmup=1, draws=1, mode="eager"),
])  # fmt: skip
def test_plans_without_a_sampler_name_one_that_has_it(made):
    plan = made()
    with pytest.raises(UnsupportedProgramError, match="Fix: .*sampler"):
        jax.vmap(lambda key: plan(key, Y).posterior["x"])(jax.random.split(KEY, 2))


@pytest.mark.parametrize("model", [coin, inference.graphs.FactorGraph()], ids=["program", "graph"])
def test_a_result_of_sums_is_refused_inside_jit_with_the_beliefs_that_can_be(model):
    args = () if isinstance(model, inference.graphs.FactorGraph) else (Y,)
    plan = inference.bp(model)
    with pytest.raises(UnsupportedProgramError, match=r"Fix: beliefs = plan\.beliefs\(\*arguments\)"):
        jax.jit(lambda key: plan(key, *args).log_evidence)(KEY)


def test_what_goes_over_draws_in_batches_is_refused_inside_jit():
    summed = inference.enumeration(lawful.trace(coin, Y))
    found = inference.conditional_means(summed, {}, Y)["z"]
    for transform in (jax.jit, lambda f: lambda y: jax.vmap(f)(y[None])):
        with pytest.raises(UnsupportedProgramError, match="Fix: call it outside of these, on all draws at once"):
            transform(lambda y: inference.conditional_means(summed, {}, y)["z"])(Y)
        with pytest.raises(UnsupportedProgramError, match="Fix: call it outside of these"):
            transform(lambda y: inference.recover(summed, {}, KEY, y)["z"])(Y)
    np.testing.assert_allclose(found, inference.bp(coin).beliefs(Y).marginals["z"], rtol=1e-12)


@pytest.mark.parametrize("mode", ["auto", "staged", "eager"])
def test_an_enumeration_inside_vmap_names_what_can_be_mapped(mode):
    listed, summed = inference.enumerate(coin, mode=mode), inference.bp(coin)
    with pytest.raises(UnsupportedProgramError, match=r"Fix: inference\.bp\(model\)\.beliefs\(\*arguments\)"):
        jax.vmap(lambda y: listed(y).log_evidence)(jnp.stack([Y, Y]))
    mapped = jax.jit(jax.vmap(lambda y: summed.beliefs(y).log_evidence))(jnp.stack([Y, Y]))
    np.testing.assert_allclose(mapped, listed(Y).log_evidence, rtol=1e-12)
