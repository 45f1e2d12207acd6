"""15.7: failures of other libraries, each with the number that it should have given.

Rows that fit the file of their subject better are there, with their marker; test_index.py has the list.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import bounded_loop, cond, factor, handlers, inference, sample, scan
from lawful.backends.log_density import scored
from lawful.backends.xla import compile
from lawful.errors import UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, key_of, unbiased
from lawful.inference.kernels.base.base import initial_state
from tests.check.instances import DATA, EMISSION, HMM3_EVIDENCE, HMM3_LAST_STATE, INITIAL, TRANSITION
from tests.inference.kernels.transition import Transition
from tests.inference.tier0 import law_error, population_measure
from tests.schemes import SCHEMES

# A state that flips at exponential times, and the other state is required at the end: half of the particles die.


def flips():
    """Flips at rate 1 up to time 5; more than 40 of them have probability 1e-22."""

    def flip(state):
        time, side = state
        time = time + sample("wait", dist.Exponential(1.0))
        return time, jnp.where(time < 5.0, 1 - side, side)

    _, side = bounded_loop(lambda state: state[0] < 5.0, flip, (0.0, 0), max_steps=40)
    factor("other side", jnp.where(side == 1, 0.0, -jnp.inf))
    sample("after", dist.Normal(0.0, 1.0))


def finite_flips():
    """The same at five times, each with a probability of its own."""

    def step(side, p):
        side = (side + sample("flip", dist.Bernoulli(p))) % 2
        return side, None

    side, _ = scan(step, 0, jnp.array([0.5, 0.1, 0.3, 0.25, 0.4]))
    factor("other side", jnp.where(side == 1, 0.0, -jnp.inf))
    return side + 2 * sample("after", dist.Bernoulli(0.3))


@pytest.mark.optimised
@pytest.mark.regression("15.7a")
def test_the_evidence_of_a_program_whose_particles_die_counts_the_dead():
    """(1 - e^-10) / 2; a library that dropped the dead returned 1."""
    exact = np.log((1 - np.exp(-10.0)) / 2)
    assert exact == pytest.approx(-0.6932, abs=1e-4)
    runs = 1_000
    plan = inference.smc(flips, particles=10, runs=runs, cuts="factors", keep="last")

    def evidence(keys):
        return np.concatenate([np.asarray(plan(key).log_evidence) for key in keys[::runs]])

    report = unbiased(evidence, exact, key=key_of("r07/flips"))
    report.raise_if_failed()
    assert report.detects(0.05)


@pytest.mark.regression("15.7a")
@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_finite_program_whose_particles_die_keeps_its_measure_exactly(scheme):
    plan = inference.smc(finite_flips, particles=2, cuts="factors", resampling=scheme, keep="last")
    assert law_error(plan, finite_flips).error < 1e-12
    odd = (1 - np.prod(1 - 2 * np.array([0.5, 0.1, 0.3, 0.25, 0.4]))) / 2
    assert enumerate_measure(finite_flips).total() == pytest.approx(odd, rel=1e-12)


# Adaptive resampling: the evidence needs the weights that particles bring along when they were not resampled.


def hmm3():
    """Three states and three observations, as a loop whose first transition has equal rows."""

    def step(x, given):
        rows, y = given
        x = sample("x", dist.Categorical(rows[x]))
        sample("y", dist.Categorical(jnp.asarray(EMISSION)[x]), obs=y)
        return x, None

    rows = jnp.asarray(np.stack([np.tile(INITIAL, (3, 1)), TRANSITION, TRANSITION]))
    return scan(step, 0, (rows, jnp.asarray(DATA)))[0]


@pytest.mark.regression("15.7b")
@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(("scheme", "threshold"), [*((scheme, 0.9) for scheme in SCHEMES), ("systematic", 0.0)])
def test_an_adaptive_filter_of_three_hidden_states_has_its_exact_evidence(scheme, threshold):
    plan = inference.smc(hmm3, particles=2, resampling=scheme, resample_below=threshold, keep="last")
    measure = population_measure(plan)
    assert measure.total() == pytest.approx(float(HMM3_EVIDENCE), rel=1e-12)
    assert measure.integral(lambda last: last) == pytest.approx(float(HMM3_LAST_STATE), rel=1e-12)


# Sites in the arms of branches and inside constructs of JAX: simulated, scored and moved, or a named error.


def part(mu):
    x = sample("x", dist.Normal(mu, 1.0))
    factor("f", -jnp.abs(x))
    return 2 * x


def other_part(mu):
    return sample("u", dist.Gamma(2.0, 1.0)) - sample("w", dist.Normal(mu, 1.0))


@jax.custom_jvp
def with_derivative(mu):
    return part(mu)


with_derivative.defjvp(lambda primals, tangents: (with_derivative(*primals), tangents[0]))


def on_a_coin(choose):
    """A program that chooses by a coin what to run."""

    def run(mu):
        return choose(sample("b", dist.Bernoulli(0.5)), mu)

    return run


CONSTRUCTS = {
    "sites of its own in each branch": on_a_coin(lambda b, mu: cond(b == 1, part, other_part, mu)),
    "jax.lax.switch": on_a_coin(lambda b, mu: jax.lax.switch(b, [lambda mu: mu, part], mu)),
    "jit": jax.jit(part),
    "checkpoint": jax.checkpoint(part),
    "custom derivative": with_derivative,
    "scan": lambda mu: jax.lax.scan(lambda mu, _: (part(mu), None), mu, length=3)[0],
}
KEY = jax.random.key(157)


@pytest.fixture(scope="module", params=CONSTRUCTS)
def model(request):
    inner = CONSTRUCTS[request.param]

    def program(mu):
        sample("y", dist.Normal(inner(mu), 1.0), obs=0.5)

    return program


@pytest.mark.rest_slow
@pytest.mark.regression("15.7h")
def test_a_site_in_a_construct_is_simulated(model):
    population = inference.importance(model, particles=200)(KEY, 0.1)
    assert np.isfinite(population.log_evidence).all()
    assert len(np.unique(population.weighted.log_weight)) > 50


@pytest.mark.regression("15.7h")
def test_a_site_in_a_construct_is_scored(model):
    """An eager run, the staged density at its choices, and that under jit are one number."""
    form = lawful.trace(model, 0.1)
    record = handlers.trace(handlers.seed(form, KEY))(0.1)
    score = form.log_density(record.choices, 0.1)
    np.testing.assert_allclose(score, record.log_density, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda c: form.log_density(c, 0.1))(record.choices), score, rtol=1e-12)


@pytest.mark.regression("15.7h")
@pytest.mark.rest_slow
def test_a_site_in_a_construct_is_moved(model):
    """The log density that fifty moves carry along is that of the state that they reached."""
    transition = Transition(model, kernels.mh(), 0.1)
    state = list(compile(initial_state(transition.form))(KEY, *transition.inputs)[0])
    step = jax.jit(compile(transition.kernel.form))
    size, choices, moved = transition.kernel.size, len(transition.choices), 0
    for key in jax.random.split(KEY, 50):
        after = step(key, *transition.inputs, *state)[0][:size]
        moved += any(not np.array_equal(a, b) for a, b in zip(after, state, strict=True))
        state = after
    prior, likelihood, flags = scored(transition.form)[1](transition.inputs, state[:choices])
    np.testing.assert_allclose(state[-1], prior + likelihood, rtol=1e-12)
    for carried, whole in zip(state[choices:-1], flags, strict=True):
        np.testing.assert_array_equal(carried, whole)
    assert moved > 5


def geometric(p):
    def go(state):
        return state[0] + state[1], sample("heads", dist.Bernoulli(p))

    return jax.lax.while_loop(lambda state: state[1] == 1, go, (-1, 1))[0]


@pytest.mark.regression("15.7h")
@pytest.mark.parametrize(
    "ask",
    [
        lambda: lawful.trace(geometric, 0.5).log_density({("heads", "while"): np.zeros(2, np.uint32)}, 0.5),
        lambda: kernels.mh().build(lawful.trace(geometric, 0.5)),
    ],
    ids=["scored", "moved"],
)
def test_a_site_in_a_while_loop_is_simulated_and_else_a_named_error(ask):
    assert np.isfinite(inference.importance(geometric, particles=10)(KEY, 0.5).log_evidence).all()
    with pytest.raises(UnsupportedProgramError, match=r"site 'heads.*while"):
        ask()
