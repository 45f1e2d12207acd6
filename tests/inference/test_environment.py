"""Laws of times: compiling is counted once and apart from running."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from lawful import inference, sample
from lawful.inference.running.environment import timed


def test_only_the_first_call_compiles():
    run = jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y), x))
    first, second = (timed(run, jnp.ones(3))[1] for _ in range(2))
    assert 0 < first["compile_seconds"] <= first["seconds"]
    assert second["compile_seconds"] == 0


def test_a_result_tells_compiling_and_running_apart():
    def model(y):
        sample("y", dist.Normal(sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    plan = inference.importance(model, particles=10)
    first, second = (plan(jax.random.key(0), 0.5).run for _ in range(2))
    assert first["compile_seconds"] > 0 == second["compile_seconds"]
    for run in (first, second):
        assert abs(run["seconds"] - run["compile_seconds"] - run["run_seconds"]) < 1e-12
        assert type(run["seconds"]) is float
