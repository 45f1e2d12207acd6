"""Single-site moves keep the posterior exactly, and reversibly, also where a move changes which sites are active."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, plate, sample, scan
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, invariant
from tests.inference.kernels.transition import Transition

TOLERANCE = 1e-12


def coin(name, p):
    return sample(name, dist.Bernoulli(p))


def chain():
    a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    b = coin("b", jnp.array([0.1, 0.6, 0.8])[a])
    factor("weight", jnp.where(b == 1, 0.4, -0.3) * a)


def arms():
    """A branch with different sites, an observation and a factor in its arms, and a name that both share."""
    b = coin("b", 0.3)

    def left():
        v = coin("v", 0.2)
        sample("y", dist.Bernoulli(0.3 + 0.5 * v), obs=1)
        return v

    def right():
        v = coin("v", 0.7)
        w = coin("w", 0.4)
        factor("weight", 0.8 * v * w)
        return v + w

    total = cond(b == 1, left, right)
    coin("last", 0.1 + 0.3 * total)


def nested_arms():
    a = coin("a", 0.4)

    def inner():
        c = coin("c", 0.3)
        return cond(c == 1, lambda: coin("d", 0.6), lambda: 0)

    factor("weight", cond(a == 1, inner, lambda: coin("e", 0.9)) * -0.5)


def steps():
    """A loop whose steps may draw a site or not, depending on the step before."""

    def step(z, y):
        z = cond(z == 1, lambda: coin("z", 0.7), lambda: coin("z", 0.2) * coin("extra", 0.5))
        sample("y", dist.Bernoulli(0.2 + 0.6 * z), obs=y)
        return z, None

    scan(step, 1, jnp.array([1, 0, 1]))


def plates():
    """Each element of a batch is a part of its own; the elements of a vector-valued site move together."""
    p = coin("p", 0.4)
    with plate("three", 3):
        z = coin("z", 0.2 + 0.5 * p)
        sample("y", dist.Bernoulli(0.3 + 0.4 * z), obs=jnp.array([1, 0, 1]))
    pair = sample("pair", dist.Bernoulli(jnp.array([0.3, 0.6])).to_event(1))
    factor("weight", 0.7 * pair[0] * pair[1] - 0.2 * z[0])


def zeros():
    """Choices without mass: no move may reach them, and the chain may leave them."""
    a, b = coin("a", 0.5), coin("b", 0.5)
    factor("not both", jnp.where(a + b == 2, -jnp.inf, 0.0))


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", [chain, arms, nested_arms, steps, plates, zeros], ids=lambda p: p.__name__)
def test_the_posterior_is_invariant_and_the_flow_symmetric(program):
    measure = enumerate_measure(program).marginal(lambda trace: trace.choices)
    total = measure.total()
    posterior = {outcome: weight / total for outcome, weight in measure.items() if weight > 0}
    transition = Transition(program, kernels.mh())
    rows = {outcome: transition.outcomes(transition.state(dict(outcome))) for outcome in posterior}
    for row in rows.values():
        assert sum(row.values()) == pytest.approx(1, abs=TOLERANCE)
        assert set(row) <= set(posterior)
    for x in posterior:
        arriving = sum(posterior[y] * rows[y].get(x, 0.0) for y in posterior)
        assert arriving == pytest.approx(posterior[x], abs=TOLERANCE)
        for y in posterior:
            forth, back = posterior[x] * rows[x].get(y, 0.0), posterior[y] * rows[y].get(x, 0.0)
            assert forth == pytest.approx(back, abs=TOLERANCE)
    moved = {(x, y) for x in posterior for y, p in rows[x].items() if p > 0 and len(x) != len(y)}
    assert bool(moved) == (program in (arms, nested_arms, steps))  # the number of active sites does change


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", [arms, nested_arms, steps], ids=lambda p: p.__name__)
def test_the_stale_value_of_an_inactive_site_has_no_influence(program):
    transition = Transition(program, kernels.mh())
    for outcome in enumerate_measure(program).marginal(lambda trace: trace.choices):
        zeros, ones = (transition.outcomes(transition.state(dict(outcome), absent=k)) for k in (0, 1))
        assert zeros.keys() == ones.keys()
        assert all(zeros[k] == pytest.approx(ones[k], abs=TOLERANCE) for k in zeros)


@pytest.mark.slow
@pytest.mark.tier0
def test_a_chain_of_moves_reaches_every_outcome():
    measure = enumerate_measure(nested_arms).marginal(lambda trace: trace.choices)
    transition = Transition(nested_arms, kernels.mh())
    places = {outcome: i for i, outcome in enumerate(measure)}
    matrix = np.zeros((len(places), len(places)))
    for outcome, i in places.items():
        for other, p in transition.outcomes(transition.state(dict(outcome))).items():
            matrix[i, places[other]] = p
    many = np.linalg.matrix_power(matrix, 400)
    posterior = np.array([measure[outcome] for outcome in places]) / measure.total()
    np.testing.assert_allclose(many, np.broadcast_to(posterior, many.shape), atol=1e-9)


def test_the_plan_names_each_site_and_its_move():
    form = Transition(arms, kernels.mh()).form
    assert kernels.mh().plan(form)[:2] == [
        "b: one part at a time, proposed from its prior",
        "v: one part at a time, proposed from its prior",
    ]


READ_AFTER_A_LOOP = {
    "first": lambda carry, path: path[0],
    "last": lambda carry, path: path[-1],
    "sum": lambda carry, path: path.sum(),
    "carry": lambda carry, path: carry,
}


@pytest.mark.parametrize("read", READ_AFTER_A_LOOP)
@pytest.mark.parametrize("length", [1, 2])
def test_a_factor_that_reads_the_history_of_a_loop_is_scored_at_its_old_values(read: str, length: int) -> None:
    def program():
        def step(carry, _):
            x = 1.0 * coin("x", 0.3 + 0.4 * carry)
            return x, x

        carry, path = scan(step, 0.0, jnp.arange(length))
        factor("f", -0.4 * READ_AFTER_A_LOOP[read](carry, path))

    assert invariant(kernels.mh(), program).passed


@pytest.mark.rest_slow
@pytest.mark.parametrize("kernel", [kernels.mh(), kernels.gibbs()], ids=repr)
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_history_that_holds_a_step_and_the_one_before_it_changes_at_both(kernel, length, reverse):
    """A value at the last step changes the last row alone; there is no step after it that could take that back."""

    def program():
        def step(before, _):
            x = 1.0 * coin("x", 0.3 + 0.4 * before)
            return x, jnp.stack([x + 2 * before, x * before])

        _, path = jax.lax.scan(step, 0.0, jnp.arange(length), reverse=reverse)
        factor("f", jnp.sum(jnp.array([0.7, -1.3]) * path) - 0.5 * path[0, 0] * path[-1, 0])

    report = invariant(kernel, lawful.trace(program))  # an eager run has no scan of JAX
    report.raise_if_failed()
    assert report.tv < 1e-12
