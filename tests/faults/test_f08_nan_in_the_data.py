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

DATA = np.array([1.0, 2.0, np.nan, 0.5, np.nan])


@pytest.mark.rest_slow
@MODES
@pytest.mark.parametrize("name", FAMILIES)
def test_f08_a_nan_is_refused_at_every_site(name, run):
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


@pytest.mark.fault(8)
@pytest.mark.parametrize("program", [plated, looped, computed])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_f08_arguments_with_a_nan_are_refused_at_the_call(program, algorithm):
    with pytest.raises(ObservationError, match=r"site 'y' \(.*is NaN at index \(2,\)") as caught:
        ALGORITHMS[algorithm](program, DATA)
    assert caught.value.index == (2,)


COUNTS = {
    "Poisson": lambda p: dist.Poisson(3.0 * p),
    "Bernoulli": dist.Bernoulli,
    "Binomial": lambda p: dist.Binomial(5, p),
    "Categorical": lambda p: dist.Categorical(jnp.stack([p / 2, p / 2, 1 - p])),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_f08_counts_that_come_as_numbers_with_a_nan_are_refused_too(name, algorithm):
    """As a table with gaps has them: integers with a NaN are read as floating numbers."""

    def program(y):
        p = sample("p", dist.Beta(2.0, 2.0))
        with plate("a", len(y)):
            sample("y", COUNTS[name](p), obs=y)

    with pytest.raises(ObservationError, match=r"site 'y' \(.*is NaN at index \(2,\)") as caught:
        ALGORITHMS[algorithm](program, np.array([1.0, 0.0, np.nan, 1.0]))
    assert (caught.value.site, caught.value.index) == (("y",), (2,))


def test_f08_an_eager_loop_names_the_step():
    with pytest.raises(ObservationError, match=r"site 'y\[2\]' .*NaN"):
        handlers.seed(looped, jax.random.key(0))(DATA)


@MODES
def test_f08_conditioning_on_a_nan_is_refused(run):
    program = handlers.condition(lambda: sample("y", dist.Normal(0.0, 1.0)), {"y": np.nan})
    with pytest.raises(ObservationError, match=r"site 'y' .*NaN"):
        run(program)


def test_f08_a_second_call_with_other_data_is_checked_too():
    plan = lawful.inference.importance(plated, particles=4)
    before = plan(jax.random.key(0), np.ones(5))
    with pytest.raises(ObservationError, match="NaN"):
        plan(jax.random.key(0), DATA)
    after = plan(jax.random.key(0), np.ones(5))  # and the one after it is as if it had not been
    np.testing.assert_array_equal(after.log_evidence, before.log_evidence)
    np.testing.assert_array_equal(after.posterior["mu"], before.posterior["mu"])


def masked(y, m):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("a", len(y)):
        sample("y", dist.Normal(mu, 1.0), obs=y, obs_mask=m)


def masked_steps(y, m):
    def step(x, data):
        y, m = data
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 1.0), obs=y, obs_mask=m)
        return x, None

    scan(step, 0.0, (y, m))


SEEN = ~np.isnan(DATA)


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", [masked, masked_steps])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_f08_a_masked_nan_is_accepted_and_another_refused(program, algorithm):
    ALGORITHMS[algorithm](program, DATA, SEEN)
    mask = SEEN.copy()
    mask[2] = True
    with pytest.raises(ObservationError, match=r"site 'y' \(.*is NaN at index \(2,\)"):
        ALGORITHMS[algorithm](program, DATA, mask)


@pytest.mark.parametrize("program", [masked, masked_steps])
@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30])
def test_f08_a_masked_nan_changes_no_bit_of_value_and_gradient(program, junk):
    form = lawful.trace(program, DATA, SEEN)
    name = "mu" if program is masked else "x"
    choices = {name: jnp.asarray(0.25) if program is masked else jnp.linspace(0.0, 1.0, 5)}

    def density(choices, y):
        return form.log_density(choices, y, SEEN)

    plain, spoilt = np.where(SEEN, DATA, 0.5), np.where(SEEN, DATA, junk)
    one, other = (jax.value_and_grad(density, (0, 1))(choices, jnp.asarray(y)) for y in (plain, spoilt))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


def test_f08_the_message_points_to_the_mask():
    with pytest.raises(ObservationError, match=r"obs_mask \(lawful\.missing\(y\) reads NaN as missing\)"):
        handlers.seed(plated, jax.random.key(0))(DATA)
