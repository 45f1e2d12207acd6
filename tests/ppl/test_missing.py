"""Missing data: density of what was observed, imputation where something depends on the rest, no influence of junk."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, handlers, inference, plate, sample, scan
from lawful.errors import LawfulError, ObservationError
from lawful.inference.check import compare, enumerate_measure

KEY = jax.random.key(4)
Y = np.array([0.5, np.nan, -1.0])
SEEN = ~np.isnan(Y)


def means(y, m):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("row", 3):
        sample("y", dist.Normal(mu, 1.0), obs=y, obs_mask=m)


def chain(y, m):
    """What is missing is an ancestor of what follows."""

    def step(x, data):
        y, m = data
        x = sample("x", dist.Bernoulli(0.25 + 0.5 * x), obs=y, obs_mask=m)
        return x, x

    return scan(step, 0, (y, m))[1]


def test_a_traced_program_drops_missing_elements_that_nothing_reads():
    form = lawful.trace(means, Y, SEEN)
    assert [site.address for site in form.sites()] == [("mu",), ("y",)]
    expected = dist.Normal(0.0, 1.0).log_prob(0.3) + dist.Normal(0.3, 1.0).log_prob(Y[SEEN]).sum()
    assert float(form.log_density({"mu": 0.3}, Y, SEEN)) == pytest.approx(float(expected), rel=1e-12)


def test_an_eager_run_draws_them():
    run = handlers.trace(handlers.seed(means, KEY))(Y, SEEN)
    assert list(run.choices) == [("mu",), ("y", "missing")]
    weight = run.log_density - run.log_probs[("y", "missing")]
    assert float(weight) == pytest.approx(
        float(lawful.trace(means, Y, SEEN).log_density({"mu": run.choices[("mu",)]}, Y, SEEN)), rel=1e-12
    )


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e300])
def test_what_stands_at_missing_elements_has_no_influence(junk):
    form = lawful.trace(means, Y, SEEN)

    def density(mu, y):
        return form.log_density({"mu": mu}, y, SEEN)

    plain, spoilt = np.where(SEEN, Y, 0.25), np.where(SEEN, Y, junk)
    assert density(0.3, plain) == density(0.3, spoilt)
    for argument in (0, 1):
        one, other = (jax.grad(density, argument)(0.3, jnp.asarray(y)) for y in (plain, spoilt))
        np.testing.assert_array_equal(one, other)
    assert jax.grad(density, 1)(0.3, jnp.asarray(spoilt))[1] == 0.0


@pytest.mark.rest_slow
@pytest.mark.parametrize("law", [dist.Gamma(2.0, 1.0), dist.Beta(2.0, 3.0), dist.Poisson(2.0), dist.Uniform(0.0, 0.75)])
def test_the_support_is_asked_of_what_was_observed_only(law):
    def model(y, m):
        with plate("row", 2):
            sample("y", law, obs=y, obs_mask=m)

    y, m = np.array([-7.0, 1.0 if law.support.is_discrete else 0.5]), np.array([False, True])
    expected = float(law.log_prob(y[1]))
    assert float(lawful.trace(model, y, m).log_density({}, y, m)) == pytest.approx(expected, rel=1e-12)
    assert float(handlers.trace(handlers.seed(model, KEY))(y, m).log_probs[("y",)]) == pytest.approx(
        expected, rel=1e-12
    )
    with pytest.raises(ObservationError):
        handlers.seed(model, KEY)(y, ~m)


def test_whole_events_may_be_missing():
    law = dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2) + 0.5)
    y = np.array([[0.1, 0.2], [np.nan, 1.0], [0.5, -0.5]])

    def model(y, m):
        with plate("row", 3):
            return sample("y", law, obs=y, obs_mask=m)

    run = handlers.trace(handlers.seed(model, KEY))(y, SEEN)
    assert float(run.log_probs[("y",)]) == pytest.approx(float(law.log_prob(y[SEEN]).sum()), rel=1e-12)
    np.testing.assert_array_equal(run.value[SEEN], y[SEEN])
    np.testing.assert_array_equal(run.value[1], run.choices[("y", "missing")][1])
    with pytest.raises(LawfulError, match=r"mask of shape \(2,\) does not fit its batch shape, \(3,\)"):
        handlers.seed(model, KEY)(y, np.ones(2, bool))


def test_what_depends_on_missing_elements_imputes_them():
    y, m = np.array([1, -5, 1]), np.array([True, False, True])
    form = lawful.trace(chain, y, m)
    assert ("x", "missing") in [site.address for site in form.sites()]
    exact = inference.enumerate(chain)(y, m)
    # p(1) p(. | 1) p(1 | .): 0.25 (0.75 * 0.75 + 0.25 * 0.25)
    assert np.exp(exact.log_evidence) == pytest.approx(0.25 * (0.75**2 + 0.25**2), rel=1e-12)
    middle = sum(p for values, p in exact.marginal("return").items() if values[1] == 1)
    assert middle == pytest.approx(0.75**2 / (0.75**2 + 0.25**2), rel=1e-12)
    truth = enumerate_measure(chain, y, m)
    assert truth.total() == pytest.approx(np.exp(exact.log_evidence), rel=1e-12)
    deleted = enumerate_measure(lambda: handlers.condition(free_chain, {("x", 0): 1, ("x", 2): 1})())
    outputs = [measure.marginal(lambda trace: trace.output) for measure in (truth, deleted)]
    assert compare(*outputs).error <= 1e-12


def free_chain():
    def step(x, _):
        x = sample("x", dist.Bernoulli(0.25 + 0.5 * x))
        return x, x

    return scan(step, 0, None, length=3)[1]


def test_a_mask_that_depends_on_choices_is_traced():
    def model(y):
        seen = sample("seen", dist.Bernoulli(0.5))
        return sample("y", dist.Bernoulli(0.25), obs=y, obs_mask=seen == 1)

    exact = inference.enumerate(model)(1)
    assert np.exp(exact.log_evidence) == pytest.approx(0.5 * 0.25 + 0.5, rel=1e-12)
    assert exact.marginal("return")[0] == pytest.approx(0.5 * 0.75 / 0.625, rel=1e-12)


def test_condition_takes_values_with_a_mask():
    def model():
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("row", 3):
            return sample("y", dist.Normal(mu, 1.0))

    observed = handlers.condition(model, {"y": (Y, SEEN)})
    run = handlers.trace(handlers.seed(observed, KEY))()
    np.testing.assert_array_equal(run.value[SEEN], Y[SEEN])
    assert run.value[1] == run.choices[("y", "missing")][1]
    assert float(run.log_probs[("y",)]) == pytest.approx(
        float(dist.Normal(run.choices[("mu",)], 1.0).log_prob(Y[SEEN]).sum()), rel=1e-12
    )
    walk = handlers.condition(free_chain, {"x": (np.array([1, 7, 1]), np.array([True, False, True]))})
    assert np.exp(inference.enumerate(walk)().log_evidence) == pytest.approx(0.25 * (0.75**2 + 0.25**2), rel=1e-12)


def test_a_form_is_conditioned_with_a_mask_too():
    form = lawful.trace(free_chain)
    walk = handlers.condition(form, {"x": (np.array([1, 7, 1]), np.array([True, False, True]))})
    assert enumerate_measure(walk).total() == pytest.approx(0.25 * (0.75**2 + 0.25**2), rel=1e-12)


def test_nothing_missing_is_a_plain_observation_and_all_missing_the_prior():
    everything, nothing = np.ones(3, bool), np.zeros(3, bool)
    run = handlers.trace(handlers.seed(means, KEY))(np.zeros(3), everything)
    assert list(run.choices) == [("mu",)]
    form = lawful.trace(means, Y, nothing)
    assert float(form.log_density({"mu": 0.0}, Y, nothing)) == pytest.approx(-0.5 * np.log(2 * np.pi), rel=1e-12)


def test_missing_reads_nan():
    values, present = lawful.missing(Y)
    np.testing.assert_array_equal(present, SEEN)
    np.testing.assert_array_equal(values, np.where(SEEN, Y, 0.0))


def test_arms_may_miss_different_elements():
    def model(y):
        b = sample("b", dist.Bernoulli(0.5))

        def arm(m):
            with plate("row", 3):
                return sample("y", dist.Bernoulli(0.25), obs=y, obs_mask=m).sum()

        return cond(b == 1, lambda: arm(np.array([True, False, True])), lambda: arm(np.array([True, True, True])))

    y = np.array([1, 1, 0])
    total = np.exp(inference.enumerate(model)(y).log_evidence)
    assert total == pytest.approx(0.5 * (0.25 * 0.75) + 0.5 * (0.25**2 * 0.75), rel=1e-12)
    assert enumerate_measure(model, y).total() == pytest.approx(total, rel=1e-12)


def test_a_mask_needs_data_and_truth_values():
    with pytest.raises(LawfulError, match="obs_mask is given without obs"):
        handlers.seed(lambda: sample("y", dist.Normal(0.0, 1.0), obs_mask=True), KEY)()
    with pytest.raises(LawfulError, match=r"truth values, got int.*mask == 1"):
        handlers.seed(lambda: sample("y", dist.Normal(0.0, 1.0), obs=1.0, obs_mask=1), KEY)()
    with pytest.raises(LawfulError, match=r"site 'y' .*missing elements have no value.*handlers\.seed"):
        sample("y", dist.Normal(0.0, 1.0), obs=1.0, obs_mask=False)
