"""Row 38: the log of a negative number, or any factor that is no number, is an error that names the factor."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, handlers, inference, sample, scan, scope
from lawful.errors import NoFiniteStartError, NonFiniteError
from lawful.inference.check import enumerate_measure

KEY = jax.random.key(38)


def negative():
    x = sample("x", dist.Bernoulli(0.5))
    factor("ok", -1.0 * x)
    with scope("inner"):
        factor("score", jnp.log(-1.0 + 2 * x))


def in_a_loop():
    def step(c, y):
        x = sample("x", dist.Bernoulli(0.5))
        factor("score", jnp.log(y - x))
        return c, x

    return scan(step, 0, jnp.array([1.0, 2.0, 0.5]))[1]


PROGRAMS = {"scope": (negative, r"inner\.score"), "loop": (in_a_loop, r"score(\[2\])?")}


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_f38_enumeration_names_the_factor(name, mode):
    program, term = PROGRAMS[name]
    with pytest.raises(NonFiniteError, match=rf"'{term}' \(.*test_f38.*\.py:\d+\).*(nan|not a number)"):
        inference.enumerate(program, mode=mode)()
    with pytest.raises(NonFiniteError, match=term):
        enumerate_measure(program)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("build", [inference.importance, inference.smc])
def test_f38_a_population_names_the_factor(name, build):
    program, term = PROGRAMS[name]
    with pytest.raises(NonFiniteError, match="score"):
        build(program, particles=64)(KEY)


def test_f38_a_chain_cannot_start_where_no_factor_is_a_number():
    def model():
        sample("x", dist.Normal(0.0, 1.0))
        factor("score", jnp.log(-1.0))

    with pytest.raises(NoFiniteStartError, match="'score'"):
        inference.mcmc(model, draws=10)(KEY)


def test_f38_a_recorded_run_keeps_what_it_is():
    run = handlers.trace(handlers.substitute(negative, {"x": 0}))()
    assert np.isnan(run.log_probs[("inner", "score")]) and np.isnan(run.log_density)
