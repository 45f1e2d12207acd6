"""Row 42: where few runs carry an estimate no test of its mean is made; the check says how many particles would do."""

import re

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from lawful import inference, sample
from lawful.inference.check import unbiased

PARTICLES = 10
SD = 1e-4
LOG_Z = float(dist.Normal(0.0, (1 + SD**2) ** 0.5).log_prob(1.0))


def informative():
    """One accurate observation, which the prior seldom meets: the relative variance of a weight is about 1e4."""
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(x, SD), obs=1.0)
    return x


def weights_of(particles):
    """Log weights of independent importance samples (n, particles)."""

    def run(key):
        x = jax.random.normal(key, (particles,))
        return dist.Normal(x, SD).log_prob(1.0) - jnp.log(particles)

    return jax.jit(jax.vmap(run))


@pytest.mark.fault(42)
def test_f42_the_check_is_refused_with_the_number_of_particles_that_it_needs():
    weights = weights_of(PARTICLES)
    report = unbiased(lambda keys: (None, weights(keys)), LOG_Z)
    assert report.status == "refused" and not report
    name, spread = report.worst
    assert name == "relative sd of Z-hat" and spread > 3
    needed, times = map(int, re.search(r"at least (\d+) particles, (\d+) times the 10", report.remarks).groups())
    assert needed == times * PARTICLES and times >= (spread / 3) ** 2 > times - 1
    assert report.p_value is None and not report.detects(1e9)


def test_f42_an_estimator_that_tells_its_evidence_alone_hears_how_many_times_as_many():
    from lawful.backends.xla import emit

    run = emit(inference.importance(informative, particles=PARTICLES, keep="last").form())
    evidence = jax.jit(jax.vmap(lambda key: run(key)[1]))
    report = unbiased(evidence, LOG_Z)
    assert report.status == "refused"
    assert re.search(r"at least \d+ times as many particles", report.remarks)


def test_f42_an_estimator_that_never_meets_the_mass_is_refused_too():
    report = unbiased(lambda keys: jnp.full((len(keys), PARTICLES), -jnp.inf), LOG_Z)
    assert report.status == "refused" and "many more particles" in report.remarks


@pytest.mark.tier2
def test_f42_with_as_many_particles_as_were_asked_for_it_is_tested():
    """The advice holds: with ten times as many as it says the spread lies below the limit, and the check passes."""
    wide = 0.05
    log_z = float(dist.Normal(0.0, (1 + wide**2) ** 0.5).log_prob(1.0))

    def estimator(particles):
        draw = lambda key: dist.Normal(jax.random.normal(key, (particles,)), wide)
        return jax.jit(jax.vmap(lambda key: draw(key).log_prob(1.0) - jnp.log(particles)))

    few = unbiased(estimator(1), log_z, n=2_000)
    needed = int(re.search(r"at least (\d+) particles", few.remarks)[1])
    assert few.status == "refused" and unbiased(estimator(10 * needed), log_z, n=2_000).status == "passed"
