"""Guarded choices: lanes of a sequence that is over, and data that were observed, weigh nothing and say nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import deterministic, factor, handlers, inference, plate, sample, scan
from lawful.distributions.absent import Guarded, guarded
from lawful.distributions.law import law_of

LENGTHS = [3, 1, 2]
PRESENT = np.arange(3) < np.array(LENGTHS)[:, None]
Y = np.where(PRESENT, 0.5 + 0.25 * np.arange(9).reshape(3, 3), np.nan)
NORMAL = float(dist.Normal(0.0, 1.0).log_prob(0.0))


def person(y):
    """A level that wanders, with a rate and shares of its own at each step."""

    def step(x, y):
        x = sample("x", dist.Normal(x, 0.5))
        rate = sample("rate", dist.Gamma(2.0, jnp.exp(x)))
        share = sample("share", dist.Dirichlet(2.0 * jnp.ones(3)))
        sample("y", dist.Gamma(rate, share[0]), obs=y)
        factor("f", -0.1 / x**2)
        return x, rate

    return scan(step, 1.0, y)


def batch(y, present):
    def step(x, y):
        with plate("person", 3):
            x = sample("x", dist.Normal(x, 0.5))
            rate = sample("rate", dist.Gamma(2.0, jnp.exp(x)))
            share = sample("share", dist.Dirichlet(2.0 * jnp.ones(3)))
            sample("y", dist.Gamma(rate, share[:, 0]), obs=y)
            factor("f", -0.1 / x**2)
        return x, rate

    return scan(step, jnp.ones(3), y.T, mask=present.T)


def choices(junk=None):
    """Values (step, person, ...), with junk where a sequence is over."""
    drawn = {
        "x": 1.0 + 0.1 * np.arange(9.0).reshape(3, 3),
        "rate": 0.3 + 0.2 * np.arange(9.0).reshape(3, 3),
        "share": np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])[[[0, 1, 2], [2, 1, 0], [1, 0, 2]]],
    }
    if junk is None:
        return drawn
    there = PRESENT.T
    return {n: np.where(there.reshape(there.shape + (1,) * (v.ndim - 2)), v, junk) for n, v in drawn.items()}


def alone(values):
    """The log density of each person alone."""
    for number, length in enumerate(LENGTHS):
        own = {name: value[:length, number] for name, value in values.items()}
        y = Y[number, :length]
        yield lawful.trace(person, y).log_density(own, y)


def test_a_ragged_batch_has_the_density_of_its_persons_one_by_one():
    here = lawful.trace(batch, Y, PRESENT).log_density(choices(), Y, PRESENT)
    assert float(here) == pytest.approx(float(sum(alone(choices()))), rel=1e-12)
    assert float(here) == pytest.approx(float(handlers.log_density(batch, choices())(Y, PRESENT)), rel=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("junk", [np.nan, np.inf, -1.0, 1e30])
def test_values_of_what_is_absent_change_no_bit_of_value_and_gradient(junk):
    form = lawful.trace(batch, Y, PRESENT)

    def density(values):
        return form.log_density(values, Y, PRESENT)

    plain, spoilt = (jax.value_and_grad(density)(choices(j)) for j in (None, junk))
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(spoilt), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
    for slope in spoilt[1].values():
        assert not slope[~PRESENT.T].any() and slope[PRESENT.T].any()


def test_what_is_absent_is_drawn_and_read_as_a_fixed_number():
    run = handlers.trace(handlers.seed(batch, jax.random.key(9)))(Y, PRESENT)
    by_form = handlers.trace(handlers.seed(lawful.trace(batch, Y, PRESENT), jax.random.key(9)))(Y, PRESENT)
    for record in (run, by_form):
        values = np.array([[record.choices[name, step] for step in range(3)] for name in ("x", "rate")])
        fixed = values[:, ~PRESENT.T]
        assert (fixed == [[0.5], [np.exp(0.5)]]).all() and len(np.unique(values[:, PRESENT.T])) == 12

    def named(present):
        def step(carry, _):
            with plate("lane", 2):
                deterministic("seen", sample("x", dist.Normal(0.0, 1.0)))
            return carry, None

        scan(step, jnp.zeros(2), None, length=2, mask=present)

    given = handlers.replay(named, {("x", 0): np.array([7.0, 8.0]), ("x", 1): np.array([9.0, np.nan])})
    seen = handlers.trace(given)(np.array([[True, True], [True, False]])).deterministics
    np.testing.assert_array_equal([seen["seen", 0], seen["seen", 1]], [[7.0, 8.0], [9.0, 0.5]])


@pytest.mark.slow
def test_coordinates_of_what_is_absent_have_a_standard_normal_law_of_their_own():
    density = lawful.density(batch, Y, PRESENT)
    origin, unravel = density.ravel()
    free = unravel(origin + 0.1 * jnp.sin(jnp.arange(len(origin))))
    expected = 0.0
    for number, length in enumerate(LENGTHS):
        own = lawful.density(person, Y[number, :length])
        expected += own.logp({name: value[:length, number] for name, value in free.items()})
    absent = jnp.concatenate([jnp.ravel(value[~PRESENT.T]) for value in free.values()])
    expected += jnp.sum(dist.Normal(0.0, 1.0).log_prob(absent))
    assert float(density.logp(free)) == pytest.approx(float(expected), rel=1e-12)
    values = density.constrain(free)
    np.testing.assert_array_equal(values["x"][~PRESENT.T], 0.5)


def test_a_whole_number_that_is_absent_has_one_value():
    law, parameters = law_of(guarded(dist.Categorical(jnp.array([0.2, 0.3, 0.5])).expand([2]), np.array([True, False])))
    values, masses = law.enumerate(*parameters)
    there = {tuple(v): float(np.exp(m)) for v, m in zip(values.tolist(), masses, strict=True) if m > -np.inf}
    assert there == pytest.approx({(0, 0): 0.2, (1, 0): 0.3, (2, 0): 0.5}, rel=1e-12)
    for value, mass in zip(values, masses, strict=True):
        assert float(law.log_prob(value, *parameters)) == pytest.approx(float(mass), rel=1e-12)


BASES = {
    "to_event": lambda: dist.Normal(0.0, 1.0).expand([2, 3]).to_event(1),
    "simplex": lambda: dist.Dirichlet(jnp.ones(3)).expand([2]),
    "interval": lambda: dist.Beta(2.0, 3.0).expand([2]),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", BASES)
def test_a_guard_keeps_shape_and_support_of_what_is_there(name):
    base = BASES[name]()
    there = guarded(base, np.array([False, True]))
    draw = there.sample(jax.random.key(1), (4,))
    assert draw.shape == (4, *base.shape()) and bool(base.support(draw).all())
    assert (draw[:, 0] == draw[0, 0]).all() and not (draw[:, 1] == draw[0, 1]).all()
    np.testing.assert_array_equal(there.log_prob(draw)[:, 0], 0.0)
    np.testing.assert_allclose(there.log_prob(draw)[:, 1], base.log_prob(draw)[:, 1], rtol=1e-12)


def test_a_guard_where_all_is_there_is_none():
    base = dist.Normal(0.0, 1.0).expand([2])
    assert guarded(base, np.ones(2, bool)) is base
    assert isinstance(guarded(base, np.zeros(2, bool)), Guarded)


def test_a_choice_for_all_lanes_together_is_not_guarded():
    def shared(present):
        def step(carry, _):
            z = sample("z", dist.Normal(0.0, 1.0))
            with plate("lane", 2):
                sample("x", dist.Normal(z, 1.0))
            return carry, None

        scan(step, jnp.zeros(2), None, length=1, mask=present)

    form = lawful.trace(shared, np.array([[True, False]]))
    here = form.log_density({"z": np.zeros(1), "x": np.zeros((1, 2))}, np.array([[True, False]]))
    assert float(here) == pytest.approx(2 * NORMAL, rel=1e-12)


def test_missing_data_are_choices_where_they_are_missing_only():
    y, seen = np.array([0.5, np.nan, -1.0]), np.array([True, False, True])

    def imputing(y, m):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("row", 3):
            sample("y", dist.Normal(mu, 1.0), obs=y, obs_mask=m, impute=True)

    form = lawful.trace(imputing, y, seen)
    junk = {"mu": 0.0, ("y", "missing"): np.array([np.nan, 0.25, 1e30])}
    expected = NORMAL + dist.Normal(0.0, 1.0).log_prob(np.array([0.5, 0.25, -1.0])).sum()
    assert float(form.log_density(junk, y, seen)) == pytest.approx(float(expected), rel=1e-12)
    assert "where" in form.show()


def test_enumeration_of_a_ragged_batch_lists_no_path_twice():
    def coins(present):
        def step(x, _):
            with plate("person", 2):
                x = sample("x", dist.Bernoulli(0.25 + 0.5 * x))
            return x, x

        return scan(step, jnp.zeros(2, int), None, length=2, mask=present)[0]

    exact = inference.enumerate(coins)(np.array([[True, True], [True, False]]))
    assert float(exact.log_evidence) == pytest.approx(0.0, abs=1e-15)
    ends = exact.marginal("return")
    assert sum(p for value, p in ends.items() if value[1] == 1) == pytest.approx(0.25, rel=1e-12)
    assert sum(p for value, p in ends.items() if value[0] == 1) == pytest.approx(0.25 * 0.75 + 0.75 * 0.25, rel=1e-12)
