"""Conditional SMC keeps the posterior of paths, however the reference gets its ancestors: exact on finite programs."""

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from jaxtyping import TypeCheckError

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.check.exact.matrix import stationary_errors
from lawful.inference.check.exact.suite import Instance
from lawful.inference.laws.conditional_resampling import ConditionalLaw
from lawful.inference.laws.resampling_schemes import SCHEMES, ResampleLaw
from tests.tiers import rest_slow

P = jnp.array([[0.7, 0.3], [0.2, 0.8]])
START = jnp.array([0.6, 0.4])


def hidden(y):
    """A hidden chain of two states whose first state is drawn before the loop."""
    z = lawful.sample("start", dist.Categorical(probs=START))

    def step(z, y):
        z = lawful.sample("z", dist.Categorical(probs=P[z]))
        lawful.sample("y", dist.Bernoulli(jnp.array([0.15, 0.6])[z]), obs=y)
        return z, None

    lawful.scan(step, z, y)


def two_choices(y):
    """Two choices in a step, and an observation that reads the state before, too."""

    def step(z, y):
        a = lawful.sample("a", dist.Categorical(probs=P[z]))
        b = lawful.sample("b", dist.Bernoulli(0.2 + 0.5 * a))
        lawful.sample("y", dist.Bernoulli(0.1 + 0.3 * a + 0.2 * b + 0.3 * z), obs=y)
        return a, a + b

    lawful.scan(step, 0, y)


def branching(y):
    """A step that makes a choice in one arm only."""

    def step(z, y):
        z = lawful.sample("z", dist.Bernoulli(0.3 + 0.4 * z))
        more = lawful.cond(z == 1, lambda: lawful.sample("more", dist.Bernoulli(0.7)), lambda: 0)
        lawful.factor("weight", -0.8 * jnp.abs(y - z - more))
        return z, None

    lawful.scan(step, 0, y)


def straight():
    """No loop: the program pauses between an observation and the next draw."""
    a = lawful.sample("a", dist.Bernoulli(0.3))
    lawful.sample("first", dist.Bernoulli(0.2 + 0.5 * a), obs=1)
    b = lawful.sample("b", dist.Bernoulli(0.6 - 0.3 * a))
    lawful.factor("second", -1.3 * a * b)


Y2, Y3 = jnp.array([1, 0]), jnp.array([1, 0, 1])
CASES = {
    "retained": (hidden, (Y2,), {"ancestors": "retained"}),
    "retained, adaptive": (hidden, (Y2,), {"ancestors": "retained", "resample_below": 0.9}),
    "retained, systematic": (hidden, (Y2,), {"ancestors": "retained", "resampling": "systematic"}),
    "retained, stratified": (hidden, (Y2,), {"ancestors": "retained", "resampling": "stratified"}),
    "retained, choices in an arm": (branching, (Y2 * 1.0,), {"ancestors": "retained"}),
    "retained, no loop": (straight, (), {"ancestors": "retained"}),
    "sampled": (hidden, (Y2,), {"ancestors": "sampled"}),
    "sampled, adaptive": (hidden, (Y3,), {"ancestors": "sampled", "resample_below": 0.93}),
    "sampled, two choices": (two_choices, (Y2,), {"ancestors": "sampled"}),
    "backward": (hidden, (Y2,), {"ancestors": "backward"}),
    "backward, adaptive": (hidden, (Y3,), {"ancestors": "backward", "resample_below": 0.93}),
    "backward, two choices": (two_choices, (Y2,), {"ancestors": "backward"}),
}


@pytest.mark.tier0
@pytest.mark.parametrize("name", rest_slow(CASES))
def test_two_particles_keep_the_posterior_of_paths_exactly(name):
    program, args, settings = CASES[name]
    built = kernels.particle_gibbs(2, **settings).build(lawful.trace(program, *args))
    (error,) = stationary_errors(built, [Instance(program, args, name)])
    assert error < 1e-12


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("scheme", ["systematic", "stratified", "multinomial"])
def test_conditional_ancestors_are_those_of_the_scheme_given_the_first(scheme):
    """The law of all ancestors, slots shifted at random, is the mixture of the conditional laws over the first."""
    weights = jnp.array([0.2, 0.5, 1.1])
    law = ResampleLaw(SCHEMES[scheme], 3, 3)
    ancestors, masses = map(np.asarray, jax.jit(law.enumerate)(weights))
    shifts = range(3) if scheme != "multinomial" else (0,)
    truth = collections.Counter()
    for row, mass in zip(ancestors, np.exp(masses), strict=True):
        for shift in shifts:
            truth[tuple(np.roll(row, -shift))] += mass / len(shifts)
    found = collections.Counter()
    conditional = jax.jit(ConditionalLaw(law).enumerate)
    for first in range(3):
        rows, own = map(np.asarray, conditional(weights, jnp.int32(first)))
        assert np.exp(own).sum() == pytest.approx(1.0, abs=1e-12)
        for row, mass in zip(rows, np.exp(own), strict=True):
            found[tuple(row)] += mass * float(weights[first] / weights.sum())
    assert {k: v for k, v in found.items() if v} == pytest.approx({k: v for k, v in truth.items() if v}, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["systematic", "stratified", "multinomial"])
def test_conditional_draws_have_the_enumerated_law(scheme, false_alarm):
    """100,000 draws; each tuple of ancestors by an exact binomial test, Bonferroni over the tuples."""
    weights, n = jnp.array([0.2, 0.5, 1.1]), 100_000
    law = ConditionalLaw(ResampleLaw(SCHEMES[scheme], 3, 3))
    rows, masses = map(np.asarray, law.enumerate(weights, jnp.int32(1)))
    truth = collections.Counter()
    for row, mass in zip(rows, np.exp(masses), strict=True):
        truth[tuple(map(int, row))] += mass
    drawn = np.asarray(jax.vmap(lambda k: law.draw(k, weights, jnp.int32(1)))(jax.random.split(jax.random.key(3), n)))
    counts = collections.Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= {row for row, mass in truth.items() if mass > 0}
    level = false_alarm / len(truth)
    assert all(scipy.stats.binomtest(counts[row], n, min(mass, 1.0)).pvalue > level for row, mass in truth.items())


def walk(y):
    """A random walk whose step size is unknown."""
    sigma = lawful.sample("sigma", dist.LogNormal(-0.5, 0.5))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(0.9 * x, sigma))
        lawful.sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


@pytest.mark.slow
@pytest.mark.parametrize("ancestors", ["sampled", "retained", "backward"])
def test_particle_gibbs_with_a_parameter_keeps_exact_draws(ancestors):
    kernel = kernels.cycle(
        kernels.on("x", kernels.particle_gibbs(5, ancestors=ancestors)),
        kernels.on("sigma", kernels.random_walk(0.4)),
    )
    report = invariant(kernel, walk, jnp.zeros(6), level="statistical", n=4_000)
    report.raise_if_failed()
    assert report.detects(0.1)


@pytest.mark.slow
def test_new_ancestors_let_early_states_move_where_retained_ones_stick():
    """50 steps, 6 particles: how often the first state changes, over 400 moves of 4 chains."""
    y = jnp.asarray(np.random.default_rng(0).normal(size=50))
    moved = {}
    for ancestors in ("retained", "sampled", "backward"):
        kernel = kernels.on("x", kernels.particle_gibbs(6, ancestors=ancestors))
        result = inference.mcmc(walk, kernel, warmup=10, draws=100)(jax.random.key(1), y)
        first = result.posterior["x"][..., 0]
        moved[ancestors] = float((first[:, 1:] != first[:, :-1]).mean())
    assert moved["retained"] < 0.2 < 0.6 < min(moved["sampled"], moved["backward"])


def level(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x + mu, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def summed(y):
    def step(total, y):
        total = total + lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(total, 1.0), obs=y)
        return total, None

    lawful.scan(step, 0.0, y)


def later(y):
    last, _ = lawful.scan(lambda x, y: (lawful.sample("x", dist.Normal(x, 1.0)), lawful.factor("f", -y)), 0.0, y)
    lawful.sample("end", dist.Normal(last, 1.0), obs=0.3)


@pytest.mark.parametrize(
    ("program", "args", "words"),
    [
        (straight, (), "not one weighed loop"),
        (branching, (Y2 * 1.0,), "in one arm only"),
        (level, (jnp.zeros(3),), "every step reads a choice that was made before the loop"),
        (summed, (jnp.zeros(3),), "still depends on the state before it"),
        (later, (jnp.zeros(3),), "after the loop draws or weighs|not one weighed loop"),
    ],
)
@pytest.mark.parametrize("ancestors", ["sampled", "backward"])
def test_a_path_that_cannot_get_new_ancestors_is_refused_with_the_reason(program, args, words, ancestors):
    with pytest.raises(UnsupportedProgramError, match=words):
        inference.mcmc(program, kernels.particle_gibbs(3, ancestors=ancestors)).plan(*args)
        inference.mcmc(program, kernels.particle_gibbs(3, ancestors=ancestors)).form(*args)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(LawfulError, match="particles: expected an integer"):
        kernels.particle_gibbs(0)
    unknown: Any = "none"
    with pytest.raises((LawfulError, TypeCheckError), match="'retained', 'sampled',? or 'backward'"):
        kernels.particle_gibbs(3, ancestors=unknown)
    with pytest.raises(LawfulError, match="new ancestors need independent ones"):
        kernels.particle_gibbs(3, resampling="systematic")
    with pytest.raises(UnsupportedProgramError, match="cannot be retained by residual"):
        inference.mcmc(hidden, kernels.particle_gibbs(3, ancestors="retained", resampling="residual")).form(Y2)
