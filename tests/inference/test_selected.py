"""The program of what was kept: one law in three forms, which differ by a known mass."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import handlers, inference
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.check import check_row

SIZE, HEADS = np.array([0.5, 0.3, 0.2]), 0.3 * np.arange(1, 4)
RATES = np.array([0.5, 0.9])


def ball(strength):
    """A hidden size, and what is seen of it."""
    size = lawful.sample("size", dist.Categorical(probs=jnp.asarray(SIZE)))
    seen = lawful.sample("seen", dist.Bernoulli(strength * jnp.asarray(HEADS)[size]))
    return size + seen


def keep(value):
    return jnp.array([0.1, 0.8, 0.5, 1.0])[value]


def truth(strength):
    """P(keep), and the law of (size, seen) given kept."""
    heads = strength * HEADS
    mass = np.stack([SIZE * (1 - heads), SIZE * heads], axis=1)
    mass = mass * np.array([0.1, 0.8, 0.5, 1.0])[np.add.outer(np.arange(3), np.arange(2))]
    return mass.sum(), mass / mass.sum()


def total(program, *args):
    with jax.enable_x64(True):
        return math.exp(inference.enumerate(program)(*args).log_evidence)


@pytest.mark.parametrize("objects", [1, 2])
def test_objects_kept_have_the_mass_of_the_law_given_kept(objects):
    data = {"seen": jnp.array([1, 0][:objects])}
    kept = truth(0.9)[1].sum(axis=0)
    found = total(handlers.condition(inference.selected(ball, keep, objects), data), 0.9)
    assert found == pytest.approx(math.prod(kept[[1, 0][:objects]]), rel=1e-12)


@pytest.mark.kills("60c")
def test_dividing_leaves_a_law_of_mass_one():
    assert total(inference.selected(ball, keep, 2), 0.9) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.kills("60d")
def test_imputing_leaves_what_its_bound_allows_of_a_negative_binomial_law():
    allowed = stats.nbinom.cdf(2, 2, truth(0.9)[0])
    assert total(inference.selected(ball, keep, 2, by="impute", bound=2), 0.9) == pytest.approx(allowed, rel=1e-12)


@pytest.mark.kills("60e")
def test_a_poisson_process_has_the_mass_of_the_number_kept():
    expected = stats.poisson.pmf(2, 3.0 * truth(0.9)[0])
    assert total(inference.selected(ball, keep, 2, by="poisson", rate=3.0), 0.9) == pytest.approx(expected, rel=1e-12)


def population(by, **options):
    """Which of two strengths: two objects seen; the number of all has a prior that tells nothing of the strength."""

    def program():
        strength = jnp.asarray(RATES)[lawful.sample("which", dist.Categorical(probs=jnp.array([0.4, 0.6])))]
        handlers.condition(inference.selected(ball, keep, 2, by=by, **options), {"seen": jnp.array([1, 0])})(strength)

    return program


def evidence(program):
    """The evidence, all sites summed: the rejected one by one."""
    with jax.enable_x64(True):
        return float(inference.marginalise("all")(lawful.trace(program)).log_density({}))


def test_dividing_and_imputing_have_one_posterior_to_rounding():
    assert evidence(population("impute", bound=60)) == pytest.approx(evidence(population("divide")), abs=1e-12)


def test_what_is_proposed_for_the_number_rejected_changes_nothing():
    options = {"by": "impute", "bound": 2}
    both = [total(inference.selected(ball, keep, 1, guess=guess, **options), 0.5) for guess in (0.2, 0.7)]
    assert both[0] == pytest.approx(both[1], rel=1e-12)


def test_in_a_plate_of_the_caller_each_object_has_its_rejected():
    def program(by, **options):
        def two():
            with lawful.plate("row", 2):
                inference.selected(ball, keep, by=by, **options)(0.9)

        return two

    share = truth(0.9)[0]
    given = {"probability": lambda strength: jnp.full(2, share)}
    assert total(program("divide", **given)) == pytest.approx(1.0, rel=1e-12)
    assert total(program("impute", bound=1)) == pytest.approx(stats.nbinom.cdf(1, 1, share) ** 2, rel=1e-12)


def losses(y, deductible):
    """Losses above a deductible."""

    def loss(mean):
        return lawful.sample("loss", dist.Exponential(1.0 / mean))

    def above(mean):
        return jnp.exp(-deductible / mean)

    mean = lawful.sample("mean", dist.InverseGamma(3.0, 4.0))
    claims = inference.selected(loss, lambda x: x > deductible, len(y), probability=above)
    handlers.condition(claims, {"loss": y})(mean)


@pytest.mark.slow
def test_chains_find_the_posterior_in_closed_form():
    """The excess is exponential, so the mean is InverseGamma(3 + n, 4 + sum).

    False alarm 1e-6 (4.9 standard errors); a bias of 8 is missed with probability 1e-3.
    """
    y = jnp.array([1.3, 2.7, 4.0, 1.6, 6.2, 2.2])
    with jax.enable_x64(True):
        result = inference.mcmc(losses, kernels.nuts(), chains=4, warmup=300, draws=1000)(jax.random.key(3), y, 1.0)
    a, b = 3 + len(y), 4 + float(jnp.sum(y - 1.0))
    row = result.summary().loc["mean"]
    assert result.ok and abs(row["mean"] - b / (a - 1)) < 4.9 * row["mcse_mean"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "guess"}, "expected one of divide, impute, poisson"),
        ({"by": "impute"}, "needs bound"),
        ({"by": "poisson", "objects": 2}, "needs rate"),
        ({"rate": 2.0}, "says nothing to by='divide'"),
    ],
)
def test_settings_that_are_missing_or_of_another_form_are_refused(options, said):
    with pytest.raises(LawfulError, match=said):
        inference.selected(ball, keep, **options)


def test_a_sum_over_infinitely_many_values_is_refused_with_what_to_give():
    with pytest.raises(LawfulError, match="'x' has infinitely many values.*probability="):
        lawful.trace(inference.selected(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), lambda x: x > 0))


@pytest.mark.slow
@pytest.mark.parametrize("row", ["by dividing", "by imputing", "by a Poisson process"])
def test_each_form_is_lawful_on_random_programs(row):
    assert check_row(f"selected {row}").passed
