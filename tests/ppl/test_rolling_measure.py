"""Rolling keeps the measure of finite programs on all traces, with every choice at its own address."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful import sample, scan
from lawful.form import Loop
from lawful.inference.check import compare, enumerate_measure
from lawful.inference.check.programs.unrolled import unrolled
from lawful.passes.rolling.roll import rolled
from tests.ppl.unrolled import random_unrolled, traced
from tests.tiers import rest_slow


@pytest.mark.parametrize("seed", rest_slow(range(10), 4))
def test_the_measure_stays_on_random_programs(seed):
    form, y = traced(random_unrolled(seed, steps=(5, 3)[seed % 2], finite=True))
    print(form)  # shown where the test fails
    small = rolled(form, 3, always=True)
    assert compare(enumerate_measure(small, y), enumerate_measure(form, y)).error < 1e-12


def test_a_loop_that_is_unrolled_and_rolled_again_is_a_loop():
    def model(y):
        def step(x, y):
            x = sample("x", dist.Bernoulli(0.2 + 0.5 * x))
            sample("y", dist.Bernoulli(0.1 + 0.6 * x), obs=y)
            return x, x

        return scan(step, sample("start", dist.Bernoulli(0.5)), y)[1]

    y = jnp.array([0, 1, 1, 0])
    form = lawful.trace(model, y)
    straight = unrolled(form)
    small = rolled(straight, 3, always=True)
    assert [type(node) for node in straight.nodes].count(Loop) == 0
    assert [node.length for node in small.nodes if isinstance(node, Loop)] == [4]
    measures = [enumerate_measure(f, y).marginal(lambda trace: trace.output) for f in (form, straight, small)]
    for measure in measures[1:]:
        assert compare(measure, measures[0]).error < 1e-12
