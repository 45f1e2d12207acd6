"""Ragged sequences: a padded sequence means what it means without its padding, one by one and in a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, handlers, inference, plate, sample, scan
from lawful.errors import LawfulError, ObservationError, UnsupportedProgramError
from lawful.inference.check import compare, enumerate_measure

KEY = jax.random.key(6)
PERSONS = [[1, 0, 1], [0], [1, 1]]
Y, SEEN = lawful.pad(PERSONS, 4)


def person(y, present=None):
    """A hidden state that flips and is seen through noise; a factor weighs each step."""

    def step(x, y):
        x = sample("x", dist.Bernoulli(0.25 + 0.5 * x))
        sample("y", dist.Bernoulli(0.125 + 0.625 * x), obs=y)
        factor("f", 0.25 * x)
        return x, x

    return scan(step, 0, y, mask=present)[0]


def batch(y, present):
    def step(x, y):
        with plate("person", 3):
            x = sample("x", dist.Bernoulli(0.25 + 0.5 * x))
            sample("y", dist.Bernoulli(0.125 + 0.625 * x), obs=y)
            factor("f", 0.25 * x)
        return x, x

    return scan(step, jnp.zeros(3, int), y.T, mask=present.T)[0]


def evidence(model, *args):
    return float(inference.enumerate(model)(*args).log_evidence)


def test_pad_keeps_the_sequences_and_says_where_they_are():
    for row, present, sequence in zip(Y, SEEN, PERSONS, strict=True):
        assert row[present].tolist() == sequence and not row[~present].any() and present.sum() == len(sequence)
    vectors, present = lawful.pad([np.ones((2, 3)), np.zeros((0, 3)), np.ones((1, 3))])
    assert vectors.shape == (3, 2, 3) and present.sum(axis=1).tolist() == [2, 0, 1]
    assert lawful.pad([])[0].shape == (0, 0) and lawful.pad([[], []])[1].shape == (2, 0)
    with pytest.raises(LawfulError, match="3 steps, more than length=2"):
        lawful.pad(PERSONS, 2)
    with pytest.raises(LawfulError, match=r"one shape, got \(2,\) at place 1 beside \(3,\)"):
        lawful.pad([np.ones((2, 3)), np.ones((1, 2))])


@pytest.mark.rest_slow
@pytest.mark.parametrize("number", range(3))
def test_a_padded_sequence_is_the_sequence(number):
    short = np.array(PERSONS[number])
    padded, whole = (enumerate_measure(person, *args) for args in ((Y[number], SEEN[number]), (short,)))
    assert compare(padded.marginal(lambda t: t.output), whole.marginal(lambda t: t.output)).error <= 1e-12
    assert evidence(person, Y[number], SEEN[number]) == pytest.approx(evidence(person, short), rel=1e-12)


def test_a_ragged_batch_is_the_product_of_its_persons():
    alone = [inference.enumerate(person)(np.array(sequence)) for sequence in PERSONS]
    together = inference.enumerate(batch)(Y, SEEN)
    assert float(together.log_evidence) == pytest.approx(sum(float(e.log_evidence) for e in alone), rel=1e-12)
    for number, exact in enumerate(alone):
        ones = sum(p for value, p in together.marginal("return").items() if value[number] == 1)
        assert ones == pytest.approx(exact.marginal("return")[1], rel=1e-12)


def test_gaps_are_steps_that_are_left_out():
    y, present = np.array([1, 0, 1, 0]), np.array([True, False, False, True])
    assert evidence(person, y, present) == pytest.approx(evidence(person, y[present]), rel=1e-12)


def walk(y, present=None):
    def step(x, y):
        x = sample("x", dist.Normal(x, 0.5))
        sample("y", dist.Gamma(2.0, jnp.exp(x)), obs=y)
        return x, x

    return scan(step, 0.0, y, mask=present)


def walks(y, present):
    def step(x, y):
        with plate("person", 2):
            x = sample("x", dist.Normal(x + jnp.log(y), 0.5))
            sample("y", dist.Gamma(2.0, jnp.exp(x)), obs=y)
        return x, x

    return scan(step, jnp.zeros(2), y.T, mask=present.T)


def test_steps_that_are_left_out_weigh_nothing_and_are_absent():
    y, present = np.array([0.5, 1.5, np.nan]), np.array([True, True, False])
    form = lawful.trace(walk, y, present)
    x = jnp.array([0.1, 0.2, 77.0])
    short = lawful.trace(walk, y[:2])
    assert float(form.log_density({"x": x}, y, present)) == pytest.approx(
        float(short.log_density({"x": x[:2]}, y[:2])), rel=1e-12
    )
    carry, ys = handlers.seed(walk, KEY)(y, present)
    assert ys.shape == (3,) and ys[2] == 0.0 and carry == ys[1]
    result = inference.importance(walk, particles=5)(KEY, y, present)
    assert np.isnan(result.weighted.values["x"]).any(axis=(0, 1)).tolist() == [False, False, True]


@pytest.mark.rest_slow
@pytest.mark.parametrize("junk", [np.nan, np.inf, -1.0, 1e30])
@pytest.mark.parametrize("program", [walk, walks])
def test_padding_changes_no_bit_of_value_and_gradient(program, junk):
    present = np.array([[True, True, False], [True, False, False]])
    plain = np.where(present, 0.75, 1.0)
    spoilt = np.where(present, plain, junk)
    choices = jnp.linspace(0.1, 0.6, 3)
    if program is walk:
        present, plain, spoilt = present[0], plain[0], spoilt[0]
    else:
        choices = jnp.stack([choices, choices + 0.1], axis=1)
    form = lawful.trace(program, plain, present)

    def density(x, y):
        return form.log_density({"x": x}, y, present)

    one, other = (jax.value_and_grad(density, (0, 1))(choices, jnp.asarray(y)) for y in (plain, spoilt))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))
    assert np.isfinite(one[0]) and np.isfinite(one[1][0]).all()
    assert (np.asarray(one[1][1])[~present] == 0.0).all()


def test_the_data_of_the_steps_that_are_there_are_checked():
    present = np.array([True, True, False])
    with pytest.raises(ObservationError, match=r"site 'y\[1\]' .*NaN"):
        handlers.seed(walk, KEY)(np.array([0.5, np.nan, np.nan]), present)
    for wrong in (np.nan, -1.0):
        with pytest.raises(ObservationError, match=r"site 'y' .*at index \(1,\)"):
            inference.importance(walk, particles=2)(KEY, np.array([0.5, wrong, np.nan]), present)
    data = inference.importance(walk, particles=2)(KEY, np.array([0.5, 1.5, np.nan]), present).groups["observed_data"]
    np.testing.assert_array_equal(data["y"], [0.5, 1.5, np.nan])
    y, m = np.full((2, 3), 0.5), np.array([[True, True, False], [True, False, False]])
    y[0, 1:] = np.nan
    with pytest.raises(ObservationError, match=r"site 'y' .*NaN at index \(1, 0\)"):
        inference.importance(walks, particles=2)(KEY, y, m)


@pytest.mark.slow
def test_sequential_monte_carlo_runs_over_padding():
    """Evidence of 400 runs against the exact sum: a difference of 6 standard errors has probability below 1e-8."""
    result = inference.smc(person, particles=20, runs=400)(KEY, Y[0], SEEN[0])
    z = np.exp(np.asarray(result.log_evidence))
    truth = np.exp(evidence(person, np.array(PERSONS[0])))
    assert abs(z.mean() - truth) < 6 * z.std() / np.sqrt(len(z)) + 1e-12


@pytest.mark.parametrize("steps", [0, 3])
def test_a_sequence_without_any_step_keeps_the_prior(steps):
    nothing = np.zeros(steps, bool)
    assert evidence(person, np.ones(steps, int), nothing) == pytest.approx(0.0, abs=1e-15)
    carry, ys = handlers.seed(walk, KEY)(np.full(steps, np.nan), nothing)
    assert carry == 0.0 and ys.shape == (steps,)


def test_a_mask_has_one_truth_value_a_step():
    with pytest.raises(LawfulError, match=r"mask of truth values, got int"):
        handlers.seed(person, KEY)(Y[0], np.ones(4, int))
    with pytest.raises(LawfulError, match=r"one truth value a step"):
        handlers.seed(person, KEY)(Y[0], np.array(True))
    with pytest.raises(LawfulError, match=r"one number of steps .*\[3, 4\]"):
        handlers.seed(person, KEY)(Y[0], np.ones(3, bool))
    with pytest.raises(LawfulError, match=r"mask of shape \(2,\) does not fit"):
        lawful.trace(batch, Y, np.ones((2, 4), bool))
    with pytest.raises(LawfulError, match=r"lanes \(2,\) a step .*got \(\)"):
        lawful.trace(lambda m: scan(lambda c, _: (c, c), 0.0, None, mask=m), np.ones((4, 2), bool))


def test_the_carry_keeps_its_type():
    def grows(y, m):
        return scan(lambda c, y: (jnp.stack([c, c]), y), 0.0, y, mask=m)

    with pytest.raises(LawfulError, match="passes the carry through"):
        lawful.trace(grows, np.ones(2), np.ones(2, bool))


def test_a_plain_vmap_over_masks_says_what_it_needs():
    with pytest.raises(UnsupportedProgramError, match=r"vmap.*plate"):
        lawful.trace(lambda y, m: jax.vmap(person)(y, m), Y, SEEN)
