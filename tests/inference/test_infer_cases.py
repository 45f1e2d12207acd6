"""Programs whose Python reads finite choices: what `infer` takes apart, and joins by the evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import logsumexp

import lawful
from lawful import inference
from lawful.inference.algorithms.choice.cases import CasesPlan, cases_of

SHARES = np.array([0.5, 0.0, 0.3, 0.2])
Y = np.array([1.3, -0.4])


def terms(y):
    """A sum of a random number of normal terms: each case is exact."""
    number = int(lawful.sample("number", dist.Categorical(jnp.asarray(SHARES))))
    total = sum((lawful.sample(f"x{i}", dist.Normal(0.0, 1.0)) for i in range(number)), jnp.zeros(()))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(total, 0.5), obs=y)


def truth():
    log = np.full(4, -np.inf)
    for number in (0, 2, 3):
        covariance = number * np.ones((2, 2)) + 0.25 * np.eye(2)
        log[number] = np.log(SHARES[number]) + stats.multivariate_normal(np.zeros(2), covariance).logpdf(Y)
    return logsumexp(log), np.exp(log - logsumexp(log))


@pytest.mark.kills("59p")
def test_the_evidence_of_the_cases_adds_up():
    """Exact cases: the evidence to 1e-10; shares of draws within six standard errors, absent terms are NaN."""
    with jax.enable_x64(True):
        plan = inference.infer(terms, draws=8000).plan(Y)
        assert isinstance(plan, CasesPlan) and [str(case) for case in plan.cases] == [
            "number=0",
            "number=2",
            "number=3",
        ]
        result = plan(0)
        evidence, shares = truth()
        assert result.ok, result.reasons
        np.testing.assert_allclose(result.log_evidence, evidence, atol=1e-10)
        number = result.posterior["number"]
        found = (number[..., None] == np.arange(4)).mean(axis=(0, 1))
        assert np.all(np.abs(found - shares) <= 6 * np.sqrt(shares * (1 - shares) / number.size))
        np.testing.assert_array_equal(np.isnan(result.posterior["x2"]), number < 3)
        assert plan.exact and len(result.run["tried"]) == 3 and all("exact" in told for told in result.run["tried"])
        lines = str(plan).split("\n")
        assert len(lines) == 5 and "first exact for each of 3 programs, those of the values of number" in lines[2]


def test_a_choice_that_another_decides_is_taken_apart_only_where_it_is():
    def nested():
        if lawful.sample("first", dist.Bernoulli(0.25)) == 1:
            for i in range(int(lawful.sample("second", dist.Categorical(jnp.array([0.4, 0.6]))))):
                lawful.sample(f"x{i}", dist.Normal(0.0, 1.0))
        lawful.sample("free", dist.Gumbel(0.0, 1.0))

    with jax.enable_x64(True):
        plan = inference.infer(nested, draws=4000).plan()
        assert sorted(map(str, plan.cases)) == ["first=0", "first=1, second=0", "first=1, second=1"]
        result = plan(1)
        assert result.ok and abs(result.log_evidence_pooled) < 6 * result.log_evidence_error
        first, second = result.posterior["first"], result.posterior["second"]
        np.testing.assert_array_equal(np.isnan(second), first == 0)
        assert abs(np.mean(first) - 0.25) < 6 * np.sqrt(0.25 * 0.75 / first.size)


@pytest.mark.parametrize("where", ["loop", "arm", "plate"])
def test_what_stands_for_several_choices_or_for_none_is_not_taken_apart(where):
    def read():
        return 1.0 * int(lawful.sample("k", dist.Bernoulli(0.5)))

    def program():
        on = lawful.sample("on", dist.Bernoulli(0.5))
        if where == "loop":
            return lawful.scan(lambda x, _: (x + read(), None), 0.0, None, length=3)
        if where == "arm":
            return lawful.cond(on == 1, read, lambda: 0.0)
        with lawful.plate("i", 2):
            return lawful.sample("k", dist.Bernoulli(0.5)).tolist()

    assert cases_of(program, ()) == ()


def test_more_values_than_are_few_are_not_taken_apart():
    def many():
        for i in range(int(lawful.sample("count", dist.Categorical(jnp.ones(40) / 40)))):
            lawful.sample(f"x{i}", dist.Normal(0.0, 1.0))

    def deep():
        count = 0
        while lawful.sample(f"again{count}", dist.Bernoulli(0.5)) == 1:
            count += 1
        lawful.sample("x", dist.Normal(count, 1.0))

    assert cases_of(many, ()) == () == cases_of(deep, ())


def test_a_choice_that_is_taken_apart_cannot_be_changed_in_place():
    """`k += 1` makes another number of it, as of an array of JAX; the evidence is that of the program."""

    def shifted(y):
        k = lawful.sample("k", dist.Bernoulli(0.5))
        later = k
        later += 1
        total = sum((lawful.sample(f"x{i}", dist.Normal(0.0, 3.0)) for i in range(int(k))), jnp.zeros(()))
        lawful.sample("y", dist.Normal(total, 1.0), obs=y)

    with jax.enable_x64(True):
        result = inference.infer(shifted, draws=400)(0, 4.0)
        truth = np.logaddexp(stats.norm(0, 1).logpdf(4.0), stats.norm(0, np.sqrt(10)).logpdf(4.0)) + np.log(0.5)
        np.testing.assert_allclose(result.log_evidence, truth, atol=1e-10)


def test_lengths_that_depend_on_the_choice_are_filled_up_with_nan():
    def rows(y):
        n = int(lawful.sample("n", dist.Categorical(jnp.array([0.0, 0.5, 0.5]))))
        with lawful.plate("i", n):
            x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(x.sum(), 1.0), obs=y)

    with jax.enable_x64(True):
        result = inference.infer(rows, draws=400)(0, 1.0)
        truth = np.logaddexp(*(stats.norm(0, np.sqrt(1 + n)).logpdf(1.0) for n in (1, 2))) + np.log(0.5)
        np.testing.assert_allclose(result.log_evidence, truth, atol=1e-10)
        assert result.posterior["x"].shape == (4, 100, 2) and np.isfinite(result.posterior["x"][..., 0]).all()
        np.testing.assert_array_equal(np.isnan(result.posterior["x"][..., 1]), result.posterior["n"] == 1)
        assert result.posterior["n"].dtype.kind == "i"


def test_numbers_that_are_whole_in_one_case_alone_stay_real():
    def level(y):
        steady = int(lawful.sample("steady", dist.Bernoulli(0.5))) == 1
        x = lawful.deterministic("level", jnp.array(0)) if steady else lawful.sample("level", dist.Normal(0.35, 0.1))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)

    with jax.enable_x64(True):
        result = inference.infer(level, draws=4000)(0, 0.3)
        drawn = result.posterior["level"][result.posterior["steady"] == 0]
        truth, scale = (35.0 + 0.3) / 101, 1 / np.sqrt(101)  # of two normal laws
        assert abs(drawn.mean() - truth) <= 6 * scale / np.sqrt(drawn.size)
        assert np.all(result.posterior["level"][result.posterior["steady"] == 1] == 0)


def test_other_axes_and_errors_of_the_program_are_left_to_what_runs_in_python():
    def axes(y):
        shape = () if lawful.sample("k", dist.Bernoulli(0.5)) == 1 else (2,)
        x = lawful.sample("x", dist.Normal(jnp.zeros(shape), 1.0).to_event(len(shape)))
        lawful.sample("y", dist.Normal(x.sum(), 1.0), obs=y)

    def refusing(y):
        n = int(lawful.sample("n", dist.Categorical(jnp.array([0.0, 0.5, 0.5]))))
        if n == 0:
            raise ValueError("none")
        lawful.sample("x", dist.Normal(0.0, n))

    for program in (axes, refusing):
        assert not isinstance(inference.infer(program, draws=100).plan(1.0), CasesPlan)


def test_what_python_does_not_read_is_not_taken_apart():
    def late():
        sign = lawful.sample("sign", dist.Bernoulli(0.5))
        total = sum(lawful.sample(f"b{i}", dist.Bernoulli(0.3)) for i in range(5))
        if sign == 1:
            lawful.sample("x", dist.Normal(total, 1.0))
        else:
            lawful.sample("x", dist.Normal(-total, 1.0))

    def together():
        a, b = lawful.sample("a", dist.Bernoulli(0.5)), lawful.sample("b", dist.Bernoulli(0.5))
        if int(a) + int(b) == 1:
            lawful.sample("x", dist.Normal(0.0, 1.0))

    def of_data(x):
        for i in range(10):
            lawful.sample(f"b{i}", dist.Bernoulli(0.5))
        return lawful.sample("x", dist.Normal(0.0, 1.0)) if x > 0 else 0.0

    assert [str(case) for case in cases_of(late, ())] == ["sign=0", "sign=1"]
    assert len(cases_of(together, ())) == 4
    assert cases_of(of_data, (jnp.asarray(1.0),)) == ()


def test_runs_that_died_are_no_proof_that_a_case_is_impossible():
    """A filter of few particles dies: not ok, and the finding names the case."""

    def narrow(y):
        if lawful.sample("k", dist.Bernoulli(0.5)) == 1:

            def step(x, yt):
                x = lawful.sample("x", dist.Normal(x, 1.0))
                lawful.sample("y", dist.Uniform(x - 1e-5, x + 1e-5), obs=yt)
                return x, None

            lawful.scan(step, 0.0, y)
        else:
            lawful.sample("y", dist.Normal(0.0, 100.0).expand([3]).to_event(1), obs=y)

    result = inference.infer(narrow, draws=400, seconds=1e-3)(0, jnp.array([0.5, 0.7, 0.2]))
    assert not result.ok and any(finding.message.startswith("k=1: ") for finding in result.reasons)


def test_an_observation_of_one_case_is_one_of_the_program():
    def sometimes(y):
        if lawful.sample("k", dist.Bernoulli(0.5)) == 1:
            lawful.sample("y", dist.Normal(0.0, 1.0), obs=y)
        else:
            lawful.sample("y", dist.Normal(0.0, 1.0))
            lawful.factor("f", jnp.log(0.3))

    result = inference.infer(sometimes, draws=400)(0, 0.0)
    truth = np.log(0.5) + np.logaddexp(stats.norm.logpdf(0.0), np.log(0.3))
    assert result.ok and result.log_evidence_pooled == pytest.approx(truth, abs=1e-5)


def test_a_second_call_compiles_nothing(caplog):
    infer = inference.infer(terms, draws=400)
    first = infer(0, Y)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        second = infer(1, Y)
    assert (first.run["seed"], second.run["seed"]) == (0, 1)
    assert not [line for line in caplog.messages if line.startswith("Finished XLA compilation")]


def test_a_case_that_is_not_ok_is_told():
    """Nothing is hidden in the joint: the finding names the case."""

    def program(y):
        if lawful.sample("heavy", dist.Bernoulli(0.5)) == 1:
            level = lawful.sample("level", dist.Cauchy(0.0, 1.0).expand([3]).to_event(1))
            lawful.sample("y", dist.StudentT(1.0, level**2, 0.01).to_event(1), obs=y)
        else:
            lawful.sample("y", dist.Normal(0.0, 5.0).expand([3]).to_event(1), obs=y)

    result = inference.infer(program, draws=400, seconds=1e-3)(0, jnp.array([4.0, 9.0, 1.0]))
    assert not result.ok and any(finding.message.startswith("heavy=1: ") for finding in result.reasons)
