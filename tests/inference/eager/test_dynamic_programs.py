"""Every eager inference agrees with the exact answer of programs whose structure has no bound.

A check compares a mean of independent (for chains: batched) ratios, estimate to exact value, with 1. Its false-alarm
rate is the share of a registered check (two-sided, normal approximation; keys are fixed), and it finds a relative error
of 4 % with probability 0.95 at least: each check asserts that its own standard error is small enough for that.
"""

import math

import jax
import numpy as np
import pytest

from lawful import inference
from lawful.inference.check import key_of
from lawful.inference.check.statistics.power import z_critical
from tests.inference.eager.cases import FUNCTION, LEVELS, NOISY_LIST, PROCESS, SENTENCE

pytestmark = [pytest.mark.tier2, pytest.mark.usefixtures("unchecked_types")]
ERROR = 0.04
SURE = 1.6449  # power 0.95


def assert_agrees(ratios, what, alpha):
    """The mean ratio is 1, and a mean of 0.96 or 1.04 would have been found."""
    error, critical = np.std(ratios, ddof=1) / math.sqrt(len(ratios)), z_critical(alpha)
    assert abs(np.mean(ratios) - 1) < critical * error + 1e-12, f"{what}: {np.mean(ratios)} +- {error}"
    assert (critical + SURE) * error < ERROR, f"{what}: the error {error} is too large to find 4 %"


def weighted_events(case, result):
    """For each run the evidence, and the weight of the event, each as a ratio to its exact value."""
    evidence = np.exp(np.asarray(result.log_evidence))
    particles = np.asarray(result.weighted.log_weight).shape[1]
    drawn = [np.mean([case.event(run) for run in runs]) for runs in result.traces]
    assert all(len(runs) == particles for runs in result.traces)
    return evidence / case.evidence, evidence * drawn / (case.evidence * case.probability)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "case", "particles"),
    [
        (inference.importance, NOISY_LIST, 180),
        pytest.param(inference.importance, PROCESS, 270, marks=pytest.mark.slow),
        pytest.param(inference.importance, SENTENCE, 160, marks=pytest.mark.slow),
        pytest.param(inference.smc, LEVELS, 360, marks=pytest.mark.slow),
        pytest.param(inference.smc, FUNCTION, 190, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_evidence_and_unnormalised_expectations_are_unbiased(build, case, particles, false_alarm):
    plan = build(case.program, particles=particles, runs=50, mode="eager")
    result = plan(key_of(f"eager/{build.__name__}/{case!r}"))
    evidence, event = weighted_events(case, result)
    assert_agrees(evidence, "evidence", false_alarm / 2)
    assert_agrees(event, "event", false_alarm / 2)


@pytest.mark.parametrize(
    ("case", "length"),
    [
        pytest.param(LEVELS, 950, marks=pytest.mark.slow),
        pytest.param(FUNCTION, 650, marks=pytest.mark.slow),
        pytest.param(PROCESS, 1200, marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_chains_reach_the_posterior(case, length, false_alarm):
    batches = 40
    plan = inference.mcmc(case.program, chains=2, warmup=100, draws=batches * length // 2, mode="eager")
    result = plan(key_of(f"eager/mcmc/{case!r}"))
    events = np.array([[case.event(run) for run in chain] for chain in result.traces], dtype=float)
    assert_agrees(events.reshape(batches, length).mean(axis=1) / case.probability, "event", false_alarm)


@pytest.mark.parametrize(
    ("case", "share"), [(LEVELS, 1e-9), (NOISY_LIST, 1e-2), (FUNCTION, 1e-9), (SENTENCE, 1e-2)], ids=repr
)
def test_enumeration_is_as_near_as_it_says(case, share):
    exact = inference.enumerate(case.program, unexplored=share)()
    low, high = np.exp(exact.log_evidence_bounds())
    assert low <= case.evidence * (1 + 1e-12) and case.evidence <= high * (1 + 1e-12)
    assert exact.posterior_error() <= share
    found = sum(p for p, run in zip(exact.probabilities, exact.traces, strict=True) if case.event(run))
    assert abs(found - case.probability) <= exact.posterior_error() + 1e-12


def test_a_random_function_can_be_asked_after_the_inference():
    result = inference.importance(FUNCTION.program, particles=4, mode="eager")(jax.random.key(0))
    function = result.traces[0][0].value
    assert function(3) == result.traces[0][0]["f(3)"]
    assert function(77) in (0, 1)
    assert function(77) == function(77)
