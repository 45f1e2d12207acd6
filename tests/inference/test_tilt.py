"""A program weighed by its density ratio to another: the geometric path between two laws, and beyond."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.check import check_row
from lawful.inference.check.exact.reference import enumerate_measure

TABLES = {"p": ([0.2, 0.8], [0.1, 0.6, 0.3]), "q": ([0.5, 0.5], [0.3, 0.3, 0.4])}


def chosen(which, held):
    """Two sites, the second in the arm where the first is `held`; data that tell of the first."""
    first, second = TABLES[which]

    def program(y):
        a = lawful.sample("a", dist.Categorical(probs=jnp.array(first)))
        b = lawful.cond(a == held, lambda: lawful.sample("b", dist.Categorical(probs=jnp.array(second))), lambda: 0)
        lawful.sample("y", dist.Normal(a, 1.0), obs=y)
        return a, b

    return program


def masses(program, *args):
    with jax.enable_x64(True):
        measure = enumerate_measure(program, *args)
        return {trace.choices: measure[trace] for trace, _ in measure.traces()}


@pytest.mark.kills("60f", beta=0.3)
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 2.0])
def test_the_density_is_the_geometric_mean_of_both(beta):
    tilted, p, q = (
        masses(program, 0.7)
        for program in (inference.tilt(chosen("p", 1), chosen("q", 1), beta), chosen("p", 1), chosen("q", 1))
    )
    assert tilted.keys() == p.keys()
    for choices, mass in tilted.items():
        assert mass == pytest.approx(p[choices] ** (1 - beta) * q[choices] ** beta, rel=1e-12)


@pytest.mark.kills("60g")
def test_a_value_whose_choices_the_other_program_does_not_make_has_no_mass():
    found = masses(inference.tilt(chosen("p", 1), chosen("q", 0)), 0.7)
    assert max(found.values()) == 0.0


def test_a_value_that_the_program_itself_excludes_stays_out():
    def excluded():
        lawful.factor("out", jnp.where(lawful.sample("x", dist.Bernoulli(0.5)) == 1, -jnp.inf, 0.0))

    with jax.enable_x64(True):
        whole = inference.enumerate(inference.tilt(excluded, lambda: lawful.sample("x", dist.Bernoulli(0.3))))()
    assert math.exp(whole.log_evidence) == pytest.approx(0.7, rel=1e-12)


def test_the_power_may_be_a_site():
    def program():
        beta = jnp.array([0.0, 1.0])[lawful.sample("which", dist.Bernoulli(0.5))]
        inference.tilt(chosen("p", 1), chosen("q", 1), beta)(0.7)

    both = [sum(masses(chosen(which, 1), 0.7).values()) for which in "pq"]
    assert sum(masses(program).values()) == pytest.approx(np.mean(both), rel=1e-12)


def test_a_plate_around_it_is_refused_since_it_would_be_drawn_once():
    def program():
        with lawful.plate("row", 2):
            inference.tilt(chosen("p", 1), chosen("q", 1))(0.7)

    with pytest.raises(LawfulError, match="inside the plate 'row'.*Fix: open the plate inside"):
        lawful.trace(program)


def test_programs_of_other_choices_are_refused_with_both_lists():
    with pytest.raises(LawfulError, match=r"'x' \(\), and the other one 'y' \(\)"):
        lawful.trace(inference.tilt(*(lambda n=n: lawful.sample(n, dist.Normal(0.0, 1.0)) for n in "xy")))


@pytest.mark.slow
def test_tilt_is_lawful_on_random_programs():
    assert check_row("tilt").passed
