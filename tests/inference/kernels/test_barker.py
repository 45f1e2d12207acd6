"""Barker's acceptance keeps the posterior exactly, of whatever kernel accepts by a ratio."""

import importlib

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, sample, trace
from lawful.inference import kernels
from lawful.inference.check import invariant
from tests.inference.kernels.transition import Transition

acceptance = importlib.import_module("lawful.inference.kernels.base.acceptance")


def model():
    a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    w = cond(a == 1, lambda: sample("w", dist.Bernoulli(0.3)), lambda: 0)
    factor("f", 0.4 * a - 0.7 * w)


def skewed(current):
    sample("a", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]])[current["a"]]))


KERNELS = [kernels.barker(), kernels.barker(kernels.mixture([1, 2], skewed, kernels.mh()))]


@pytest.mark.tier0
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_the_posterior_stays_exactly_and_reversibly(kernel):
    report = invariant(kernel, model)
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
def test_another_function_of_the_ratio_is_seen(monkeypatch):
    other = acceptance.Tupled(lambda log_ratio: 1 / (1 + 2 * jnp.exp(-log_ratio)))
    monkeypatch.setattr(acceptance, "_BARKER", other)
    assert invariant(KERNELS[0], model).status == "failed"


@pytest.mark.tier0
def test_it_accepts_between_half_of_metropolis_and_all_of_it_and_only_where_it_is_asked_for():
    ratios = jnp.linspace(-5, 5, 41)
    metropolis, barkers = acceptance.acceptance(ratios), acceptance.barkers_acceptance(ratios)
    assert (barkers >= metropolis / 2).all() and (barkers <= metropolis).all()
    start = {"a": 0}
    both = [Transition(model, kernel) for kernel in (kernels.mh(), kernels.barker())]
    rows = [t.outcomes(t.state(start)) for t in both]
    stay = frozenset({(("a",), 0)})
    assert rows[0][stay] < rows[1][stay]
    assert kernels.barker().plan(trace(model))[0].endswith("by Barker's rule")
