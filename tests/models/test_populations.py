"""The solver of prey and predators: what it keeps, what it agrees with, and what it says when it cannot run."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lawful
from lawful.errors import LawfulError
from lawful.models import populations

RATES, START, TIMES = np.array([0.55, 0.028, 0.8, 0.024]), np.array([34.0, 5.9]), np.arange(1.0, 21.0)


def solved(**tolerances):
    return np.exp(np.asarray(populations.predation(RATES, START, jnp.array(TIMES), **tolerances)))


@pytest.mark.slow
def test_trajectories_are_those_of_another_solver():
    a, b, c, d = RATES
    field = lambda t, z: [(a - b * z[1]) * z[0], (-c + d * z[0]) * z[1]]
    other = solve_ivp(field, (0, 20), START, "DOP853", t_eval=TIMES, rtol=1e-13, atol=1e-13).y.T
    np.testing.assert_allclose(solved(rtol=1e-11, atol=1e-11, max_steps=20_000), other, rtol=1e-9)
    np.testing.assert_allclose(solved(), other, rtol=1e-4)


@pytest.mark.slow
def test_equal_steps_have_an_error_of_fourth_order():
    exact = solved(rtol=1e-11, atol=1e-11, max_steps=20_000)
    errors = [np.abs(np.log(solved(steps=n) / exact)).max() for n in (8, 16, 32)]
    assert errors[1] < 1e-4
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 16.0, rtol=0.25)


def test_a_trajectory_that_equal_steps_cannot_follow_is_infinite_not_a_number():
    rates = jnp.array([5.0, 5.0, 5.0, 50.0])
    path = populations.predation(rates, jnp.array([100.0, 100.0]), jnp.array([1.0, 2.0]), steps=2)
    assert (path == jnp.inf).any()
    assert not jnp.isnan(path).any()


def test_no_steps_are_refused():
    with pytest.raises(LawfulError, match="steps: expected a number of 1 or more, or None, got 0"):
        solved(steps=0)


def test_a_trajectory_keeps_what_the_equations_keep():
    a, b, c, d = RATES
    kept = lambda u, v: d * u - c * np.log(u) + b * v - a * np.log(v)
    u, v = solved(rtol=1e-11, atol=1e-11, max_steps=20_000).T
    np.testing.assert_allclose(kept(u, v), kept(*START), rtol=1e-9)


def test_a_trajectory_that_cannot_be_finished_has_density_zero():
    program = lambda times, first, later: populations.lotka_volterra(times, first, later, max_steps=5)
    counts = np.full((20, 2), 20.0)
    form = lawful.trace(program, TIMES, START, counts)
    at = {"theta": RATES, "sigma": np.array([0.3, 0.3]), "z_init": START}
    assert float(form.log_density(at, TIMES, START, counts)) == -np.inf


@pytest.mark.slow
def test_the_slope_of_the_density_is_that_of_its_differences():
    counts = np.full((20, 2), 20.0)
    program = lambda times, first, later: populations.lotka_volterra(times, first, later, rtol=1e-10, atol=1e-10)
    density = lawful.density(program, TIMES, START, counts)
    at = {"theta": jnp.log(RATES), "sigma": jnp.log(jnp.array([0.3, 0.4])), "z_init": jnp.log(START)}
    slope, step = jax.grad(density.logp)(at)["theta"], 1e-5 * jnp.eye(4)
    for i in range(4):
        ahead, behind = (density.logp({**at, "theta": at["theta"] + sign * step[i]}) for sign in (1, -1))
        assert float(slope[i]) == pytest.approx(float((ahead - behind) / 2e-5), rel=1e-4, abs=1e-3)


def test_without_diffrax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(LawfulError, match=r"Fix: pip install 'lawful\[ode\]'"):
        solved()
