"""Two samples: equal laws pass, unequal ones fail, and p-values are valid at every size."""

import itertools

import numpy as np
import pytest
from scipy.stats import ks_2samp

from lawful import inference
from lawful.errors import LawfulError, NonFiniteError
from lawful.inference.check import two_sample
from lawful.inference.check.statistics.mmd import mmd, mmd_p_value
from lawful.inference.check.statistics.two_sample import ks_p_value
from tests.tiers import rest_slow

RNG = np.random.default_rng(20261126)


def pairs(n, correlation):
    x = RNG.normal(size=(n, 2))
    return {"x": x @ np.linalg.cholesky([[1.0, correlation], [correlation, 1.0]]).T}


def test_equal_laws_pass_and_say_what_would_be_found():
    report = two_sample(pairs(4_000, 0.5), pairs(4_000, 0.5))
    assert report.passed, report
    assert report.alpha_spent == 1e-6 / 512 and 0.1 < report.min_detectable_effect < 0.25
    assert "energy distance" in report.remarks


CHANGES = {"shift": lambda x: x + 0.3, "scale": lambda x: 1.4 * x, "mass": lambda x: np.where(np.abs(x) < 0.3, 3.0, x)}


@pytest.mark.parametrize("change", CHANGES)
def test_unequal_columns_fail(change):
    other = {"x": CHANGES[change](pairs(4_000, 0.5)["x"])}
    assert two_sample(pairs(4_000, 0.5), other).status == "failed"


def test_a_joint_law_is_seen_where_every_column_is_right():
    report = two_sample(pairs(4_000, 0.9), pairs(4_000, -0.9))
    assert report.status == "failed" and report.worst[0] == "joint distribution"


@pytest.mark.slow
def test_a_shift_of_the_stated_size_is_found():
    effect = two_sample({"x": RNG.normal(size=2_000)}, {"x": RNG.normal(size=2_000)}).min_detectable_effect
    reports = [two_sample({"x": RNG.normal(size=2_000)}, {"x": RNG.normal(size=2_000) + effect}) for _ in range(20)]
    assert sum(report.status == "failed" for report in reports) >= 18  # 0.99 each: fewer has probability 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("n", rest_slow([40, 200]))
def test_false_alarms_are_as_rare_as_stated(n):
    """One law, 1,000 times at 1 %: more than 27 alarms has probability 1e-6; discrete columns included."""
    alarms = 0
    for _ in range(1_000):
        one, two = ({"x": RNG.normal(size=n), "k": RNG.integers(0, 3, n)} for _ in range(2))
        alarms += two_sample(one, two, alpha=1e-2).status == "failed"
    assert alarms <= 27


def test_the_law_of_the_largest_distance_is_exact():
    """All ways in which four values of one sample lie among four of the other are equally likely."""
    cases = [(set(first), set(range(8)) - set(first)) for first in itertools.combinations(range(8), 4)]
    found = [ks_p_value(*(np.array(sorted(part), float) for part in case)) for case in cases]
    for p in set(found):
        assert np.mean(np.array(found) <= p) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("n", [50, 1_000])
def test_the_law_of_the_largest_distance_is_that_of_scipy(n):
    for shift in (0.5, 1.0):
        a, b = RNG.normal(size=n), RNG.normal(size=n) + shift
        assert ks_p_value(a, b) == pytest.approx(ks_2samp(a, b, method="exact").pvalue, rel=1e-9)


def test_p_values_with_a_proof_are_valid():
    """At 5 %, 2,000 times: more than 149 has probability 1e-6."""
    small = [ks_p_value(*RNG.normal(size=(2, 30))) <= 0.05 for _ in range(2_000)]
    joint = [mmd_p_value(*RNG.random((2, 30, 2))) <= 0.05 for _ in range(2_000)]
    assert sum(small) <= 149 and sum(joint) <= 149


def test_the_discrepancy_is_that_of_its_definition():
    x, y = RNG.normal(size=(2, 7, 2))
    gauss = lambda a, b: np.exp(-0.5 * np.sum((a - b) ** 2) / 0.7**2)
    mean = lambda a, b: np.mean([[gauss(p, q) for q in b] for p in a])
    assert mmd(x, y, 0.7) == pytest.approx(np.sqrt(mean(x, x) + mean(y, y) - 2 * mean(x, y)), rel=1e-12)


def test_results_of_inferences_are_compared_by_name():
    import numpyro.distributions as dist

    from lawful import sample

    def level(y):
        sample("mu", dist.Normal(0.0, 1.0))
        sample("free", dist.Normal(0.0, 1.0))

    first, second = (inference.importance(level, particles=500)(key, 0.0) for key in (1, 2))
    assert two_sample(first, second).passed


def test_samples_that_cannot_be_compared_are_refused():
    x = RNG.normal(size=100)
    with pytest.raises(LawfulError, match="one set of names and shapes"):
        two_sample({"x": x}, {"y": x})
    with pytest.raises(LawfulError, match="at least 20"):
        two_sample({"x": x[:5]}, {"x": x[:5]})
    with pytest.raises(NonFiniteError, match="draws of 'x' are NaN"):
        two_sample({"x": np.full(100, np.nan)}, {"x": x})
