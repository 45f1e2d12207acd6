"""Exact enumeration of programs whose evidence and posterior are known: the reference cases to 1e-10."""

import json
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference.check import enumerate_measure

pytestmark = pytest.mark.reference
TOLERANCE = 1e-10
SMALL = 12


def read(data, name):
    return json.loads((data / "exact" / f"{name}.json").read_text())


# ---- a program whose number of choices depends on its choices


def length():
    """A uniform number from 1 to 6, one more for each head of a coin of 1/3, up to 12; with the coin of its parity."""
    n = int(lawful.sample("n0", dist.DiscreteUniform(1, 6)))
    step = 0
    while n < 12 and lawful.sample(f"more{step}", dist.Bernoulli(1 / 3)) == 1:
        n, step = n + 1, step + 1
    return n, 1 / 4 if n % 2 == 0 else 2 / 3


def branching(total):
    """Draw by draw; a path that has too many heads, or too few draws left, ends there."""
    n, q = length()
    heads = 0
    for i in range(n):
        heads += int(lawful.sample(f"draw{i}", dist.Bernoulli(q)))
        if heads > total or heads + n - 1 - i < total:
            lawful.factor("impossible", -np.inf)
            return n
    return n


def branching_binomial(total):
    """The sum of the draws as one observed site."""
    n, q = length()
    if n < total:  # an observation outside the support of its site is refused as bad data
        lawful.factor("impossible", -np.inf)
        return n
    lawful.sample("sum", dist.Binomial(n, q), obs=np.int64(total))
    return n


@pytest.mark.parametrize("program", [pytest.param(branching, marks=pytest.mark.slow), branching_binomial])
def test_a_while_loop_on_drawn_values_has_its_exact_evidence_and_posterior(data, program):
    case = read(data, "branching_program")
    exact = inference.enumerate(program)(case["data"]["sum_of_draws"])
    assert exact.log_evidence == pytest.approx(case["exact"]["log_evidence"], abs=TOLERANCE)
    posterior = exact.marginal("return")
    assert posterior == pytest.approx({int(n): p for n, p in case["exact"]["posterior_n"].items()}, abs=TOLERANCE)
    assert sum(n * p for n, p in posterior.items()) == pytest.approx(case["exact"]["mean_n"], abs=TOLERANCE)


def test_in_fractions_the_evidence_and_the_posterior_are_equal(data):
    case = read(data, "branching_program")
    measure = enumerate_measure(branching_binomial, case["data"]["sum_of_draws"], arithmetic="rational")
    evidence = measure.total()
    assert evidence == Fraction(case["exact"]["evidence_fraction"])
    posterior = {trace: weight / evidence for trace, weight in measure.marginal(lambda t: t.output).weights.items()}
    known = {int(n): Fraction(p) for n, p in case["exact"]["posterior_n_fraction"].items()}
    assert {n: p for n, p in posterior.items() if p} == known


# ---- bags of labels of which only the count is known


def labels(p):
    with lawful.plate("instance", len(p)):
        return lawful.sample("y", dist.Bernoulli(p))


def bag(p, count):
    y = labels(p)
    lawful.factor("count", jnp.where(jnp.sum(y) == count, 0.0, -jnp.inf))


def bags(data):
    case = read(data, "llp_bags")
    pairs = zip(case["data"]["bags"], case["exact"]["bags"], strict=True)
    return [(b, exact) for b, exact in pairs if len(b["p"]) <= SMALL]


def test_small_bags_have_their_exact_evidence_marginals_and_pairs(data):
    small = bags(data)
    assert len(small) >= 5
    for given, known in small:
        n = len(given["p"])
        exact = inference.enumerate(bag)(jnp.array(given["p"]), given["count"])
        assert exact.log_evidence == pytest.approx(known["log_prob_count"], abs=TOLERANCE)
        marginals = exact.expectation(lambda choices: choices["y"] * 1.0)
        np.testing.assert_allclose(marginals, known["marginals"], rtol=0, atol=TOLERANCE)
        assert marginals.sum() == pytest.approx(given["count"], abs=1e-12 * n)
        pair = exact.expectation(lambda choices: choices["y"][0] * choices["y"][1] * 1.0)
        assert pair == pytest.approx(known["joint_first_two_both_one"], abs=TOLERANCE)
        best = exact.support["y"][np.argmax(exact.log_weights)]
        assert np.flatnonzero(best).tolist() == known["map_positive_set"]


def test_the_count_of_a_bag_has_its_exact_mean_and_variance(data):
    for given, known in bags(data):
        free = inference.enumerate(labels)(jnp.array(given["p"]))
        mean = free.expectation(lambda choices: jnp.sum(choices["y"]) * 1.0)
        square = free.expectation(lambda choices: jnp.sum(choices["y"]) ** 2 * 1.0)
        assert mean == pytest.approx(known["count_mean"], abs=TOLERANCE)
        assert square - mean**2 == pytest.approx(known["count_variance"], abs=TOLERANCE)
