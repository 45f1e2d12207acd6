"""A filter inside a program stands for the program that it runs on: its evidence is a factor, its path a draw."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.backends.enumeration import emit_worlds
from lawful.backends.xla import emit
from lawful.form.bundles import filled
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, key_of, unbiased
from lawful.inference.check.exact.matrix import stationary_errors
from lawful.inference.check.exact.suite import Instance
from lawful.inference.laws.resampling_schemes import scheme
from lawful.inference.transformers.evidence_estimate import Filter
from lawful.inference.transformers.nested import Nest
from lawful.language.run_form import run_nodes
from tests.inference.unknown_step import Y as Y6
from tests.inference.unknown_step import exact, walk

Y = jnp.array([1, 0])


def steps(p, y):
    def step(z, y):
        z = lawful.sample("z", dist.Bernoulli(0.3 + 0.4 * z - 0.2 * p))
        lawful.sample("y", dist.Bernoulli(0.2 + 0.5 * z), obs=y)
        return z, None

    lawful.scan(step, jnp.asarray(0), y)


def model(y):
    steps(lawful.sample("p", dist.Bernoulli(0.4)), y)


def outer(y):
    p = lawful.sample("p", dist.Bernoulli(0.4))
    return p, inference.nested(steps, particles=2)(p, y)["z"]


def twice(y):
    p = lawful.sample("p", dist.Bernoulli(0.4))
    filtered = inference.nested(steps, particles=2, resample_below=None)
    with lawful.scope("first"):
        filtered(p, y[:1])
    with lawful.scope("second"):
        filtered(p, y[1:])


def measure(form, *args):
    worlds = jax.device_get(jax.jit(emit_worlds(form))(*args))
    mass = np.exp(worlds.log_mass)
    found = collections.Counter()
    for world in np.flatnonzero(mass > 0):
        found[tuple(int(v) for x in worlds.outputs for v in np.ravel(x[world]))] += mass[world]
    return found


def of_model(y):
    """The measure of (p, z_0, z_1)."""
    found = collections.Counter()
    for trace, weight in enumerate_measure(model, y).traces():
        found[trace.value("p"), *(trace.value(("z", t)) for t in range(2))] += float(weight)
    return found


@pytest.mark.tier0
def test_a_nested_filter_keeps_the_unnormalised_measure_exactly():
    found = measure(lawful.trace(outer, Y), Y)
    assert found == pytest.approx(of_model(Y), rel=1e-12)


@pytest.mark.tier0
def test_two_nested_filters_multiply_their_evidence_exactly():
    found = sum(measure(lawful.trace(twice, Y), Y).values())
    truth = 0.0
    for p, prior in ((0, 0.6), (1, 0.4)):
        parts = [enumerate_measure(steps, p, y).total() for y in (Y[:1], Y[1:])]
        truth += prior * float(parts[0]) * float(parts[1])
    assert found == pytest.approx(truth, rel=1e-12)


def flip(current):
    lawful.sample("p", dist.Bernoulli(0.3 + 0.3 * current["p"]))


@pytest.mark.tier0
def test_a_refresh_keeps_the_measure_of_a_program_with_a_filter_inside_exactly():
    """Particle marginal Metropolis-Hastings with everything that the filter draws in the state: one step of data."""
    program = Nest(model, ("p",), Filter(2, scheme("systematic"), None))
    y = Y[:1]
    built = kernels.refresh(flip, ["p"]).build(lawful.trace(program, y))
    (error,) = stationary_errors(built, [Instance(program, (y,), "nested")])
    assert error < 1e-12


def other(current):
    """The other value, for certain."""
    lawful.sample("p", dist.Bernoulli(1.0 * (1 - current["p"])))


@pytest.mark.slow
@pytest.mark.tier0
def test_smc2_with_two_inner_particles_keeps_the_measure_exactly():
    """One parameter particle with a filter of two, moved at every step; its path is an exact draw with its weight."""
    plan = inference.smc2(model, other, ["p"], particles=1, inner=2, resample_below=None)
    raw = enumerate_measure(lambda: tuple(run_nodes(plan.form(Y), [np.asarray(Y)])))
    written = plan.prepare((Y,)).built.written
    found = collections.Counter()
    for trace, weight in raw.traces():
        values = filled(written, trace.output).values
        found[values["p"][0], *values["z"][0]] += float(weight)
    assert raw.probability == pytest.approx(1.0, abs=1e-12)
    assert found == pytest.approx(of_model(Y), rel=1e-12)


@pytest.mark.tier2
@pytest.mark.optimised
@pytest.mark.slow
def test_the_evidence_of_smc2_is_unbiased():
    """The bias that would be found is stated by the report: at most 5 %."""
    plan = inference.smc2(walk, kernels.random_walk(0.6), ["sigma"], particles=32, inner=16)
    run = emit(plan.form(jnp.asarray(Y6)))
    estimator = jax.jit(lambda keys: jax.lax.map(lambda key: run(key, jnp.asarray(Y6))[1], keys))
    report = unbiased(estimator, exact()[0], n=1_000, key=key_of("smc2/evidence"))
    report.raise_if_failed()
    assert report.detects(0.1)


@pytest.mark.slow
def test_smc2_finds_the_posterior():
    result = inference.smc2(walk, kernels.random_walk(0.6), ["sigma"], particles=200, inner=30, runs=20)(
        jax.random.key(0), jnp.asarray(Y6)
    )
    means = np.log(np.asarray(result.posterior["sigma"], np.float64)).mean(axis=1)
    assert abs(means.mean() - exact()[1]) < 6 * means.std(ddof=1) / np.sqrt(len(means)) + 0.02
    assert set(result.posterior) == {"sigma", "x"}
