"""The compiled program of an inference: compiled once, without callbacks, sorts or N x N values, in O(N) memory."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, inference, sample, scan
from lawful.inference import kernels
from tests.schemes import SCHEMES
from tests.structure.programs import equations, largest, primitives, scratch
from tests.tiers import rest_slow

KEY = jax.random.key(0)


def level(y):
    theta = sample("theta", dist.Gamma(2.0, 1.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, theta))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def switching(y):
    def step(x, y):
        b = sample("b", dist.Bernoulli(0.3))
        x = cond(b == 1, lambda x: sample("jump", dist.Normal(x, 5.0)), lambda x: x + 0.1, x)
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def guide(x, y):
    sample("x", dist.Normal(y, 1.0))


def traced(plan, steps):
    """The whole traced program of a plan, runs or chains included."""
    prepared = plan.prepare((jnp.linspace(-1.0, 1.0, steps),))
    operands = (KEY, prepared.inputs)
    if hasattr(prepared.built, "start"):
        operands = (*operands, jax.eval_shape(prepared.built.start, KEY, prepared.inputs)[0])
    return jax.make_jaxpr(prepared.built.run)(*operands)


PLANS = {
    **{f"smc, {scheme}": inference.smc(level, particles=300, runs=2, resampling=scheme) for scheme in SCHEMES},
    "smc, last": inference.smc(level, particles=300, runs=2, keep="last"),
    "smc, dead": inference.smc(level, particles=300, nonfinite="dead"),
    "smc, branch": inference.smc(switching, particles=300),
    "smc, guided": inference.smc(level, particles=300, proposal=guide),
    "smc, moved": inference.smc(level, particles=300, move=kernels.mh()),
    "importance": inference.importance(level, particles=300, runs=2),
    "tempered": inference.tempered_smc(level, particles=300),
    "single site": inference.mcmc(level, kernels.mh(), chains=3, warmup=4, draws=6),
    "single site, branch": inference.mcmc(switching, kernels.mh(), chains=3, warmup=4, draws=6),
    "random walk": inference.mcmc(level, kernels.random_walk(0.3), chains=3, warmup=4, draws=6),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PLANS)
def test_nothing_leaves_the_device_and_nothing_is_sorted(name):
    found = primitives(traced(PLANS[name], 6))
    assert "scan" in found or name == "importance"
    assert not [
        primitive for primitive in found if "callback" in primitive or primitive in ("sort", "infeed", "outfeed")
    ]


@pytest.mark.parametrize("keep", ["last", "paths"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_value_has_more_elements_than_the_particles_need(scheme, keep):
    """With one run: the particles, twice over for pairs of random words; with paths, one value a step."""
    particles, steps = 500, 6
    plan = inference.smc(level, particles=particles, resampling=scheme, keep=keep)
    assert largest(traced(plan, steps)) <= particles * (steps if keep == "paths" else 2)


def test_the_program_does_not_grow_with_the_steps():
    for name in ("smc, systematic", "smc, last", "smc, branch", "single site"):
        counts = [len(list(equations(traced(PLANS[name], steps)))) for steps in (10, 1000)]
        assert len(set(counts)) == 1, (name, counts)


def test_the_program_grows_with_the_logarithm_of_the_particles_at_most():
    """Running sums go over blocks of blocks; nothing else may depend on the number of particles."""
    for scheme in ("residual", "systematic"):
        plans = [inference.smc(level, particles=n, resampling=scheme, keep="last") for n in (100, 10_000, 1_000_000)]
        counts = [len(list(equations(traced(plan, 4)))) for plan in plans]
        assert counts[2] < 3 * counts[0], (scheme, counts)
        assert counts[2] - counts[1] < 1.5 * (counts[1] - counts[0]) + 100, (scheme, counts)


def test_the_program_does_not_grow_with_chains_and_draws():
    plans = [
        inference.mcmc(level, kernels.mh(), chains=c, warmup=w, draws=d) for c, w, d in ((2, 4, 6), (100, 40, 1000))
    ]
    first, second = (len(list(equations(traced(plan, 10)))) for plan in plans)
    assert first == second


@pytest.mark.slow
@pytest.mark.optimised
def test_the_scratch_memory_without_paths_is_that_of_the_particles():
    """Not more than 24 numbers a particle, and 100 bytes a step for keys and diagnostics."""

    def used(particles, steps):
        prepared = inference.smc(level, particles=particles, keep="last").prepare((jnp.zeros(steps),))
        return scratch(prepared.built.run, KEY, prepared.inputs)

    small, wide, long = used(2_000, 50), used(8_000, 50), used(2_000, 1_050)
    assert small <= 24 * 8 * 2_000 + 100 * 50
    assert wide <= 4.2 * small
    assert long - small <= 100 * 1_000


@pytest.mark.optimised
@pytest.mark.slow
def test_paths_are_kept_as_one_value_a_step():
    def used(steps):
        prepared = inference.smc(level, particles=2_000).prepare((jnp.zeros(steps),))
        return scratch(prepared.built.run, KEY, prepared.inputs)

    # One value, one ancestor and one lineage a particle and step, and what XLA needs to reorder them.
    assert used(300) - used(100) <= 200 * 2_000 * (8 + 4 + 4) * 2.5


class Counter(logging.Handler):
    """Counts what JAX traces and compiles."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.messages = []

    def emit(self, record):
        if record.getMessage().startswith(("Finished tracing", "Finished XLA compilation", "Compiling")):
            self.messages.append(record.getMessage())


@pytest.fixture
def compiled():
    """The messages of all traces and compilations while a test runs."""
    counter = Counter()
    logger = logging.getLogger("jax")
    logger.addHandler(counter)
    old, logger.propagate = logger.propagate, False
    with jax.log_compiles():
        yield counter.messages
    logger.removeHandler(counter)
    logger.propagate = old


BUILDERS = {
    "smc": lambda model: inference.smc(model, particles=20, runs=3),
    "smc, last": lambda model: inference.smc(model, particles=20, keep="last"),
    "importance": lambda model: inference.importance(model, particles=20),
    "tempered": lambda model: inference.tempered_smc(model, particles=20, chains=5, runs=2),
    "single site": lambda model: inference.mcmc(model, kernels.mh(), chains=2, warmup=3, draws=5, thin=2),
    "random walk": lambda model: inference.mcmc(model, kernels.random_walk(0.3), chains=2, warmup=3, draws=5),
}


@pytest.mark.parametrize("name", rest_slow(BUILDERS, 1))
def test_a_second_call_traces_and_compiles_nothing(name, compiled):
    calls = []

    def model(y):
        calls.append(None)
        return level(y)

    plan = BUILDERS[name](model)
    first = plan(jax.random.key(0), jnp.array([0.3, -0.1, 0.5]))
    once = len(calls)
    assert once == 1 and compiled
    compiled.clear()
    key, data = jax.random.key(1), jnp.array([1.3, -1.1, 0.2])
    compiled.clear()  # what made the second key and data is not the plan's
    second = plan(key, data)
    assert len(calls) == once
    assert compiled == []
    names = first.posterior.keys()
    assert any(not np.array_equal(first.posterior[name], second.posterior[name]) for name in names)
    assert plan.prepare((data,)).built.run._cache_size() == 1  # one program in all
    plan.prepare((data[:2],))
    assert len(calls) == once + 1  # another shape is another program


def test_the_same_model_is_traced_once_for_all_its_inferences():
    calls = []

    def model(y):
        calls.append(None)
        return level(y)

    y = jnp.array([0.3, -0.1])
    for build in BUILDERS.values():
        build(model).prepare((y,))
    assert len(calls) == 1
