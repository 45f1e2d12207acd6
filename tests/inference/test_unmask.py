"""A state drawn in any order, by groups, from conditionals that may be wrong: its weights have its law."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.check import check_row

MASS = np.array([[0.1, 0.4], [0.3, 0.0], [0.2, 0.5]])  # the first site has a third value, that the second has not
WRONG = np.array([[0.5, 0.25, 0.25], [0.6, 0.4, 0.0]])
ORDER = [[False, True], [True, False]]


def log_density(x):
    with np.errstate(divide="ignore"):
        return jnp.log(jnp.asarray(MASS))[x[0], jnp.minimum(x[1], 1)]


def guess(x):
    """No mass of anything."""
    return jnp.where(x[1] == 1, 0.7, -0.3)


@pytest.mark.kills("60h", schedule=ORDER)
@pytest.mark.kills("60i", schedule=ORDER)
@pytest.mark.parametrize("schedule", [ORDER, ORDER[::-1], [[True, True]]])
def test_the_law_is_that_of_the_density_whatever_was_drawn_from(schedule):
    with jax.enable_x64(True):
        program = inference.unmask(log_density, lambda x: jnp.asarray(WRONG), schedule, log_marginal=guess)
        exact = inference.enumerate(program)()
        total, found = math.exp(exact.log_evidence), exact.marginal("return")
    assert total == pytest.approx(MASS.sum(), rel=1e-12)
    for state in np.ndindex(MASS.shape):
        assert total * found.get(state, 0.0) == pytest.approx(MASS[state], abs=1e-14)


def exact_conditionals(x):
    first, second = MASS.sum(1), np.append(MASS.sum(0), 0.0)
    rows, columns = MASS.copy(), np.append(MASS.T, np.zeros((1, 3)), 0)
    of_second = np.append(rows, np.zeros((3, 1)), 1)
    p = jnp.where(x[1] < 0, jnp.asarray(first), jnp.asarray(columns)[x[1]])
    q = jnp.where(x[0] < 0, jnp.asarray(second), jnp.asarray(of_second)[x[0]])
    return jnp.stack([p, q])


def exact_marginal(x):
    known = jnp.where(x[1] < 0, jnp.log(MASS.sum()), jnp.log(jnp.asarray(MASS.sum(0)))[x[1]])
    return jnp.where(x[0] < 0, known, log_density(x))


def test_with_exact_conditionals_site_by_site_every_particle_weighs_the_same():
    with jax.enable_x64(True):
        program = inference.unmask(log_density, exact_conditionals, ORDER, log_marginal=exact_marginal)
        result = inference.smc(program, particles=50)(jax.random.key(0))
    assert float(result.log_evidence_pooled) == pytest.approx(math.log(MASS.sum()), abs=1e-12)


def test_what_is_known_at_the_start_stays():
    with jax.enable_x64(True):
        program = inference.unmask(log_density, lambda x: jnp.asarray(WRONG), [[True, False]], start=[-1, 1])
        assert math.exp(inference.enumerate(program)().log_evidence) == pytest.approx(MASS[:, 1].sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "start", "said"),
    [
        ([True, True], None, r"shape \(2,\); expected \(steps, sites\)"),
        ([[True, False]], None, "site 1 is unmasked 0 times; expected 1"),
        ([[True, True], [True, False]], None, "site 0 is unmasked 2 times; expected 1"),
        ([[True, True]], [0, -1], "site 0 is unmasked 1 times; expected 0"),
        ([[True, True]], [0], "start has shape"),
    ],
)
def test_a_schedule_that_does_not_unmask_each_site_once_is_refused(schedule, start, said):
    with pytest.raises(LawfulError, match=said):
        inference.unmask(log_density, exact_conditionals, schedule, start=start)


def test_an_error_in_the_conditionals_names_the_line_of_the_program():
    program = inference.unmask(log_density, lambda x: jnp.full((2, 3), jnp.nan), ORDER)
    with pytest.raises(LawfulError, match=r"test_unmask\.py"):
        inference.enumerate(lambda: program())()


@pytest.mark.slow
def test_unmask_is_lawful_on_random_tables():
    assert check_row("unmask").passed


def test_the_program_traces_to_one_loop():
    form = lawful.trace(inference.unmask(log_density, exact_conditionals, ORDER))
    assert [site.address for site in form.sites()] == [("value",)]
