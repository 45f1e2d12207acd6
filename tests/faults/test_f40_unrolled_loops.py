"""Fault row 40: many equal sites that no loop can hold give one warning, once, with its line and the compile time."""

import warnings

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import lawful
from lawful.passes.rolling.unrolled_sites import UnrolledWarning


def told(program, *args):
    """The warnings of scoring a program twice."""
    form = lawful.trace(program, *args)
    choices = {f"x{i}": 0.1 for i in range(args[0])}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            form.log_density(choices)
    return [warning for warning in caught if issubclass(warning.category, UnrolledWarning)]


def tangled(n):
    values = [jnp.zeros(())]
    for i in range(n):
        values.append(sample_of_all(i, values))


def sample_of_all(i, values):
    return lawful.sample(f"x{i}", dist.Normal(sum(values), 1.0))


@pytest.mark.fault(40)
def test_f40_sixty_sites_that_differ_from_step_to_step_give_one_warning_once():
    (warning,) = told(tangled, 60)
    text = str(warning.message)
    assert "test_f40_unrolled_loops.py:" in text and "60 equal sites Normal" in text
    assert "about 1.5 to 2.4 s" in text and "lawful.scan" in text
    assert not told(tangled, 61)  # the line has been named


def test_f40_sites_that_a_loop_holds_and_a_few_sites_give_no_warning():
    def chain(n):
        x = 0.0
        for i in range(n):
            x = lawful.sample(f"x{i}", dist.Normal(x, 1.0))

    def few(n):
        values = [jnp.zeros(())]
        for i in range(n):
            values.append(lawful.sample(f"x{i}", dist.Normal(sum(values), 1.0)))

    assert not told(chain, 60)
    assert not told(few, 50)
