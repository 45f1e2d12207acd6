"""Chains that run one after the other are chains of the same kernel, each with a key of its own number."""

from dataclasses import replace

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels

KEY = jax.random.key(3)


def model(y):
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.sample("y", dist.Normal(x, 1.0), obs=y)


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("thin", [1, 2])
def test_each_chain_is_that_of_its_own_key(thin):
    walk = kernels.mh(kernels.random_walk(0.5))
    plan = inference.mcmc(model, walk, chains=3, warmup=4, draws=6, thin=thin, chain_method="sequential")
    result = plan(KEY, 0.5)
    prepared = plan.prepare((0.5,))
    loop = replace(prepared.built.loop, after_each_other=0)
    state, _ = prepared.built.start(jax.random.fold_in(KEY, 0), prepared.inputs)
    one = jax.jit(loop)
    for chain in range(3):
        own = jax.random.fold_in(jax.random.fold_in(KEY, 1), chain)
        out = one(own, prepared.inputs, [x[chain : chain + 1] for x in state])
        early, late = loop.parts(out["kept"])
        np.testing.assert_array_equal(result.posterior["x"][chain], np.asarray(late[0])[:, 0])
        np.testing.assert_array_equal(result.warmup.posterior["x"][chain], np.asarray(early[0])[:, 0])
    assert len({float(x) for x in np.asarray(result.posterior["x"])[:, -1]}) == 3


@pytest.mark.slow
def test_a_kernel_tunes_itself_in_each_chain_alone():
    result = inference.mcmc(model, kernels.hmc(), chains=2, warmup=30, draws=5, chain_method="sequential")(KEY, 0.5)
    assert result.posterior["x"].shape == (2, 5)
    steps = result.run["step_size"]
    assert steps.shape == (2,) and steps[0] != steps[1]


def test_a_mesh_and_chains_one_by_one_are_refused():
    mesh = jax.make_mesh((1,), ("p",), axis_types=(jax.sharding.AxisType.Auto,))
    with pytest.raises(LawfulError, match="run chains side by side"):
        inference.mcmc(model, chain_method="sequential", mesh=mesh)


def test_chains_one_by_one_do_not_run_in_chunks():
    with pytest.raises(LawfulError, match="takes the steps of all chains side by side"):
        inference.mcmc(model, chain_method="sequential", run=inference.RunOptions())
    with pytest.raises(LawfulError, match="takes the steps of all chains side by side"):
        inference.mcmc(model, chain_method="sequential").iterate(KEY, 0.5)
