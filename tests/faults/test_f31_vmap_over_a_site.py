"""Row 31: a plain vmap over a site draws independently in every lane, whether or not its parameters are mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import bounded_loop, cond, inference, mem, sample, scale, scan, switch
from lawful.backends.xla import compile
from lawful.errors import LawfulError, UnsupportedProgramError

pytestmark = pytest.mark.reuses_keys  # the check takes a scan over keys under vmap for a second use
KEYS = 4096
# Correlations of independent lanes have standard deviation 1 / sqrt(4096); of 66 pairs one exceeds 7 of them with
# probability below 2e-10.
BOUND = 7 / KEYS**0.5


def keys():
    return jax.random.split(jax.random.key(31), KEYS)


def lanes(program, shape):
    for size in reversed(shape):
        program = (lambda inner, n: lambda: jax.vmap(lambda _: inner())(jnp.zeros(n)))(program, size)
    return program


def correlations(draws):
    found = np.corrcoef(draws.reshape(KEYS, -1), rowvar=False)
    return found[np.triu_indices_from(found, 1)]


LAWS = {
    "Normal": lambda: dist.Normal(0.0, 1.0),
    "Gamma": lambda: dist.Gamma(2.0, 1.0),
    "Bernoulli": lambda: dist.Bernoulli(0.3),
    "Categorical": lambda: dist.Categorical(probs=jnp.array([0.2, 0.3, 0.5])),
    "Poisson": lambda: dist.Poisson(2.0),
    "StudentT": lambda: dist.StudentT(5.0),
}


@pytest.mark.rest_slow
@pytest.mark.fault(31)
@pytest.mark.regression("15.3b")
@pytest.mark.parametrize("law", LAWS)
def test_f31_lanes_are_independent_also_nested(law):
    form = lawful.trace(lanes(lambda: sample("x", LAWS[law]()), (3, 4)))
    (draws,), _ = jax.jit(jax.vmap(compile(form)))(keys())
    assert draws.shape == (KEYS, 3, 4)
    assert np.abs(correlations(np.asarray(draws, float))).max() < BOUND


def in_a_branch():
    return cond(jnp.array(True), lambda: sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0)


def in_a_loop():
    return scan(lambda c, _: (c, sample("x", dist.Normal(0.0, 1.0))), 0.0, length=2)[1]


def after_a_site():
    return sample("x", dist.Normal(0.0, 1.0)) * sample("y", dist.Normal(2.0, 0.0001))


@pytest.mark.parametrize("inner", [in_a_branch, in_a_loop, after_a_site])
def test_f31_lanes_stay_independent_inside_other_constructs(inner):
    form = lawful.trace(lanes(inner, (2, 3)))
    (draws,), _ = jax.jit(jax.vmap(compile(form)))(keys())
    assert np.abs(correlations(np.asarray(draws))).max() < BOUND


def test_f31_the_exact_law_of_the_lanes_is_the_product():
    form = lanes(lambda: sample("k", dist.Bernoulli(0.25)), (2, 2))
    exact = inference.enumerate(form)()
    marginal = exact.marginal("k")
    assert len(marginal) == 16
    for values, probability in marginal.items():
        ones = np.sum(values)
        assert probability == pytest.approx(0.25**ones * 0.75 ** (4 - ones), rel=1e-12)


def test_f31_the_particles_of_a_population_have_independent_lanes():
    result = inference.importance(lanes(lambda: sample("x", dist.Normal(0.0, 1.0)), (3, 4)), particles=KEYS)(
        jax.random.key(31)
    )
    draws = np.asarray(result.weighted.values["x"])[0]
    assert draws.shape == (KEYS, 3, 4)
    assert np.abs(correlations(draws)).max() < BOUND


def test_f31_mapped_and_unmapped_parameters_keep_their_lanes():
    locs = jnp.array([0.0, 10.0, 20.0])
    form = lawful.trace(lambda: jax.vmap(lambda loc: sample("x", dist.Normal(loc, 1.0)))(locs))
    (draws,), _ = jax.jit(jax.vmap(compile(form)))(keys())
    assert np.abs(draws.mean(0) - locs).max() < BOUND
    assert np.abs(correlations(np.asarray(draws))).max() < BOUND


def in_a_switch():
    return switch(jnp.array(1), [lambda: 0.0, lambda: sample("x", dist.Normal(0.0, 1.0))])


def in_a_bounded_loop():
    def step(state):
        return state[0] + 1, state[1] + sample("x", dist.Normal(0.0, 1.0))

    return bounded_loop(lambda state: state[0] < 2, step, (0, 0.0), max_steps=2)[1]


def in_a_scale():
    with scale(2.0):
        return sample("x", dist.Normal(0.0, 1.0))


def of_a_random_function():
    return mem(lambda n: sample("x", dist.Normal(0.0, 1.0)))(0)


@pytest.mark.parametrize("inner", [in_a_switch, in_a_bounded_loop, in_a_scale, of_a_random_function])
def test_f31_lanes_stay_independent_in_every_statement(inner):
    form = lawful.trace(lanes(inner, (2, 3)))
    (draws,), _ = jax.jit(jax.vmap(compile(form)))(keys())
    assert np.abs(correlations(np.asarray(draws))).max() < BOUND


def test_f31_lanes_that_would_go_on_for_different_numbers_of_steps_are_refused():
    def until_a_head():
        def step(state):
            return state[0] + sample("head", dist.Bernoulli(0.5)), state[1] + 1

        return bounded_loop(lambda state: state[0] < 1, step, (0, 0), max_steps=3)[1]

    with pytest.raises(UnsupportedProgramError, match=r"'head' \(.*jax\.vmap would choose lane by lane.*Fix: .*plate"):
        lawful.trace(lanes(until_a_head, (3,)))


def test_f31_the_weights_of_the_lanes_multiply():
    def model(y):
        def lane(y):
            x = sample("x", dist.Bernoulli(0.25))
            with scale(2.0):
                sample("y", dist.Bernoulli(0.5 + 0.25 * x), obs=y)
            return x

        return jax.vmap(lane)(y)

    exact = inference.enumerate(model)(jnp.array([1, 1]))
    one = 0.75 * 0.5**2 + 0.25 * 0.75**2
    assert np.exp(exact.log_evidence) == pytest.approx(one**2, rel=1e-12)
    assert exact.marginal("x")[(1, 1)] == pytest.approx((0.25 * 0.75**2 / one) ** 2, rel=1e-12)


def test_f31_missing_elements_are_independent_over_lanes():
    def model():
        def lane(_):
            return sample("y", dist.Normal(0.0, 1.0), obs=0.0, obs_mask=False)

        return jax.vmap(lane)(jnp.zeros(3))

    with pytest.raises(LawfulError, match=r"site 'y' .*observed under jax\.vmap with one value.*plate"):
        lawful.trace(model)

    def mapped(y, m):
        return jax.vmap(lambda y, m: sample("y", dist.Normal(0.0, 1.0), obs=y, obs_mask=m))(y, m)

    y, m = jnp.array([np.nan, 1.0, np.nan]), jnp.array([False, True, False])
    (draws,), _ = jax.jit(jax.vmap(compile(lawful.trace(mapped, y, m)), (0, None, None)))(keys(), y, m)
    assert (draws[:, 1] == 1.0).all()
    assert np.abs(correlations(np.asarray(draws)[:, [0, 2]])).max() < BOUND
