"""Censored data: an interval weighs its mass, and the value inside has the truncated law."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate
from scipy.special import gammaln

import lawful
from lawful import Interval, handlers, inference, mask, plate, sample, scale, scan
from lawful.backends.pointwise import pointwise
from lawful.errors import LawfulError, ObservationError

KEY = jax.random.key(14)
INF = np.inf
LOWER = np.array([0.5, 1.0, -INF, 0.25, -INF])  # exact, right-censored, left-censored, between, missing
UPPER = np.array([0.5, INF, 0.75, 1.5, INF])


def lifetimes(lower, upper):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with plate("row", 5):
        sample("t", dist.Exponential(rate), obs=Interval(lower, upper))


def terms(rate):
    return [np.log(rate) - 0.5 * rate, -rate, np.log(-np.expm1(-0.75 * rate)),
            np.log(np.exp(-0.25 * rate) - np.exp(-1.5 * rate)), 0.0]  # fmt: skip


@pytest.mark.slow
def test_each_kind_of_interval_has_its_term():
    form = lawful.trace(lifetimes, LOWER, UPPER)
    truth = float(dist.Gamma(2.0, 1.0).log_prob(0.7)) + sum(terms(0.7))
    assert float(form.log_density({"rate": 0.7}, LOWER, UPPER)) == pytest.approx(truth, rel=1e-12)
    run = handlers.trace(handlers.seed(handlers.substitute(lifetimes, {"rate": 0.7}), KEY))(LOWER, UPPER)
    assert float(run.log_probs[("t",)]) == pytest.approx(sum(terms(0.7)), rel=1e-12)
    parts = pointwise(form)
    scores = dict(zip((part.name for part in parts.asked), parts.function([LOWER, UPPER], [0.7]), strict=True))
    np.testing.assert_allclose(scores["t"], terms(0.7), rtol=1e-12)


def test_the_evidence_of_censored_lifetimes_is_that_of_the_gamma_law():
    times, died = np.array([0.5, 1.25, 2.0, 0.25]), np.array([True, False, True, False])
    upper = np.where(died, times, INF)

    def model():
        rate = sample("rate", dist.Gamma(3.0, 2.0))
        with plate("row", 4):
            sample("t", dist.Exponential(rate), obs=Interval(times, upper))

    form = lawful.trace(model)
    density = jax.jit(lambda rate: jnp.exp(form.log_density({"rate": rate})))
    found = integrate.quad(lambda rate: float(density(rate)), 0.0, 60.0, epsabs=1e-14, epsrel=1e-12, limit=200)[0]
    shape, rate = 3.0 + died.sum(), 2.0 + times.sum()
    truth = np.exp(gammaln(shape) - gammaln(3.0) + 3.0 * np.log(2.0) - shape * np.log(rate))
    assert found == pytest.approx(truth, rel=1e-10)


@pytest.mark.slow
def test_a_censored_count_is_the_sum_over_its_values():
    def model(lower, upper):
        x = sample("x", dist.Bernoulli(0.25))
        with plate("row", 2):
            sample("n", dist.Binomial(5, jnp.where(x == 1, 0.75, 0.25)), obs=Interval(lower, upper))
        return x

    def exactly(n):
        x = sample("x", dist.Bernoulli(0.25))
        with plate("row", 2):
            sample("n", dist.Binomial(5, jnp.where(x == 1, 0.75, 0.25)), obs=n)
        return x

    lower, upper = np.array([2.0, -INF]), np.array([3.0, 1.0])
    exact = inference.enumerate(model)(lower, upper)
    parts = [inference.enumerate(exactly)(np.array([a, b])) for a in (2, 3) for b in (0, 1)]
    masses = [float(np.exp(p.log_evidence)) for p in parts]
    assert float(np.exp(exact.log_evidence)) == pytest.approx(sum(masses), rel=1e-12)
    ones = sum(m * p.marginal("return")[1] for m, p in zip(masses, parts, strict=True)) / sum(masses)
    assert exact.marginal("return")[1] == pytest.approx(ones, rel=1e-12)


def read(lower, upper):
    return sample("t", dist.Normal(0.5, 2.0), obs=Interval(lower, upper))


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [(1.0, INF), (-INF, -2.0), (0.0, 0.25), (-INF, INF)])
def test_the_mass_times_the_law_inside_is_the_law(bounds):
    form = lawful.trace(read, *bounds)
    assert [site.address for site in form.sites()] == [("t",), ("t", "censored")]
    drawn = handlers.seed(read, KEY)(*bounds)
    assert bounds[0] <= drawn <= bounds[1]
    joint = float(form.log_density({("t", "censored"): drawn}, *bounds))
    assert joint == pytest.approx(float(dist.Normal(0.5, 2.0).log_prob(drawn)), rel=1e-12)


@pytest.mark.slow
def test_values_inside_are_dropped_kept_or_read():
    def model(lower, upper, impute):
        with plate("row", 5):
            sample("t", dist.Exponential(2.0), obs=Interval(lower, upper), impute=impute)

    plain, kept = (lawful.trace(model, LOWER, UPPER, impute) for impute in (False, True))
    assert [s.address for s in plain.sites()] == [("t",)] and "censored marginalised" in plain.show()
    assert "censored imputed as t.censored" in kept.show()
    run = inference.mcmc(model, chains=2, warmup=100, draws=20, on_fault="flag")(KEY, LOWER, UPPER, True)
    inside = np.asarray(run.posterior["t.censored"])[..., 1:]
    assert ((inside >= np.maximum(LOWER[1:], 0.0)) & (inside <= UPPER[1:])).all() and inside.std(axis=1).min() > 0


def test_the_completed_value_holds_what_is_known():
    def model(lower, upper):
        with plate("row", 5):
            return sample("t", dist.Exponential(2.0), obs=Interval(lower, upper))

    values = np.asarray(handlers.seed(model, KEY)(LOWER, UPPER))
    assert values[0] == 0.5 and (values >= np.maximum(LOWER, 0.0)).all() and (values <= UPPER).all()


@pytest.mark.parametrize("junk", [np.nan, INF, -1e30])
def test_masked_intervals_have_no_influence(junk):
    counted = np.array([True, True, False, True, False])

    def model(lower, upper):
        rate = sample("rate", dist.Gamma(2.0, 1.0))
        with plate("row", 5), mask(counted), scale(2.0):
            sample("t", dist.Exponential(rate), obs=Interval(lower, upper))

    lower, upper = np.where(counted, LOWER, junk), np.where(counted, UPPER, junk)
    form = lawful.trace(model, lower, upper)
    value, slopes = jax.value_and_grad(lambda rate, low, up: form.log_density({"rate": rate}, low, up), (0, 1))(
        0.7, jnp.asarray(lower), jnp.asarray(upper)
    )
    truth = float(dist.Gamma(2.0, 1.0).log_prob(0.7)) + 2 * sum(np.array(terms(0.7))[counted])
    assert float(value) == pytest.approx(truth, rel=1e-12)
    assert np.isfinite(slopes[0]) and np.isfinite(slopes[1]).all()


def test_the_slope_of_a_hopeless_tail_is_finite():
    def model():
        mu = sample("mu", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(mu, 1e-3), obs=Interval(5.0, INF))

    form = lawful.trace(model)
    value, slope = jax.value_and_grad(lambda mu: form.log_density({"mu": mu}))(0.0)
    assert value < -1e7 and slope == pytest.approx(5e6, rel=1e-3)


def test_condition_takes_intervals_also_in_loops():
    def free():
        return scan(lambda c, _: (c, sample("t", dist.Exponential(2.0))), 0.0, length=2)[1]

    model = handlers.condition(free, {"t": Interval(np.array([1.0, 0.5]), INF)})
    truth = -2.0 - 1.0
    form = lawful.trace(model)
    assert [s.address for s in form.sites()] == [("t",), ("t", "censored")]
    values = handlers.seed(model, KEY)()
    assert (values >= np.array([1.0, 0.5])).all()
    run = handlers.trace(handlers.seed(model, KEY))()
    terms = [float(score) for address, score in run.log_probs.items() if address[:2] != ("t", "censored")]
    assert sum(terms) == pytest.approx(truth, rel=1e-12)


def test_events_of_independent_elements_add_up():
    def model():
        sample("t", dist.Exponential(np.array([1.0, 2.0])).to_event(1), obs=Interval(np.array([1.0, 0.5]), INF))

    assert float(lawful.trace(model).log_density({})) == pytest.approx(-2.0, rel=1e-12)


def test_what_is_no_interval_is_refused():
    def model(lower, upper):
        with plate("row", 2):
            sample("t", dist.Exponential(sample("rate", dist.Gamma(2.0, 1.0))), obs=Interval(lower, upper))

    for lower, upper in ((np.array([1.0, 2.0]), np.array([INF, 1.0])), (np.array([1.0, np.nan]), np.full(2, INF))):
        with pytest.raises(ObservationError, match=r"site 't' \(.*index \(1,\) is empty, or a bound is NaN"):
            handlers.seed(model, KEY)(lower, upper)
        with pytest.raises(ObservationError, match=r"site 't' \(.*index \(1,\) is empty, or a bound is NaN"):
            inference.importance(model, particles=2)(KEY, lower, upper)
    with pytest.raises(ObservationError, match=r"lower bound .*shape \(3,\), expected \(2,\)"):
        handlers.seed(model, KEY)(np.ones(3), INF)
    with pytest.raises(LawfulError, match=r"site 'y' .*masses of intervals of VonMises are not known.*Weibull"):
        handlers.seed(lambda: sample("y", dist.VonMises(0.0, 1.0), obs=Interval(0.0, 1.0)), KEY)()


def test_an_exact_value_outside_the_support_is_refused():
    def model(lower, upper):
        with plate("row", 2):
            sample("t", dist.Exponential(2.0), obs=Interval(lower, upper))

    with pytest.raises(ObservationError, match=r"site 't' .*index \(0,\).*support"):
        inference.importance(model, particles=2)(KEY, np.array([-1.0, 1.0]), np.array([-1.0, INF]))
