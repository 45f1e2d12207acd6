"""Row 15: no random key is consumed twice: a guard refuses the second use, and no two draws share randomness."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, handlers, inference, plate, sample, scan, scope
from lawful.backends.xla import compile
from lawful.errors import KeyReuseError
from lawful.inference import kernels
from tests.ppl.families import FAMILIES
from tests.ppl.programs import PROGRAMS

KEY = jax.random.key(15)
NORMAL = dist.Normal(0.0, 1.0)


class Reusing(dist.Normal):
    """A planted fault: its draw consumes its key twice, so that it has variance 4 and not 2."""

    def sample(self, key, sample_shape=()):
        return super().sample(key, sample_shape) + super().sample(key, sample_shape)


def one_site(law):
    def model(y):
        x = sample("x", law(0.0, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)

    return model, 0.5


def sequence(law):
    def model(y):
        s = sample("s", NORMAL)

        def step(x, y):
            x = sample("x", law(x, 1.0))
            sample("y", dist.Normal(x + s, 1.0), obs=y)
            return x, None

        scan(step, 0.0, y)

    return model, np.array([0.3, 0.1])


WALK = kernels.random_walk(0.5)
SHORT = {"chains": 1, "warmup": 1, "draws": 1}
ALGORITHMS = {
    "eager": (one_site, lambda model: lambda key, y: handlers.seed(model, key)(y)),
    "compiled": (one_site, lambda model: lambda key, y: compile(lawful.trace(model, y))(key, y)),
    "importance": (one_site, lambda model: inference.importance(model, particles=4)),
    "smc": (one_site, lambda model: inference.smc(model, particles=4)),
    "mcmc": (one_site, lambda model: inference.mcmc(model, **SHORT)),
    "random walk": (one_site, lambda model: inference.mcmc(model, WALK, **SHORT)),
    "hmc": (one_site, lambda model: inference.mcmc(model, kernels.hmc(n_steps=2), **SHORT)),
    "nuts": (one_site, lambda model: inference.mcmc(model, kernels.nuts(0.3), **SHORT)),
    "parallel tempering": (one_site, lambda model: inference.parallel_tempering(model, powers=(0.0, 1.0), **SHORT)),
    "tempered smc": (one_site, lambda model: inference.tempered_smc(model, particles=4)),
    "annealed importance": (one_site, lambda model: inference.annealed_importance(model, particles=4, ladder=3)),
    "smc of a loop": (sequence, lambda model: inference.smc(model, particles=4)),
    "smc2": (sequence, lambda model: inference.smc2(model, WALK, ["s"], particles=4, inner=3)),
    "pmmh": (sequence, lambda model: inference.pmmh(model, WALK, ["s"], particles=4, **SHORT)),
    "particle Gibbs": (
        sequence,
        lambda model: inference.particle_gibbs(model, "x", kernels.on("s", WALK), particles=4, **SHORT),
    ),
}  # fmt: skip


@pytest.mark.fault(15)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_f15_a_planted_reuse_is_found_in_each_algorithm(name):
    program, build = ALGORITHMS[name]
    model, y = program(Reusing)
    with pytest.raises(KeyReuseError, match="key"), handlers.key_guard():
        build(model)(KEY, y)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_f15_no_algorithm_uses_a_key_twice_by_itself(name):
    program, build = ALGORITHMS[name]
    model, y = program(dist.Normal)
    with handlers.key_guard():
        build(model)(KEY, y)


def test_f15_two_eager_runs_with_one_key_are_refused_with_both_sites():
    model = handlers.seed(lambda: sample("x", NORMAL), KEY)
    with (
        pytest.raises(KeyReuseError, match=r"site 'x' \(.*\) draws with a key that was used before, by site 'x'"),
        handlers.key_guard(),
    ):
        model()
        model()


def test_f15_nested_runs_with_one_key_are_refused():
    def outer():
        sample("x", NORMAL)
        return handlers.seed(lambda: sample("x", NORMAL), KEY, alone=True)()

    with pytest.raises(KeyReuseError), handlers.key_guard():
        handlers.seed(outer, KEY)()


def test_f15_split_keys_pass_the_guard_and_the_guard_ends_with_its_block():
    def model(key):
        return handlers.seed(lambda: sample("x", NORMAL), key)()

    with handlers.key_guard():
        draws = [model(key) for key in jax.random.split(KEY, 3)]
    assert len(set(map(float, draws))) == 3
    assert model(KEY) == model(KEY)


def test_f15_a_guard_is_gone_after_an_error():
    with pytest.raises(ZeroDivisionError), handlers.key_guard():
        raise ZeroDivisionError
    model = handlers.seed(lambda: sample("x", NORMAL), KEY)
    assert model() == model()


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", FAMILIES)
def test_f15_no_shipped_family_uses_its_key_twice(name):
    with handlers.key_guard():
        handlers.seed(lambda: sample("x", FAMILIES[name].make()), KEY)()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["branches", "scopes"])  # in "branches" two arms share an address
def test_f15_no_program_uses_a_key_twice(name):
    program, args = PROGRAMS[name]
    eager, staged, run = jax.random.split(jax.random.key(1), 3)
    with handlers.key_guard():
        handlers.seed(program, eager)(*args)
        compile(lawful.trace(lambda *a: program(*a), *args))(staged, *args)
        inference.smc(lambda *a: program(*a), particles=4)(run, *args)


def two_sites():
    return sample("x", NORMAL) + sample("y", NORMAL)


def two_scopes():
    with scope("a"):
        first = sample("x", NORMAL)
    with scope("b"):
        return first + sample("x", NORMAL)


def two_elements():
    with plate("a", 2):
        return sample("x", NORMAL).sum()


def two_steps():
    return scan(lambda c, _: (c, sample("x", NORMAL)), 0.0, length=2)[1].sum()


def two_lanes():
    return jax.vmap(lambda _: sample("x", NORMAL))(jnp.zeros(2)).sum()


def inside_and_outside():
    return sample("x", NORMAL) + cond(jnp.array(True), lambda: sample("y", NORMAL), lambda: 0.0)


DRAWS = 20_000
# A mean of n squares of N(0, 2) has standard deviation sqrt(8 / n); 7 of them are exceeded with probability 3e-12 each,
# far below the share of a registered check.
BOUND = 7 * (8 / DRAWS) ** 0.5


@pytest.mark.regression("15.7f")
@pytest.mark.parametrize("program", [two_sites, two_scopes, two_elements, two_steps, two_lanes, inside_and_outside])
def test_f15_the_sum_of_two_draws_has_variance_two(program):
    """Shared randomness would give 4."""
    run = jax.vmap(compile(lawful.trace(program)))
    (sums,), _ = run(jax.random.split(KEY, DRAWS))
    assert abs(np.mean(np.square(sums)) - 2) < BOUND


@pytest.mark.parametrize(
    ("program", "build"),
    [(two_sites, inference.importance), (two_elements, inference.importance), (two_steps, inference.smc)],
    ids=["sites", "elements", "steps"],
)
def test_f15_the_particles_of_a_population_are_independent_draws(program, build):
    def named():
        return {"sum": program()}

    result = build(named, particles=DRAWS)(KEY)
    sums = sum(np.asarray(v).reshape(DRAWS, -1).sum(1) for name, v in result.weighted.values.items() if name != "sum")
    assert abs(np.mean(np.square(sums)) - 2) < BOUND
    # Neighbours share nothing: the sum over a pair of particles has variance 4.
    pairs = sums[0::2] + sums[1::2]
    assert abs(np.mean(np.square(pairs)) - 4) < 2 * BOUND * 2**0.5


def test_f15_steps_of_a_chain_draw_anew():
    result = inference.mcmc(lambda: sample("x", NORMAL), kernels.mh(), chains=50, warmup=0, draws=200)(KEY)
    draws = result.posterior["x"].reshape(-1)
    # Moves from the prior are always accepted: all draws are independent.
    assert len(np.unique(draws)) == draws.size
    assert abs(np.mean(np.square(draws)) - 1) < 7 * (2 / draws.size) ** 0.5
