"""Tempering keeps the measure exactly: on branches, on every path, and by both enumerators where it adapts."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, scan
from lawful.inference import kernels
from lawful.inference.algorithms.tempered_smc import TemperedSmc
from lawful.inference.check import preserves
from lawful.inference.check.exact.exact_checks import transformed_form
from lawful.inference.check.exact.measure import compare
from lawful.inference.check.exact.outcomes import compiled_measure, reference_measure
from lawful.inference.check.rows.reflect import reflect
from lawful.tracing.trace import trace
from tests.tiers import rest_slow

pytestmark = pytest.mark.tier0


def three_states():
    """Three states, a likelihood without symmetry."""
    x = sample("x", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    factor("f", jnp.log(jnp.array([0.9, 0.05, 0.3]))[x])
    return x


def branching():
    """One arm draws again and is weighed, the other is impossible half of the time."""
    x = sample("x", dist.Bernoulli(0.4))

    def left():
        y = sample("y", dist.Bernoulli(0.3))
        factor("f", jnp.log(jnp.where(y == 1, 0.7, 0.2)))
        return y

    y = cond(x == 1, left, lambda: jnp.zeros_like(x))
    factor("g", jnp.where((x == 0) & (y == 0), jnp.log(0.25), 0.0))
    return y


def two_steps():
    """A loop and a plate, each of them observed."""

    def step(x, y):
        x = sample("x", dist.Categorical(jnp.array([[0.7, 0.3], [0.4, 0.6]])[x]))
        sample("y", dist.Bernoulli(jnp.array([0.1, 0.8])[x]), obs=y)
        return x, None

    x, _ = scan(step, 0, jnp.array([1, 0]))
    with plate("row", 2):
        sample("z", dist.Bernoulli(jnp.array([0.35, 0.6])[x]), obs=jnp.array([1, 0]))
    return x


def tempered(particles, kernel, **settings):
    """The composition of the method."""
    return TemperedSmc(particles=particles, kernel=kernel, **settings).compose()


CASES = {
    "single sites over branches": (branching, tempered(2, kernels.mh(), ladder=[1.0], steps=1)),
    "waste-free over branches": (branching, tempered(2, kernels.mh(), ladder=[0.4, 1.0], chains=1)),
    "three states": (three_states, tempered(3, reflect(), ladder=[0.1, 0.6, 1.0], steps=1)),
    "three states, waste-free": (three_states, tempered(4, reflect(), ladder=[0.3, 1.0], chains=2)),
    "blocks that climb": (
        two_steps,
        tempered(2, reflect(), path=inference.data_by_data(block=2), ladder=[0.5, 1.0], chains=1),
    ),
    "along a plate": (
        two_steps,
        tempered(2, reflect(), path=inference.data_by_data(along="row"), ladder=[1.0], steps=1),
    ),
    "without resampling": (
        two_steps,
        inference.Trace
        >> inference.temper(ladder=[0.3, 1.0])
        >> inference.spawn(2)
        >> inference.repeat_to_end(inference.Advance >> inference.rejuvenate(reflect(), 1))
        >> inference.Finish,
    ),
    "finish alone": (two_steps, inference.Trace >> inference.temper(ladder=[0.3, 1.0]) >> inference.spawn(2)),
    "collapsed": (three_states, tempered(2, reflect(), ladder=[0.5, 1.0], steps=2) >> inference.Collapse),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", rest_slow(CASES, 5))
def test_the_unnormalised_measure_is_kept(name):
    program, transformer = CASES[name]
    report = preserves(transformer, program, enumerator="compiled", max_paths=1 << 22)
    assert report.passed, report
    assert report.measure_error < 1e-12


@pytest.mark.slow
def test_an_adaptive_ladder_has_one_measure_by_both_enumerators():
    """It looks at the particles, so it need not keep the measure; what it does is still one finite program."""
    form = trace(three_states)
    adaptive = tempered(2, reflect(), ladder=inference.by_ess(0.6, max_stages=3), steps=1)
    transformed, layout = transformed_form(adaptive, form)
    eager, staged = reference_measure(transformed, layout, [], 1_000_000), compiled_measure(transformed, layout, [])
    comparison = compare(staged, eager)
    assert comparison.error < 1e-12
    assert staged.probability == pytest.approx(1, abs=1e-12)
    ends = {label: seen for label, seen in staged.coverage.items() if "end of the path" in label}
    assert ends and all(len(seen) == 2 for seen in ends.values())


def test_a_weight_that_is_a_little_too_strong_is_found():
    """The power of the check: a likelihood raised to 1.02 in the weights alone."""
    from dataclasses import replace

    from lawful.inference.contract import PRESERVES, Transformer
    from lawful.inference.transformers.temper import temper
    from lawful.inference.transformers.temperatures import GivenLadder

    class Strong(GivenLadder):
        def rung(self, step, *state):
            rung = super().rung(step, *state)
            return rung._replace(increase=1.02 * rung.increase)

    strong = Transformer("strong", lambda path: replace(path, ladder=Strong((0.5, 1.0))), PRESERVES)
    stage = inference.Advance >> inference.PushEvidence >> inference.resample("systematic")
    path = inference.Trace >> temper(ladder=[0.5, 1.0]) >> strong >> inference.spawn(2)
    report = preserves(path >> inference.repeat_to_end(stage) >> inference.Finish, three_states, enumerator="compiled")
    assert report.status == "failed"
    assert report.measure_error > 1e-3
    assert np.isfinite(report.evidence_ratio)
