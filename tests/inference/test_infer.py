"""Infer: what it chooses, in which order, and what it says; its answers are those of the methods it tries."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference.algorithms.choice.attempts import MANY

from .known_line import known_line, line, line_data

HALF = dist.Categorical(jnp.array([0.5, 0.5]))
Y = np.array([0.4, -1.0, 1.2])


def spread(y):
    sigma = lawful.sample("sigma", dist.HalfNormal(2.0))
    mu = lawful.sample("mu", dist.Normal(0.0, 3.0))
    with lawful.plate("i", 3):
        lawful.sample("y", dist.Normal(mu, sigma), obs=y)


def names(plan):
    return [attempt.name for attempt in plan.attempts]


def test_a_normal_posterior_is_exact():
    """Mean, covariance and evidence of a regression with a known scale; draws are independent of each other."""
    x, y = line_data()
    with jax.enable_x64(True):
        plan = inference.infer(line, draws=20_000).plan(x, y)
        result = plan(0)
        mean, covariance, evidence = known_line(x, y)
        assert plan.exact and plan.attempts == () and result.ok and result.certificate == "exact"
        assert result.log_evidence_pooled == pytest.approx(evidence, abs=1e-10) and result.log_evidence_error == 0.0
        draws = result.posterior["slopes"].reshape(-1, 2)
        assert len(draws) == 20_000
        error = np.sqrt(np.diag(covariance) / len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - mean) < 6 * error)
        np.testing.assert_allclose(np.cov(draws.T), covariance, atol=6 * np.sqrt(2 / len(draws)) * covariance.max())


def test_what_is_left_is_scanned_and_weighed():
    """One number stays; the evidence is that of a sum over it."""
    with jax.enable_x64(True):
        plan = inference.infer(spread).plan(Y)
        assert [c.name for c in lawful.form.choices.choices_of(plan.reduction.left)] == ["sigma"]
        assert names(plan)[:3] == ["guide, grid", "guide", "nuts"]
        result = plan(0)
        s = np.linspace(1e-4, 20.0, 20_001)
        gram = s[:, None, None] ** 2 * np.eye(3) + 9.0
        sign, logdet = np.linalg.slogdet(gram)
        quadratic = np.einsum("i,nij,j->n", Y, np.linalg.inv(gram), Y)
        log_p = -0.5 * (quadratic + logdet + 3 * np.log(2 * np.pi))
        prior = 2 / np.sqrt(2 * np.pi) / 2 * np.exp(-0.5 * (s / 2) ** 2)
        truth = np.log(np.sum(np.exp(log_p) * prior) * (s[1] - s[0]))
        assert result.ok and abs(result.log_evidence_pooled - truth) < 6 * max(result.log_evidence_error, 1e-3)
        assert result.run["tried"] == ["guide, grid: ok"] and set(result.posterior) == {"sigma", "mu"}


def test_a_plan_is_a_value_that_says_why_in_five_lines():
    infer = inference.infer(spread)
    plan = infer.plan(Y)
    lines = str(plan).split("\n")
    assert len(lines) == 5 and lines[0] == "infer: sites sigma, mu"
    assert "mu: integrated out" in lines[1] and "first guide, grid" in lines[2] and "else guide" in lines[3]
    assert "us a density with gradient; 4000 draws; no limit of time" in lines[4]
    by_hand = plan.method(0)(jax.random.fold_in(jax.random.key(3), 0), Y)
    np.testing.assert_array_equal(by_hand.posterior["mu"], infer(3, Y).posterior["mu"])
    assert str(infer(3, Y).run["plan"]).split("\n")[:4] == lines[:4]  # the cost is measured


def test_attempts_follow_each_other_until_one_is_ok():
    """Two modes: a guide says so, and what goes between modes is tried before chains that would stay in one."""

    def apart(y):
        with lawful.plate("component", 2):
            mu = lawful.sample("mu", dist.Normal(0.0, 3.0))
        extra = lawful.sample("extra", dist.Normal(mu.sum(), 1.0))
        parts = dist.Normal(mu, 0.7)
        with lawful.plate("point", len(y)):
            lawful.sample("y", dist.MixtureSameFamily(dist.Categorical(jnp.array([0.5, 0.5])), parts), obs=y)
        return extra

    y = np.concatenate([np.linspace(-3, -1, 8), np.linspace(1, 3, 8)])
    plan = inference.infer(lambda y: apart(y), seconds=0.01).plan(y)
    assert names(plan)[-2:] == ["tempered_smc", "tempered_smc, larger"]
    whole = inference.infer(apart)(0, y)
    mu = whole.posterior["mu"]
    assert whole.ok
    np.testing.assert_allclose((mu[..., 0] < mu[..., 1]).mean(), 0.5, atol=0.1)


def test_no_attempt_begins_after_the_time(monkeypatch):
    """The first one runs, as there is no answer without it; what was not tried is told."""

    def hard(y):
        level = lawful.sample("level", dist.Cauchy(0.0, 1.0).expand([3]).to_event(1))
        lawful.sample("y", dist.StudentT(1.0, level**2, 0.01).to_event(1), obs=y)

    result = inference.infer(hard, draws=400, seconds=1e-3)(0, jnp.array([4.0, 9.0, 1.0]))
    assert not result.ok
    assert result.run["tried"][0].startswith("guide: not ok: ")
    assert (
        all("not tried, as" in told for told in result.run["tried"][1:]) and "s had passed" in result.run["tried"][-1]
    )


def test_many_numbers_have_no_guide():
    def wide(y):
        x = lawful.sample("x", dist.Gumbel(0.0, 1.0).expand([MANY + 1]).to_event(1))
        lawful.sample("y", dist.Normal(x.sum(), 1.0), obs=y)

    assert names(inference.infer(wide).plan(1.0))[0] == "nuts"


def test_other_arguments_of_one_shape_compile_nothing():
    infer = inference.infer(spread)
    first, second = infer(0, Y), infer(1, 2 * Y)
    assert first.run["compile_seconds"] > 0 == second.run["compile_seconds"]
    assert (
        abs(second.posterior["mu"].mean()) < 3
        and np.abs(second.posterior["sigma"]).mean() > first.posterior["sigma"].mean()
    )


def test_settings_are_checked():
    with pytest.raises(LawfulError, match="seconds: expected a positive number, got -1"):
        inference.infer(spread, seconds=-1)
    with pytest.raises(LawfulError, match="draws"):
        inference.infer(spread, draws=0)
    with pytest.raises(LawfulError, match="key"):
        inference.infer(spread)("zero", Y)


def test_an_impossible_program_says_so():
    def never():
        lawful.sample("coin", dist.Bernoulli(0.5))
        lawful.factor("no", -jnp.inf)

    def nowhere():
        if lawful.sample("coin", dist.Bernoulli(0.5)) == 1:
            lawful.factor("no", -jnp.inf)
        lawful.factor("never", -jnp.inf)

    for program in (never, nowhere):
        result = inference.infer(program)(0)
        assert result.log_evidence_pooled == -np.inf
        assert not result.ok and "no posterior" in result.warnings[0]
        assert "lawful.check_program(model, *args)" in result.warnings[0] and callable(lawful.check_program)
        with pytest.raises(LawfulError):
            _ = result.posterior


def test_chains_that_stay_in_a_mode_are_not_tried_where_another_was_seen():
    """Four of them begin in one mode of two once in eight runs, and agree; what is tried goes between the modes."""

    def apart():
        lawful.sample("x", dist.MixtureSameFamily(HALF, dist.Normal(jnp.array([-9.0, 9.0]), 1.0)))
        lawful.sample("others", dist.Gumbel(0.0, 1.0).expand([2]).to_event(1))

    infer = inference.infer(apart)
    seen = 0
    for key in (2, 3):
        result = infer(key)
        tried = result.run["tried"]
        if "MISSED_MODE" in tried[0]:
            seen += 1
            assert tried[1:3] == [f"{name}: not tried, as modes lie apart" for name in ("nuts", "nuts, longer")]
        assert not result.ok or abs((result.posterior["x"] > 0).mean() - 0.5) < 0.1
    assert seen


def test_missing_paths_are_told_with_what_that_rests_on(monkeypatch):
    """Later densities may exceed one, so that the share that is missing is no bound of the evidence by itself."""

    def counted(y):
        number = 0
        while lawful.sample(f"again{number}", dist.Bernoulli(0.4)) == 1:
            number += 1
        lawful.sample("y", dist.Normal(number, 0.3), obs=y)

    monkeypatch.setattr("lawful.inference.algorithms.infer.PATHS", 200)
    plan = inference.infer(counted).plan(2.0)
    result = plan(0)
    assert result.certificate == "lower-bound" and "where later weights are at most 1" in repr(result)
    assert "where later weights are at most 1" in str(plan)
