"""Delayed acceptance keeps the posterior of the program exactly, however bad the cheap program is."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, trace
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.check import invariant

module = importlib.import_module("lawful.inference.kernels.combine.delayed")
TABLE = jnp.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]])


def model():
    a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    b = sample("b", dist.Bernoulli(jnp.array([0.1, 0.6, 0.8])[a]))
    w = cond(b == 1, lambda: sample("w", dist.Bernoulli(0.3)), lambda: 0)
    factor("f", 0.4 * a * b - 0.7 * w)


def cheap():
    a = sample("a", dist.Categorical(jnp.array([0.3, 0.3, 0.4])))
    b = sample("b", dist.Bernoulli(0.5))
    cond(b == 1, lambda: sample("w", dist.Bernoulli(0.6)), lambda: 0)
    factor("f", 0.2 * a)


def skewed(current):
    sample("a", dist.Categorical(TABLE[current["a"]]))


KERNELS = [
    kernels.delayed_acceptance(cheap),
    kernels.delayed_acceptance(cheap, kernels.mixture([1, 2], skewed, kernels.mh())),
    kernels.delayed_acceptance(cheap, kernels.mh(kernels.independence())),
]


@pytest.mark.tier0
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_the_posterior_of_the_program_stays_exactly_and_reversibly(kernel):
    report = invariant(kernel, model)
    report.raise_if_failed()
    assert report.tv < 1e-14


def small():
    a = sample("a", dist.Bernoulli(0.3))
    factor("f", 0.8 * a - 0.3 * sample("b", dist.Bernoulli(0.4 + 0.3 * a)))


def rough():
    a = sample("a", dist.Bernoulli(0.6))
    factor("f", -0.4 * a * sample("b", dist.Bernoulli(0.5)))


@pytest.mark.tier0
def test_several_cheap_steps_make_one_proposal():
    report = invariant(kernels.delayed_acceptance(rough, steps=2), small)
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.slow
@pytest.mark.tier0
def test_a_program_that_is_its_own_cheap_one_accepts_whatever_moved():
    result = inference.mcmc(model, kernels.delayed_acceptance(model), chains=2, warmup=0, draws=100)(0)
    moved = np.asarray(result.stats["n_scored"])
    np.testing.assert_allclose(np.asarray(result.stats["acceptance_rate"]), moved, atol=1e-12)
    assert 0 < moved.mean() < 1


@pytest.mark.tier0
@pytest.mark.parametrize(
    "change",
    [
        lambda plus, minus: ((plus[0],), (minus[0],)),
        lambda plus, minus: ((plus[0], minus[1]), (minus[0], plus[1])),
    ],
    ids=["the cheap ratio forgotten", "the cheap ratio upside down"],
)
def test_a_wrong_second_ratio_is_seen(change, monkeypatch):
    right = module.signed
    monkeypatch.setattr(module, "signed", lambda block, plus, minus, label: right(block, *change(plus, minus), label))
    assert invariant(kernels.delayed_acceptance(rough), small).status == "failed"


def normal(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    with plate("i", 4):
        sample("y", dist.Normal(mu, 1.0), obs=y)


def half(y):
    mu = sample("mu", dist.StudentT(3.0, 0.0, 2.0))
    factor("some", 2.0 * dist.Normal(mu, 1.0).log_prob(y[:2]).sum())


@pytest.mark.slow
@pytest.mark.tier1
def test_exact_draws_stay_exact_draws():
    kernel = kernels.delayed_acceptance(half, kernels.random_walk(0.8), steps=3)
    assert invariant(kernel, normal, jnp.zeros(4), n=2_000, steps=(1, 5)).passed


def test_other_sites_and_irreversible_kernels_are_refused():
    def other():
        sample("a", dist.Bernoulli(0.5))

    with pytest.raises(LawfulError, match=r"the sites of other are a \(\); expected those of the program, a"):
        kernels.delayed_acceptance(other).build(trace(small))
    with pytest.raises(LawfulError, match="does not claim to be reversible"):
        kernels.delayed_acceptance(cheap, kernels.cycle(kernels.mh(), kernels.mh()))
    with pytest.raises(LawfulError, match="steps as an integer"):
        kernels.delayed_acceptance(cheap, steps=0)
    assert kernels.delayed_acceptance(rough).plan(trace(small))[0].endswith("on rough, then accepted by the program")


@pytest.mark.slow
def test_a_cheap_program_in_which_other_sites_run_is_told():
    def upside_down():
        sample("a", dist.Categorical(jnp.array([0.3, 0.3, 0.4])))
        b = sample("b", dist.Bernoulli(0.5))
        cond(b == 0, lambda: sample("w", dist.Bernoulli(0.6)), lambda: 0)

    result = inference.mcmc(model, kernels.delayed_acceptance(upside_down), chains=2, warmup=0, draws=50)(
        jax.random.key(1)
    )
    assert np.asarray(result.stats["n_nonfinite"]).sum() > 0 and not result.ok
