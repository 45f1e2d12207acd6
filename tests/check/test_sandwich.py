"""A path that is retained turns the lower bound of the evidence into an upper one, exactly so on finite programs."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.backends.enumeration import emit_worlds
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, evidence_sandwich
from lawful.inference.representations.conditional import reference, retained
from tests.tiers import rest_slow

P = jnp.array([[0.7, 0.3], [0.2, 0.8]])


def hidden(y):
    """Two steps of a hidden chain; a state of which one datum has probability zero."""

    def step(z, y):
        z = lawful.sample("z", dist.Categorical(probs=P[z]))
        lawful.sample("y", dist.Bernoulli(jnp.array([0.0, 0.6])[z]), obs=y)
        return z, None

    lawful.scan(step, 0, y)


def coins(y):
    a = lawful.sample("a", dist.Bernoulli(0.3))
    b = lawful.sample("b", dist.Bernoulli(0.2 + 0.5 * a))
    lawful.sample("y", dist.Bernoulli(0.1 + 0.5 * a + 0.3 * b), obs=y)


def filtered(below):
    return lambda p: inference.smc(p, particles=2, resampling="multinomial", resample_below=below)


CASES = {
    "importance": (coins, jnp.array(1), lambda p: inference.importance(p, particles=3)),
    "smc": (hidden, jnp.array([1, 0]), filtered(None)),
    "adaptive smc": (hidden, jnp.array([1, 0]), filtered(0.9)),
    "systematic smc": (hidden, jnp.array([1, 0]), lambda p: inference.smc(p, particles=3, resample_below=None)),
}


@pytest.mark.tier0
@pytest.mark.parametrize("name", rest_slow(CASES))
def test_the_mean_of_one_over_the_estimate_is_exact(name):
    """E[1 / Z-hat] = P(Z-hat > 0) / Z, all choices of the run enumerated from every path of the posterior."""
    program, y, build = CASES[name]
    truth = enumerate_measure(program, y).marginal(lambda trace: trace.choices)
    z = truth.total()
    plan = build(program)
    form, choices = plan.form(y), choices_of(lawful.trace(program, y))
    free = jax.jit(emit_worlds(form))(y)
    alive = np.exp(free.log_probability)[np.asarray(free.log_mass) > -np.inf].sum()
    known = build(reference(lawful.trace(program, y)).form)
    held = jax.jit(emit_worlds(retained(known.form(y, *(jnp.zeros(c.full_shape, c.dtype) for c in choices)))))
    total = 0.0
    for choices_made, weight in truth.weights.items():
        if not weight:
            continue
        values = dict(choices_made)
        path = [
            jnp.array([values[(*c.address, *cell)] for cell in np.ndindex(*c.loops)], c.dtype).reshape(c.full_shape)
            for c in choices
        ]
        worlds = held(y, *path)
        probability, mass = np.exp(worlds.log_probability), np.exp(worlds.log_mass)
        assert probability.sum() == pytest.approx(1.0, abs=1e-12)
        total += weight / z * np.sum(probability[mass > 0] ** 2 / mass[mass > 0])
        assert np.all(mass[probability > 0] > 0)  # a path of the posterior keeps its weight
    assert total == pytest.approx(alive / z, rel=1e-12)


def normal(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


def test_the_bounds_hold_the_exact_mean_and_close_with_more_particles():
    """Data N(0, 2): the mean log evidence is -log(4 pi) / 2 - 1 / 2; 2,000 runs, six standard errors."""
    exact = -0.5 * np.log(4 * np.pi) - 0.5
    gaps = []
    for particles in (4, 64):
        found = evidence_sandwich(normal, lambda p, n=particles: inference.importance(p, particles=n), 0.0, runs=2_000)
        assert found.lower - 6 * found.lower_error < exact < found.upper + 6 * found.upper_error
        assert found.gap > 3 * found.gap_error
        gaps.append(found.gap)
    assert gaps[1] < gaps[0] / 4


@pytest.mark.slow
def test_a_filter_has_its_sandwich():
    def walk(y):
        def step(x, y):
            x = lawful.sample("x", dist.Normal(0.9 * x, 1.0))
            lawful.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        lawful.scan(step, 0.0, y)

    filter_of = lambda p: inference.smc(p, particles=50, resampling="multinomial")
    found = evidence_sandwich(walk, filter_of, jnp.zeros(10), runs=200)
    assert 0 < found.gap < 1.0 and found.lower < found.upper


def level(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    lawful.scan(lambda c, y: (c, lawful.sample("y", dist.Normal(mu, 1.0), obs=y)), 0.0, y)


def test_what_has_no_retained_path_is_refused():
    with pytest.raises(UnsupportedProgramError, match="cannot be retained by residual resampling"):
        evidence_sandwich(hidden, lambda p: inference.smc(p, particles=4, resampling="residual"), jnp.array([1, 0]))
    move = lambda p: inference.smc(p, particles=4, resampling="multinomial", move=kernels.random_walk(0.5))
    with pytest.raises(UnsupportedProgramError, match="neither a choice of the program nor an ancestor"):
        evidence_sandwich(level, move, jnp.zeros(4))
    with pytest.raises(LawfulError, match="expected importance or smc"):
        evidence_sandwich(normal, lambda p: inference.mcmc(p), 0.0)
    with pytest.raises(LawfulError, match="at least 2 runs"):
        evidence_sandwich(normal, lambda p: inference.importance(p, particles=4), 0.0, runs=1)
