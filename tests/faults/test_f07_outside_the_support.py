"""Row 7: an observation outside the support is an error where it is known, and has density zero where it is not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, handlers, inference, plate, sample, scan
from lawful.errors import ObservationError
from lawful.inference import Limits, Status
from lawful.inference.results.outside_support import moving_supports
from tests.ppl.families import FAMILIES

BOUNDED = [name for name, family in FAMILIES.items() if family.outside]
COUNTS = [
    "Bernoulli",
    "BetaBinomial",
    "Binomial",
    "Categorical",
    "DiscreteUniform",
    "GammaPoisson",
    "Geometric",
    "NegativeBinomial2",
    "OrderedLogistic",
    "Poisson",
    "ZeroInflatedPoisson",
]


def run_eagerly(program, *args):
    return handlers.trace(handlers.seed(program, jax.random.key(0)))(*args)


MODES = pytest.mark.parametrize("run", [lawful.trace, run_eagerly], ids=["staged", "eager"])


@pytest.mark.rest_slow
@pytest.mark.fault(7)
@MODES
@pytest.mark.parametrize("name", BOUNDED)
def test_f07_a_known_observation_is_refused_with_site_index_value_and_line(name, run):
    family = FAMILIES[name]
    for value in family.outside:
        with pytest.raises(ObservationError) as caught:
            run(lambda value=value: sample("y", family.make(), obs=value))
        error, message = caught.value, str(caught.value)
        assert error.site == ("y",) and error.index == () and error.source.file == __file__
        assert "site 'y' (" in message and "outside the support" in message and "Fix:" in message
        np.testing.assert_array_equal(error.value, value)


@pytest.mark.rest_slow
@MODES
@pytest.mark.parametrize("name", BOUNDED)
def test_f07_a_value_inside_is_accepted(name, run):
    run(lambda: sample("y", FAMILIES[name].make(), obs=FAMILIES[name].inside))


@MODES
@pytest.mark.parametrize("name", COUNTS)
def test_f07_a_count_is_a_whole_number(name, run):
    with pytest.raises(ObservationError, match=r"the observation 1\.5 .*outside the support"):
        run(lambda: sample("y", FAMILIES[name].make(), obs=1.5))


@MODES
@pytest.mark.parametrize("value", [[1.5, 1.5, 1.0], [0.5, 3.5, 0.0]], ids=str)
@pytest.mark.parametrize("law", [dist.Multinomial, dist.DirichletMultinomial])
def test_f07_counts_with_a_total_are_whole_numbers(law, value, run):
    """Told of a constant, and of an argument once it is known."""
    weights = jnp.array([0.2, 0.3, 0.5])
    with pytest.raises(ObservationError, match=r"1\.5|0\.5.*outside the support"):
        run(
            lambda: sample(
                "y", law(weights, 4) if law is dist.DirichletMultinomial else law(4, weights), obs=np.array(value)
            )
        )

    def program(y):
        p = sample("p", dist.Dirichlet(jnp.ones(3)))
        sample("y", dist.Multinomial(4, p), obs=y)

    with pytest.raises(ObservationError, match="outside the support"):
        inference.importance(program, particles=4)(0, np.array(value))


@MODES
def test_f07_the_element_of_a_plate_is_named(run):
    def program():
        with plate("a", 3):
            sample("y", dist.Gamma(2.0, 1.0), obs=np.array([1.0, 0.5, -2.0]))

    with pytest.raises(ObservationError, match=r"the observation -2\.0 at index \(2,\).*[Pp]ositive") as caught:
        run(program)
    assert caught.value.index == (2,)


def plated(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with plate("a", len(y)):
        sample("y", dist.Poisson(rate), obs=y)


def looped(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    scan(lambda c, y: (c, sample("y", dist.Poisson(rate), obs=y)), 0.0, y)


ALGORITHMS = {
    "importance": lambda m, *a: inference.importance(m, particles=4)(jax.random.key(0), *a),
    "smc": lambda m, *a: inference.smc(m, particles=4)(jax.random.key(0), *a),
    "mcmc": lambda m, *a: inference.mcmc(m, chains=1, warmup=1, draws=1)(jax.random.key(0), *a),
    "density": lambda m, *a: lawful.density(m, *a),
}


def trials(y):
    """The bound is known, the probability is not."""
    p = sample("p", dist.Beta(1.0, 1.0))
    with plate("a", len(y)):
        sample("y", dist.Binomial(jnp.array([5, 5, 5]), p), obs=y)


def test_f07_a_bound_from_an_argument_is_known_beside_a_latent_parameter():
    def bounded(y, n):
        sample("y", dist.Binomial(n, sample("p", dist.Beta(1.0, 1.0))), obs=y)

    for y in (-1, 6):
        with pytest.raises(ObservationError, match=f"the observation {y} "):
            inference.importance(bounded, particles=4)(jax.random.key(0), np.array(y), np.array(5))
    inference.importance(bounded, particles=4)(jax.random.key(0), np.array(5), np.array(5))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("program", [plated, looped, trials])
def test_f07_data_that_come_as_arguments_are_refused_at_the_call(program, algorithm):
    with pytest.raises(ObservationError, match=r"site 'y' \(.*the observation -1 at index \(1,\).*support") as caught:
        ALGORITHMS[algorithm](program, np.array([2, -1, 0]))
    assert caught.value.index == (1,) and caught.value.value == -1


def test_f07_a_support_that_choices_move_gives_density_zero():
    def program(y):
        high = sample("high", dist.Exponential(1.0))
        sample("y", dist.Uniform(0.0, high), obs=y)

    form = lawful.trace(program, 2.0)
    assert form.log_density({"high": 1.0}, 2.0) == -jnp.inf
    assert jax.jit(lambda high: form.log_density({"high": high}, 2.0))(1.0) == -jnp.inf
    np.testing.assert_allclose(form.log_density({"high": 4.0}, 2.0), -4.0 - np.log(4.0), rtol=1e-15)
    assert handlers.log_density(program, {"high": 4.0})(2.0) == form.log_density({"high": 4.0}, 2.0)
    result = inference.importance(program, particles=500)(jax.random.key(1), 2.0)
    high, weight = result.weighted.values["high"], result.weighted.log_weight
    np.testing.assert_array_equal(weight > -np.inf, high > 2.0)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", BOUNDED)
def test_f07_a_choice_outside_is_no_error_but_impossible(name):
    """A proposal may leave the support; only data are refused."""
    family = FAMILIES[name]
    for value in family.outside:
        assert handlers.log_density(lambda: sample("x", family.make()), {"x": value})() == -jnp.inf


def below(y):
    high = sample("high", dist.Exponential(1.0))
    sample("y", dist.Uniform(0.0, high), obs=y)


def test_f07_the_particles_that_cannot_have_made_a_datum_are_counted_and_flagged():
    result = inference.importance(below, particles=500, runs=2)(jax.random.key(1), 2.0)
    (finding,) = [f for f in result.reasons if f.code == "OUT_OF_SUPPORT"]
    assert finding.sites == ("y",) and finding.value == int((result.weighted.values["high"] < 2.0).sum())
    assert Status.OUT_OF_SUPPORT in result.status and not result.ok
    assert "the observation of 'y' lies outside its support" in finding.message
    meant = replace(result, limits=Limits(out_of_support=1.0))
    assert Status.OUT_OF_SUPPORT not in meant.status


def test_f07_nothing_is_counted_where_every_particle_can_have_made_the_data():
    result = inference.importance(below, particles=50)(jax.random.key(1), 1e-9)
    assert Status.OUT_OF_SUPPORT not in result.status
    assert not moving_supports(lawful.trace(plated, np.array([1])))


def test_f07_data_in_loops_and_arms_are_counted():
    def program(ys):
        high = sample("high", dist.Exponential(1.0))
        b = sample("b", dist.Bernoulli(0.5))

        def step(c, y):
            sample("y", dist.Uniform(0.0, high), obs=y)
            return c, None

        scan(step, 0.0, ys)
        cond(b == 1, lambda: sample("z", dist.Uniform(0.0, high), obs=3.0), lambda: 3.0)

    result = inference.importance(program, particles=200)(jax.random.key(2), np.array([0.5, 1.0]))
    counts = {f.sites[0]: f.value for f in result.reasons if f.code == "OUT_OF_SUPPORT"}
    high, b = result.weighted.values["high"], result.weighted.values["b"]
    assert counts == {"y": int((high < 1.0).sum()), "z": int(((b == 1) & (high < 3.0)).sum())}


def test_f07_a_population_that_died_of_its_data_says_so():
    result = inference.importance(below, particles=20)(jax.random.key(1), 1e6)
    assert {Status.DEAD, Status.OUT_OF_SUPPORT} <= set(result.status)
    assert [f.value for f in result.reasons if f.code == "OUT_OF_SUPPORT"] == [20]
