"""Row 31: a plain vmap over a site draws independently in every lane, whether or not its parameters are mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, inference, sample, scan
from lawful.emitter import compiled

KEY = jax.random.key(31)
KEYS = 4096
# Correlations of independent lanes have standard deviation 1 / sqrt(4096); of 66 pairs one exceeds 7 of them with
# probability below 2e-10.
BOUND = 7 / KEYS**0.5


def lanes(program, shape):
    for size in reversed(shape):
        program = (lambda inner, n: lambda: jax.vmap(lambda _: inner())(jnp.zeros(n)))(program, size)
    return program


def correlations(draws):
    found = np.corrcoef(draws.reshape(KEYS, -1), rowvar=False)
    return found[np.triu_indices_from(found, 1)]


LAWS = {
    "Normal": lambda: dist.Normal(0.0, 1.0),
    "Gamma": lambda: dist.Gamma(2.0, 1.0),
    "Bernoulli": lambda: dist.Bernoulli(0.3),
    "Categorical": lambda: dist.Categorical(probs=jnp.array([0.2, 0.3, 0.5])),
    "Poisson": lambda: dist.Poisson(2.0),
    "StudentT": lambda: dist.StudentT(5.0),
}


@pytest.mark.parametrize("law", LAWS)
def test_lanes_are_independent_also_nested(law):
    form = lawful.trace(lanes(lambda: sample("x", LAWS[law]()), (3, 4)))
    (draws,), _ = jax.jit(jax.vmap(compiled(form)))(jax.random.split(KEY, KEYS))
    assert draws.shape == (KEYS, 3, 4)
    assert np.abs(correlations(np.asarray(draws, float))).max() < BOUND


def in_a_branch():
    return cond(jnp.array(True), lambda: sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0)


def in_a_loop():
    return scan(lambda c, _: (c, sample("x", dist.Normal(0.0, 1.0))), 0.0, length=2)[1]


def after_a_site():
    return sample("x", dist.Normal(0.0, 1.0)) * sample("y", dist.Normal(2.0, 0.0001))


@pytest.mark.parametrize("inner", [in_a_branch, in_a_loop, after_a_site])
def test_lanes_stay_independent_inside_other_constructs(inner):
    form = lawful.trace(lanes(inner, (2, 3)))
    (draws,), _ = jax.jit(jax.vmap(compiled(form)))(jax.random.split(KEY, KEYS))
    assert np.abs(correlations(np.asarray(draws))).max() < BOUND


def test_the_exact_law_of_the_lanes_is_the_product():
    form = lanes(lambda: sample("k", dist.Bernoulli(0.25)), (2, 2))
    exact = inference.enumerate(form)()
    marginal = exact.marginal("k")
    assert len(marginal) == 16
    for values, probability in marginal.items():
        ones = np.sum(values)
        assert probability == pytest.approx(0.25**ones * 0.75 ** (4 - ones), rel=1e-12)


def test_the_particles_of_a_population_have_independent_lanes():
    result = inference.importance(lanes(lambda: sample("x", dist.Normal(0.0, 1.0)), (3, 4)), particles=KEYS)(KEY)
    draws = np.asarray(result.weighted.values["x"])[0]
    assert draws.shape == (KEYS, 3, 4)
    assert np.abs(correlations(draws)).max() < BOUND


def test_mapped_and_unmapped_parameters_keep_their_lanes():
    locs = jnp.array([0.0, 10.0, 20.0])
    form = lawful.trace(lambda: jax.vmap(lambda loc: sample("x", dist.Normal(loc, 1.0)))(locs))
    (draws,), _ = jax.jit(jax.vmap(compiled(form)))(jax.random.split(KEY, KEYS))
    assert np.abs(draws.mean(0) - locs).max() < BOUND
    assert np.abs(correlations(np.asarray(draws))).max() < BOUND
