"""Row 6: without a finite start the search ends after a bounded number of tries and names sites and their values."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, scan
from lawful.errors import NoFiniteStartError, ObservationError
from lawful.inference import kernels
from lawful.inference.plans.chains.starts import drawn

KEY = jax.random.key(0)


def outside_the_support(y):
    """The datum is larger than any bound that the prior can draw."""
    top = sample("top", dist.Uniform(0.0, 1.0))
    sample("scale", dist.Gamma(2.0, 1.0))
    sample("y", dist.Uniform(0.0, top), obs=y)


def contradiction():
    x = sample("x", dist.Uniform(0.0, 1.0))
    factor("at least two", jnp.where(x >= 2.0, 0.0, -jnp.inf))


def overflow(y):
    x = sample("x", dist.Normal(0.0, 1.0))
    rate = jnp.exp(1000.0 + x)
    with plate("count", 2):
        sample("y", dist.Poisson(rate), obs=y)


def missing_number(y, offset):
    """The data are fine, but an argument of the program is not a number."""
    mu = sample("mu", dist.Normal(0.0, 1.0))

    def step(carry, y):
        sample("y", dist.Normal(mu + offset, 1.0), obs=y)
        return carry, None

    scan(step, 0.0, y)


def impossible_branch():
    b = sample("b", dist.Bernoulli(0.5))

    def left():
        sample("z", dist.Bernoulli(0.0), obs=1)
        return 0.0

    def right():
        v = sample("v", dist.Normal(0.0, 1.0))
        factor("never", jnp.log(0.0 * v))
        return v

    cond(b == 1, left, right)


MODELS = [
    (outside_the_support, (5.0,), {"y"}, "top"),
    (contradiction, (), {"at least two"}, "x"),
    (overflow, (jnp.array([1, 2]),), {"y"}, "x"),
    (missing_number, (jnp.array([0.1, 0.2]), jnp.nan), {"y"}, "mu"),
    (impossible_branch, (), {"z", "never"}, "b"),
]


@pytest.mark.rest_slow
@pytest.mark.fault(6)
@pytest.mark.regression("15.7e")
@pytest.mark.parametrize(
    ("model", "args", "sites", "parent"), MODELS, ids=lambda value: getattr(value, "__name__", None)
)
def test_f06_the_sites_without_density_are_named_with_the_values_at_them(model, args, sites, parent):
    with pytest.raises(
        NoFiniteStartError, match="no start of finite log density in 100 tries from the prior"
    ) as caught:
        inference.mcmc(model, chains=3)(KEY, *args)
    error = caught.value
    found = {address[0] for address in error.sites}
    assert found and found <= sites
    for site in found:
        assert re.search(rf"site '{site}(\[\d\])?' \([^()]*:\d+\): log density (-inf|nan)", str(error))
    assert f"{parent} = " in str(error) and (parent,) in error.values
    assert __file__ in str(error) and "init={name: value}" in str(error)


def test_f06_the_step_of_a_loop_is_named():
    with pytest.raises(NoFiniteStartError, match=r"site 'y\[0\]'.*log density nan; site 'y\[1\]'") as caught:
        inference.mcmc(missing_number)(KEY, jnp.array([0.1, 0.2]), jnp.nan)
    assert caught.value.sites == (("y", 0), ("y", 1))


def test_f06_data_that_are_not_numbers_are_refused_before_the_search():
    with pytest.raises(ObservationError, match=r"site 'y'.*NaN at index \(1,\)"):
        inference.mcmc(missing_number)(KEY, jnp.array([0.1, jnp.nan]), 0.0)


@pytest.mark.parametrize("kernel", [None, kernels.random_walk(0.1)], ids=repr)
def test_f06_starts_are_drawn_a_hundred_times_and_no_more(kernel):
    """All chains are tried at once, so that their number does not prolong the search."""
    with pytest.raises(NoFiniteStartError, match="100 tries"):
        inference.mcmc(contradiction, kernel, chains=50)(KEY)


def test_f06_every_try_has_a_key_of_its_own():
    tried = []

    def hopeless(key):
        jax.debug.callback(lambda words: tried.append(tuple(words.tolist())), jax.random.key_data(key))
        return [jnp.zeros(50), jnp.full(50, -jnp.inf)], None

    jax.block_until_ready(drawn(hopeless, KEY, ()))
    assert len(set(tried)) == len(tried) == 100


def test_f06_a_rare_start_is_found():
    """A fifth of the prior has density: a hundred tries find a start for each of many chains (all but 2e-8 of keys)."""

    def rare():
        x = sample("x", dist.Uniform(0.0, 1.0))
        factor("small", jnp.where(x < 0.2, 0.0, -jnp.inf))

    result = inference.mcmc(rare, kernels.random_walk(0.1), chains=100, warmup=0, draws=2)(KEY)
    assert (result.posterior["x"] < 0.2).all()
    assert len(np.unique(result.posterior["x"][:, 0])) == 100
