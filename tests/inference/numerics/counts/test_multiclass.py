"""Multiclass counts: the recursion is the table; the normal approximation approaches it as 1 / B^2."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lawful.errors import MemoryLimitError, ObservationError
from lawful.inference.graphs import counts
from tests.inference.numerics.counts import exact


def table(logits, target):
    """Messages with maximum 0 and log evidence, over all assignments."""
    size, classes = logits.shape
    log_p = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    every = [
        z for z in itertools.product(range(classes), repeat=size) if (np.bincount(z, minlength=classes) == target).all()
    ]
    told = np.full((size, classes), -np.inf)
    for i, k in itertools.product(range(size), range(classes)):
        told[i, k] = exact.log_sum([sum(log_p[j, z[j]] for j in range(size) if j != i) for z in every if z[i] == k])
    log_z = exact.log_sum([sum(log_p[j, z[j]] for j in range(size)) for z in every])
    return told - np.maximum(told.max(axis=1, keepdims=True), -1e300), log_z


@pytest.mark.rest_slow
@pytest.mark.parametrize("target", [(2, 1, 1), (0, 3, 1), (4, 0, 0)])
def test_the_recursion_is_the_table(target):
    logits = np.random.default_rng(0).normal(size=(2, 4, 3))
    logits[1, 2, 0] = -np.inf
    solved = counts.multiclass_solve(jnp.asarray(logits), jnp.asarray(target))
    for row in range(2):
        told, log_z = table(logits[row], target)
        if log_z > -np.inf:
            assert exact.error(solved.messages[row], told) < 1e-12
        assert exact.error(solved.log_evidence[row], log_z) < 1e-12


def test_traced_counts_take_bounds():
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 3)))
    target = jnp.asarray([[2, 1, 1], [0, 3, 1]])
    traced = jax.jit(lambda s: counts.multiclass_solve(logits, s, most=(4, 4, 4)))(target)
    plain = counts.multiclass_solve(logits, target)
    assert exact.error(traced.messages, plain.messages) < 1e-12
    wrong = jax.jit(lambda s: counts.multiclass_solve(logits, s, most=(4, 4, 4)))(target + 1)
    assert (wrong.log_evidence == -jnp.inf).all()


def test_two_classes_are_a_hard_count():
    h = np.random.default_rng(2).normal(size=9)
    logits = jnp.stack([jnp.zeros(9), jnp.asarray(h)], axis=-1)
    solved = counts.multiclass_solve(logits, jnp.asarray([5, 4]))
    told, log_z = exact.solve(h, np.where(np.arange(10) == 4, 0, -np.inf))
    assert_allclose(solved.messages[:, 1] - solved.messages[:, 0], told, atol=1e-12)
    assert_allclose(solved.log_evidence, log_z, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("correction", "power"), [(True, 2), (False, 1)])
def test_the_approximation_gains_its_orders(correction, power):
    """Four times the members, with the same mixture of logits: the error falls by about 4^2 or 4."""
    base = np.random.default_rng(3).normal(size=(12, 3))
    errors = []
    for times in (1, 4):
        logits, target = jnp.asarray(np.tile(base, (times, 1))), jnp.asarray([5 * times, 4 * times, 3 * times])
        exactly = counts.multiclass_solve(logits, target)
        nearly = counts.multiclass_approximate(logits, target, correction=correction)
        gap = nearly.messages - exactly.messages
        errors.append(float(jnp.max(jnp.abs(gap - gap.mean(axis=1, keepdims=True)))))
        assert abs(float(nearly.log_evidence - exactly.log_evidence)) < 0.3 / times
    assert 0.6 * 4**power < errors[0] / errors[1] < 1.8 * 4**power, errors


def test_the_approximation_of_two_classes_is_that_of_a_hard_count():
    h = np.random.default_rng(4).normal(size=50)
    logits = jnp.stack([jnp.zeros(50), jnp.asarray(h)], axis=-1)
    told = counts.multiclass_approximate(logits, jnp.asarray([30, 20])).messages
    expected = counts.messages(jnp.asarray(h), counts.potentials.hard_count(20, 50), method="asymptotic")
    assert_allclose(told[:, 1] - told[:, 0], expected, atol=1e-10)


def test_empty_classes_are_gone():
    logits = jnp.asarray(np.random.default_rng(5).normal(size=(6, 3)))
    for solve in (counts.multiclass_solve, counts.multiclass_approximate):
        solved = solve(logits, jnp.asarray([0, 4, 2]))
        assert (solved.messages[:, 0] == -jnp.inf).all()
        assert np.isfinite(solved.messages[:, 1:]).all()


def test_too_many_states_are_refused():
    with pytest.raises(MemoryLimitError, match="multiclass_approximate"):
        counts.multiclass_solve(jnp.zeros((200, 3)), jnp.asarray([70, 70, 60]))


def test_counts_that_do_not_add_up_are_refused():
    for solve in (counts.multiclass_solve, counts.multiclass_approximate):
        with pytest.raises(ObservationError, match="add up"):
            solve(jnp.zeros((3, 2)), jnp.asarray([1, 1]))


def test_other_numbers_of_the_same_shape_compile_nothing(caplog):
    numbers = [jnp.asarray(np.random.default_rng(seed).normal(size=(2, 5, 3))) for seed in range(2)]
    target = jnp.array([[2, 2, 1], [1, 2, 2]])
    for ask in (counts.multiclass_solve, counts.multiclass_approximate):
        ask(numbers[0], target)
        with jax.log_compiles():
            caplog.clear()
            ask(numbers[1], target)
        assert not caplog.records
