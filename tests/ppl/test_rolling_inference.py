"""Every inference gives on a rolled program what it gives on the program as it is written, and compiles it small."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import inference, sample
from lawful.form import Loop, walk
from lawful.inference import kernels
from lawful.passes.rolling import roll as rolling
from lawful.passes.rolling.roll import rolled
from tests.structure.programs import equations
from tests.tiers import rest_slow

Y = jnp.linspace(-1.0, 1.0, 11)


def unrolled(y):
    x = 0.0
    for i in range(len(y)):
        x = sample(f"x{i}", dist.Normal(0.5 * x, 1.0))
        sample(f"y{i}", dist.Normal(x, 1.0), obs=y[i])
    return x


PLANS = {
    "smc": lambda: inference.smc(unrolled, particles=50, runs=2),
    "random walk": lambda: inference.mcmc(unrolled, kernels.random_walk(0.3), chains=2, warmup=5, draws=20),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_slow(PLANS))
def test_the_result_is_that_of_the_program_as_written(name, monkeypatch):
    y = Y if name == "smc" else Y[:9]
    ours = PLANS[name]()(jax.random.key(0), y)
    left = []
    monkeypatch.setattr(rolling, "rolled_here", lambda form, *_, **__: left.append(form) or form)
    theirs = PLANS[name]()(jax.random.key(0), y)
    assert left
    assert set(ours.posterior) == set(theirs.posterior) == {f"x{i}" for i in range(len(y))}
    for site in theirs.posterior:
        np.testing.assert_allclose(ours.posterior[site], theirs.posterior[site], rtol=1e-9, atol=1e-9)
    if name == "smc":
        np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, rtol=1e-10)


def test_a_filter_of_an_unrolled_program_pauses_at_its_observations_inside_one_loop():
    plan = inference.smc(unrolled, particles=50)
    form = rolled(plan.form(Y))
    assert max(node.length for node in walk(form) if isinstance(node, Loop)) >= len(Y) - 3


def test_a_filter_does_not_grow_with_the_steps():
    counts = []
    for steps in (20, 40):
        prepared = inference.smc(unrolled, particles=50).prepare((jnp.linspace(-1.0, 1.0, steps),))
        counts.append(len(list(equations(jax.make_jaxpr(prepared.built.run)(jax.random.key(0), prepared.inputs)))))
    assert counts[1] - counts[0] <= 20 * 30, counts  # what names results one by one is a slice or so a result
