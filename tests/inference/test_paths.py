"""Every observation enters exactly once, in the order that the path says, and a power raises what weighs, no more."""

import functools

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, plate, sample, scan
from lawful.errors import LawfulError
from lawful.inference.representations.annealing_paths import data_by_data, prior_to_posterior
from lawful.inference.representations.tempered_program import Before, Entered, Entering, powered


def rich(y, z):
    """Plates, a loop, a branch with a factor in each arm, and a factor outside."""
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("row", 4):
        sample("y", dist.Normal(mu, 1.0), obs=y)

    def step(x, z):
        x = sample("x", dist.Normal(x, 1.0))
        sample("z", dist.Normal(x, 0.5), obs=z)
        return x, None

    x, _ = scan(step, mu, z)
    b = sample("b", dist.Bernoulli(0.4))
    cond(b == 1, lambda: factor("arm", -0.5 * x**2), lambda: factor("arm", 0.25 * x))
    factor("end", -jnp.abs(mu))


ARGS = (jnp.array([0.3, -0.2, 1.0, 0.4]), jnp.array([0.1, 0.2, -0.3]))
CHOICES = {"mu": 0.3, "x": np.array([0.2, -0.1, 0.6]), "b": 1}


@functools.cache
def target(exponent, path):
    form = lawful.trace(rich, *ARGS)
    return powered(form, path.entries(form)[0], exponent)


def density(exponent, path, block, power, choices=CHOICES):
    point = jnp.asarray(block, jnp.int32), jnp.asarray(power, float)
    return float(target(exponent, path).log_density(choices, *ARGS, *point))


def whole(choices=CHOICES):
    return float(lawful.trace(rich, *ARGS).log_density(choices, *ARGS))


def prior(choices=CHOICES):
    x = np.concatenate([[choices["mu"]], choices["x"]])
    return float(dist.Normal(0, 1).log_prob(x[0]) + dist.Normal(x[:-1], 1).log_prob(x[1:]).sum()
                 + dist.Bernoulli(0.4).log_prob(choices["b"]))  # fmt: skip


PATHS = {
    "prior to posterior": (prior_to_posterior(), 1),
    "one by one": (data_by_data(), 4 + 3 + 1 + 1),
    "in twos": (data_by_data(block=2), 5),
    "along rows": (data_by_data(along="row"), 4),
    "by site": (data_by_data(sites=["z", ["y", "arm"]]), 2),
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("branch", [0, 1])
def test_a_path_goes_from_the_prior_to_the_program(name, branch):
    path, blocks = PATHS[name]
    choices = CHOICES | {"b": branch}
    assert path.entries(lawful.trace(rich, *ARGS))[1] == blocks
    assert density(Entered(), path, 0, 0.0, choices) == pytest.approx(prior(choices), abs=1e-12)
    assert density(Entered(), path, blocks, 0.0, choices) == pytest.approx(whole(choices), abs=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PATHS)
def test_inside_a_block_the_density_is_rest_and_power_times_slope(name):
    path, blocks = PATHS[name]
    for block in range(blocks):
        rest, slope = density(Before(), path, block, 0.0), density(Entering(), path, block, 0.0) - prior()
        for power in (0.0, 0.3, 1.0):
            assert density(Entered(), path, block, power) == pytest.approx(rest + power * slope, abs=1e-12)
        assert density(Before(), path, block + 1, 0.0) == pytest.approx(rest + slope, abs=1e-12)


def test_elements_enter_one_after_the_other():
    """The increments of the path are the log densities of the observations, in order."""
    path = data_by_data()
    seen = [density(Before(), path, block, 0.0) for block in range(10)]
    row = dist.Normal(CHOICES["mu"], 1.0).log_prob(ARGS[0])
    loop = dist.Normal(CHOICES["x"], 0.5).log_prob(ARGS[1])
    last = [-0.5 * CHOICES["x"][-1] ** 2, -abs(CHOICES["mu"])]
    np.testing.assert_allclose(np.diff(seen), [*row, *loop, *last], atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"block": 0}, "1 or more"), ({"sites": []}, "empty"), ({"sites": ["y", "y"]}, "twice"),
     ({"sites": ["y"], "along": "row"}, "not both")],
)  # fmt: skip
def test_a_path_without_meaning_is_refused(settings, match):
    with pytest.raises(LawfulError, match=match):
        data_by_data(**settings)


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"along": "column"}, "have the plates: row"), ({"sites": ["mu"]}, "no observation or factor is named 'mu'")],
)
def test_a_path_that_the_program_does_not_have_is_refused(settings, match):
    with pytest.raises(LawfulError, match=match):
        data_by_data(**settings).entries(lawful.trace(rich, *ARGS))


def test_data_by_data_needs_data():
    with pytest.raises(LawfulError, match="no observation and no factor"):
        data_by_data().entries(lawful.trace(lambda: sample("x", dist.Normal(0.0, 1.0))))
