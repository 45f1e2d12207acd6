"""Calibration of whole inferences: exact posteriors pass; shifted, scaled and blind ones fail, the last by the data."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, NonFiniteError
from lawful.inference import kernels
from lawful.inference.check import sbc
from lawful.inference.check.statistics.sbc import _bins, _shapes
from tests.tiers import rest_slow

pytestmark = pytest.mark.tier3
SIZES = {"n_sims": 1_000, "draws": 19, "bins": 20}


def normal(y):
    """A mean with two observations: its posterior is N(sum(y) / 3, 1 / 3)."""
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    with lawful.plate("i", 2):
        lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


def conjugate(shift=0.0, scale=1.0, blind=False):
    """The posterior of `normal`, moved by some of its standard deviations, or the prior."""

    def algorithm(program):
        def draws(key, args, y):
            z = jax.random.normal(key, (SIZES["draws"],))
            return {"mu": z if blind else jnp.sum(y) / 3 + (scale * z + shift) / jnp.sqrt(3.0)}

        return draws

    return algorithm


def test_an_exact_posterior_passes_and_the_report_says_what_it_would_find():
    report = sbc(normal, conjugate(), jnp.zeros(2), batched=True, **SIZES)
    assert report.passed, report
    assert report.level == "end_to_end" and report.alpha_spent == 1e-6 / 512
    assert 0.2 < report.min_detectable_effect < 0.35


@pytest.mark.rest_slow
@pytest.mark.parametrize("fault", rest_slow([{"shift": 0.4}, {"scale": 1.4}, {"scale": 0.7}], 2), ids=str)
def test_a_posterior_that_is_off_fails(fault):
    assert sbc(normal, conjugate(**fault), jnp.zeros(2), batched=True, **SIZES).status == "failed"


@pytest.mark.slow
def test_a_posterior_that_ignores_its_data_is_seen_by_the_densities_alone():
    report = sbc(normal, conjugate(blind=True), jnp.zeros(2), batched=True, **SIZES)
    assert report.status == "failed"
    assert "log" in report.worst[0]


def mixed(y):
    """A label and a level; what the arm of the label draws exists in half of the runs."""
    b = lawful.sample("b", dist.Bernoulli(0.5))
    level = lawful.cond(b == 1, lambda: lawful.sample("jump", dist.Normal(2.0, 1.0)), lambda: 0.0)
    lawful.sample("y", dist.Normal(level, 1.0), obs=y)


@pytest.mark.slow
def test_plans_are_called_with_the_drawn_data():
    def algorithm(program):
        plan = inference.mcmc(program, kernels.mh(), chains=1, warmup=30, draws=9, thin=20)
        return lambda key, *args: plan(key, *args)

    report = sbc(mixed, algorithm, 0.3, n_sims=60, draws=9, bins=5)
    assert report.passed, report
    assert report.remarks.startswith("5 quantities") or "quantities" in report.remarks


def by_importance(program):
    """An algorithm that another process can import by its name."""
    return inference.importance(program, particles=50)


@pytest.mark.slow
def test_the_report_of_an_executor_is_that_of_none():
    sizes = {"n_sims": 16, "draws": 9, "bins": 5, "batched": False}
    alone = sbc(normal, by_importance, jnp.zeros(2), **sizes)
    with ThreadPoolExecutor(2) as pool:
        assert sbc(normal, by_importance, jnp.zeros(2), map=pool, **sizes) == alone


@pytest.mark.slow
def test_the_report_of_processes_is_that_of_none():
    sizes = {"n_sims": 40, "draws": 9, "bins": 5}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = sbc(normal, by_importance, jnp.zeros(2), map=pool, **sizes)
    assert found == sbc(normal, by_importance, jnp.zeros(2), batched=False, **sizes)


def test_executors_that_cannot_do_the_work_are_refused():
    sizes = {"n_sims": 10, "draws": 9, "bins": 5}
    with pytest.raises(LawfulError, match="expected an executor"):
        sbc(normal, by_importance, jnp.zeros(2), map=3, **sizes)
    with pytest.raises(LawfulError, match="no name by which another process could import it"):
        sbc(normal, conjugate(), jnp.zeros(2), map="processes", **sizes)
    with pytest.raises(LawfulError, match="stay in one process"):
        sbc(normal, by_importance, jnp.zeros(2), map="processes", batched=True, **sizes)


def test_settings_without_meaning_are_refused():
    with pytest.raises(LawfulError, match=r"bins of at least 2 that divide draws \+ 1"):
        sbc(normal, conjugate(), jnp.zeros(2), draws=99, bins=30)
    with pytest.raises(LawfulError, match="no draws of 'mu'"):
        sbc(normal, lambda program: lambda key, *args: {"m": jnp.zeros(19)}, jnp.zeros(2), batched=True, **SIZES)
    with pytest.raises(NonFiniteError, match=r"draws of 'mu' are NaN in 1000 of 1000 simulations, first in number 0"):
        sbc(
            normal,
            lambda program: lambda key, *args: {"mu": jnp.full(19, jnp.nan)},
            jnp.zeros(2),
            batched=True,
            **SIZES,
        )
    with pytest.raises(LawfulError, match="at least 19 draws"):
        sbc(normal, lambda program: lambda key, *args: {"mu": jnp.zeros(5)}, jnp.zeros(2), batched=True, **SIZES)


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated():
    """Uniform ranks, 2,000 times at 1 %: more than 42 alarms has probability 1e-6."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(2_000):
        ranks = rng.integers(0, 20, (200, 2))
        parts = [_bins(["a", "b"], ranks, 20, 5), _shapes(["a", "b"], ranks, 20, 5)]
        alarms += min(2 * len(p) * min(p) for _, p in parts) <= 0.01
    assert alarms <= 42
