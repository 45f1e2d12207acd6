"""What makes a kernel, a scheme, a ladder or a transformer, and was not called, is refused when the plan is built."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels

MAKERS = [maker for name in kernels.__all__ if callable(maker := getattr(kernels, name)) and name[0].islower()]


def model():
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.sample("z", dist.Bernoulli(0.5))
    lawful.factor("w", -jnp.square(x))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_a_kernel_that_was_not_called_is_refused_wherever_one_is_taken(maker):
    takers = [
        lambda kernel: inference.mcmc(model, kernel),
        lambda kernel: inference.smc(model, particles=10, move=kernel),
        lambda kernel: inference.tempered_smc(model, particles=10, kernel=kernel),
        lambda kernel: inference.annealed_importance(model, particles=10, kernel=kernel),
        lambda kernel: inference.parallel_tempering(model, kernel),
        lambda kernel: kernels.cycle(kernels.mh(), kernel),
        lambda kernel: kernels.repeat(kernel, 2),
        lambda kernel: kernels.on(["x"], kernel),
        lambda kernel: inference.move(kernel),
    ]
    for take in takers:
        with pytest.raises(LawfulError, match=rf"{maker.__name__} is a function .* was not called. Fix: call it: "):
            take(maker)


@pytest.mark.parametrize(
    "build",
    [
        lambda: inference.smc(model, particles=10, resampling=inference.Islands),
        lambda: inference.tempered_smc(model, particles=10, resampling=inference.Islands),
        lambda: inference.resample(inference.Islands),
        lambda: inference.tempered_smc(model, particles=10, ladder=inference.by_ess),
        lambda: inference.mcmc(model, enumerate=inference.marginalise),
        lambda: inference.tempered_smc(model, particles=10, kernel=inference.population_hmc),
    ],
)
def test_schemes_ladders_paths_and_transformers_are_refused_alike(build):
    with pytest.raises(LawfulError, match="was not called. Fix: call it: "):
        build()


def test_a_scheme_that_is_none_is_told_with_those_there_are():
    for wrong in ("systemic", 3, None):
        with pytest.raises(LawfulError, match="choose one of multinomial, residual, stratified, systematic"):
            inference.smc(model, particles=10, resampling=wrong)


def test_programs_of_users_still_are_proposals():
    def near(current):
        lawful.sample("x", dist.Normal(0.9 * current["x"], 0.5))

    assert repr(inference.mcmc(model, near)) == "mcmc(mh(near))"
