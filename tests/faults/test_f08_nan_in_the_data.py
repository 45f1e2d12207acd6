"""Row 8: a NaN among the data is an error that names site and index, whichever way the data come."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, plate, sample, scan
from lawful.errors import ObservationError
from tests.ppl.families import FAMILIES

from .test_f07_outside_the_support import ALGORITHMS, MODES

CONTINUOUS = [name for name, family in FAMILIES.items() if not family.discrete]
DATA = np.array([1.0, 2.0, np.nan, 0.5, np.nan])


@MODES
@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_nan_is_refused_at_every_site(name, run):
    family = FAMILIES[name]
    value = np.array(family.inside, float)
    first = (0,) * value.ndim
    value[first] = np.nan
    with pytest.raises(ObservationError) as caught:
        run(lambda: sample("y", family.make(), obs=value))
    assert (caught.value.site, caught.value.index) == (("y",), first)
    assert f"site 'y' ({__file__}:" in str(caught.value) and "NaN" in str(caught.value) and "Fix:" in str(caught.value)


def plated(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("a", len(y)):
        sample("y", dist.Normal(mu, 1.0), obs=y)


def looped(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, 0.0, y)


def computed(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("a", len(y)):
        sample("y", dist.Normal(mu, 1.0), obs=jnp.log(jnp.exp(y)))


@pytest.mark.parametrize("program", [plated, looped, computed])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_arguments_with_a_nan_are_refused_at_the_call(program, algorithm):
    with pytest.raises(ObservationError, match=r"site 'y' \(.*is NaN at index \(2,\)") as caught:
        ALGORITHMS[algorithm](program, DATA)
    assert caught.value.index == (2,)


def test_an_eager_loop_names_the_step():
    with pytest.raises(ObservationError, match=r"site 'y\[2\]' .*NaN"):
        handlers.seed(looped, jax.random.key(0))(DATA)


@MODES
def test_conditioning_on_a_nan_is_refused(run):
    program = handlers.condition(lambda: sample("y", dist.Normal(0.0, 1.0)), {"y": np.nan})
    with pytest.raises(ObservationError, match=r"site 'y' .*NaN"):
        run(program)


def test_a_second_call_with_other_data_is_checked_too():
    plan = lawful.inference.importance(plated, particles=4)
    plan(jax.random.key(0), np.ones(5))
    with pytest.raises(ObservationError, match="NaN"):
        plan(jax.random.key(0), DATA)
    assert plan(jax.random.key(0), np.ones(5)).ok is not None
