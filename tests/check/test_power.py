"""The tables of power, to two significant digits, and the rates that simulation finds."""

import math

import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.check import ALPHA, SequentialRule, min_detectable, min_samples
from lawful.inference.check.statistics.power import behaviour, z_p_value

ALPHA_SUITE = 1e-6


def two_digits(value):
    return float(f"{value:.2g}")


@pytest.mark.parametrize(
    ("effect", "needed"),
    [
        (0.10, (5_210, 6_049, 6_681)),
        (0.05, (20_840, 24_197, 26_723)),
        (0.02, (130_248, 151_230, 167_016)),
        (0.01, (520_993, 604_920, 668_064)),
    ],
)
def test_single_stage_draws(effect, needed):
    for m, n in zip((1, 20, 200), needed, strict=True):
        found = min_samples("z", effect, ALPHA_SUITE, m=m)
        assert n <= found <= n + 1
        assert min_detectable("z", found, ALPHA_SUITE, m=m) == pytest.approx(effect, rel=1e-3)


@pytest.mark.parametrize(
    ("stages", "gamma", "fail_at"),
    [
        (1, 1.0e-6, (1e-6,)),
        (3, 6.93e-3, (3.33e-7, 4.81e-5, 6.93e-3)),
        (5, 4.57e-2, (2.00e-7, 4.37e-6, 9.56e-5, 2.09e-3, 4.57e-2)),
        (7, 0.105, (1.43e-7, 1.36e-6, 1.29e-5, 1.23e-4, 1.17e-3, 1.11e-2, 0.105)),
    ],
)
def test_thresholds_of_the_sequential_rule(stages, gamma, fail_at):
    rule = SequentialRule(ALPHA_SUITE, stages)
    assert rule.gamma == pytest.approx(gamma, rel=5e-3)
    assert rule.fail_at == pytest.approx(fail_at, rel=5e-3)
    assert rule.pass_above[:-1] == pytest.approx([rule.gamma + beta for beta in rule.fail_at[:-1]], rel=1e-12)


@pytest.mark.parametrize(
    ("stages", "effects", "correct", "at_effect"),
    [
        (1, (0.072, 0.078), (10_000, 10_000), (10_000, 10_000)),
        (3, (0.050, 0.059), (10_141, 10_007), (20_439, 17_747)),
        (5, (0.043, 0.054), (11_007, 10_046), (28_022, 22_762)),
        (7, (0.040, 0.051), (12_665, 10_106), (36_015, 25_746)),
    ],
)
def test_what_the_sequential_rule_detects_and_what_it_costs(stages, effects, correct, at_effect):
    rule = SequentialRule(ALPHA_SUITE, stages, 10_000)
    for i, m in enumerate((1, 20)):
        effect = min_detectable("z", 10_000, ALPHA_SUITE, m=m, stages=stages)
        assert effect == pytest.approx(effects[i], abs=6e-4)  # seven stages: 0.0395, printed as 0.040
        assert behaviour(rule, 0.0, m).draws == pytest.approx(correct[i], rel=1e-4)
        assert behaviour(rule, effect, m).draws == pytest.approx(at_effect[i], rel=1e-4)


def test_what_the_share_of_one_check_detects():
    shares = [min_detectable("z", 10_000, ALPHA, m=m, stages=5) for m in (1, 20)]
    halves = [min_detectable("z", 10_000, ALPHA / 2, m=m, stages=5) for m in (1, 20)]
    assert [two_digits(effect) for effect in shares] == [0.048, 0.057]
    assert [two_digits(effect) for effect in halves] == [0.049, 0.058]
    draws = [behaviour(SequentialRule(ALPHA, 5, 10_000), 0.0, m).draws for m in (1, 20)]
    assert draws == pytest.approx([10_270, 10_013], rel=1e-4)


@pytest.mark.parametrize(
    ("simulations", "bias"), [(100, 0.74), (320, 0.41), (1_000, 0.23), (3_200, 0.13), (10_000, 0.074)]
)
def test_location_bias_that_the_mean_rank_detects(simulations, bias):
    assert two_digits(min_detectable("mean_rank", simulations, ALPHA_SUITE)) == bias


def test_the_cost_of_many_checks():
    single = min_samples("z", 0.05, 1e-6)
    for checks, ratio in ((300, 1.46), (512, 1.49), (1_000, 1.52)):
        assert min_samples("z", 0.05, 1e-6 / checks, m=20) / single == pytest.approx(ratio, abs=0.005)


def test_draws_and_effect_are_inverse_with_stages():
    n = min_samples("z", 0.05, 1e-6, stages=5, m=20)
    assert min_detectable("z", n, 1e-6, stages=5, m=20) <= 0.05 < min_detectable("z", n - 1, 1e-6, stages=5, m=20)


def simulated_failures(rule, effect, repetitions, rng, m=1):
    """Run the rule on z statistics of independent stages, the effect in the first of m statistics."""
    failed = 0
    for _ in range(repetitions):

        def p_value(stage, n):
            z = rng.standard_normal(m)
            z[0] += effect * math.sqrt(n)
            return z_p_value(np.abs(z).max(), m)

        failed += rule.run(p_value).failed
    return failed / repetitions


@pytest.mark.rest_slow
@pytest.mark.parametrize("stages", [1, 3, 5, 7])
def test_simulated_false_alarms_stay_below_alpha(stages):
    # 10,000 repetitions at alpha 1e-2: a lawful rule is above alpha by 4.3 binomial sd with probability below 1e-5.
    rate = simulated_failures(SequentialRule(1e-2, stages, 100), 0.0, 10_000, np.random.default_rng(stages))
    assert rate <= 1e-2 + 4.3 * math.sqrt(1e-2 * 0.99 / 10_000)


def test_simulated_false_alarms_of_one_stage_reach_alpha():
    # The rate is exactly alpha here; 4.3 binomial sd are passed with probability below 2e-5.
    rate = simulated_failures(SequentialRule(1e-2, 1, 100), 0.0, 10_000, np.random.default_rng(0))
    assert abs(rate - 1e-2) <= 4.3 * math.sqrt(1e-2 * 0.99 / 10_000)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("stages", "m"), [(1, 1), (3, 20), (5, 1), (5, 20)])
def test_simulated_power_is_as_stated(stages, m):
    # Power 0.9 at 10,000 repetitions has a binomial sd of 0.003; the bound is 2 %.
    rule = SequentialRule(1e-2, stages, 1_000)
    effect = min_detectable("z", 1_000, 1e-2, power=0.9, m=m, stages=stages)
    rate = simulated_failures(rule, effect, 10_000, np.random.default_rng(1), m)
    assert -0.02 <= rate - 0.9 <= (0.02 if m == 1 else 0.05)  # the other statistics only add failures


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1e-6])
def test_a_rule_without_meaning_is_refused(alpha):
    with pytest.raises(LawfulError, match="alpha"):
        SequentialRule(alpha)


def test_unknown_checks_and_effects_are_refused():
    with pytest.raises(LawfulError, match="mean_rank"):
        min_detectable("chi", 100, 1e-6)
    with pytest.raises(LawfulError, match="above 0"):
        min_samples("z", 0.0, 1e-6)
